"""The sandbox of the real clients: a relayed port is the only way out, and nothing outlives a run."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import canary as canaries
from tests.kit import sandbox
from tests.kit.sandbox import AGENT_SOURCE, Relay, Sandbox
from tests.kit.tools import need_sandbox

_PYTHON = "/usr/bin/env", "python3", "-c"


@pytest.fixture(autouse=True)
def permitted() -> None:
    need_sandbox()


class Peer:
    """Outside: notes who connects, answers with what it is sent."""

    def __init__(self) -> None:
        self.sources: list[str] = []
        self.answer = b""
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                sock, (host, _) = self._door.accept()
            except OSError:
                return
            self.sources.append(host)
            with sock:
                received = b""
                while data := sock.recv(65536):
                    received += data
                sock.sendall(self.answer or received)

    def close(self) -> None:
        self._door.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._door.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    with contextlib.closing(Peer()) as peer:
        yield peer


def dial(host: str, port: int) -> str:
    """A program that prints how dialling goes, and what comes back for `hi` and an end."""
    return (
        f"import socket\ntry:\n    sock = socket.create_connection(({host!r}, {port}), 5)\n"
        "except OSError as error:\n    print(type(error).__name__, error.errno)\nelse:\n"
        "    sock.sendall(b'hi' * 100000)\n    sock.shutdown(socket.SHUT_WR)\n"
        "    print(len(b''.join(iter(lambda: sock.recv(65536), b''))))\n"
    )


def test_relayed_port_reaches_out_whole_and_in_both_directions(peer: Peer, tmp_path: Path) -> None:
    box = Sandbox(tmp_path / "box", [Relay(peer.port)])
    assert box.run([*_PYTHON, dial("127.0.0.1", peer.port)], {}).stdout == "200000\n"
    assert box.dialled[peer.port] == 1
    assert peer.sources == ["127.0.0.1"]


def test_the_source_of_a_relay_is_what_the_peer_sees(peer: Peer, tmp_path: Path) -> None:
    box = Sandbox(tmp_path / "box", [Relay(peer.port, AGENT_SOURCE)])
    box.run([*_PYTHON, dial("127.0.0.1", peer.port)], {})
    assert peer.sources == [AGENT_SOURCE]


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1", "2001:db8::1"])
def test_nothing_else_is_reached_not_even_on_loopback(host: str, peer: Peer, tmp_path: Path) -> None:
    other = Peer()
    with contextlib.closing(other):
        box = Sandbox(tmp_path / "box", [Relay(other.port)])
        turn = box.run([*_PYTHON, dial(host, peer.port)], {})
    assert turn.stdout in ("ConnectionRefusedError 111\n", "OSError 101\n"), turn.report
    assert peer.sources == []


def test_environment_is_what_was_given_and_a_fresh_home(
    tmp_path: Path, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "of the caller's")
    box = Sandbox(tmp_path / "box", [Relay(peer.port)])
    turn = box.run(["env"], {"GIVEN": "1"})
    assert set(turn.stdout.splitlines()) == {
        "PATH=/usr/bin:/bin", f"HOME={box.home}", "LANG=C.UTF-8", "GIVEN=1",
    }  # fmt: skip
    assert not list(box.home.iterdir())


def test_end_code_and_both_outputs_are_told(tmp_path: Path, peer: Peer) -> None:
    box = Sandbox(tmp_path / "box", [Relay(peer.port)])
    turn = box.run(["sh", "-c", "echo out; echo err >&2; exit 3"], {})
    assert (turn.code, turn.stdout, turn.stderr) == (3, "out\n", "err\n")


def test_what_a_client_left_running_in_a_session_of_its_own_is_ended(tmp_path: Path, peer: Peer) -> None:
    box = Sandbox(tmp_path / "box", [Relay(peer.port)])
    turn = box.run(["sh", "-c", "setsid sleep 600 > /dev/null 2>&1 & echo $!"], {})
    status = Path(f"/proc/{turn.stdout.strip()}/status")
    assert not status.exists() or "State:\tZ" in status.read_text()


def test_past_its_deadline_a_client_is_ended_and_the_test_fails_with_its_output(
    tmp_path: Path, peer: Peer
) -> None:
    box = Sandbox(tmp_path / "box", [Relay(peer.port)])
    started = time.monotonic()
    with pytest.raises(TimeoutError, match="so far"):
        box.run(["sh", "-c", "echo so far; sleep 600"], {}, deadline=0.5)
    assert time.monotonic() - started < 20


def test_key_that_comes_back_through_a_relay_or_is_printed_is_found(
    tmp_path: Path, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = canaries.make_canary()
    watch = canaries.Watch(key)
    monkeypatch.setattr(canaries, "session_watch", lambda: watch)
    peer.answer = key.encode()
    box = Sandbox(tmp_path / "box", [Relay(peer.port)])
    box.run([*_PYTHON, dial("127.0.0.1", peer.port)], {})
    box.run(["echo", key], {})
    box.run(["sh", "-c", f"echo {key} >&2"], {})
    assert watch.findings() == [f"answers of port {peer.port} to a sandbox", "stdout of echo", "stderr of sh"]


def test_without_namespaces_the_sandbox_says_so(
    tmp_path: Path, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "_UNSHARE", ("sh", "-c", "echo Operation not permitted >&2; exit 1"))
    with pytest.raises(AssertionError, match=r"unshare failed: Operation not permitted"):
        Sandbox(tmp_path / "box", [Relay(peer.port)]).run(["true"], {})
