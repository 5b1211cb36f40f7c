"""Many event streams on one epoll: bytes are searched for the events' marks, never parsed."""

import json
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.client import LoadFailed, Way, require
from bench.events import MARK

_PATIENCE = 60.0
_OPENING = 32
"""Without an event yet: what a storm of new connections costs is another case."""
_RECEIVE = 1 << 18
_TAIL = 32
_END = b"\r\n0\r\n\r\n"


@dataclass(frozen=True)
class Seen:
    received: int
    lost: int
    seconds: float


def request(way: Way, events: int, size: int, interval: float = 0.0) -> bytes:
    body = json.dumps({"stream": True, "events": events, "bytes": size, "interval": interval}).encode()
    return way.head("POST", "/v1/chat/completions", len(body)) + body


class Streams:
    """`count` streams of `events` each, to the end of the last, or to that of whatever breaks off."""

    def __init__(self, way: Way, count: int, events: int, size: int, interval: float = 0.0) -> None:
        self._way = way
        self._count = count
        self._events = events
        self._request = request(way, events, size, interval)
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._heard: dict[int, int] = {}
        self._tails: dict[int, bytes] = {}
        self._buffer = bytearray(_RECEIVE)

    @property
    def received(self) -> int:
        return sum(self._heard.values())

    def run(
        self, all_open: Callable[[], None] | None = None, first_end: Callable[[], None] | None = None
    ) -> Seen:
        """`all_open`: each stream has had an event; `first_end`: one has had all of its own."""
        began = time.perf_counter()
        try:
            unopened, waiting = self._count, self._count
            for _ in range(min(_OPENING, self._count)):
                self._open()
                unopened -= 1
            while self._sockets:
                ready = self._epoll.poll(_PATIENCE)
                if not ready:
                    break  # what has not come by now is lost
                for descriptor, flags in ready:
                    if flags == select.EPOLLOUT:
                        self._ask(descriptor)
                        continue
                    before = self._heard[descriptor]
                    ended = self._read(descriptor)
                    if not before and self._heard[descriptor]:
                        waiting -= 1
                        if unopened:
                            self._open()
                            unopened -= 1
                        if not waiting and all_open is not None:
                            all_open()
                    if ended and first_end is not None:
                        first_end()
                        first_end = None
        finally:
            for sock in self._sockets.values():
                sock.close()
            self._epoll.close()
        received = self.received
        lost = self._count * self._events - received
        return Seen(received, lost, time.perf_counter() - began)

    def _open(self) -> None:
        sock = self._way.connecting()
        self._sockets[sock.fileno()] = sock
        self._heard[sock.fileno()] = 0
        self._epoll.register(sock, select.EPOLLOUT)

    def _ask(self, descriptor: int) -> None:
        self._sockets[descriptor].sendall(self._request)
        self._epoll.modify(descriptor, select.EPOLLIN)

    def _read(self, descriptor: int) -> bool:
        """Whether the stream is at its end: in order, or broken off."""
        buffer = self._buffer
        try:
            got = self._sockets[descriptor].recv_into(buffer)
        except OSError:
            got = 0
        if got and descriptor not in self._tails:
            require(buffer.startswith(b"HTTP/1.1 200 "), "stream refused", buffer[:got])
        self._heard[descriptor] += buffer.count(MARK, 0, got)
        tail = (self._tails.get(descriptor, b"") + buffer[max(0, got - _TAIL) : got])[-_TAIL:]
        self._tails[descriptor] = tail
        if got and not (self._heard[descriptor] >= self._events and tail.endswith(_END)):
            return False
        if got and b"[DONE]" not in tail:
            raise LoadFailed(f"a stream's end is not the origin's: {tail!r}")
        self._epoll.unregister(descriptor)
        self._sockets.pop(descriptor).close()
        return True
