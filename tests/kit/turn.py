"""`Turn`: one request at the origin as it was read, and the pieces that an answer is made of."""

import hashlib
import json
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

from tests.kit.reader import Reader, close_resets, values

if TYPE_CHECKING:
    from tests.kit.origin import Origin

KEY = b"THE-KEY"
"""Stands for the key in all that is kept and sent back."""
PATIENCE = 60.0


@attrs.define(eq=False)
class Seen:
    """One request as it arrived."""

    connection: int
    head: bytes
    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes = b""
    """The content, or its first 64 KiB."""
    length: int = 0
    sha256: str = ""
    trailers: tuple[tuple[bytes, bytes], ...] = ()
    close_code: int | None = None
    """Of a WebSocket: the client's."""
    messages: list[dict[str, Any]] = attrs.Factory(list)
    """After an upgrade to WebSocket: the text messages, which are JSON."""
    said_end: bool = False
    """Of a WebSocket: the origin has said close_notify and reads on."""
    ended: str = ""
    """'' while it goes on; 'answered'; 'left' when the peer closed or reset before the answer's end."""

    def values(self, name: bytes) -> list[bytes]:
        return values(self.fields, name)


class Turn:
    """What each behaviour has at hand: the request, its options, and the connection to answer on.

    It closes no connection: `keep` says whether it goes on, and the origin's thread ends it if not.
    """

    def __init__(self, origin: "Origin", connection: int, sock: ssl.SSLSocket, reader: Reader) -> None:
        self.origin = origin
        self._sock = sock
        self.reader = reader
        self._connection = connection
        self.seen: Seen
        self.options: dict[str, str] = {}
        self.keep = True
        self._body_read = False
        self._raw = b""

    def read_body(self, keep: int = 65536) -> None:
        """The request's content, counted and hashed; once."""
        if self._body_read:
            return
        self._body_read = True
        if length := self.seen.values(b"content-length"):
            pieces: Iterator[bytes] = self.reader.exactly(int(length[0]))
        elif self.seen.values(b"transfer-encoding"):
            pieces = self.reader.chunks()
        else:
            pieces = iter(())
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
            self.seen.length += len(piece)
            if len(self.seen.body) < keep:
                self.seen.body += piece[: keep - len(self.seen.body)]
                self.origin.note()
        self.seen.sha256 = digest.hexdigest()
        self.seen.trailers = getattr(self.reader, "trailers", ())

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def head(self, status: int, reason: str = "OK", *fields: str) -> None:
        lines = [f"HTTP/1.1 {status} {reason}", *fields, "", ""]
        self.send("\r\n".join(lines).encode("latin-1"))

    def answer(self, status: int, content: object, *fields: str) -> None:
        """A whole JSON answer to a request whose body is read first."""
        self.read_body()
        body = json.dumps(content).encode("ascii")
        self.head(
            status,
            {200: "OK", 401: "Unauthorized"}.get(status, "Whatever"),
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "x-request-id: req_kit_1",
            *fields,
        )
        if self.seen.method != b"HEAD":
            self.send(body)

    def error(self, status: int, code: str | None, message: str, kind: str = "invalid_request_error") -> None:
        self.answer(status, {"error": {"message": message, "type": kind, "param": None, "code": code}})

    def json(self) -> dict[str, Any] | None:
        """The request's content, if that is a JSON object."""
        self.read_body(keep=1 << 24)
        try:
            request = json.loads(self.seen.body)
        except ValueError:
            self.seen.body = b""
            return None
        return request if isinstance(request, dict) else None

    def stream(self, events: Iterable[bytes]) -> None:
        """An answer of server-sent events, one chunk each."""
        self.head(200, "OK", "Content-Type: text/event-stream; charset=utf-8", "Transfer-Encoding: chunked",
                  "x-request-id: req_kit_1")  # fmt: skip
        for event in events:
            self.step()
            self.chunk(event)
        self.send(b"0\r\n\r\n")

    def chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def step(self) -> None:
        """Waits for the test's permission, or for `interval` seconds."""
        if name := self.options.get("gate"):
            if not self.origin.gate(name).acquire(timeout=PATIENCE):
                raise OSError("the test never released the gate")
        elif pause := float(self.options.get("interval", "0")):
            time.sleep(pause)

    def wait_until_left(self) -> None:
        """Says nothing until the peer goes."""
        self._sock.settimeout(PATIENCE)
        while True:
            self.reader.more()

    def number(self, name: str, default: int) -> int:
        return int(self.options.get(name, default))

    def reset(self) -> None:
        """The connection ends with an RST."""
        self.keep = False
        close_resets(self._sock)

    def close_orderly(self) -> None:
        """TLS close_notify, then FIN: an end that looks proper below HTTP."""
        self.keep = False
        with suppress(OSError, ValueError):
            self._sock.unwrap()
