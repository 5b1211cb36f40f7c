"""`Origin`: the provider, played by a TLS server of plain threads that records what it is sent, byte by byte.

Targets below `/v1/kit/NAME?option=value` have the behaviour NAME; `/v1/models`, `/v1/responses` and
`/v1/chat/completions` answer as OpenAI does; everything else is answered with what was received, as
JSON. Where the key is wanted, a missing or wrong one gets OpenAI's 401. The key itself is never kept
nor sent back: in records and echoes it reads `THE-KEY`.
"""

import hashlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl

import attrs

from tests.kit import responses_api, websocket
from tests.kit.certificates import Leaf
from tests.kit.ports import origin_listener
from tests.kit.reader import Closed, Reader, parse_fields, reset, reset_beneath, values

KEY = b"THE-KEY"
PIECE = bytes(range(256)) * 256
_PATIENCE = 60.0


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
        exchange: "type[Exchange] | None" = None,
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
            sockets, self._open = self._open, set()
            for sock in sockets:
                reset_beneath(sock)

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
        self.delay_handshake.wait(_PATIENCE)
        plain.settimeout(_PATIENCE)
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
            with self._changed:
                self._open.discard(sock)
                sock.close()

    def note(self, seen: Seen | None = None) -> None:
        """Adds a request, or tells waiters that one changed."""
        with self._changed:
            if seen is not None:
                self._requests.append(seen)
            self._changed.notify_all()


