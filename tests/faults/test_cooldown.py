"""Three failures in a row to open a tunnel: what agents, log and metrics see of the pause, how it ends."""

import json
import ssl
import time
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.conftest import NAME, options
from tests.faults.asking import said, sent
from tests.faults.place import Place
from tests.faults.scripts import good, pause
from tests.kit.certificates import Authority
from tests.kit.client import ask
from tests.kit.daemon import Daemon
from tests.kit.origin import Origin
from tests.kit.reader import poll
from tests.kit.squid import Squid
from tests.kit.tools import need
from tests.memory.peers import get

Outcome = Callable[[str, str, str], None]

AREA = "Faults on the way"


@pytest.fixture
def away(authority: Authority, own_origin: Origin, canary: str) -> Iterator[tuple[Squid, Daemon]]:
    """A Squid that is not there yet, and a daemon that serves all the same."""
    need("squid")
    squid = Squid([NAME])
    arguments = (*options(authority, own_origin, squid), "--startup-grace", "0", "--log-format", "json")
    try:
        with Daemon(*arguments, "--pool-warm", "0", env={"OPENAI_API_KEY": canary}) as daemon:
            daemon.ready()
            yield squid, daemon
    finally:
        squid.close()


def counter(daemon: Daemon, name: str) -> int:
    return int(daemon.ask("GET", "/metrics").json()["counters"].get(name, 0))


def test_while_squid_is_away_few_requests_try_it_and_all_are_told_the_same(
    away: tuple[Squid, Daemon], outcome: Outcome
) -> None:
    _, daemon = away
    begun, told = time.monotonic(), []
    while time.monotonic() - begun < 2.5:
        answer = daemon.ask("POST", "/v1/kit/echo", body=b"{}")
        told.append((answer.status, answer.error_code, answer.value(b"retry-after")))
    assert set(told) == {(502, "egress_unreachable", b"2")}
    tried = counter(daemon, "tunnels_failed_total:openai:egress_unreachable")
    not_tried = counter(daemon, "tunnels_not_tried_total:openai")
    assert 5 <= tried <= 9, "three, then one after 1/8, 1/4, 1/2 s and each second"
    assert len(told) - tried <= not_tried < len(told)
    assert daemon.ask("GET", "/readyz").status == 503
    daemon.wait_for_output("not tried, since 3 attempts in a row failed")
    lines = [json.loads(line) for line in daemon.stdout.read_text().splitlines()]
    details = [line["detail"] for line in lines if line["event"] == "request_error"]
    assert all("connection refused" in detail for detail in details)
    assert sum("not tried" in detail for detail in details) == not_tried
    outcome(AREA, "three failures in a row", "the last error at once, for at most 1 s; then tried again")


def test_squid_that_comes_back_is_found_within_a_second_and_readiness_says_so(
    away: tuple[Squid, Daemon], outcome: Outcome
) -> None:
    squid, daemon = away
    for _ in range(20):
        assert daemon.ask("GET", "/v1/kit/length").status == 502
    squid.start()
    came_back = time.monotonic()
    poll(lambda: ask(daemon.port, "GET", "/v1/kit/length").status == 200, 5, 0.01)
    assert time.monotonic() - came_back < 1.5
    assert {daemon.ask("GET", "/v1/kit/length").status for _ in range(50)} == {200}
    daemon.ready("/readyz")
    outcome(AREA, "three failures in a row", "found within a second once it is back")


async def test_a_restart_of_300_ms_is_over_for_agents_soon_after_it_is_for_squid(
    authority: Authority, context: ssl.SSLContext, canary: str
) -> None:
    place = await Place(authority, context, canary).open()
    try:
        place.close_squid()
        begun, back, seen = time.monotonic(), 0.0, []
        while not seen or seen[-1] != "200; kept":
            if not back and time.monotonic() - begun > 0.3:
                place.open_squid()
                place.serve(good)
                back = time.monotonic()
            seen.append(await said(await sent(place, get(b"/v1/models")), 1))
            await pause(0.01)
        assert time.monotonic() - back < 0.5
        assert set(seen[:-1]) == {"502 egress_unreachable; kept"}
        await place.settled()
    finally:
        await place.close()
