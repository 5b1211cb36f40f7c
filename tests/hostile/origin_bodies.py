"""Hostile origins: lengths, codings, chunks, trailers, bodies that are cut or do not belong."""

import gzip

from tests.hostile.origin_row import (
    CHUNKED,
    END,
    EVIL,
    LENGTH_5,
    MALFORMED,
    OK,
    POST,
    Row,
    answer,
    chunk,
    cut,
)
from tests.kit.scripted import Close, Fin, Gate, Left, More, Reset

_LENGTH = "Content-Length malformed or repeated"
_SHORT = "body shorter than said"
_LONG = "bytes after the end"
_BOTH = "Content-Length and Transfer-Encoding"
_CODING = "Transfer-Encoding obfuscated"
_SIZE = "chunk size"
_END = "chunk end"
_EXTENSION = "chunk extension"
_TRAILER = "trailers"
_NONE = "a body where there is none"
_CLOSE = "body until close"
_CONTENT = "content"
_MALFORMED = "origin_malformed"


def _head(name: str, kind: str, lines: bytes, source: str, content: bytes = b"hello") -> Row:
    """Framing that is refused in the head."""
    return Row(name, kind, source, [OK + lines + b"\r\n" + content, Left()], MALFORMED)


def _length(name: str, value: bytes) -> Row:
    return _head(f"length-{name}", _LENGTH, b"Content-Length: " + value + b"\r\n", "RFC 9110 8.6, 9112 6.3")


def _coding(name: str, lines: bytes, source: str = "RFC 9112 6.1; TE.TE smuggling") -> Row:
    return _head(f"coding-{name}", _CODING, lines, source, chunk(b"hello") + END)


def _chunks(name: str, kind: str, data: bytes, source: str = "RFC 9112 7.1", before: bytes = b"") -> Row:
    """A fault in the coding, after a good chunk that the client has seen."""
    return Row(name, kind, source, [OK + CHUNKED + b"\r\n" + chunk(b"good"), Gate(), data, Left()],
               cut(OK, CHUNKED, chunk(b"good") + before, _MALFORMED))  # fmt: skip


