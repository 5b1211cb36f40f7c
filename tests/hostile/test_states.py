"""A client leaves in each state that a request can wait in (`client_states`): what each side sees of it.

And what is left of it: no request, no tunnel in use, no descriptor, and the next one is answered at once; or,
where the process stops meanwhile, its end.
"""

import contextlib
import json
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.hostile.client_case import MARK
from tests.hostile.client_play import answers_next, next_mark
from tests.hostile.client_states import (
    ANSWER,
    CONNECT,
    QUEUED,
    RESET,
    ROWS,
    STOPS,
    SWITCH,
    TLS,
    UPLOAD,
    WHOLE,
    Fill,
    Row,
)
from tests.hostile.client_witness import Witness, shown
from tests.hostile.conftest import NAME
from tests.kit.certificates import Authority
from tests.kit.client import Client
from tests.kit.daemon import Daemon
from tests.kit.reader import poll
from tests.kit.squid import Squid
from tests.kit.tools import need

AREA = "Hostile clients"
Outcome = Callable[[str, str, str], None]
_PIECE = bytes(16384)
_TAKEN = 300
"""Milliseconds in which nothing more is taken of an upload that is paused."""
_LISTENS = "0A"
"""A state in /proc/net/tcp."""
_ENDS = 8.0
"""Seconds in which a process without anything left to do ends; its `--drain-deadline` is 20."""


class Door(threading.Event):
    """In place of `Origin.delay_handshake`: says that a connection waits in front of TLS."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.set()

    def wait(self, timeout: float | None = None) -> bool:
        if not self.is_set():
            self.reached.set()
        return super().wait(timeout)


@attrs.frozen
class Stage:
    """An origin and a Squid; each daemon has one tunnel at most, and opens none before it is asked."""

    authority: Authority
    witness: Witness
    squid: Squid
    door: Door

    def daemon(self, canary: str) -> Daemon:
        return Daemon(
            "--egress-proxy", self.squid.url, "--ca-file", str(self.authority.file),
            "--target", f"{NAME}:{self.witness.port}", "--probe", "off", "--log-format", "json",
            "--pool-warm", "0", "--pool-max", "1", env={"OPENAI_API_KEY": canary},
        )  # fmt: skip


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, canary: str) -> Iterator[Stage]:
    need("squid")
    authority, door = Authority(tmp_path_factory.mktemp("ca")), Door()
    with Witness(authority.leaf(NAME), canary) as witness, Squid([NAME]) as squid:
        witness.delay_handshake = door
        yield Stage(authority, witness, squid, door)


@attrs.frozen
class AtRest:
    """A daemon, and how many descriptors it has while there is neither client nor tunnel."""

    daemon: Daemon
    descriptors: int


@pytest.fixture(scope="module")
def at_rest(stage: Stage, canary: str) -> Iterator[AtRest]:
    with stage.daemon(canary) as daemon:
        answers_next(daemon.ready(), stage.witness, next_mark())
        without_tunnels(stage, daemon)
        poll(lambda: clients(daemon) == 0)
        yield AtRest(daemon, descriptors(daemon))


class Scene:
    """One row, being played."""

    def __init__(self, row: Row, stage: Stage, daemon: Daemon) -> None:
        self.row, self.stage, self.daemon, self.witness = row, stage, daemon, stage.witness
        self.mark = next_mark()
        self.sent = 0
        """Octets of content, of an upload that is filled."""
        self.others = 0
        """Requests of others that are under way."""

    def run(self) -> None:
        with contextlib.ExitStack() as stack:
            release = self._hold(stack)
            client = stack.enter_context(Client(self.daemon.port))
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            client.send(self.row.sent.replace(MARK, self.mark))
            self._fill(client)
            poll(self._is_there)
            if self.row.stops:
                self.daemon.running.terminate()
                self.daemon.wait_for_output("Stopping")
            if self.row.leaves is RESET:
                client.reset()
                assert self._outcome() == "client_left", "while nothing has moved yet"
            else:
                client.sock.shutdown(socket.SHUT_WR)
            release()
            if self.row.leaves is not RESET:
                self._check_answer(client)
        assert self._outcome() == ("completed" if self.row.answer else "client_left")
        self._check_origin()

    # --- the state -------------------------------------------------------------------------------

    def _hold(self, stack: contextlib.ExitStack) -> Callable[[], object]:
        """Brings about what will hold the request up; what lets it go on, which happens in any case."""
        release: Callable[[], object]
        if self.row.state is CONNECT:
            assert self.stage.squid._process is not None
            pid = self.stage.squid._process.pid
            os.kill(pid, signal.SIGSTOP)
            release = lambda: os.kill(pid, signal.SIGCONT)  # noqa: E731
        elif self.row.state is TLS:
            self.stage.door.reached.clear()
            self.stage.door.clear()
            release = self.stage.door.set
        elif self.row.state is QUEUED:
            other, gate = stack.enter_context(Client(self.daemon.port)), next_mark()
            other.send_head("GET", b"/v1/kit/upload?gate=" + gate)
            self.witness.wait_for(gate)
            self.others = 1
            release = lambda: (  # noqa: E731
                self.witness.gate(gate.decode("ascii")).release(),
                other.answer().status,
            )
            stack.callback(self.witness.gate(gate.decode("ascii")).release)
            return release
        else:
            release = self.witness.gate(self.mark.decode("ascii")).release
        stack.callback(release)
        return release

    def _is_there(self) -> bool:
        match self.row.state:
            case state if state is TLS:
                return self.stage.door.reached.is_set()
            case state if state in (UPLOAD, SWITCH, ANSWER):
                return bool(self.witness.find(self.mark))
            case state:
                name = "opening" if state is CONNECT else "waiting"
                return tunnels(self.daemon)[name] == 1

    def _fill(self, client: Client) -> None:
        """Sends until nothing more is taken for a while; then the rest, where all of it is to be sent."""
        if self.row.fill is Fill.NOTHING:
            return
        piece = _PIECE if self.row.fill is Fill.PART else b"%x\r\n%b\r\n" % (len(_PIECE), _PIECE)
        ready = select.poll()
        ready.register(client.sock, select.POLLOUT)
        rest = b""
        while ready.poll(_TAKEN):
            if not rest:
                rest, self.sent = piece, self.sent + len(_PIECE)
            rest = rest[client.sock.send(rest, socket.MSG_DONTWAIT) :]
        if self.row.fill is WHOLE:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            client.send(rest + b"0\r\n\r\n")

    # --- what came of it -------------------------------------------------------------------------

    def _check_answer(self, client: Client) -> None:
        if self.row.answer:
            head = client.read_head()
            while head.status == 100:  # asked so whether the client is there; or by the origin
                head = client.read_head()
            assert str(head.status) == self.row.answer, head
            if head.status == 101:
                assert b"".join(client.reader.rest()) == b"first"
                return
            content = b"".join(client.pieces(head))
            assert content == self.witness.content(self.witness.find(self.mark)[0])
            assert head.value(b"connection") == b"close"
        assert client.closed(20)

    def _outcome(self) -> str:
        """By the access line."""

        def line() -> dict[str, Any]:
            lines = [json.loads(line) for line in self.daemon.output().splitlines() if '"request_c' in line]
            return next((line for line in lines if line["request_id"] == self.mark.decode("ascii")), {})

        return str(poll(line, 20)["outcome"])

    def _check_origin(self) -> None:
        poll(lambda: all(seen.ended for seen in self.witness.find(self.mark)), 20)
        found = self.witness.find(self.mark)
        saw = [shown(seen, self.mark) for seen in found]
        wanted = [self.row.saw.replace("ALL", str(self.sent))] if self.row.saw else []
        assert saw == wanted or (self.row.at_most and not saw)
        if self.row.state is SWITCH and self.row.leaves is RESET:
            (tape,) = [bytes(each.tape) for each in self.witness.tapes if self.mark in each.tape]
            assert tape.endswith(b"\r\n\r\n"), "what was held stays here"


def tunnels(daemon: Daemon) -> dict[str, int]:
    found = daemon.health()["tunnels"]
    assert isinstance(found, dict)
    return found


def without_tunnels(stage: Stage, daemon: Daemon) -> None:
    stage.witness.drop_connections()
    poll(lambda: not any(tunnels(daemon)[name] for name in ("idle", "busy", "opening", "waiting")))


def clients(daemon: Daemon) -> int:
    """Connections at its port that it still has a descriptor for, as the kernel lists them."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(
        words[1].endswith(f":{daemon.port:04X}") and words[3] != _LISTENS and words[9] != "0"
        for words in lines
    )


