"""`Answers`: behaviours that answer a request whole, in all the framings and moments that HTTP/1.1 knows."""

from tests.kit.turn import Turn

PIECE = bytes(range(256)) * 256
GZIPPED = bytes.fromhex("1f8b08000000000000034b2ccecc530800bd21b83306000000") + b"\x00\xff"
"""Said to be gzip; that it is not well-formed shows that nobody looked inside."""


class Answers(Turn):
    """Each `do_NAME` is what the target `/v1/kit/NAME` gets."""

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

    def do_early(self) -> None:
        """The answer before the upload's end; what is left of the upload is read after it."""
        self.head(200, "OK", "Content-Length: 5")
        self.send(b"early")
        self.read_body()

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

    def do_refuse(self) -> None:
        """Whatever was asked: `code`, as JSON, on a connection that is kept."""
        self.step()
        self.answer(self.number("code", 401), {"refused": True})
