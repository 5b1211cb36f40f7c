"""The clients: requests one after the other on kept connections, and what never comes to an end.

That is streams, uploads and WebSockets, which all are streams to whoever counts them.
"""

import json
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable

import attrs

from tests.soak.origin import REQUESTS, SOCKETS, STREAMS, UPLOADS

_REQUEST_BODY = json.dumps({"model": "gpt-5", "input": "x" * 980}).encode("ascii")
_UPLOAD, _UPLOADED = 1 << 20, b"x" * 8192
"""The octets that an upload promises, and those that come."""
_FRAME = b"\x81\x85\x00\x00\x00\x00hello"
_RESET = struct.pack("ii", 1, 0)
_KEPT = 100
"""Requests on one connection, so that accepting goes on too."""
_MARK, _END = b"~", b"\r\n0\r\n\r\n"
_PATIENCE = 30.0
_RECEIVE = 1 << 16


@attrs.frozen
class Breaking:
    """What is broken off, by whom, and after how many events."""

    name: str
    what: str = "stream"
    origin: str = "stay"
    events: int | None = None
    """After which the client leaves; 0: once it is answered in any way; None: as soon as it has asked."""
    resets: bool = False

    @property
    def request(self) -> bytes:
        """All that the client sends at first."""
        if self.what == "upload":
            return _post(UPLOADS, _UPLOADED, _UPLOAD)
        if self.what == "WebSocket":
            return _handshake(f"{SOCKETS}?origin={self.origin}")
        return _post(STREAMS, json.dumps({"stream": True, "origin": self.origin}).encode("ascii"))

    @property
    def answer(self) -> bytes:
        """How what it is answered begins: of an upload's a 100 says that it has arrived so far."""
        status = {"upload": "100", "WebSocket": "101"}.get(self.what, "200")
        return f"HTTP/1.1 {status} ".encode("ascii")

    @property
    def client_leaves(self) -> bool:
        """It is the client who breaks off."""
        return self.origin == "stay"


BREAKINGS = (
    Breaking("client closes", events=1),
    Breaking("client resets", events=2, resets=True),
    Breaking("client closes before the answer"),
    Breaking("client resets before the answer", resets=True),
    Breaking("client closes within an upload", "upload", events=0),
    Breaking("client resets within an upload", "upload", events=0, resets=True),
    Breaking("origin closes", origin="close"),
    Breaking("origin resets", origin="reset"),
    Breaking("client closes a WebSocket", "WebSocket", events=1),
    Breaking("client resets a WebSocket", "WebSocket", events=2, resets=True),
    Breaking("origin closes a WebSocket", "WebSocket", origin="close"),
    Breaking("origin resets a WebSocket", "WebSocket", origin="reset"),
)


class Failed(Exception):
    """Nothing moved any more."""


class _Client:
    """One connection: its requests in turn, or one stream."""

    def __init__(self, load: "Load", breaking: Breaking | None) -> None:
        self._load = load
        self._breaking = breaking
        self._left = _KEPT
        self._stored = b""
        self._events = 0
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex(("127.0.0.1", load.port))

    def connected(self) -> None:
        if self._breaking is None:
            self._ask()
            return
        self.socket.sendall(self._breaking.request)
        if self._breaking.client_leaves and self._breaking.events is None:
            self._leave()

    def received(self, data: bytes) -> None:
        if self._breaking is not None:
            self._heard(data)
            return
        self._stored += data
        head, separator, body = self._stored.partition(b"\r\n\r\n")
        if not separator or len(body) < int(head.lower().partition(b"content-length:")[2].split(b"\r")[0]):
            return
        self._stored = b""
        self._load.answered(head.startswith(b"HTTP/1.1 200 "), head)
        self._left -= 1
        if self._left and self._load.more_requests:
            self._ask()
        else:
            self._load.ended(self)

    def lost(self, was_reset: bool) -> None:
        """The peer ended it: as it should, where the origin has broken off."""
        if self._breaking is None:
            self._load.error("a request's connection was lost")
        elif self._breaking.client_leaves:
            self._load.error(f"ended too early: {self._breaking.name}")
        elif self._stored.endswith(_END) or not was_reset:
            self._load.error(f"looked complete: {self._breaking.name}")
        else:
            self._load.broken(self._breaking)
        self._load.ended(self)

    def _ask(self) -> None:
        self._load.asked()
        self.socket.sendall(_post(REQUESTS, _REQUEST_BODY))

    def _heard(self, data: bytes) -> None:
        breaking = self._breaking
        assert breaking is not None
        if not self._stored:
            if not data.startswith(breaking.answer):
                self._load.error(f"refused {data[:40]!r}: {breaking.name}")
                self._load.ended(self)
                return
            if breaking.what == "WebSocket":
                try:
                    self.socket.sendall(_FRAME)
                except OSError:  # told here, the reset is not told again by reading
                    self.lost(True)
                    return
        self._events += data.count(_MARK)
        self._stored = (self._stored + data)[-len(_END) :]
        if breaking.client_leaves and self._events >= (breaking.events or 0):
            self._leave()

    def _leave(self) -> None:
        assert self._breaking is not None
        if self._breaking.resets:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._load.broken(self._breaking)
        self._load.ended(self)


