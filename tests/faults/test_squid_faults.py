"""A real Squid that dies, denies, has no descriptors or stops: what clients, log, metrics and /readyz say."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import attrs
import pytest

from tests.kit.client import Client, Response
from tests.kit.reader import poll
from tests.kit.squid import Squid
from tests.kit.tools import need
from tests.kit.ways import NAME, Way, way

AREA = "Squid's faults and the machine's"
Outcome = Callable[[str, str, str], None]
_DYING = ("egress_unreachable", "egress_failed", "tls_closed")
"""What a tunnel begun in the moment of Squid's end fails with: its port may still take a connection, and one
that it had opened ends within the handshake."""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    need("squid")
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def made(stack: ExitStack, tmp_path: Path, canary: str) -> Way:
    return stack.enter_context(way(tmp_path, canary))


@attrs.frozen
class Stream:
    """One that goes on as its gate is opened; its first event has arrived."""

    client: Client
    chunks: Iterator[bytes]

    def rest(self) -> bytes:
        return b"".join(self.chunks)


def stream(stack: ExitStack, made: Way, gate: str, events: int = 1000) -> Stream:
    client = stack.enter_context(made.begin(f"/v1/kit/drip?events={events}&gate={gate}"))
    assert client.final_head().status == 200
    made.origin.gate(gate).release()
    chunks = client.reader.chunks()
    assert next(chunks) == b"event: message\ndata: 0\n\n"
    return Stream(client, chunks)


def is_ready(made: Way) -> bool:
    return made.ask("/readyz").status == 200


def reason(made: Way) -> str:
    answer = made.ask("/readyz")
    return "" if answer.status == 200 else str(answer.json()["reason"])


def error(answer: Response) -> tuple[int, str]:
    return answer.status, answer.error_code


def seconds_until(condition: Callable[[], object], deadline: float = 15.0) -> float:
    began = time.monotonic()
    poll(condition, deadline)
    return time.monotonic() - began


def at_rest(made: Way) -> None:
    poll(lambda: not made.under_way(), 10)


# --- killed ------------------------------------------------------------------------------------------


def test_squid_killed_under_load_and_started_again(stack: ExitStack, made: Way, outcome: Outcome) -> None:
    idle = [stack.enter_context(made.begin(f"/v1/kit/upload?gate=idle{number}")) for number in range(3)]
    for number, client in enumerate(idle):
        made.origin.wait_for(b"gate=idle%d" % number)
        made.origin.gate(f"idle{number}").release()
        assert client.answer().status == 200
    streams = [stream(stack, made, f"stream{number}") for number in range(3)]
    posts = [stack.enter_context(made.begin(f"/v1/kit/upload?gate=p{n}", "POST")) for n in range(3)]
    gets = [stack.enter_context(made.begin(f"/v1/kit/upload?gate=g{n}")) for n in range(3)]
    for mark in (b"gate=p%d", b"gate=g%d"):
        for number in range(3):
            made.origin.wait_for(mark % number)

    made.squid.kill()

    assert all(each.client.was_reset() for each in streams)
    outcome(AREA, "Squid killed: streams", "reset, never ended in order; upstream_truncated in the log")
    for client in posts:
        assert error(client.answer()) == (502, "origin_closed")
    assert len(made.origin.find(b"gate=p")) == 3, "a POST that was sent is not sent again"
    outcome(AREA, "Squid killed: POST in flight", "502 origin_closed, retryable; sent once")
    for client in gets:
        answer = client.answer()
        assert answer.status in (502, 503)
        assert answer.error_code in _DYING
        assert answer.values(b"retry-after")
    outcome(AREA, "Squid killed: GET in flight", "tried again; 502 or 503 of the hop to Squid")
    began = time.monotonic()
    # Or what one of those before it has failed with, as long as nothing new is tried.
    assert made.ask("/v1/kit/length").error_code in _DYING
    assert time.monotonic() - began < 1.0
    outcome(AREA, "Squid killed: new request", "502 or 503 of the hop to Squid, at once; /readyz is 503")
    poll(lambda: "egress proxy cannot be reached" in reason(made))
    poll(lambda: len(made.log("request_complete", error="origin_truncated")) == 3)
    assert len(made.log("request_complete", error="origin_closed", status=502)) == 3
    poll(lambda: sum(line["error"] in _DYING for line in made.log("request_complete")) == 4)
    assert made.counter("requests_by_outcome_total:openai:upstream_truncated") == 3
    assert made.counter("requests_by_outcome_total:openai:upstream_failed") == 7
    assert sum(made.counter(f"tunnels_failed_total:openai:{code}") for code in _DYING) >= 4
    at_rest(made)
    poll(lambda: made.log("readiness", ready=False), 5)

    made.squid.start()

    assert seconds_until(lambda: is_ready(made)) < 4.0, "without a request, and without a restart"
    assert made.ask("/v1/kit/length").status == 200
    assert all(client.request("GET", "/v1/kit/length").status == 200 for client in (*idle, *posts, *gets))
    at_rest(made)
    outcome(AREA, "Squid started again", "ready and serving within 4 s, with no request and no restart")


def test_requests_right_after_squid_is_back_are_served(made: Way, outcome: Outcome) -> None:
    made.squid.kill()
    poll(lambda: error(made.ask("/v1/kit/length")) == (502, "egress_unreachable"))
    made.squid.start()
    assert seconds_until(lambda: made.ask("/v1/kit/length").status == 200) < 2.0
    assert is_ready(made), "a request that is served tells at once"
    outcome(AREA, "request after Squid is back", "200 within 2 s")


# --- reconfigured ------------------------------------------------------------------------------------


def reconfigure(made: Way, denies: bool) -> None:
    """As `squid -k reconfigure` does it: with SIGHUP. Returns once the new rules are in force."""
    local = made.squid.folder / "local.conf"
    rule = "http_access deny all\n"
    text = local.read_text().replace(rule, "")
    local.write_text(text + rule if denies else text)
    log = made.squid.folder / "cache.log"
    before = log.read_text().count("Accepting HTTP Socket")
    assert made.squid._process is not None
    made.squid._process.send_signal(signal.SIGHUP)
    poll(lambda: log.read_text().count("Accepting HTTP Socket") > before, 15)


def test_squid_reconfigured_to_deny_and_back(stack: ExitStack, made: Way, outcome: Outcome) -> None:
    going = stream(stack, made, "going", events=2)

    reconfigure(made, denies=True)

    made.origin.gate("going").release(5)
    assert going.rest().endswith(b"data: [DONE]\n\n")
    outcome(AREA, "Squid denies: stream under way", "goes on to its end on the tunnel it has")
    # Tunnels that stand serve on; each of these ends one.
    answer = poll(lambda: (found := made.ask("/v1/kit/close_after")).status != 200 and found)
    assert error(answer) == (403, "egress_denied")
    assert not answer.values(b"retry-after")
    assert "does not allow the provider's host" in reason(made)
    assert made.counter("tunnels_failed_total:openai:egress_denied") >= 1
    (line, *_) = poll(lambda: made.log("request_complete", error="egress_denied"))
    assert (line["status"], line["outcome"]) == (403, "upstream_failed")
    (line, *_) = poll(lambda: made.log("readiness", ready=False))
    assert line["reason"] == "The egress proxy does not allow the provider's host."
    outcome(AREA, "Squid denies: new tunnel", "403 egress_denied, not retryable; /readyz is 503")

    reconfigure(made, denies=False)

    assert seconds_until(lambda: is_ready(made)) < 4.0
    assert made.ask("/v1/kit/length").status == 200
    outcome(AREA, "Squid allows again", "ready and serving within 4 s, with no request and no restart")


# --- out of descriptors, overloaded ------------------------------------------------------------------


def test_squid_out_of_descriptors(stack: ExitStack, tmp_path: Path, canary: str, outcome: Outcome) -> None:
    squid = Squid([NAME], local=["max_filedescriptors 64"])
    made = stack.enter_context(way(tmp_path, canary, "--connect-deadline", "1", squid=squid))
    streams: list[Client] = []
    for number in range(64):
        client = stack.enter_context(made.begin(f"/v1/kit/drip?events=1&gate=s{number}"))
        head = client.final_head()
        if head.status != 200:
            break
        streams.append(client)
    assert 2 < len(streams) < 64
    assert (head.status, head.error_code) == (504, "egress_timeout")
    assert "did not open the tunnel in time" in reason(made)
    assert made.log("request_error", error="egress_timeout")[0]["fix"].startswith("Check Squid")
    assert made.counter("tunnels_failed_total:openai:egress_timeout") >= 1
    outcome(AREA, "Squid out of descriptors: new", "504 egress_timeout after --connect-deadline; /readyz 503")

    for number, client in enumerate(streams):
        made.origin.gate(f"s{number}").release(2)
        assert b"".join(client.reader.chunks()).endswith(b"data: [DONE]\n\n")
    outcome(AREA, "Squid out of descriptors: streams", "go on to their end")

    assert made.ask("/v1/kit/length").status == 200
    poll(lambda: is_ready(made))
    opened = made.counter("tunnels_opened_total:openai")
    poll(lambda: made.ask("/v1/kit/close_after") and made.counter("tunnels_opened_total:openai") > opened)
    assert seconds_until(lambda: made.ask("/v1/kit/length").status == 200) < 4.0
    at_rest(made)
    outcome(AREA, "Squid has descriptors again", "200 at once, no restart")


def test_squid_that_stands_still_costs_no_stream_a_byte(
    stack: ExitStack, tmp_path: Path, canary: str, outcome: Outcome
) -> None:
    """Overload at its worst: it takes connections (the kernel does) and does nothing with them."""
    made = stack.enter_context(way(tmp_path, canary, "--connect-deadline", "1"))
    going = stream(stack, made, "going", events=3)
    assert made.ask("/v1/kit/length").status == 200, "on a second tunnel, which is idle now"
    assert made.squid._process is not None
    pid = made.squid._process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        made.origin.gate("going").release(10)
        on_idle_tunnel = stack.enter_context(made.begin("/v1/kit/upload", "POST"))
        began = time.monotonic()
        new = [stack.enter_context(made.begin("/v1/kit/upload", "POST")) for _ in range(20)]
        answers = [client.answer() for client in new]
        assert 0.9 < time.monotonic() - began < 4.0
        assert {error(answer) for answer in answers} == {(504, "egress_timeout")}
        assert all(answer.values(b"retry-after") for answer in answers)
        poll(lambda: not is_ready(made))
        assert "did not open the tunnel in time" in reason(made)
        outcome(AREA, "Squid stands still: new", "504 egress_timeout after --connect-deadline; /readyz 503")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert going.rest() == b"event: message\ndata: 1\n\nevent: message\ndata: 2\n\ndata: [DONE]\n\n"
    assert on_idle_tunnel.answer().status == 200
    outcome(AREA, "Squid stands still: under way", "waits, and goes on without a byte lost")
    assert seconds_until(lambda: made.ask("/v1/kit/length").status == 200) < 2.0
    assert seconds_until(lambda: is_ready(made)) < 4.0
    outcome(AREA, "Squid goes on", "ready and serving within 4 s, no restart")

