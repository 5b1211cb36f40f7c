"""`Sandbox`: runs a client where loopback is all there is, and only ports that are relayed lead out.

The client is in a network namespace of its own, without an interface that leads anywhere: what it dials by
itself fails there and never leaves the machine. A `Relay` forwards one port of the namespace's loopback to an
address outside. What comes back through it is searched for the canary key, as is all that the client prints.
"""

import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import attrs

from tests.kit import canary
from tests.kit.reader import poll

_INSIDE = Path(__file__).with_name("inside.py")
_UNSHARE = ("unshare", "-n") if os.geteuid() == 0 else ("unshare", "-rn")

AGENT_SOURCE = "127.0.0.2"
"""Where an agent's own connections to Squid come from, so that Squid can tell it from awfproxy."""


@functools.cache
def namespaces() -> str | None:
    """The program that makes a namespace, where the system permits it."""
    program = shutil.which(_UNSHARE[0])
    if program is None:
        return None
    done = subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False)
    return program if done.returncode == 0 else None


@attrs.frozen
class Relay:
    """Connections to `port` in the sandbox go on to `port` of loopback outside, from `source`."""

    port: int
    source: str = "127.0.0.1"


@attrs.frozen
class Turn:
    """What a client's run came to."""

    code: int
    stdout: str
    stderr: str

    @property
    def report(self) -> str:
        """For a failed test."""
        return f"ended with {self.code}\nstdout: {self.stdout[-3000:]}\nstderr: {self.stderr[-3000:]}"


class Sandbox:
    """A fresh home and work folder below `folder`; `run` may be called again and again, one run at a time.

    The client gets `HOME`, `PATH` and the variables it is given, nothing of the caller's environment.
    """

    def __init__(self, folder: Path, relays: Iterable[Relay], path: str = "/usr/bin:/bin") -> None:
        self.home = folder / "home"
        self.work = folder / "work"
        self.dialled: Counter[int] = Counter()
        """How often each relayed port was connected to."""
        self._folder = folder
        self._relays = tuple(relays)
        self._path = path
        self.home.mkdir(parents=True)
        self.work.mkdir()

    def run(self, command: Sequence[str], env: Mapping[str, str], deadline: float = 90.0) -> Turn:
        """Until the command's end, and that of all it started; past the deadline killed, which fails."""
        here, there = socket.socketpair()
        outputs = [self._folder / "stdout", self._folder / "stderr"]
        with contextlib.ExitStack() as stack:
            out, err = (stack.enter_context(path.open("wb")) for path in outputs)
            process = subprocess.Popen(
                [*_UNSHARE, "--", sys.executable, "-I", str(_INSIDE), str(there.fileno()),
                 ",".join(str(relay.port) for relay in self._relays), *command],
                env={"PATH": self._path, "HOME": str(self.home), "LANG": "C.UTF-8", **env},
                cwd=self.work,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=[there.fileno()],
            )  # fmt: skip
        there.close()
        with contextlib.closing(here), contextlib.ExitStack() as stack:
            stack.callback(process.wait)
            stack.callback(process.kill)
            here.settimeout(20)
            said, doors, *_ = socket.recv_fds(here, 32, len(self._relays))
            assert said, f"no sandbox, unshare failed: {outputs[1].read_text(errors='replace')}"
            stack.callback(end_namespace, int(said))
            for relay, door in zip(self._relays, doors, strict=True):
                stack.enter_context(_Door(relay, socket.socket(fileno=door), self.dialled))
            code = self._end_of(process, deadline)
        stdout, stderr = (path.read_bytes() for path in outputs)
        watch = canary.session_watch()
        watch.add(f"stdout of {command[0]}", stdout)
        watch.add(f"stderr of {command[0]}", stderr)
        turn = Turn(code or 0, stdout.decode(errors="replace"), stderr.decode(errors="replace"))
        if code is None:
            raise TimeoutError(f"{command[0]} still ran after {deadline} s: {turn.report}")
        return turn

    @staticmethod
    def _end_of(process: subprocess.Popen[bytes], deadline: float) -> int | None:
        try:
            return process.wait(deadline)
        except subprocess.TimeoutExpired:
            return None


def end_namespace(namespace: int) -> None:
    """Kills what still runs in it: a client's own children may have left its session and its group."""

    def empty() -> bool:
        left = [int(each.name) for each in Path("/proc").iterdir() if _is_in(each, namespace)]
        for number in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        return not left

    poll(empty, 10)


def _is_in(process: Path, namespace: int) -> bool:
    if not process.name.isdigit():
        return False
    try:
        return (process / "ns" / "net").stat().st_ino == namespace
    except OSError:  # ended, a zombie, or another user's
        return False


class _Door:
    """One relayed port: accepts in the namespace, connects outside, copies both ways."""

    def __init__(self, relay: Relay, listener: socket.socket, dialled: Counter[int]) -> None:
        self._relay = relay
        self._listener = listener
        self._dialled = dialled
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> "_Door":
        self._start(self._accept)
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for sock in self._sockets:
            sock.close()

    def _start(self, what: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=what, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._dialled[self._relay.port] += 1
            try:
                outside = socket.create_connection(
                    ("127.0.0.1", self._relay.port), 20, (self._relay.source, 0)
                )
            except OSError:
                client.close()
                continue
            outside.settimeout(None)
            self._sockets += [client, outside]
            for sock in (client, outside):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._start(_copy, client, outside, None)
            label = f"answers of port {self._relay.port} to a sandbox"
            self._start(_copy, outside, client, canary.session_watch().collector(label))


def _copy(source: socket.socket, to: socket.socket, seen: canary.Collector | None) -> None:
    """Until the source's end, which is passed on; a broken side ends both."""
    try:
        while data := source.recv(262144):
            if seen is not None:
                seen.feed(data)
            to.sendall(data)
        to.shutdown(socket.SHUT_WR)
    except OSError:
        for sock in (source, to):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
    finally:
        if seen is not None:
            seen.close()
