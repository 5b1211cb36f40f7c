"""A confined daemon, from within: what it can no longer do, and what it still has to be able to.

Everything is tried twice, confined and with `--confine off`, where it succeeds: so it is the confinement, and
nothing else on the machine, that refuses.
"""

import errno
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from awfproxy.hardening import landlock
from awfproxy.hardening.calls import ARCHITECTURES
from tests.kit import attempts
from tests.kit.daemon import environment
from tests.kit.ports import free_port
from tests.kit.tools import do_without

Outcome = Callable[[str, str, str], None]
AREA = "The process"
FILES = "file outside of what it needs"
WRITES = "file that it only reads"
PROCESSES = "other processes and programs"
PORTS = "port that is not its own"
SOCKETS = "socket of another kind"

REFUSED = {
    "read a file elsewhere": (FILES, "EACCES"),
    "read it by a link from a folder that may be read": (FILES, "EACCES"),
    "read it in a thread that begins later": (FILES, "EACCES"),
    "read the memory of its parent": (FILES, "EACCES"),
    "make a file in the folder of temporary ones": (FILES, "EACCES"),
    "remove a file elsewhere": (FILES, "EACCES"),
    "list the folder of the key": (WRITES, "EACCES"),
    "overwrite the key": (WRITES, "EACCES"),
    "make a file beside the key": (WRITES, "EACCES"),
    "make a folder beside the log": (WRITES, "EACCES"),
    "run a program": (PROCESSES, "EPERM"),
    "fork": (PROCESSES, "EPERM"),
    "become dumpable": (PROCESSES, "EPERM"),
    "connect to another port": (PORTS, "EACCES"),
    "bind to another port": (PORTS, "EACCES"),
    "open a raw socket": (SOCKETS, "EPERM"),
    "open a packet socket": (SOCKETS, "EPERM"),
    "open a socket of MPTCP": (SOCKETS, "EPERM"),
    "open one of the kernel's ciphers": (SOCKETS, "EPERM"),
}
SCOPED = {
    "signal its parent": (PROCESSES, "EPERM"),
    "reach an abstract socket": (PORTS, "EPERM"),
}
"""From Landlock 6 on; signals only where there is no unix socket whose lock it asks about."""

STILL_DONE = (
    "signal itself", "connect to the egress proxy", "bind to the port of the daemon", "read the key again",
    "read a key put in its place", "resolve a name", "read what resolves names",
    "import what is not imported yet", "rotate its log", "write into the new log", "remove its pid file",
    "take a spare descriptor", "start a thread",
)  # fmt: skip


@contextmanager
def listening(family: int, address: object) -> Iterator[socket.socket]:
    with socket.socket(family) as sock:
        sock.bind(address)  # type: ignore[arg-type]
        sock.listen()
        yield sock


def tried(folder: Path, canary: str, *options: str, on_socket: bool = False) -> dict[str, str]:
    """What became of each attempt in a daemon with these options."""
    for name in "keys", "log", "run", "outside", "socket":
        (folder / name).mkdir()
    key, outside = folder / "keys/key", folder / "outside/secret"
    key.write_text(canary)
    key.chmod(0o600)
    (folder / "keys/next").write_text("x")
    (folder / "keys/link").symlink_to(outside)
    outside.write_text("x")
    outside.with_name("spare").write_text("x")
    log, pid = folder / "log/twistd.log", folder / "run/pid"
    pid.write_text("1")
    abstract, port, path = f"awfproxy-{os.getpid()}-{folder.name}", free_port(), str(folder / "socket/s")
    with (
        listening(socket.AF_INET, ("127.0.0.1", 0)) as egress,
        listening(socket.AF_INET, ("127.0.0.1", 0)) as other,
        listening(socket.AF_UNIX, "\0" + abstract),
    ):
        place = ["--listen", f"unix:{path}"] if on_socket else ["--port", str(port)]
        words = [*place, "--key-file", str(key), "--egress-proxy", f"127.0.0.1:{egress.getsockname()[1]}"]
        runner = {"nodaemon": False, "logfile": str(log), "pidfile": str(pid)}
        facts = {
            "key": str(key), "outside": str(outside), "log": str(log), "pid": str(pid), "socket": path,
            "port": port, "egress": egress.getsockname()[1], "other": other.getsockname()[1],
            "abstract": abstract, "confined": "off" not in options,
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, attempts.__file__, *map(json.dumps, ([*words, *options], runner, facts))],
            env=environment(), cwd=folder, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def version() -> int:
    """Landlock's, of this kernel."""
    try:
        return landlock.version()
    except OSError:
        do_without("Landlock is not to be had on this kernel")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Not pytest's: the process's own are nowhere near it."""
    with tempfile.TemporaryDirectory(prefix="awfproxy-confined-", dir="/var/tmp") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def confined(folder: Path, canary: str, version: int) -> dict[str, str]:
    if os.uname().machine not in ARCHITECTURES:
        do_without(f"there is no filter for {os.uname().machine}")
    (folder / "on").mkdir()
    return tried(folder / "on", canary)


@pytest.fixture(scope="module")
def unconfined(folder: Path, canary: str) -> dict[str, str]:
    (folder / "off").mkdir()
    return tried(folder / "off", canary, "--confine", "off")


@pytest.mark.parametrize("attempt", REFUSED)
def test_a_confined_daemon_cannot(
    attempt: str, confined: dict[str, str], unconfined: dict[str, str], version: int, outcome: Outcome
) -> None:
    kind, refusal = REFUSED[attempt]
    if kind == PORTS and version < 4:
        do_without("Landlock knows TCP ports from version 4 on")
    assert confined[attempt] == refusal
    if kind != SOCKETS:  # not every kernel has those, nor every user the right to them
        assert unconfined[attempt] == "done"
    outcome(AREA, kind, f"refused: {refusal}")


@pytest.mark.parametrize("attempt", SCOPED)
def test_a_confined_daemon_cannot_reach_others(
    attempt: str, confined: dict[str, str], unconfined: dict[str, str], version: int, outcome: Outcome
) -> None:
    if version < 6:
        do_without("Landlock knows signals and abstract sockets from version 6 on")
    kind, refusal = SCOPED[attempt]
    assert confined[attempt] == refusal
    assert unconfined[attempt] == "done"
    outcome(AREA, kind, f"refused: {refusal}")


@pytest.mark.parametrize("attempt", STILL_DONE)
def test_a_confined_daemon_still_can(attempt: str, confined: dict[str, str]) -> None:
    assert confined[attempt] == "done"


def test_a_program_is_not_even_looked_for(confined: dict[str, str], unconfined: dict[str, str]) -> None:
    assert confined["become a program that is not there"] == "EPERM"
    assert unconfined["become a program that is not there"] == "ENOENT"


def test_each_call_that_the_daemon_never_makes_is_refused(
    confined: dict[str, str], outcome: Outcome
) -> None:
    calls = {name: became for name, became in confined.items() if name.startswith("call ")}
    assert len(calls) > 50
    assert {name for name, became in calls.items() if became != errno.errorcode[errno.EPERM]} == set()
    outcome(AREA, "system call that it never makes", "refused: EPERM")


def test_a_daemon_at_a_unix_socket_keeps_what_that_needs(folder: Path, canary: str, version: int) -> None:
    (folder / "unix").mkdir()
    found = tried(folder / "unix", canary, on_socket=True)
    for attempt in "make and remove its unix socket", "make and remove the lock of it":
        assert found[attempt] == "done"
    assert found["read a file elsewhere"] == "EACCES"
    if version >= 4:
        assert found["bind to the port of the daemon"] == "EACCES"
