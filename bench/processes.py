"""Starts and ends child processes; waits for what they are started for."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PATIENCE = 60.0


class NotStarted(Exception):
    """A process ended or stayed silent; the text has the last line it wrote."""


@dataclass
class Peer:
    name: str
    process: subprocess.Popen[bytes]
    port: int
    log: Path
    started: float
    ready_after: float = 0.0

    @property
    def pid(self) -> int:
        return self.process.pid

    def check(self) -> None:
        if self.process.poll() is not None:
            lines = self.log.read_text(errors="replace").strip().splitlines() or ["it wrote nothing"]
            raise NotStarted(f"{self.name} ended with {self.process.returncode}: {lines[-1]}")


@contextmanager
def started(
    name: str,
    command: Sequence[str],
    port: int,
    directory: Path,
    ready: Callable[[int], bool],
    variables: Mapping[str, str] | None = None,
) -> Iterator[Peer]:
    """One process, from its exec until `ready` says yes of its port; ended with the context."""
    log = directory / f"{name}.log"
    surroundings = {each: os.environ[each] for each in ("PATH", "HOME", "LANG") if each in os.environ}
    with log.open("ab") as output:
        began = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=directory,
            env={**surroundings, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        peer = Peer(name, process, port, log, began)
        _until(peer, ready)
        peer.ready_after = time.monotonic() - began
        yield peer
    finally:
        _end(process)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _until(peer: Peer, ready: Callable[[int], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not ready(peer.port):
        peer.check()
        if time.monotonic() > deadline:
            raise NotStarted(f"{peer.name} did not become ready in {_PATIENCE:.0f} s; its log is {peer.log}")
        time.sleep(0.002)  # there is no event to wait for: a port that is not open yet


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)