def descriptors(daemon: Daemon) -> int:
    return len(os.listdir(f"/proc/{daemon.running.pid}/fd"))


def under_way(daemon: Daemon) -> int:
    """Exchanges, tunnels that are in use, being opened or waited for."""
    active: int = daemon.ask("GET", "/metrics").json()["gauges"]["active_requests"]["openai"]
    stats = tunnels(daemon)
    return active + stats["busy"] + stats["opening"] + stats["waiting"]


def test_rows_are_told_apart() -> None:
    ids = [row.id for row in (*ROWS, *STOPS)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_client_that_leaves_in_a_state_leaves_nothing(
    row: Row, stage: Stage, at_rest: AtRest, outcome: Outcome
) -> None:
    daemon = at_rest.daemon
    scene = Scene(row, stage, daemon)
    scene.run()
    answers_next(daemon, stage.witness, scene.mark)
    poll(lambda: not under_way(daemon))
    without_tunnels(stage, daemon)
    poll(lambda: descriptors(daemon) == at_rest.descriptors)
    assert "Traceback" not in daemon.output()
    outcome(AREA, row.kind, row.note)


@pytest.mark.parametrize("row", STOPS, ids=lambda row: row.id)
def test_a_client_that_leaves_while_the_process_stops_does_not_hold_it_up(
    row: Row, stage: Stage, canary: str, outcome: Outcome
) -> None:
    with stage.daemon(canary) as daemon:
        Scene(row, stage, daemon.ready()).run()
        begun = time.monotonic()
        assert daemon.exit_code() == 143
        assert time.monotonic() - begun < _ENDS
        assert "Traceback" not in daemon.output()
    outcome(AREA, row.kind, row.note)
