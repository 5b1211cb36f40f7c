"""Requests on many connections that are opened all at once, each request accounted for.

wrk counts only what was answered: a connection that is never served makes its percentiles better, not worse.
Here a request counts from the moment its client could send it, the first of a connection from the connect on,
and what is unanswered at the end counts with the time that it has waited so far.
"""

import gc
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.client import LoadFailed, Way
from bench.wrk import BODY, RESPONSES, Seen

_RECEIVE = 1 << 16
_PATIENCE = 30.0


@dataclass(frozen=True)
class Stormed(Seen):
    first_p99: float
    """Of the connections' first requests alone: what one that has just come waits for."""


def run(way: Way, connections: int, seconds: float) -> Stormed:
    with _no_collector():
        return _Storm(way, connections).run(seconds)


def exactly(way: Way, connections: int, count: int) -> None:
    """`count` requests in turns on kept connections. Raises LoadFailed if one of them fails."""
    seen = _Storm(way, connections, at_most=count).run(_PATIENCE)
    if seen.count != count or seen.errors:
        raise LoadFailed(f"{seen.count} of {count} requests answered, {seen.errors} errors")


class _Storm:
    def __init__(self, way: Way, connections: int, at_most: int | None = None) -> None:
        self._way = way
        self._request = way.head("POST", RESPONSES, len(BODY)) + BODY
        self._connections = connections
        self._left = at_most
        self._sockets: dict[int, socket.socket] = {}
        self._since: dict[int, float] = {}
        self._partial: dict[int, bytes] = {}
        self._epoll = select.epoll()
        self._new: set[int] = set()
        """Connections without an answer yet."""
        self._times: list[float] = []
        self._firsts: list[float] = []
        self._errors = 0

    def run(self, seconds: float) -> Stormed:
        began = time.perf_counter()
        try:
            for _ in range(self._connections):
                self._open()
            while (now := time.perf_counter()) < began + seconds and self._since:
                for descriptor, flags in self._epoll.poll(began + seconds - now):
                    try:
                        self._ready(descriptor, flags)
                    except OSError:
                        self._lost(descriptor)
        finally:
            for sock in self._sockets.values():
                sock.close()
            self._epoll.close()
        ended = time.perf_counter()
        count = len(self._times)
        if not count:
            raise LoadFailed(f"{self._connections} connections, no right answer, {self._errors} errors")
        waiting = [ended - since for since in self._since.values()]
        still_new = [ended - self._since[each] for each in self._new if each in self._since]
        times, firsts = sorted(self._times + waiting), sorted(self._firsts + still_new)
        return Stormed(
            count,
            count / (ended - began),
            times[len(times) // 2],
            times[len(times) * 99 // 100],
            self._errors,
            firsts[len(firsts) * 99 // 100],
        )

    def _open(self) -> None:
        began = time.perf_counter()
        sock = self._way.connecting()
        self._sockets[sock.fileno()] = sock
        self._since[sock.fileno()] = began
        self._new.add(sock.fileno())
        self._epoll.register(sock, select.EPOLLOUT)

    def _ready(self, descriptor: int, flags: int) -> None:
        sock = self._sockets[descriptor]
        if flags & select.EPOLLOUT and not flags & (select.EPOLLERR | select.EPOLLHUP):
            self._epoll.modify(descriptor, select.EPOLLIN)
            self._next(descriptor)
            return
        data = sock.recv(_RECEIVE)
        if not data:
            self._lost(descriptor)
            return
        if descriptor in self._partial:
            data = self._partial.pop(descriptor) + data
        head, separator, body = data.partition(b"\r\n\r\n")
        if not separator or len(body) < _length(head):
            self._partial[descriptor] = data
            return
        now = time.perf_counter()
        if data.startswith(b"HTTP/1.1 200 "):
            self._times.append(now - self._since[descriptor])
            if descriptor in self._new:
                self._new.discard(descriptor)
                self._firsts.append(self._times[-1])
        else:
            self._errors += 1
        self._since[descriptor] = now
        self._next(descriptor)

    def _next(self, descriptor: int) -> None:
        if self._left == 0:
            del self._since[descriptor]
            return
        if self._left is not None:
            self._left -= 1
        self._sockets[descriptor].sendall(self._request)

    def _lost(self, descriptor: int) -> None:
        """An error, and then a new connection in its place, as a client would try."""
        self._errors += 1
        self._epoll.unregister(descriptor)
        self._sockets.pop(descriptor).close()
        self._since.pop(descriptor, None)
        self._partial.pop(descriptor, None)
        self._new.discard(descriptor)
        self._open()


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])


@contextmanager
def _no_collector() -> Iterator[None]:
    """The load's own pauses must not be taken for the candidate's."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