@attrs.define
class Load:
    """`requests` on as many connections as `requesting`, beside them `streams` on `streaming` at one time.

    The streams are spread over the whole run, so that its end is as its beginning was.
    """

    port: int
    requests: int
    streams: int
    requesting: int = 16
    streaming: int = 16
    answers: int = 0
    errors: Counter[str] = attrs.Factory(Counter)
    breakings: Counter[str] = attrs.Factory(Counter)
    _asked: int = 0
    _begun: int = 0
    _epoll: select.epoll = attrs.Factory(select.epoll)
    _clients: dict[int, _Client] = attrs.Factory(dict)
    _open: Counter[bool] = attrs.Factory(Counter)

    @property
    def more_requests(self) -> bool:
        return self._asked < self.requests

    @property
    def broken_off(self) -> int:
        return sum(self.breakings.values())

    @property
    def progress(self) -> float:
        """From 0 to 1."""
        return (self.answers + self.broken_off) / (self.requests + self.streams)

    def run(self, look: Callable[[], None]) -> None:
        """To the end of all; `look` is called ten times a second.

        Raises `Failed` where nothing moves for half a minute, or too much fails.
        """
        due, moved, before = time.monotonic(), time.monotonic(), -1
        try:
            while self._fill():
                for descriptor, flags in self._epoll.poll(0.2):
                    if (client := self._clients.get(descriptor)) is not None:
                        self._ready(client, flags)
                now = time.monotonic()
                if now < due:
                    continue
                due = now + 0.1
                if (done := self.answers + self.broken_off) != before:
                    before, moved = done, now
                if now - moved > _PATIENCE or self.errors.total() > 100:
                    raise Failed(f"after {self.answers} answers, {self.broken_off} streams: {self.errors}")
                look()
        finally:
            for client in self._clients.values():
                client.socket.close()
            self._epoll.close()

    def _fill(self) -> bool:
        """Opens what is missing; whether anything is left to do."""
        while self.more_requests and self._open[False] < self.requesting:
            self._start(None)
        share = self._asked / self.requests
        while self._begun < self.streams * share and self._open[True] < self.streaming:
            self._start(BREAKINGS[self._begun % len(BREAKINGS)])
            self._begun += 1
        return bool(self._clients)

    def _start(self, breaking: Breaking | None) -> None:
        client = _Client(self, breaking)
        self._clients[client.socket.fileno()] = client
        self._open[breaking is not None] += 1
        self._epoll.register(client.socket, select.EPOLLOUT)

    def _ready(self, client: _Client, flags: int) -> None:
        try:
            if flags & select.EPOLLOUT and not flags & (select.EPOLLERR | select.EPOLLHUP):
                self._epoll.modify(client.socket, select.EPOLLIN)
                client.connected()
                return
            data = client.socket.recv(_RECEIVE)
        except OSError:
            client.lost(True)
            return
        if data:
            client.received(data)
        else:
            client.lost(False)

    # --- for clients -----------------------------------------------------------------------------

    def asked(self) -> None:
        self._asked += 1

    def answered(self, right: bool, head: bytes) -> None:
        self.answers += 1
        if not right:
            self.error(f"answered {head[:40]!r}")

    def broken(self, breaking: Breaking) -> None:
        self.breakings[breaking.name] += 1

    def error(self, what: str) -> None:
        self.errors[what] += 1

    def ended(self, client: _Client) -> None:
        descriptor = client.socket.fileno()
        self._open[client._breaking is not None] -= 1
        del self._clients[descriptor]
        self._epoll.unregister(descriptor)
        client.socket.close()


def _post(target: str, body: bytes, length: int | None = None) -> bytes:
    """`length` is what it promises where that is more than `body`."""
    return (
        f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer placeholder\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length or len(body)}\r\n\r\n"
    ).encode("ascii") + body


def _handshake(target: str) -> bytes:
    return (
        f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer placeholder\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode("ascii")
