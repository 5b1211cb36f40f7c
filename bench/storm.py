"""Requests on many connections that are opened all at once, each request accounted for.

wrk counts only what was answered: a connection that is never served makes its percentiles better, not worse. Here
a request counts from the moment its client could send it, the first of a connection from the connect on, and what
is unanswered at the end counts with the time that it has waited so far.
"""

import gc
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.client import LoadFailed, Way
from bench.wrk import BODY, RESPONSES, Seen

_RECEIVE = 1 << 16
_PATIENCE = 30.0


def run(way: Way, connections: int, seconds: float) -> Seen:
    request = way.head("POST", RESPONSES, len(BODY)) + BODY
    with _no_collector():
        return _Storm(way.port, request, connections).run(seconds)


def exactly(way: Way, connections: int, count: int) -> None:
    """`count` requests in turns on kept connections. Raises LoadFailed if one of them fails."""
    request = way.head("POST", RESPONSES, len(BODY)) + BODY
    seen = _Storm(way.port, request, connections, at_most=count).run(_PATIENCE)
    if seen.count != count or seen.errors:
        raise LoadFailed(f"{seen.count} of {count} requests answered, {seen.errors} errors")


class _Storm:
    def __init__(self, port: int, request: bytes, connections: int, at_most: int | None = None) -> None:
        self._port = port
        self._request = request
        self._connections = connections
        self._left = at_most
        self._sockets: dict[int, socket.socket] = {}
        self._since: dict[int, float] = {}
        self._partial: dict[int, bytes] = {}
        self._epoll = select.epoll()
        self._times: list[float] = []
        self._errors = 0

    def run(self, seconds: float) -> Seen:
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
        times = sorted(self._times + [ended - since for since in self._since.values()])
        return Seen(
            count,
            count / (ended - began),
            times[len(times) // 2],
            times[len(times) * 99 // 100],
            self._errors,
        )

    def _open(self) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets[sock.fileno()] = sock
        self._since[sock.fileno()] = time.perf_counter()
        self._epoll.register(sock, select.EPOLLOUT)
        sock.connect_ex(("127.0.0.1", self._port))

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
