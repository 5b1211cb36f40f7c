"""WebSocket at both ends: the origin's behaviours after a handshake, and the ways for a client to begin one.

Frames are the `websockets` library's, without its sockets and threads at the origin: a TLS socket there has
one thread. Behaviours are the values of `do` in a target `/v1/kit/ws?do=NAME`; `echo` is the default.
"""

import contextlib
import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as library_connect

from tests.kit import responses_api
from tests.kit.client import Client, Response
from tests.kit.reader import Closed, Reader

if TYPE_CHECKING:
    from tests.kit.exchange import Exchange

FIELDS = (
    (b"Connection", b"keep-alive, Upgrade"),
    (b"Upgrade", b"websocket"),
    (b"Sec-WebSocket-Version", b"13"),
    (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
)
FLOOD = os.urandom(65536)


# --- the client's end ---------------------------------------------------------------------------------


def connect(port: int, target: str = "/v1/kit/ws", **more: Any) -> ClientConnection:
    """The library's client; by default it compresses nothing, and neither pings nor bounds messages."""
    options: dict[str, Any] = {
        "compression": None, "max_size": None, "ping_interval": None, "proxy": None, "open_timeout": 20,
        "close_timeout": 20,
    }  # fmt: skip
    return library_connect(f"ws://127.0.0.1:{port}{target}", **(options | more))


def ask(client: Client, target: str, *fields: tuple[bytes, bytes], behind: bytes = b"") -> None:
    """Sends a handshake in plain bytes, with `behind` in the same write."""
    lines = b"".join(b"%b: %b\r\n" % pair for pair in ((b"Host", b"x"), *FIELDS, *fields))
    client.send(b"GET %b HTTP/1.1\r\n%b\r\n%b" % (target.encode("ascii"), lines, behind))


def join(client: Client, target: str, *fields: tuple[bytes, bytes]) -> Response:
    """A handshake that is granted."""
    ask(client, target, *fields)
    head = client.read_head()
    assert head.status == 101, head
    return head


# --- the origin's end ---------------------------------------------------------------------------------


class Session:
    """One WebSocket at the origin, granted; `exchange.seen.body` keeps the first of what comes."""

    def __init__(self, exchange: "Exchange", raw: bytes, sock: ssl.SSLSocket, reader: Reader) -> None:
        self.exchange = exchange
        self.sock = sock
        self.reader = reader
        self._protocol = ServerProtocol(extensions=[ServerPerMessageDeflateFactory()], max_size=None)
        self._protocol.receive_data(raw)
        (request,) = self._protocol.events_received()
        assert isinstance(request, Request)
        response = self._protocol.accept(request)
        assert response.status_code == 101, response
        self._protocol.send_response(response)
        self._frames: list[Frame] = []

    def flush(self, behind: bytes = b"") -> None:
        self.sock.sendall(b"".join(self._protocol.data_to_send()) + behind)

    def messages(self) -> Iterator[tuple[Opcode, bytes]]:
        """Data messages until the peer's close frame, which is answered as the library does."""
        kind, parts = Opcode.TEXT, []
        while True:
            while not self._frames:
                self._protocol.receive_data(self.reader.more())
                self._frames += self._protocol.events_received()  # type: ignore[arg-type]
                self.flush()
            frame = self._frames.pop(0)
            if frame.opcode is Opcode.CLOSE:
                return
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                if frame.opcode is not Opcode.CONT:
                    kind, parts = frame.opcode, []
                parts.append(bytes(frame.data))
                if frame.fin:
                    yield kind, b"".join(parts)

    def send(self, kind: Opcode, data: bytes) -> None:
        (self._protocol.send_text if kind is Opcode.TEXT else self._protocol.send_binary)(data)
        self.flush()

    def close(self, code: int, reason: str = "") -> None:
        self._protocol.send_close(code, reason)
        self.flush()
        for _ in self.messages():
            pass

    @property
    def close_code(self) -> int | None:
        """The peer's."""
        return self._protocol.close_rcvd and self._protocol.close_rcvd.code

    def end_writing(self) -> None:
        """close_notify; the peer may go on once `said_end` is set: with data there already, `unwrap` fails.

        Blocking, it would wait for the peer's own.
        """
        timeout = self.sock.gettimeout()
        self.sock.settimeout(0)
        with contextlib.suppress(ssl.SSLWantReadError):
            self.sock.unwrap()
        self.sock.settimeout(timeout)
        self.exchange.seen.said_end = True
        self.exchange.origin.note()

    def keep_rest(self) -> None:
        """All until the peer's own end."""
        seen = self.exchange.seen
        for piece in self.reader.rest():
            seen.length += len(piece)
            seen.body = (seen.body + piece)[:65536]
            self.exchange.origin.note()
        self.exchange.origin.note()


def serve(exchange: "Exchange", raw: bytes, sock: ssl.SSLSocket, reader: Reader) -> None:
    """Grants the handshake and behaves as `do` says."""
    exchange.keep = False
    session = Session(exchange, raw, sock, reader)
    behaviour: Callable[[Session], None] = globals()["do_" + exchange.options.get("do", "echo")]
    behaviour(session)


def do_echo(session: Session) -> None:
    session.flush()
    for kind, data in session.messages():
        session.send(kind, data)
    session.exchange.seen.close_code = session.close_code
    _goodbye(session)


def do_close(session: Session) -> None:
    """Closes first, with `code`, at the first message."""
    session.flush()
    next(session.messages())
    session.close(session.exchange.number("code", 1000), "because")
    _goodbye(session)


def do_first(session: Session) -> None:
    """Bytes glued behind the 101's head; then all that comes is kept."""
    session.flush(b"first")
    session.keep_rest()
    _goodbye(session)


def do_after_end(session: Session) -> None:
    """Waits for the client's end, then goes on for `bytes`, then ends too."""
    session.flush()
    session.keep_rest()
    left = session.exchange.number("bytes", 1 << 20)
    while left:
        session.sock.sendall(FLOOD[: min(left, len(FLOOD))])
        left -= min(left, len(FLOOD))
    _goodbye(session)


def do_ends(session: Session) -> None:
    """Says its last word and ends; what still comes is kept."""
    session.flush(b"last")
    session.end_writing()
    session.keep_rest()


def do_cut(session: Session) -> None:
    """Half of a frame, then a reset; or, with `fin`, an end of TCP alone."""
    session.flush(b"\x81\x0ahalf")
    session.exchange.origin.gate("cut").acquire(timeout=20)
    if "fin" in session.exchange.options:
        session.sock.shutdown(socket.SHUT_RDWR)
        return
    session.exchange.reset()


def do_flood(session: Session) -> None:
    """Sends without end and never reads."""
    session.flush()
    session.sock.settimeout(None)
    while True:
        session.sock.sendall(FLOOD)


def do_keep(session: Session) -> None:
    """Sends nothing; keeps what comes."""
    session.flush()
    session.keep_rest()


def do_responses(session: Session) -> None:
    """OpenAI's Responses API: each `response.create` is answered by events, each a text message."""
    session.flush()
    for _, data in session.messages():
        request = json.loads(data)
        session.exchange.seen.messages.append(request)
        session.exchange.origin.note()
        for event in responses_api.response_objects(request):
            session.send(Opcode.TEXT, json.dumps(event).encode())
    _goodbye(session)


def _goodbye(session: Session) -> None:
    with contextlib.suppress(OSError, ValueError, Closed):
        session.sock.unwrap()