class Exchange:
    """One request and what is answered; `run` says whether the connection goes on.

    The other providers' origins derive from it: `admitted`, `unauthorized` and `choose` are theirs.
    """

    def __init__(self, origin: Origin, connection: int, sock: ssl.SSLSocket, reader: Reader) -> None:
        self.origin = origin
        self._sock = sock
        self.reader = reader
        self._connection = connection
        self.seen: Seen
        self.options: dict[str, str] = {}
        self.keep = True
        self._body_read = False
        self._raw = b""

    def run(self) -> bool:
        raw = self._raw = self.reader.until(b"\r\n\r\n")
        self._sock.settimeout(_PATIENCE)
        head = raw.replace(self.origin.key, KEY)
        start, *lines = head[:-4].split(b"\r\n")
        method, target, version = start.split(b" ", 2)
        self.seen = Seen(self._connection, head, method, target, parse_fields(lines))
        self.origin.note(self.seen)
        if version == b"HTTP/1.0" or b"close" in b",".join(self.seen.values(b"connection")).lower():
            self.keep = False
        path, _, query = target.partition(b"?")
        self.options = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
        try:
            (self.choose(path.decode("latin-1")) if self.admitted() else self.unauthorized)()
        except (Closed, OSError):
            self.seen.ended = "left"
            self.origin.note()
            return False
        self.seen.ended = "answered"
        self.origin.note()
        return self.keep

    def admitted(self) -> bool:
        """Whether the right key is in the right field, once."""
        return self.seen.values(b"authorization") == [b"Bearer " + KEY]

    def choose(self, path: str) -> Callable[[], None]:
        if path.startswith("/v1/kit/"):
            return getattr(self, "do_" + path.removeprefix("/v1/kit/").split("/")[0].replace("-", "_"))
        if path == "/v1/models" and self.origin.models_answer is not None:
            answer = self.origin.models_answer
            return lambda: answer(self)
        if path == "/v1/models":
            return lambda: self.answer(200, {"object": "list", "data": [responses_api.MODEL]})
        if path == "/v1/responses" and self.origin.model_answer is not None:
            answer = self.origin.model_answer
            return lambda: answer(self)
        if path in ("/v1/responses", "/v1/chat/completions") and self.seen.method == b"POST":
            return self.do_model
        if path == "/v1/responses" and self.seen.values(b"upgrade"):
            return self.do_responses_socket
        return self.do_echo

    # --- pieces ----------------------------------------------------------------------------------

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

    def step(self) -> None:
        """Waits for the test's permission, or for `interval` seconds."""
        if name := self.options.get("gate"):
            if not self.origin.gate(name).acquire(timeout=_PATIENCE):
                raise OSError("the test never released the gate")
        elif pause := float(self.options.get("interval", "0")):
            time.sleep(pause)

    def wait_until_left(self) -> None:
        """Says nothing until the peer goes."""
        self._sock.settimeout(_PATIENCE)
        while True:
            self.reader.more()

    def number(self, name: str, default: int) -> int:
        return int(self.options.get(name, default))

    # --- behaviours ------------------------------------------------------------------------------

    def unauthorized(self) -> None:
        """As OpenAI says it: the last four characters of a wrong key are in the message."""
        given = b"".join(self.seen.values(b"authorization")).removeprefix(b"Bearer ").decode("latin-1")
        if not given:
            self.error(401, None, "Missing bearer authentication in header")
            return
        shown = given[:8] + "*" * 20 + given[-4:]
        where = "You can find your API key at https://platform.openai.com/account/api-keys."
        self.error(401, "invalid_api_key", f"Incorrect API key provided: {shown}. {where}")

    def do_echo(self) -> None:
        self.read_body()
        self.answer(
            200,
            {
                "head": self.seen.head.decode("latin-1"),
                "length": self.seen.length,
                "sha256": self.seen.sha256,
                "connection": self._connection,
            },
        )

    def do_model(self) -> None:
        """/v1/responses and /v1/chat/completions: JSON, or SSE where `"stream": true`."""
        request = self.json()
        if request is None:
            self.error(400, None, "We could not parse the JSON body of your request.")
            return
        chat = self.seen.target.partition(b"?")[0].endswith(b"completions")
        make = responses_api.chat if chat else responses_api.response
        if not request.get("stream"):
            self.answer(200, make(request))
            return
        events = responses_api.chat_events(request) if chat else responses_api.response_events(request)
        self.stream(events)

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

    def do_drip(self) -> None:
        """`events` server-sent events, each its own chunk, one a step; then the end marker."""
        self.read_body()
        self.head(200, "OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked")
        for number in range(self.number("events", 3)):
            self.step()
            self.chunk(b"event: message\ndata: %d\n\n" % number)
        self.step()
        self.chunk(b"data: [DONE]\n\n")
        if "linger" in self.options:
            self.wait_until_left()
        self.send(b"0\r\n\r\n")

    def do_chunked(self) -> None:
        self.read_body()
        self.head(200, "OK", "Content-Type: text/plain", "Transfer-Encoding: chunked")
        for piece in (b"one ", b"two ", b"three"):
            self.chunk(piece)
        self.send(b"0\r\n\r\n")

    def do_trailers(self) -> None:
        self.read_body()
        self.head(200, "OK", "Trailer: X-Sum", "Transfer-Encoding: chunked")
        self.chunk(b"content")
        self.send(b"0\r\nX-Sum: 42\r\nX-Sum: 43\r\n\r\n")

    def do_until_close(self) -> None:
        self.read_body()
        self.head(200, "OK", "Content-Type: text/plain", "Connection: close")
        self.send(b"to the end")
        self._close_orderly()

    def do_short_length(self) -> None:
        self.read_body()
        self.head(200, "OK", "Content-Length: 100")
        self.send(b"only this")
        self._close_orderly()

    def do_short_chunked(self) -> None:
        self.read_body()
        self.head(200, "OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked")
        self.chunk(b"data: 0\n\n")
        self.step()
        self._close_orderly()

    def do_short_head(self) -> None:
        self.read_body()
        self.send(b"HTTP/1.1 200 OK\r\nContent-Le")
        self._close_orderly()

    def do_until_reset(self) -> None:
        self.read_body()
        self.head(200, "OK", "Content-Type: text/plain", "Connection: close")
        self.send(b"cut")
        self.step()
        self.keep = False
        reset(self._sock)

    def do_no_answer(self) -> None:
        self.read_body()
        self._close_orderly()

    def do_garbage(self) -> None:
        self.read_body()
        self.send(b"220 mail.test ESMTP\r\n\r\n")
        self._close_orderly()

    def _close_orderly(self) -> None:
        """TLS close_notify, then FIN: an end that looks proper below HTTP."""
        self.keep = False
        try:
            self._sock.unwrap().close()
        except (OSError, ValueError):
            self._sock.close()

    def do_hints(self) -> None:
        """103, then the final answer."""
        self.read_body()
        self.head(103, "Early Hints", "Link: </style.css>; rel=preload")
        self.step()
        self.head(200, "OK", "Content-Length: 5")
        self.send(b"final")

    def do_continue(self) -> None:
        """100 only after a step; then the body is read and echoed."""
        self.step()
        self.head(100, "Continue")
        self.do_echo()

    def do_refuse_continue(self) -> None:
        self.head(413, "Content Too Large", "Content-Length: 0", "Connection: close")
        self._close_orderly()

    def do_early(self) -> None:
        """The answer before the upload's end; what is left of the upload is read after it."""
        self.head(200, "OK", "Content-Length: 5")
        self.send(b"early")
        self.read_body()

    def do_early_close(self) -> None:
        self.head(403, "Forbidden", "Content-Length: 2", "Connection: close")
        self.send(b"no")
        self.keep = False
        try:
            while True:
                self.reader.more()
        except Closed:
            pass

    def do_download(self) -> None:
        """`bytes` of content."""
        self.read_body()
        left = self.number("bytes", 1 << 20)
        if "chunked" in self.options:
            self.head(200, "OK", "Transfer-Encoding: chunked")
        else:
            self.head(200, "OK", f"Content-Length: {left}")
        while left:
            piece = PIECE[:left]
            left -= len(piece)
            if "chunked" in self.options:
                self.chunk(piece)
            else:
                self.send(piece)
        if "chunked" in self.options:
            self.send(b"0\r\n\r\n")

    def do_upload(self) -> None:
        """Counts and hashes; `gate` lets a test hold the reading back."""
        self.step()
        self.do_echo()

    def do_status(self) -> None:
        """`code` with no body and no framing, as 204 and 304 have it."""
        self.read_body()
        code = self.number("code", 204)
        extra = ['ETag: "x"'] if code == 304 else []
        self.head(code, "Some Reason", *extra)

    def do_length(self) -> None:
        """200 with five bytes; to a HEAD the same head and none."""
        self.read_body()
        self.head(200, "OK", "Content-Length: 5")
        if self.seen.method != b"HEAD":
            self.send(b"12345")

    def do_gzip(self) -> None:
        self.read_body()
        self.head(200, "OK", "Content-Encoding: gzip", f"Content-Length: {len(GZIPPED)}")
        self.send(GZIPPED)

    def do_fields(self) -> None:
        """Order, case, duplicates, odd bytes; hop-by-hop ones among them."""
        self.read_body()
        self.send(
            b"HTTP/1.1 299 Odd  Reason\r\nzeta: 1\r\nX-Alpha: a\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n"
            b"x-ALPHA: b\r\nX-Hop: 1\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\n"
            b"x-request-id: req_provider\r\nX-Latin: caf\xe9\r\nEmpty:\r\nContent-Length: 2\r\n\r\nok"
        )

    def do_stall(self) -> None:
        """Never answers."""
        self.read_body()
        self.wait_until_left()

    def do_stall_body(self) -> None:
        """A head and an event, then nothing."""
        self.read_body()
        self.head(200, "OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked")
        self.chunk(b"data: 0\n\n")
        self.wait_until_left()

    def do_close_after(self) -> None:
        """A good answer; then the connection is closed without having been announced."""
        self.do_echo()
        self.origin.note()
        self.step()
        self._close_orderly()

    def do_die_once(self) -> None:
        """The first request with this `mark` on a connection that was used before dies unanswered."""
        mark = f"mark={self.options['mark']}".encode()
        if len(self.origin.find(mark)) == 1:
            self.keep = False
            reset(self._sock)
            return
        self.do_echo()

    def do_responses_socket(self) -> None:
        """The Responses API over WebSocket."""
        self.options["do"] = "responses"
        self.do_ws()

    def do_ws(self) -> None:
        """A WebSocket, after a step; see `tests.kit.websocket`."""
        self.step()
        websocket.serve(self, self._raw, self._sock, self.reader)

    def do_refuse(self) -> None:
        """Whatever was asked: `code`, as JSON, on a connection that is kept."""
        self.step()
        self.answer(self.number("code", 401), {"refused": True})

    def do_vanish(self) -> None:
        """No answer, and a reset."""
        self.keep = False
        reset(self._sock)

    def do_upgrade(self) -> None:
        self.read_body()
        self.head(101, "Switching Protocols", "Upgrade: kit", "Connection: Upgrade")
        self.wait_until_left()


GZIPPED = bytes.fromhex("1f8b08000000000000034b2ccecc530800bd21b83306000000") + b"\x00\xff"
"""Said to be gzip; that it is not well-formed shows that nobody looked inside."""
