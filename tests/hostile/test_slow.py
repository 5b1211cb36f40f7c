"""Clients that are slow, and move: they get and bring every byte, for longer than any deadline.

All are played at the same time. `client_slow` has those that stand still, or only seem to move.
"""

import hashlib
import time
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import attrs
import pytest

from tests.hostile.client_play import next_mark
from tests.hostile.conftest import NAME
from tests.kit import websocket
from tests.kit.certificates import Authority
from tests.kit.client import Client
from tests.kit.daemon import Daemon
from tests.kit.origin import Exchange, Origin
from tests.kit.squid import Squid
from tests.kit.tools import need

AREA = "Hostile clients"
Outcome = Callable[[str, str, str], None]
_DEADLINE = 1.5
_LASTS = 4.0
"""Seconds from the first byte to the last one."""
_PIECE = 65536
DOWN = array("Q", range(4 << 20)).tobytes()
"""No two places in it are alike; more than all that is between origin and client holds."""
UP = DOWN[:40_000]
FRAMES = b"".join(
    b"\x82\x7f%b%b" % (_PIECE.to_bytes(8, "big"), DOWN[at : at + _PIECE])
    for at in range(0, len(DOWN), _PIECE)
)
"""The same in binary messages."""
_GROWS = 8 << 20
"""Octets by which the process may grow while three times `DOWN` waits for its clients."""


class Sender(Exchange):
    """Sends as fast as it can."""

    def do_fast(self) -> None:
        self.read_body()
        if "chunked" in self.options:
            self.head(200, "OK", "Transfer-Encoding: chunked")
            for at in range(0, len(DOWN), _PIECE):
                self.chunk(DOWN[at : at + _PIECE])
            self.send(b"0\r\n\r\n")
        else:
            self.head(200, "OK", f"Content-Length: {len(DOWN)}")
            self.send(DOWN)
        self.seen.said_end = True

    def do_fast_ws(self) -> None:
        self.keep = False
        session = websocket.Session(self, self._raw, self._sock, self.reader)
        session.flush()
        self.send(FRAMES)
        session.end_writing()  # notes `said_end`
        session.keep_rest()


@attrs.frozen
class Stage:
    origin: Origin
    daemon: Daemon


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, canary: str) -> Iterator[Stage]:
    need("squid")
    authority, deadline = Authority(tmp_path_factory.mktemp("ca")), str(_DEADLINE)
    with (
        Origin(authority.leaf(NAME), canary, exchange=Sender) as origin,
        Squid([NAME]) as squid,
        Daemon(
            "--egress-proxy", squid.url, "--ca-file", str(authority.file),
            "--target", f"{NAME}:{origin.port}", "--probe", "off",
            "--head-deadline", deadline, "--idle-deadline", deadline, "--body-deadline", deadline,
            "--response-deadline", deadline, "--silence-deadline", deadline,
            "--websocket-idle-deadline", deadline,
            env={"OPENAI_API_KEY": canary},
        ) as daemon,
    ):  # fmt: skip
        yield Stage(origin, daemon.ready())


# --- the clients --------------------------------------------------------------------------------------


def in_step(begun: float, part: float) -> None:
    """The pace of a slow client is no waiting for something: it is what is tested."""
    time.sleep(max(0.0, begun + part * _LASTS - time.monotonic()))


def small(stage: Stage) -> Client:
    """A client whose end of the connection takes little at a time."""
    return Client(stage.daemon.port, buffer=16384)


def reads(pieces: Iterator[bytes], expected: bytes, origin: Origin, mark: bytes) -> None:
    """Compares each byte; after the first of them the origin is held back, with most of it unsent."""
    begun, at, held_back = time.monotonic(), 0, False
    for piece in pieces:
        assert piece == expected[at : at + len(piece)], f"other content from {at} on"
        at += len(piece)
        if not held_back and at > len(expected) // 8:
            held_back = not origin.find(mark)[0].said_end
            assert held_back
        in_step(begun, at / len(expected))
    assert at == len(expected)
    assert time.monotonic() - begun > 2 * _DEADLINE


def reads_answer(stage: Stage, framing: str) -> None:
    mark = next_mark()
    with small(stage) as client:
        client.send_head("GET", b"/v1/kit/fast?%b&%b" % (framing.encode("ascii"), mark))
        head = client.final_head()
        assert head.status == 200
        reads(client.pieces(head), DOWN, stage.origin, mark)
        assert client.request("GET", "/healthz").status == 200, "the connection goes on"


def reads_websocket(stage: Stage) -> None:
    mark = next_mark()
    with small(stage) as client:
        websocket.join(client, "/v1/kit/fast-ws?" + mark.decode("ascii"))
        reads(client.reader.rest(), FRAMES, stage.origin, mark)


def uploads(stage: Stage, framing: str) -> None:
    mark, pieces = next_mark(), [UP[at : at + 1000] for at in range(0, len(UP), 1000)]
    chunked = framing == "chunked"
    field = (b"Transfer-Encoding", b"chunked") if chunked else (b"Content-Length", b"%d" % len(UP))
    with Client(stage.daemon.port) as client:
        client.send_head("POST", b"/v1/" + mark, [field])
        begun = time.monotonic()
        for number, piece in enumerate(pieces, 1):
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            stage.origin.wait_for(mark, lambda seen, number=number: seen.length >= number * 1000)
            in_step(begun, number / len(pieces))
        if chunked:
            client.send(b"0\r\n\r\n")
        assert client.answer().status == 200
        assert time.monotonic() - begun > 2 * _DEADLINE
    seen = stage.origin.wait_for(mark, lambda seen: seen.ended == "answered")
    assert seen.sha256 == hashlib.sha256(UP).hexdigest()
    assert seen.body == UP


PLAYS: dict[str, Callable[[Stage], None]] = {
    "reads an answer of known length": partial(reads_answer, framing="length"),
    "reads an answer in chunks": partial(reads_answer, framing="chunked"),
    "reads a WebSocket": reads_websocket,
    "uploads with a length": partial(uploads, framing="length"),
    "uploads in chunks": partial(uploads, framing="chunked"),
}


# --- what came of it ----------------------------------------------------------------------------------


@attrs.frozen
class Played:
    ended: dict[str, "Future[None]"]
    memory: int
    """Of the daemon at its highest, before them."""


@pytest.fixture(scope="module")
def played(stage: Stage) -> Iterator[Played]:
    with Client(stage.daemon.port) as client:  # on a tunnel that no other gets, with what it has in buffers
        websocket.join(client, "/v1/kit/fast-ws")
        assert b"".join(client.reader.rest()) == FRAMES
    with ThreadPoolExecutor(len(PLAYS)) as pool:
        memory = stage.daemon.peak_memory()
        yield Played({name: pool.submit(play, stage) for name, play in PLAYS.items()}, memory)


@pytest.mark.parametrize("name", PLAYS)
def test_slow_client_that_moves_gets_and_brings_everything(
    name: str, played: Played, outcome: Outcome
) -> None:
    played.ended[name].result(60)
    outcome(AREA, f"slow, but it moves: {name}", "every byte, for longer than any deadline; memory bounded")


def test_memory_was_bounded_meanwhile(stage: Stage, played: Played) -> None:
    for each in played.ended.values():
        each.result(60)
    assert stage.daemon.peak_memory() - played.memory < _GROWS
    assert "Traceback" not in stage.daemon.output()
