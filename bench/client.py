"""What a client of a candidate sends, and the two ways it may take: through a candidate, or straight."""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

FIELDS = {
    "Host": "127.0.0.1",
    "Authorization": "Bearer placeholder",
    "X-Api-Key": "placeholder",
    "Content-Type": "application/json",
    "Accept": "application/json",
    "User-Agent": "benchmark/1",
}
_PATIENCE = 60.0


class LoadFailed(Exception):
    """The candidate gave wrong answers, or none: its figures would mean nothing."""


@dataclass(frozen=True)
class Way:
    """To a candidate: plain, on loopback, with placeholders for credentials."""

    port: int

    def connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=_PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def connecting(self) -> socket.socket:
        """Not waited for: it is writable once it is there."""
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect_ex(("127.0.0.1", self.port))
        return sock

    def head(self, method: str, path: str, length: int = 0) -> bytes:
        return _head(method, path, length, FIELDS)


@dataclass(frozen=True)
class StraightWay(Way):
    """What an agent would do that has the key itself: through Squid and TLS to the origin."""

    host: str
    origin_port: int
    ca: Path
    key: str

    def connect(self) -> socket.socket:
        sock = super().connect()
        sock.sendall(f"CONNECT {self.host}:{self.origin_port} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())
        answer = sock.recv(4096)
        require(b" 200 " in answer.partition(b"\r\n")[0], "CONNECT refused", answer)
        return ssl.create_default_context(cafile=self.ca).wrap_socket(sock, server_hostname=self.host)

    def head(self, method: str, path: str, length: int = 0) -> bytes:
        own = {name: value for name, value in FIELDS.items() if name != "X-Api-Key"}
        own |= {"Host": f"{self.host}:{self.origin_port}", "Authorization": f"Bearer {self.key}"}
        return _head(method, path, length, own)


def require(holds: bool, what: str, seen: bytes | bytearray) -> None:
    if not holds:
        raise LoadFailed(f"{what}: {bytes(seen[:200])!r}")


def _head(method: str, path: str, length: int, fields: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    if method == "POST":
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")
