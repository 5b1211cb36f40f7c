"""The corpus of hostile clients, row by row: the answer, what the origin saw, the end, and the next client.

Slow cases are played at the same time, beside all others.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.hostile import (
    client_chunks,
    client_connections,
    client_fields,
    client_framing,
    client_heads,
    client_pages,
    client_slow,
    client_targets,
)
from tests.hostile.client_answers import check_error
from tests.hostile.client_case import Case
from tests.hostile.client_play import Play, answers_next, next_mark
from tests.hostile.conftest import Watched
from tests.kit.client import Client
from tests.kit.reader import poll

AREA = "Hostile clients"
AT_ONCE = (
    *client_framing.ROWS, *client_chunks.ROWS, *client_heads.ROWS, *client_targets.ROWS, *client_fields.ROWS,
    *client_pages.ROWS, *client_connections.ROWS,
)  # fmt: skip
SLOW = client_slow.ROWS
Outcome = Callable[[str, str, str], None]
_SMALL = 1000
"""Octets of a case that is sent octet by octet too."""


def cut_up(case: Case) -> bool:
    return len(case.data) <= _SMALL and not case.at_most and bool(case.data)


@pytest.fixture(scope="module")
def slow(watched: Watched, request: pytest.FixtureRequest) -> Iterator[dict[str, "Future[None]"]]:
    """All slow cases that were asked for, under way."""
    wanted = {item.callspec.id for item in request.session.items if item.originalname == "test_slow_client"}
    cases = [case for case in SLOW if case.id in wanted]
    with ThreadPoolExecutor(max(len(cases), 1)) as pool:
        yield {
            case.id: pool.submit(Play(case, watched.daemon, watched.witness, next_mark()).run)
            for case in cases
        }


def test_rows_are_told_apart() -> None:
    ids = [case.id for case in (*AT_ONCE, *SLOW)]
    assert len(ids) == len(set(ids))
    assert all(case.source for case in (*AT_ONCE, *SLOW))


@pytest.mark.parametrize("case", AT_ONCE, ids=lambda case: case.id)
def test_hostile_client(case: Case, watched: Watched, slow: object, outcome: Outcome) -> None:
    Play(case, watched.daemon, watched.witness, next_mark()).run()
    outcome(AREA, case.kind, case.note)


@pytest.mark.parametrize("case", [*filter(cut_up, AT_ONCE)], ids=lambda case: case.id)
def test_hostile_client_octet_by_octet(case: Case, watched: Watched, slow: object, outcome: Outcome) -> None:
    """However its bytes arrive, the answers are the same, and so is what the origin may keep."""
    Play(case, watched.daemon, watched.witness, next_mark(), cut_up=True).run()
    outcome(AREA, "small ones of these, octet by octet", "the same answers and end; no other whole request")


@pytest.mark.parametrize("case", SLOW, ids=lambda case: case.id)
def test_slow_client(
    case: Case, watched: Watched, slow: dict[str, "Future[None]"], outcome: Outcome
) -> None:
    slow[case.id].result(60)
    outcome(AREA, case.kind, case.note)


def test_hundred_slow_heads_hold_up_nobody(watched: Watched, outcome: Outcome) -> None:
    clients = [Client(watched.daemon.port) for _ in range(100)]
    try:
        for client in clients:
            client.send(b"GET /v1/slow")
        answers_next(watched.daemon, watched.witness, next_mark())
        for client in clients:
            answer = client.answer()
            check_error(answer, closes=True)
            assert answer.error_code == "request_head_timeout"
    finally:
        for client in clients:
            client.close()
    outcome(AREA, "slow head", "408 request_head_timeout; origin saw nothing; connection closed")


# --- and in all ---------------------------------------------------------------------------------------


def test_origin_saw_nothing_that_no_row_explains(watched: Watched) -> None:
    assert watched.witness.unexplained() == 0


def test_h11_reads_at_the_origin_what_was_meant(watched: Watched) -> None:
    """Each connection's bytes, read by h11 from the first to the last: the same requests, each whole."""
    requests = watched.witness.requests
    count = 0
    for reads in watched.witness.readings():
        count += len(reads)
        assert all(read.complete for read in reads[:-1])
    assert count == len(requests)
    by_head = sorted((seen.method, seen.target) for seen in requests)
    read = sorted((read.method, read.target) for reads in watched.witness.readings() for read in reads)
    assert by_head == read


def test_nothing_is_left_of_them(watched: Watched) -> None:
    """No tunnel is in use or waited for, and no request counts as under way."""

    def quiet() -> bool:
        tunnels = watched.daemon.health()["tunnels"]
        assert isinstance(tunnels, dict)
        active = watched.daemon.ask("GET", "/metrics").json()["gauges"]["active_requests"]["openai"]
        return not (active or tunnels["busy"] or tunnels["waiting"] or tunnels["opening"])

    poll(quiet, 10)


def test_log_has_no_line_that_a_client_wrote_and_no_failure_inside(watched: Watched) -> None:
    output = watched.daemon.output()
    assert "Traceback" not in output
    assert "failed inside awfproxy" not in output
    for line in output.splitlines():
        assert line.isascii()
        assert line.isprintable()
        assert "smuggled HTTP/1.1" not in line