LENGTHS = [
    _length("plus", b"+5"),
    _length("minus", b"-5"),
    _length("hexadecimal", b"0x5"),
    _length("float", b"5.0"),
    _length("underscore", b"1_0"),
    _length("empty", b""),
    _length("two-words", b"5 5"),
    _length("list-equal", b"5, 5"),
    _length("list-different", b"5, 6"),
    _length("overflow-64-bit", b"18446744073709551621"),
    _length("overflow-huge", b"9" * 200),
    _length("other-digits", "\N{FULLWIDTH DIGIT FIVE}".encode()),
    _length("vertical-tab", b"\x0b5"),
    _head("length-twice-equal", _LENGTH, LENGTH_5 * 2, "RFC 9112 6.3: may be repaired; here it is not"),
    _head("length-twice-different", _LENGTH, LENGTH_5 + b"Content-Length: 6\r\n", "RFC 9112 6.3"),
    Row("length-leading-zeros", _LENGTH, "RFC 9110 8.6: 1*DIGIT", [OK + b"Content-Length: 005\r\n\r\nhello"],
        answer(OK, b"Content-Length: 005\r\n", b"hello")),
    Row("length-malformed-without-a-body", _LENGTH, "RFC 9112 6.3: a client may not know that there is none",
        [b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", Left()], MALFORMED),
    *(
        Row(f"short-{name}", _SHORT, source, [OK + LENGTH_5 + b"\r\nhel", Gate(), how],
            cut(OK, LENGTH_5, b"hel"))
        for name, how, source in [
            ("closed", Close(), "RFC 9112 8"),
            ("fin", Fin(), "RFC 9112 8; truncation, RFC 8446 6.1"),
            ("reset", Reset(), "RFC 9112 8"),
        ]
    ),
]  # fmt: skip

CODINGS = [
    _head("length-and-chunked", _BOTH, LENGTH_5 + CHUNKED, "RFC 9112 6.3: CL.TE", chunk(b"hello") + END),
    _head("chunked-and-length", _BOTH, CHUNKED + LENGTH_5, "RFC 9112 6.3: TE.CL", chunk(b"hello") + END),
    _head("chunked-and-length-0", _BOTH, CHUNKED + b"Content-Length: 0\r\n", "RFC 9112 6.3", END),
    _coding("twice", CHUNKED * 2),
    _coding("chunked-chunked", b"Transfer-Encoding: chunked, chunked\r\n"),
    _coding("gzip-chunked", b"Transfer-Encoding: gzip, chunked\r\n", "RFC 9112 7.2: not asked for by TE"),
    _coding("chunked-gzip", b"Transfer-Encoding: chunked, gzip\r\n"),
    _coding("identity", b"Transfer-Encoding: identity\r\n", "RFC 7230 A.2: withdrawn"),
    _coding("unknown", b"Transfer-Encoding: xchunked\r\n"),
    _coding("quoted", b'Transfer-Encoding: "chunked"\r\n'),
    _coding("parameter", b"Transfer-Encoding: chunked;q=1\r\n"),
    _coding("vertical-tab", b"Transfer-Encoding: \x0bchunked\r\n", "CVE-2019-18277 (HAProxy)"),
    _coding("empty", b"Transfer-Encoding:\r\n"),
    _coding("comma", b"Transfer-Encoding: ,chunked\r\n"),
    _coding("space-before-colon", b"Transfer-Encoding : chunked\r\n", "RFC 9112 5.1"),
    _coding("folded", b"Transfer-Encoding:\r\n chunked\r\n", "RFC 9112 5.2"),
    _coding("name-by-nul", b"Transfer-Encoding\0: chunked\r\n", "RFC 9110 5.6.2"),
    Row("coding-http-1.0", _CODING, "RFC 9112 6.1: faulty framing",
        [b"HTTP/1.0 200 OK\r\n" + CHUNKED + b"\r\n" + chunk(b"hello") + END, Close()], MALFORMED),
    Row("coding-in-capitals", _CODING, "RFC 9110 5.1: case says nothing",
        [OK + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n" + chunk(b"hello") + END],
        answer(OK, CHUNKED, chunk(b"hello") + END)),
    Row("coding-underscore", _CODING, "no framing: a field that nobody knows, and a body until close",
        [OK + b"Transfer_Encoding: chunked\r\n\r\n5\r\nhello\r\n", Close()],
        answer(OK, b"Transfer_Encoding: chunked\r\n" + CHUNKED, chunk(b"5\r\nhello\r\n") + END)),
]  # fmt: skip

CHUNKS = [
    _chunks("size-overflow-64-bit", _SIZE, b"10000000000000005\r\nhello\r\n" + END, "CVE-2013-2028 (nginx)"),
    _chunks("size-overflow-16-digits", _SIZE, b"FFFFFFFFFFFFFFFF\r\nhello", "CVE-2013-2028"),
    _chunks("size-many-zeros", _SIZE, b"0" * 16 + b"5\r\nhello\r\n" + END, "size digits without end"),
    _chunks("size-minus", _SIZE, b"-5\r\nhello\r\n" + END),
    _chunks("size-plus", _SIZE, b"+5\r\nhello\r\n" + END, "languages' own int parsers"),
    _chunks("size-0x", _SIZE, b"0x5\r\nhello\r\n" + END, "languages' own int parsers"),
    _chunks("size-underscore", _SIZE, b"1_0\r\nhello\r\n" + END, "Python's int"),
    _chunks("size-empty", _SIZE, b"\r\nhello\r\n" + END),
    _chunks("size-space-in-front", _SIZE, b" 5\r\nhello\r\n" + END),
    _chunks("size-space-behind", _SIZE, b"5 \r\nhello\r\n" + END, "RFC 9112 7.1.1: bad white space"),
    _chunks("size-nul", _SIZE, b"5\0\r\nhello\r\n" + END, "CWE-158"),
    _chunks("size-bare-lf", _END, b"5\nhello\r\n" + END, "CVE-2025-22871 class (Go)"),
    _chunks("size-bare-cr", _END, b"5\rhello\r\n" + END, "RFC 9112 2.2"),
    _chunks("end-bare-lf", _END, b"5\r\nhello\n" + END, "RFC 9112 7.1"),
    _chunks("end-missing", _END, b"5\r\nhello" + END, "RFC 9112 7.1"),
    _chunks("end-other", _END, b"5\r\nhelloXX" + END, "two bytes that are skipped unseen: TERM.EXT class"),
    _chunks("longer-than-said", _END, b"5\r\nhello, world\r\n" + END, "RFC 9112 7.1"),
    _chunks("extension-bare-lf", _EXTENSION, b"5;\n\r\nhello\r\n" + END, "CVE-2025-55315 class (Kestrel)"),
    _chunks("extension-bare-cr", _EXTENSION, b"5;a\rb\r\nhello\r\n" + END, "CVE-2025-55315 class"),
    _chunks("extension-nul", _EXTENSION, b"5;a=\0\r\nhello\r\n" + END, "CWE-158"),
    _chunks("extension-of-5k", _EXTENSION, b"5;" + b"a" * 5000 + b"\r\nhello\r\n" + END, "CVE-2024-22019"),
    _chunks("extension-without-end", _EXTENSION, b"5;" + b"a" * 100_000, "CVE-2024-22019 (Node)"),
    Row("extensions-dropped", _EXTENSION, "RFC 9112 7.1.1",
        [OK + CHUNKED + b"\r\n" + b'5;a=b;c="d\xff"\r\nhello\r\n0;last\r\n\r\n'],
        answer(OK, CHUNKED, chunk(b"hello") + END)),
    *(
        Row(f"truncated-in-{name}-by-{how.__name__.lower()}", _SHORT, "RFC 9112 8",
            [OK + CHUNKED + b"\r\n" + chunk(b"good"), Gate(), data, how()],
            cut(OK, CHUNKED, chunk(b"good") + more))
        for name, data, more in [
            ("nothing", b"", b""),
            ("size", b"5", b""),
            ("content", b"5\r\nhel", chunk(b"hel")),
            ("chunk-end", b"5\r\nhello\r", chunk(b"hello")),
            ("last-size", b"0\r\n", b""),
            ("trailers", b"0\r\nX-A: b\r\n", b""),
        ]
        for how in (Close, Reset)
    ),
]  # fmt: skip

TRAILERS = [
    Row("trailers-framing-taken-out", _TRAILER, "RFC 9110 6.5.1",
        [OK + CHUNKED + b"\r\n" + chunk(b"hello") + b"0\r\nX-Sum: 1\r\nContent-Length: 99\r\n"
         b"Transfer-Encoding: gzip\r\nConnection: x\r\nTrailer: x\r\nawfproxy-error: x\r\n\r\n"],
        answer(OK, CHUNKED, chunk(b"hello") + b"0\r\nX-Sum: 1\r\n\r\n")),
    Row("trailers-of-the-head", _TRAILER, "RFC 9110 6.5.1: they stay trailers, and are no head's",
        [OK + CHUNKED + b"\r\n" + chunk(b"hello") + b"0\r\nSet-Cookie: a=1\r\nAuthorization: x\r\n\r\n"],
        answer(OK, CHUNKED, chunk(b"hello") + b"0\r\nSet-Cookie: a=1\r\nAuthorization: x\r\n\r\n")),
    Row("trailers-of-a-proxy", _TRAILER, "RFC 9110 11.7.1",
        [OK + CHUNKED + b"\r\n" + chunk(b"hello") + b"0\r\nProxy-Authenticate: Basic\r\n\r\n"],
        answer(OK, CHUNKED, chunk(b"hello") + END)),
    _chunks("trailer-bare-lf", _TRAILER, b"0\r\nX-A: b\nX-B: c\r\n\r\n", "RFC 9112 2.2"),
    _chunks("trailer-folded", _TRAILER, b"0\r\nX-A: b\r\n c\r\n\r\n", "RFC 9112 5.2"),
    _chunks("trailer-nul", _TRAILER, b"0\r\nX-A: b\0\r\n\r\n", "RFC 9110 5.5"),
    _chunks("trailer-no-colon", _TRAILER, b"0\r\nGET / HTTP/1.1\r\n\r\n", "TRAILER.MERGE class"),
    _chunks("trailers-without-end", _TRAILER, b"0\r\n" + b"X-A: b\r\n" * 4000, "CWE-770"),
    _chunks("trailer-of-20k", _TRAILER, b"0\r\nX-A: " + b"a" * 20_000, "CWE-770"),
]  # fmt: skip

_204 = b"HTTP/1.1 204 No Content\r\n"
_304 = b"HTTP/1.1 304 Not Modified\r\n"

NO_BODIES = [
    # In the same piece, and after the next request: the second is what smuggles.
    *(
        Row(f"{name}-with-a-body-{when}", _NONE, "RFC 9112 6.3; response queue poisoning by HEAD",
            [head + b"\r\n" + EVIL, Left()] if when == "at-once" else [head + b"\r\n", More(), EVIL, Left()],
            answer(head, b""), method=method)
        for name, method, head in [
            ("head", b"HEAD", OK + b"Content-Length: 45\r\n"),
            ("head-without-length", b"HEAD", OK),
            ("204", b"GET", _204 + b"Content-Length: 45\r\n"),
            ("304", b"GET", _304 + b"Content-Length: 45\r\n"),
        ]
        for when in ("at-once", "later")
    ),
    Row("204-chunked", _NONE, "RFC 9112 6.3", [_204 + CHUNKED + b"\r\n" + END], answer(_204)),
    Row("205-with-a-body", _NONE, "RFC 9110 15.3.6: framed as any other",
        [b"HTTP/1.1 205 Reset Content\r\n" + LENGTH_5 + b"\r\nhello"],
        answer(b"HTTP/1.1 205 Reset Content\r\n", LENGTH_5, b"hello")),
    Row("length-0-with-a-body", _NONE, "RFC 9112 6.3",
        [OK + b"Content-Length: 0\r\n\r\n" + EVIL, Left()], answer(OK, b"Content-Length: 0\r\n")),
]  # fmt: skip

AFTER_THE_END = [
    Row("after-length", _LONG, "response queue poisoning", [OK + LENGTH_5 + b"\r\nhello" + EVIL, Left()],
        answer(OK, LENGTH_5, b"hello")),
    Row("after-chunks", _LONG, "response queue poisoning",
        [OK + CHUNKED + b"\r\n" + chunk(b"hello") + END + EVIL, Left()],
        answer(OK, CHUNKED, chunk(b"hello") + END)),
    Row("after-length-to-post", _LONG, "response queue poisoning",
        [OK + LENGTH_5 + b"\r\nhello" + EVIL, Left()], answer(OK, LENGTH_5, b"hello"), **POST),
    Row("after-an-error", _LONG, "response queue poisoning",
        [b"HTTP/1.1 500 X\r\n" + LENGTH_5 + b"\r\nhello" + EVIL, Left()],
        answer(b"HTTP/1.1 500 X\r\n", LENGTH_5, b"hello")),
    Row("after-length-a-crlf", _LONG, "RFC 9112 2.2: old servers", [OK + LENGTH_5 + b"\r\nhello\r\n", Left()],
        answer(OK, LENGTH_5, b"hello")),
    Row("later-on-the-idle-connection", _LONG, "an answer before its request",
        [OK + LENGTH_5 + b"\r\nhello", Gate(), EVIL, Left()], answer(OK, LENGTH_5, b"hello")),
    Row("later-half-an-answer", _LONG, "an answer before its request",
        [OK + LENGTH_5 + b"\r\nhello", Gate(), EVIL[:20], Left()], answer(OK, LENGTH_5, b"hello")),
]  # fmt: skip

_BOMB = gzip.compress(bytes(10_000_000))

UNTIL_CLOSE = [
    Row("until-close-notify", _CLOSE, "RFC 9112 6.3", [OK + b"\r\nto the end", Close()],
        answer(OK, CHUNKED, chunk(b"to the end") + END)),
    Row("until-close-http-1.0", _CLOSE, "RFC 9112 6.3",
        [b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nto the end", Close()],
        answer(OK, CHUNKED, chunk(b"to the end") + END)),
    Row("until-fin", _CLOSE, "RFC 8446 6.1: truncation", [OK + b"\r\nto the", Gate(), Fin()],
        cut(OK, CHUNKED, chunk(b"to the"))),
    Row("until-reset", _CLOSE, "RFC 9112 8", [OK + b"\r\nto the", Gate(), Reset()],
        cut(OK, CHUNKED, chunk(b"to the"))),
    Row("until-close-empty", _CLOSE, "RFC 9112 6.3", [OK + b"\r\n", Close()], answer(OK, CHUNKED, END)),
    Row("gzip-bomb", _CONTENT, "CWE-409: passes as it is, nothing here unpacks it",
        [OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(_BOMB) + _BOMB],
        answer(OK, b"Content-Encoding: gzip\r\nContent-Length: %d\r\n" % len(_BOMB), _BOMB)),
    Row("answer-in-the-content", _CONTENT, "content that looks like an answer stays content",
        [OK + b"Content-Length: %d\r\n\r\n" % len(EVIL) + EVIL],
        answer(OK, b"Content-Length: %d\r\n" % len(EVIL), EVIL)),
]  # fmt: skip

ROWS = [*LENGTHS, *CODINGS, *CHUNKS, *TRAILERS, *NO_BODIES, *AFTER_THE_END, *UNTIL_CLOSE]
