"""The long answers. Each takes the link over as its job, and gives it back by `done`."""

import base64
import hashlib
import time
from collections.abc import Callable

from bench.events import LAST, event
from bench.frames import client_frame_bytes, server_frame
from bench.origin.server import Link

_BATCH = 1 << 16
_BLOCK = bytes(1 << 18)
_SIP = 1 << 16
_SIP_EVERY = 0.05
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def head(status: bytes, kind: bytes, length: int) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (status, kind, length)


class FastEvents:
    """As many as the socket takes: one record per event, as models send them; many records per send."""

    def __init__(self, link: Link, done: Callable[[], None], count: int, size: int) -> None:
        self._link, self._done, self._left = link, done, count
        self._event = event(size)
        self._batch = max(1, _BATCH // size)
        link.job, link.wants_room = self, True
        link.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        self.room()

    def received(self, data: memoryview) -> None:
        """A client has nothing to say meanwhile."""

    def room(self) -> None:
        write, one = self._link.write, self._event
        batch = min(self._batch, self._left)
        for _ in range(batch):
            write(one)
        self._left -= batch
        if not self._left:
            write(LAST)
            self._done()


class SlowEvents:
    """One event each `interval`; the first at once."""

    def __init__(
        self, link: Link, done: Callable[[], None], count: int, size: int, interval: float
    ) -> None:
        self._link, self._done, self._left, self._interval = link, done, count, interval
        self._event = event(size)
        link.job = self
        link.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        self._due = time.monotonic()
        self._next()

    def received(self, data: memoryview) -> None:
        """A client has nothing to say meanwhile."""

    def room(self) -> None:
        """Nothing waits for room: the clock decides."""

    def _next(self) -> None:
        self._link.write(self._event)
        self._left -= 1
        if self._left:
            self._due += self._interval
            self._link.server.later(self._due, self._next)
        else:
            self._link.write(LAST)
            self._done()
        self._link.flush()


class Download:
    """`left` bytes of zeros."""

    def __init__(self, link: Link, done: Callable[[], None], left: int) -> None:
        self._link, self._done, self._left = link, done, left
        link.job, link.wants_room = self, True
        link.write(head(b"200 OK", b"application/octet-stream", left))

    def received(self, data: memoryview) -> None:
        """A client has nothing to say meanwhile."""

    def room(self) -> None:
        part = min(self._left, len(_BLOCK))
        self._link.write(_BLOCK if part == len(_BLOCK) else _BLOCK[:part])
        self._left -= part
        if not self._left:
            self._done()


class Sink:
    """Counts an upload, and says how much there was. `slow`: a sip at a time, so that all before it fills."""

    def __init__(self, link: Link, done: Callable[[], None], length: int, *, slow: bool) -> None:
        self._link, self._done, self._length, self._left = link, done, length, length
        self._slow = slow
        link.job = self
        if slow:
            link.receive_at_most = _SIP
            self._sip()

    def received(self, data: memoryview) -> None:
        self._left -= len(data)
        if self._slow:
            self._link.pause()
        if self._left:
            return
        body = b'{"bytes": %d}' % self._length
        self._link.write(head(b"200 OK", b"application/json", len(body)) + body)
        self._done()

    def room(self) -> None:
        """Nothing is written here but the answer."""

    def _sip(self) -> None:
        """Reading stops by itself after each sip."""
        if self._left and not self._link.closed:
            self._link.resume()
            self._link.server.later(time.monotonic() + _SIP_EVERY, self._sip)


class Echo:
    """Answers each message of the known size with one of the same size, each in a record of its own."""

    def __init__(self, link: Link, key: bytes, size: int) -> None:
        self._link = link
        self._expected = client_frame_bytes(size)
        self._answer = server_frame(size)
        self._pending = 0
        link.job = self
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
        link.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )

    def received(self, data: memoryview) -> None:
        pending = self._pending + len(data)
        while pending >= self._expected:
            pending -= self._expected
            self._link.write(self._answer)
        self._pending = pending

    def room(self) -> None:
        """The client waits for its answers before it sends more, so that nothing piles up."""
