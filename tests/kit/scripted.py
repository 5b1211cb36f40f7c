"""`ScriptedOrigin`: a TLS server that answers each target with the steps a test has written down for it.

It speaks no HTTP of its own beyond reading a request's head and body: what it sends is in the steps, byte by
byte. A target without steps is answered with `CLEAN`.
"""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs

from tests.kit.certificates import Leaf
from tests.kit.ports import origin_listener
from tests.kit.reader import Closed, Reader, close_resets, cut, parse_fields, values

CLEAN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean"
_PATIENCE = 20.0
_Found = TypeVar("_Found")


@attrs.frozen
class Gate:
    """Waits until the test says go: it has seen what it should see by now."""


@attrs.frozen
class More:
    """Waits until the peer sends more, which stays unread, or leaves."""


@attrs.frozen
class Left:
    """Waits until the peer leaves; what it sends meanwhile is read over."""


@attrs.frozen
class Close:
    """An orderly end: close_notify, then FIN."""


@attrs.frozen
class Fin:
    """The TCP connection's end, without close_notify: as a cut looks."""


@attrs.frozen
class Reset:
    """RST."""


@attrs.frozen
class Below:
    """Bytes below TLS, which no TLS peer would send."""

    data: bytes


@attrs.frozen
class Again:
    """The same bytes `times` over, each `pause` seconds after the last; until the peer leaves."""

    data: bytes
    times: int = 1 << 30
    pause: float = 0.0


Step = bytes | Gate | More | Left | Close | Fin | Reset | Below | Again


@attrs.define
class Script:
    """What is done with requests for one target, and how many there were."""

    steps: Sequence[Step]
    before_body: bool = False
    """The steps do not wait for the request's body."""
    go: threading.Event = attrs.Factory(threading.Event)
    requests: int = 0
    left: int = 0
    """Connections on which a request of these was, and which the peer has ended since."""


class ScriptedOrigin:
    """Listens on a loopback port, one of those that the kit's Squid allows; a context manager."""

    def __init__(self, leaf: Leaf) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(leaf.certificate, leaf.key)
        self._context.set_alpn_protocols(["http/1.1"])
        self._listener = origin_listener()
        self.port = self._listener.getsockname()[1]
        self._changed = threading.Condition()
        self._scripts: dict[bytes, Script] = {}
        self._open: set[socket.socket] = set()
        self.heads: list[bytes] = []
        """Everything that came as a request's head, on whatever connection."""

    def __enter__(self) -> "ScriptedOrigin":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._changed:
            for sock in self._open:
                cut(sock)

    def script(self, target: bytes, steps: Sequence[Step], *, before_body: bool = False) -> Script:
        """From now on requests for `target` are answered so."""
        made = Script(steps, before_body)
        with self._changed:
            self._scripts[target] = made
        return made

    def wait_for(self, condition: Callable[[], _Found], seconds: float = 10.0) -> _Found:
        """The first true value of `condition()`, asked whenever something has happened here."""
        with self._changed:
            if not self._changed.wait_for(condition, seconds):
                raise TimeoutError("it never came to that")
            return condition()

    # --- serving ---------------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        plain.settimeout(_PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock = self._context.wrap_socket(plain, server_side=True)
        except (OSError, ValueError):
            plain.close()
            return
        with self._changed:
            self._open.add(sock)
        served: list[Script] = []
        try:
            reader = Reader(sock)
            while self._request(sock, reader, served):
                pass
        except (Closed, OSError, ValueError):
            pass
        finally:
            with self._changed:
                self._open.discard(sock)
                for script in served:
                    script.left += 1
                self._changed.notify_all()
                sock.close()

    def _request(self, sock: ssl.SSLSocket, reader: Reader, served: list[Script]) -> bool:
        """One request and its steps; whether the connection goes on."""
        head = reader.until(b"\r\n\r\n")
        start, *lines = head[:-4].split(b"\r\n")
        target = start.split(b" ")[1]
        with self._changed:
            self.heads.append(head)
            script = self._scripts.get(target)
            if script is not None:
                script.requests += 1
                if script not in served:
                    served.append(script)
            self._changed.notify_all()
        if script is None or not script.before_body:
            _read_body(reader, lines)
        for step in [CLEAN] if script is None else script.steps:
            if not self._do(step, sock, reader, script):
                return False
        return True

    def _do(self, step: Step, sock: ssl.SSLSocket, reader: Reader, script: Script | None) -> bool:
        match step:
            case bytes():
                sock.sendall(step)
            case Again(data, times, pause):
                for _ in range(times):
                    sock.sendall(data)
                    time.sleep(pause)
            case Gate():
                assert script is not None
                if not script.go.wait(_PATIENCE):
                    return False
            case More():
                reader.buffer = reader.more()
            case Left():
                while True:
                    reader.more()
            case Close():
                with contextlib.suppress(OSError, ValueError):
                    sock.unwrap()
                return False
            case Fin():
                socket.socket.shutdown(sock, socket.SHUT_WR)
                _read_over(sock)
                return False
            case Reset():
                close_resets(sock)
                return False
            case Below(data):
                with socket.socket(fileno=socket.dup(sock.fileno())) as plain:
                    plain.sendall(data)
        return True


def _read_body(reader: Reader, lines: list[bytes]) -> None:
    fields = parse_fields(lines)
    if length := values(fields, b"content-length"):
        pieces = reader.exactly(int(length[0]))
    elif values(fields, b"transfer-encoding"):
        pieces = reader.chunks()
    else:
        return
    for _ in pieces:
        pass


def _read_over(sock: ssl.SSLSocket) -> None:
    """Until the peer's end: closing with unread bytes would be an RST."""
    while socket.socket.recv(sock, 65536):
        pass
