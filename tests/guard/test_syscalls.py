"""System calls per request, per event of a stream, per connection: strace counts them on the real daemon."""

import re
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.guard.bound import Bound, check
from tests.guard.conftest import served
from tests.kit import canary
from tests.kit.client import Client
from tests.kit.daemon import Daemon
from tests.kit.origin import Origin
from tests.kit.reader import poll
from tests.kit.tools import need_strace

TIMES = 300
# What was measured are whole numbers. The little more is for the reactor's timers and the log's writes, four
# a second each, on a machine that takes seconds for all this. A piece that wakes the hub up costs three
# epoll_wait: the reactor's, the hub's own, and one that finds nothing more. That one finds the next piece,
# where it is there by then, so that these vary between one and three for a piece with who is faster.
REQUEST = {
    "recvfrom": Bound(2, 2.1),
    "sendto": Bound(2, 2.1),
    "epoll_wait": Bound(3, 2 * 3 + 0.4),
    "epoll_ctl": Bound(0, 0.1),
    "others": Bound(0.02, 0.3),
    "in all": Bound(7, 10.6),
}
EVENT = {
    "recvfrom": Bound(1, 1.1),
    "sendto": Bound(1, 1.1),
    "epoll_wait": Bound(2, 3 + 0.4),
    "epoll_ctl": Bound(0, 0.1),
    "others": Bound(0, 0.2),
    "in all": Bound(4, 5.6),
}
CONNECTION = {
    "recvfrom": Bound(3, 3.1),
    "sendto": Bound(2, 2.1),
    "epoll_wait": Bound(6, 4 * 3 + 0.6),
    "epoll_ctl": Bound(2, 2.1),
    "others": Bound(7.02, 7.5),
    "in all": Bound(20, 27),
}
LOOK = (
    "Look at awfproxy/net (transport: one recv and one send for each piece; hub: three epoll_wait at most; "
    "epoll_ctl comes of every pause, resume or wait for room), and for others at what is asked of the "
    "kernel: a socket option, the time, a file, the log's write."
)
_CALL = re.compile(r"\d+ +(\w+)\(")
_SUMS = ("others", "in all")


@contextmanager
def traced(daemon: Daemon, trace: Path) -> Iterator[None]:
    """The daemon, run by strace, which writes one line for each system call before it lets it go on."""
    need_strace()
    canary.session_watch().add_file(trace)
    # -D: the daemon stays our own child, and gets our signals.
    # --dumpable: else only root's strace could read what is written.
    daemon.command = ["strace", "-D", "-f", "-s", "64", "-o", str(trace), *daemon.command, "--dumpable"]
    with daemon:
        daemon.ready("/readyz")
        yield
    poll(lambda: trace.read_text(errors="replace").endswith(" +++\n"), 10, 0.02)  # strace has ended too


def check_between(unit: str, trace: Path, mark: str, bounds: dict[str, Bound]) -> None:
    """What there is from the first line with `mark` to the last one, which are `TIMES` units apart."""
    lines = trace.read_text(errors="replace").splitlines()
    marked = [number for number, line in enumerate(lines) if re.search(mark, line)]
    assert len(marked) == TIMES + 1, f"one {mark} for each {unit}"
    counts = Counter(match[1] for line in lines[marked[0] : marked[-1]] if (match := _CALL.match(line)))
    each = {name: round(count / TIMES, 2) for name, count in counts.most_common()}
    found = {name: each.pop(name, 0) for name in bounds if name not in _SUMS}
    found |= {"others": round(sum(each.values()), 2), "in all": round(sum(counts.values()) / TIMES, 2)}
    check(f"system calls per {unit}", found, bounds, f"Others are {each}. {LOOK}")


def test_system_calls_per_request(daemon: Daemon, tmp_path: Path) -> None:
    with traced(daemon, tmp_path / "trace"), Client(daemon.port) as client:
        for _ in range(50):
            served(client, "/v1/kit/prompt?warm")
        for _ in range(TIMES + 1):
            served(client, "/v1/kit/prompt?counted")
    check_between("request", tmp_path / "trace", r'recvfrom\(.*"POST /v1/kit/prompt\?counted', REQUEST)


def test_system_calls_per_event(daemon: Daemon, prompt_origin: Origin, tmp_path: Path) -> None:
    gate = prompt_origin.gate("events")
    with traced(daemon, tmp_path / "trace"), Client(daemon.port) as client:
        client.send_head("GET", f"/v1/kit/drip?gate=events&events={TIMES + 2}")
        gate.release()  # the first event may come along with the head: it is not counted
        for _ in client.pieces(client.final_head()):
            gate.release()
    check_between("event", tmp_path / "trace", r'sendto\(.*\\ndata: [1-9]', EVENT)


def test_system_calls_per_connection(daemon: Daemon, tmp_path: Path) -> None:
    with traced(daemon, tmp_path / "trace"):
        for number in range(TIMES + 51):
            with Client(daemon.port) as client:
                served(client, "/v1/kit/prompt?warm" if number < 50 else "/v1/kit/prompt?counted")
                client.sock.shutdown(socket.SHUT_WR)
                assert client.closed()  # before the next one connects: else both may be served together
    check_between("connection", tmp_path / "trace", r'recvfrom\(.*"POST /v1/kit/prompt\?counted', CONNECTION)
