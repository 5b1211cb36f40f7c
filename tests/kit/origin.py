"""`Origin`: the provider, played by a TLS server of plain threads that records what it is sent, byte by byte.

Targets below `/v1/kit/NAME?option=value` have the behaviour NAME; `/v1/models`, `/v1/responses` and
`/v1/chat/completions` answer as OpenAI does; everything else is answered with what was received, as
JSON. Where the key is wanted, a missing or wrong one gets OpenAI's 401. The key itself is never kept
nor sent back: in records and echoes it reads `THE-KEY`.
"""

import socket
import ssl
import threading
from collections.abc import Callable

from tests.kit.certificates import Leaf
from tests.kit.exchange import Exchange
from tests.kit.ports import origin_listener
from tests.kit.reader import Closed, Reader, cut
from tests.kit.turn import PATIENCE, Seen


class Origin:
    """Listens on a loopback port, one of those that the kit's Squid allows, from `start` to `close`."""

    reader: Callable[[socket.socket], Reader] = Reader
    """Makes what each connection is read by."""

    def __init__(
        self,
        leaf: Leaf,
        key: str,
        *,
        alpn: str = "http/1.1",
        port: int = 0,
        exchange: type[Exchange] | None = None,
    ) -> None:
        self.key = key.encode("ascii")
        self._exchange = exchange or Exchange
        self.models_answer: Callable[[Exchange], None] | None = None
        """What `GET /v1/models` does instead of the usual (probes ask this)."""
        self.model_answer: Callable[[Exchange], None] | None = None
        """What `POST /v1/responses` does instead of the usual."""
        self.idle_timeout = 120.0
        self.delay_handshake = threading.Event()
        self.delay_handshake.set()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(leaf.certificate, leaf.key)
        self._context.set_alpn_protocols([alpn])
        self._listener = (
            socket.create_server(("127.0.0.1", port), backlog=512) if port else origin_listener(512)
        )
        self.port = self._listener.getsockname()[1]
        self._changed = threading.Condition()
        self._requests: list[Seen] = []
        self._gates: dict[str, threading.Semaphore] = {}
        self._open: set[socket.socket] = set()
        self._closing = False
        self.connections = 0
        self.failed_handshakes = 0

    def start(self) -> "Origin":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __enter__(self) -> "Origin":
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._closing = True
        # A thread in accept() keeps the listening socket alive, so it is woken first.
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        finally:
            self._listener.close()
        self.drop_connections()
        for gate in list(self._gates.values()):
            gate.release(1000)

    def drop_connections(self) -> None:
        """Ends every connection now, as an origin that restarts does."""
        with self._changed:
            for sock in self._open:
                cut(sock)

    # --- what a test asks ------------------------------------------------------------------------

    @property
    def requests(self) -> list[Seen]:
        with self._changed:
            return list(self._requests)

    def find(self, part: bytes) -> list[Seen]:
        """Requests in whose head `part` stands: a test's own marker, usually in the target."""
        return [seen for seen in self.requests if part in seen.head]

    def wait_for(self, part: bytes, condition: Callable[[Seen], bool] = lambda seen: True) -> Seen:
        """The first such request for which `condition` holds; waits for it."""
        found: list[Seen] = []

        def arrived() -> bool:
            found[:] = [seen for seen in self._requests if part in seen.head and condition(seen)]
            return bool(found)

        with self._changed:
            if not self._changed.wait_for(arrived, 20):
                raise TimeoutError(f"no such request: {part!r}")
        return found[0]

    def gate(self, name: str) -> threading.Semaphore:
        """An exchange with `gate=name` waits for one `release()` before each step."""
        with self._changed:
            return self._gates.setdefault(name, threading.Semaphore(0))

    # --- serving ---------------------------------------------------------------------------------

    def _accept(self) -> None:
        while not self._closing:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        self.delay_handshake.wait(PATIENCE)
        plain.settimeout(PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock = self._context.wrap_socket(plain, server_side=True)
        except (OSError, ValueError):
            with self._changed:
                self.failed_handshakes += 1
            plain.close()
            return
        with self._changed:
            self.connections += 1
            number = self.connections
            self._open.add(sock)
        try:
            reader = self.reader(sock)
            sock.settimeout(self.idle_timeout)
            while not self._closing:
                if not self._exchange(self, number, sock, reader).run():
                    break
        except (Closed, OSError):
            pass
        finally:
            with self._changed:  # with the lock: once closed, its number may be another's
                self._open.discard(sock)
                sock.close()

    def note(self, seen: Seen | None = None) -> None:
        """Adds a request, or tells waiters that one changed."""
        with self._changed:
            if seen is not None:
                self._requests.append(seen)
            self._changed.notify_all()
