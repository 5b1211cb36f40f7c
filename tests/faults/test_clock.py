"""The wall clock jumps, by an hour either way: deadlines and lifetimes follow one that nobody sets."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest

from tests.kit.client import Client
from tests.kit.reader import poll
from tests.kit.tools import need
from tests.kit.ways import Way, way

AREA = "Squid's faults and the machine's"
Outcome = Callable[[str, str, str], None]
HOUR = timedelta(hours=1)
DEADLINE = 4
"""Seconds for an answer's begin, a stream's pause, and a connection without a request."""


def library() -> str:
    """libfaketime's, as the `faketime` of the same package would preload it."""
    program = shutil.which("faketime")
    assert program is not None
    found = [*Path(program).resolve().parents[1].glob("lib/*/faketime/libfaketime.so.1")]
    return str(found[0])


@attrs.frozen
class Clocked:
    """A way whose daemon reads a wall clock of ours."""

    made: Way
    offset: Path

    def jump(self, offset: timedelta) -> None:
        """From now on the daemon's wall clock differs by so much; returns once its log shows it.

        Lines are written by the sweep that looks after the deadlines too, so by then it has seen the jump.
        """
        new = self.offset.with_suffix(".new")
        new.write_text(f"{offset.total_seconds():+.0f}")
        new.replace(self.offset)

        def seen() -> bool:
            assert self.made.ask("/v1/kit/length?jump").status == 200
            return abs(self.logged() - offset) < timedelta(minutes=1)

        poll(seen, 5, 0.3)

    def logged(self) -> timedelta:
        """How far the last access line's time is from ours."""
        lines = self.made.log("request_complete")
        last = datetime.fromisoformat(lines[-1]["timestamp"]) if lines else datetime.now(UTC)
        return last - datetime.now(UTC)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    need("squid", "faketime")
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def clocked(stack: ExitStack, tmp_path: Path, canary: str) -> Clocked:
    offset = tmp_path / "offset"
    offset.write_text("+0")
    deadlines = [f"--{name}-deadline={DEADLINE}" for name in ("response", "silence", "idle", "body")]
    made = stack.enter_context(
        way(
            tmp_path, canary, *deadlines,
            env={
                "LD_PRELOAD": library(),
                "FAKETIME_TIMESTAMP_FILE": str(offset),
                "FAKETIME_NO_CACHE": "1",
                # What a clock that is set does not change: the monotonic one (clock_gettime(2)).
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "DONT_FAKE_MONOTONIC": "1",
            },
        )
    )  # fmt: skip
    return Clocked(made, offset)


def tunnels_closed(made: Way) -> int:
    tunnels = made.ask("/health").json()["tunnels"]
    return int(tunnels["opened"] - tunnels["idle"] - tunnels["busy"])


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["an hour on", "an hour back"])
def test_what_is_under_way_when_the_clock_jumps(
    stack: ExitStack, clocked: Clocked, jump: timedelta, outcome: Outcome
) -> None:
    made = clocked.made
    stream = stack.enter_context(made.begin("/v1/kit/drip?events=2&gate=stream"))
    head = stream.final_head()
    waiting = stack.enter_context(made.begin("/v1/kit/upload?gate=waiting"))
    made.origin.wait_for(b"gate=waiting")
    upload = stack.enter_context(Client(made.port))
    upload.send_head("POST", "/v1/kit/upload?mark=upload", [(b"Content-Length", b"4")])
    idle = stack.enter_context(Client(made.port))
    assert idle.request("GET", "/v1/kit/length").status == 200
    closed, began = tunnels_closed(made), time.monotonic()

    clocked.jump(jump)

    upload.send(b"body")
    assert upload.answer().status == 200
    made.origin.gate("waiting").release()
    assert waiting.answer().status == 200
    made.origin.gate("stream").release(3)
    assert b"".join(stream.pieces(head)).endswith(b"data: [DONE]\n\n")
    assert idle.request("GET", "/v1/kit/length").status == 200
    assert tunnels_closed(made) == closed, "none was thought too old"
    assert time.monotonic() - began < DEADLINE - 0.5, "else the machine was too slow for this test"
    assert made.ask("/readyz").status == 200
    outcome(AREA, "clock jumps: under way", "request, upload, stream, idle connection go on; log follows")


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["an hour on", "an hour back"])
def test_deadlines_after_the_clock_has_jumped(
    stack: ExitStack, clocked: Clocked, jump: timedelta, outcome: Outcome
) -> None:
    """Those begun before and those begun after; none is late, none is early."""
    made = clocked.made
    began = time.monotonic()
    stalled = stack.enter_context(made.begin("/v1/kit/stall"))
    silent = stack.enter_context(made.begin("/v1/kit/stall_body"))
    idle = stack.enter_context(Client(made.port))
    assert idle.request("GET", "/v1/kit/length").status == 200
    clocked.jump(jump)
    later, after = time.monotonic(), stack.enter_context(made.begin("/v1/kit/stall"))

    answer = stalled.answer()
    assert (answer.status, answer.error_code) == (504, "origin_timeout")
    assert DEADLINE - 0.5 < time.monotonic() - began < DEADLINE + 3
    assert silent.was_reset()
    assert idle.closed()
    answer = after.answer()
    assert (answer.status, answer.error_code) == (504, "origin_timeout")
    assert DEADLINE - 0.5 < time.monotonic() - later < DEADLINE + 3
    poll(lambda: not made.under_way())
    outcome(AREA, "clock jumps: deadlines", "met as if it had not: nothing early, nothing stuck")
