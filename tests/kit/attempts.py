"""What a confined daemon must not be able to do, tried from within it. Run as a program by `tests.e2e`.

The arguments are JSON: the daemon's options, what twistd has been told, and facts about what is outside. The
daemon is built and confined as twistd would do it, but not run; then each attempt is made once, and what
became of it printed as JSON: "done", or the name of the error.
"""

import ctypes
import errno
import json
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

Attempts = dict[str, Callable[[], object]]


def main() -> None:
    from awfproxy import tap
    from awfproxy.service.confinement import Confinement

    options, runner, facts = map(json.loads, sys.argv[1:4])
    asked = tap.Options()
    asked.parent = runner
    asked.parseOptions(options)
    daemon = tap.makeService(asked)
    (confinement,) = (each for each in daemon if isinstance(each, Confinement))
    confinement.startService()
    attempts = on_files(facts) | on_processes(facts) | on_sockets(facts) | of_its_own(facts, daemon)
    if facts["confined"]:
        attempts |= {f"call {name}": made(name) for name in never()}
    print(json.dumps({name: became(attempt) for name, attempt in attempts.items()}), flush=True)
    os._exit(0)


def became(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    return "done"


def on_files(facts: dict[str, Any]) -> Attempts:
    key, outside = Path(facts["key"]), Path(facts["outside"])
    return {
        "read a file elsewhere": outside.read_bytes,
        "read it by a link from a folder that may be read": key.with_name("link").read_bytes,
        "read it in a thread that begins later": lambda: in_thread(outside.read_bytes),
        "read the memory of its parent": Path(f"/proc/{os.getppid()}/environ").read_bytes,
        "list the folder of the key": lambda: os.listdir(key.parent),
        "overwrite the key": lambda: key.open("r+b").close(),
        "make a file beside the key": lambda: key.with_name("new").touch(),
        "remove a file elsewhere": outside.with_name("spare").unlink,
        "make a file in the folder of temporary ones": temporary,
        "make a folder beside the log": lambda: Path(facts["log"]).with_name("folder").mkdir(),
    }


def on_processes(facts: dict[str, Any]) -> Attempts:
    return {
        "run a program": lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0),
        "become a program that is not there": lambda: os.execv("/nonexistent", ["x"]),
        "fork": fork,
        "signal its parent": lambda: os.kill(os.getppid(), 0),
        "signal itself": lambda: os.kill(os.getpid(), 0),
        "become dumpable": lambda: prctl(4, 1),
    }


def on_sockets(facts: dict[str, Any]) -> Attempts:
    return {
        "connect to the egress proxy": lambda: connect(facts["egress"]),
        "connect to another port": lambda: connect(facts["other"]),
        "bind to the port of the daemon": lambda: bind(facts["port"]),
        "bind to another port": lambda: bind(0),
        "reach an abstract socket": lambda: socket.socket(socket.AF_UNIX).connect("\0" + facts["abstract"]),
        "open a raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
        "open a packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "open a socket of MPTCP": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262),
        "open one of the kernel's ciphers": lambda: socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET),
    }


def of_its_own(facts: dict[str, Any], daemon: Any) -> Attempts:
    """What it has to go on doing."""
    key, sock, lock = Path(facts["key"]), facts["socket"], facts["socket"] + ".lock"
    return {
        "read the key again": key.read_bytes,
        "read a key put in its place": lambda: replaced(key),
        "resolve a name": lambda: in_thread(lambda: socket.getaddrinfo("localhost", 80)),
        "read what resolves names": Path("/etc/hosts").read_bytes,
        "import what is not imported yet": lambda: __import__("xml.dom.minidom"),
        "rotate its log": lambda: daemon.log_observer._outFile._stream.rotate(),
        "write into the new log": lambda: daemon.log_observer._outFile.write("x\n"),
        "remove its pid file": lambda: os.unlink(facts["pid"]),
        "make and remove its unix socket": lambda: (unix(sock), os.unlink(sock)),
        "make and remove the lock of it": lambda: (os.symlink("1", lock), os.unlink(lock)),
        "take a spare descriptor": lambda: os.close(os.open(os.devnull, os.O_RDWR)),
        "start a thread": lambda: in_thread(lambda: None),
    }


def never() -> list[str]:
    """Those of the refused calls that do nothing by themselves where the filter fails to refuse them."""
    from awfproxy.hardening.calls import ARCHITECTURES, NEVER

    numbers = ARCHITECTURES[os.uname().machine].numbers
    return [name for name in NEVER if name in numbers and name not in ("fork", "vfork", "vhangup")]


def made(name: str) -> Callable[[], object]:
    """The call, with arguments that mean nothing."""
    from awfproxy.hardening.calls import ARCHITECTURES
    from awfproxy.hardening.kernel import syscall

    number = ARCHITECTURES[os.uname().machine].numbers[name]
    return lambda: syscall(number, *[-1] * 6)


def in_thread(work: Callable[[], object]) -> None:
    problems: list[OSError] = []

    def run() -> None:
        try:
            work()
        except OSError as error:
            problems.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if problems:
        raise problems[0]


def temporary() -> None:
    descriptor, name = tempfile.mkstemp(prefix="awfproxy-", dir="/tmp")
    os.close(descriptor)
    os.unlink(name)


def fork() -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


def prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "")


def connect(port: int) -> None:
    with socket.socket() as sock:
        sock.connect(("127.0.0.1", port))


def bind(port: int) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", port))


def unix(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        os.chmod(path, 0o660)


def replaced(key: Path) -> None:
    """Its folder has another by now: whoever gives out keys has put it there."""
    (key.parent / "next").read_bytes()


if __name__ == "__main__":
    main()
