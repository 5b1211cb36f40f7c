"""`Client`: one plain connection to awfproxy that sends exactly the bytes it is given."""

import json
import socket
import time
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from tests.kit import canary
from tests.kit.reader import Closed, Reader, parse_fields, reset, values

Fields = Iterable[tuple[bytes, bytes]]
_NO_BODY = (204, 304)


@attrs.define
class Response:
    status: int
    reason: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    head: bytes
    interim: list["Response"] = attrs.Factory(list)
    body: bytes = b""
    trailers: tuple[tuple[bytes, bytes], ...] = ()

    def values(self, name: bytes) -> list[bytes]:
        return values(self.fields, name)

    def value(self, name: bytes) -> bytes:
        (only,) = self.values(name)
        return only

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error_code(self) -> str:
        """Of our own errors; '' for the provider's answers."""
        return b"".join(self.values(b"awfproxy-error")).decode("ascii")

    def echoed(self) -> list[tuple[str, str]]:
        """The fields that the origin received, in order."""
        lines = self.json()["head"].split("\r\n")[1:-2]
        return [(name, value.strip(" ")) for name, _, value in (line.partition(":") for line in lines)]


class _Recording(Reader):
    """A `Reader` whose bytes are also searched for the canary."""

    def __init__(self, sock: socket.socket, label: str) -> None:
        super().__init__(sock)
        self.seen = canary.session_watch().collector(label)

    def more(self) -> bytes:
        fresh = not self.buffer
        data = super().more()
        if fresh:
            self.seen.feed(data)
        return data


class Client:
    """A context manager; `port` is awfproxy's, or `path` its unix socket.

    `buffer`: octets that the kernel receives ahead. Set later on it would be less than what was promised the
    peer, and the kernel drop what does not fit.
    """

    def __init__(
        self, port: int = 0, *, path: str | None = None, timeout: float = 20.0, buffer: int = 0
    ) -> None:
        if path is None:
            self.sock = socket.socket()
            self.sock.settimeout(timeout)
            if buffer:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            self.sock.connect(("127.0.0.1", port))
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(timeout)
            self.sock.connect(path)
        self.port = port
        self.reader = _Recording(self.sock, f"answers of port {port}")

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()
        self.reader.seen.close()

    def reset(self) -> None:
        reset(self.sock)
        self.reader.seen.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_head(
        self, method: str, target: str | bytes, fields: Fields = (), version: bytes = b"1.1"
    ) -> None:
        """Fields exactly as given, after a Host unless there is one among them."""
        target = target if isinstance(target, bytes) else target.encode("latin-1")
        pairs = list(fields)
        if not any(name.lower() == b"host" for name, _ in pairs):
            pairs.insert(0, (b"Host", b"127.0.0.1:%d" % self.port))
        lines = b"".join(b"%b: %b\r\n" % pair for pair in pairs)
        self.send(b"%b %b HTTP/%b\r\n%b\r\n" % (method.encode("ascii"), target, version, lines))

    def request(
        self, method: str, target: str | bytes, fields: Fields = (), body: bytes | None = None
    ) -> Response:
        """Sends one request and reads its whole answer."""
        pairs = list(fields)
        if body is not None:
            pairs.append((b"Content-Length", b"%d" % len(body)))
        self.send_head(method, target, pairs)
        if body:
            self.send(body)
        return self.answer(method)

    def read_head(self) -> Response:
        """The next head, interim ones included as they come."""
        raw = self.reader.until(b"\r\n\r\n")
        start, *lines = raw[:-4].split(b"\r\n")
        version, status, reason = start.split(b" ", 2)
        assert version in (b"HTTP/1.1", b"HTTP/1.0"), raw
        return Response(int(status), reason, parse_fields(lines), raw)

    def final_head(self) -> Response:
        interim = []
        while (head := self.read_head()).status < 200:
            interim.append(head)
        head.interim = interim
        return head

    def pieces(self, head: Response, method: str = "GET") -> Iterator[bytes]:
        """The body by its framing, as it arrives."""
        if method == "HEAD" or head.status in _NO_BODY:
            return
        if head.values(b"transfer-encoding"):
            yield from self.reader.chunks()
            head.trailers = self.reader.trailers
        elif length := head.values(b"content-length"):
            yield from self.reader.exactly(int(length[0]))
        else:
            yield from self.reader.rest()

    def answer(self, method: str = "GET") -> Response:
        head = self.final_head()
        head.body = b"".join(self.pieces(head, method))
        return head

    def closed(self, within: float = 10.0) -> bool:
        """Whether the peer ends the connection, in any way, with nothing more to say."""
        self.sock.settimeout(within)
        try:
            return not self.reader.more()
        except Closed:
            return True
        except TimeoutError:
            return False

    def was_reset(self, within: float = 10.0) -> bool:
        """Reads to the end and says whether the end was an RST; an orderly one is not."""
        self.sock.settimeout(within)
        end = time.monotonic() + within
        while time.monotonic() < end:
            try:
                self.reader.more()
            except Closed as closed:
                return closed.reset
        raise TimeoutError("the connection did not end")


def ask(
    port: int, method: str, target: str | bytes, fields: Fields = (), body: bytes | None = None
) -> Response:
    """One request on a connection of its own."""
    with Client(port) as client:
        return client.request(method, target, [*fields, (b"Connection", b"close")], body)
