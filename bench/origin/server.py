"""TLS links on one epoll, with timers for what is deliberately slow."""

import heapq
import select
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Protocol

_RECORD = 16384
_RECEIVE = 1 << 18
_BACKLOG = 4096

# One buffer of each for all links: nothing keeps a view beyond the call it was given in.
_received = memoryview(bytearray(_RECEIVE))
_plain = memoryview(bytearray(_RECORD))


class Job(Protocol):
    """What a link is busy with: a request being read, or its answer."""

    def received(self, data: memoryview) -> None: ...

    def room(self) -> None:
        """All that was written is with the kernel; called again until `wants_room` is false."""


class Link:
    """One TLS connection of a client's."""

    def __init__(self, server: "Server", sock: socket.socket) -> None:
        self.server = server
        self.socket = sock
        self.job: Job | None = None
        self.wants_room = False
        """Whether the job has more to write as soon as there is room."""
        self.receive_at_most = _RECEIVE
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = server.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._shaken = False
        self._unsent = b""
        self._watched = select.EPOLLIN
        self._paused = False

    @property
    def closed(self) -> bool:
        return self.socket.fileno() < 0

    def write(self, data: bytes) -> None:
        """One call is one record, if `data` fits into one."""
        self._tls.write(data)

    def flush(self) -> None:
        """As much as the socket takes at once; the rest follows as it has room."""
        if self._outgoing.pending:
            self._unsent += self._outgoing.read()
        if self._unsent:
            with suppress(BlockingIOError):
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
        self._watch()

    def pause(self) -> None:
        self._paused = True
        self._watch()

    def resume(self) -> None:
        self._paused = False
        self._watch()

    def ready(self, flags: int) -> None:
        try:
            if flags & ~select.EPOLLOUT:
                self._readable()
            if flags & select.EPOLLOUT:
                if not self._unsent and self.wants_room and self.job is not None:
                    self.job.room()
                self.flush()
        except (OSError, ssl.SSLError):
            self.close()  # the peer left: the load generator counts what is missing

    def close(self) -> None:
        self.server.forget(self)

    def _readable(self) -> None:
        got = self.socket.recv_into(_received, self.receive_at_most)
        if not got:
            self.close()
            return
        self._incoming.write(_received[:got])
        try:
            if not self._shaken:
                self._tls.do_handshake()
                self._shaken = True
            while size := self._tls.read(_RECORD, _plain):  # type: ignore[arg-type]
                self.job.received(_plain[:size])  # type: ignore[union-attr]
        except ssl.SSLWantReadError:
            pass
        self.flush()

    def _watch(self) -> None:
        wanted = 0 if self._paused else select.EPOLLIN
        if self._unsent or self.wants_room:
            wanted |= select.EPOLLOUT
        if wanted != self._watched and not self.closed:
            self._watched = wanted
            self.server.epoll.modify(self.socket, wanted)


class Server:
    """Runs until it is ended by a signal."""

    def __init__(self, port: int, context: ssl.SSLContext, first_job: Callable[[Link], Job]) -> None:
        self.context = context
        self.epoll = select.epoll()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
        self._listener.setblocking(False)
        self._first_job = first_job
        self._links: dict[int, Link] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def later(self, when: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (when, next(self._order), call))

    def forget(self, link: Link) -> None:
        if self._links.pop(link.socket.fileno(), None) is not None:
            self.epoll.unregister(link.socket)
            link.socket.close()

    def run(self) -> None:
        self.epoll.register(self._listener, select.EPOLLIN)
        while True:
            wait = self._timers[0][0] - time.monotonic() if self._timers else 3600.0
            for descriptor, flags in self.epoll.poll(max(wait, 0.0)):
                if descriptor == self._listener.fileno():
                    self._accept()
                elif (link := self._links.get(descriptor)) is not None:
                    link.ready(flags)
            while self._timers and self._timers[0][0] <= time.monotonic():
                with suppress(OSError, ssl.SSLError):
                    heapq.heappop(self._timers)[2]()

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            while True:
                sock, _ = self._listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                link = Link(self, sock)
                link.job = self._first_job(link)
                self._links[sock.fileno()] = link
                self.epoll.register(sock, select.EPOLLIN)
