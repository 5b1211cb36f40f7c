"""The chunked coding: sizes, extensions, the ends of chunks, the last chunk and the trailer section."""

from tests.hostile.client_case import ARRIVED, CHUNKED, KEPT, LEFT, MALFORMED, RESET, SMUGGLED, Case

_SIZE = "RFC 9112 7.1"
_OVERFLOW = "RFC 9112 7.1 (large numerals); CVE-2022-24801, CVE-2013-2028"
_EXT = "RFC 9112 7.1.1"
_FUNKY = "Funky chunks, TERM, EXT and SPILL (2025)"
_LF = "RFC 9112 2.2; CVE-2025-22871, CVE-2022-32214"
_END = b"0\r\n\r\n"


def _size(name: str, size: bytes, source: str = _SIZE) -> Case:
    return Case("chunk size, malformed", name, source, CHUNKED + size + b"\r\nabcde\r\n" + _END + SMUGGLED)


def _overflow(name: str, size: bytes) -> Case:
    return Case("chunk size, overflow", name, _OVERFLOW, CHUNKED + size + b"\r\nabcde\r\n" + _END + SMUGGLED)


def _content(kind: str, name: str, source: str, body: bytes) -> Case:
    return Case(kind, name, source, CHUNKED + body + SMUGGLED)


def _good(kind: str, name: str, source: str, body: bytes, octets: int = 5, never: bytes = b"") -> Case:
    """A whole body, and then a request of its own."""
    saw = f"POST /v1/MARK {octets}, GET /v1/MARK/smuggled"
    not_by_h11 = "it takes no trailer of that name" if b"Transfer-Encoding" in body else ""
    sent = CHUNKED + body + SMUGGLED
    return Case(kind, name, source, sent, "200, 200", saw, KEPT, never=never, not_by_h11=not_by_h11)


SIZES = (
    _size("plus", b"+5", "RFC 9112 7.1; CVE-2023-38697"),
    _size("minus", b"-5"),
    _size("prefix 0x", b"0x5", "RFC 9112 7.1; CVE-2022-24761"),
    _size("underscore", b"0_5"),
    _size("suffix", b"5h"),
    _size("no digit", b"g"),
    _size("empty", b""),
    _size("space in front", b" 5"),
    _size("space behind", b"5 "),
    _size("tab behind", b"5\t"),
    _size("vertical tab in front", b"\x0b5"),
    _size("vertical tab behind", b"5\x0b"),
    _size("NUL", b"5\0"),
    _size("comma", b"5,5"),
    _size("fullwidth digit", "\uff15".encode()),
    _size("a word", b"chunked"),
    _content("chunk size, malformed", "minus zero", _SIZE, b"-0\r\n\r\n"),
    _content("chunk size, malformed", "plus zero", _SIZE, b"+0\r\n\r\n"),
    _content("chunk size, malformed", "0x0", _SIZE, b"0x0\r\n\r\n"),
    _content("chunk size, malformed", "line break in front", _SIZE, b"\r\n5\r\nabcde\r\n" + _END),
    _overflow("2^64 + 5", b"10000000000000005"),
    _overflow("2^64", b"10000000000000000"),
    _overflow("2^63", b"8000000000000000"),
    _overflow("2^64 - 1", b"ffffffffffffffff"),
    _overflow("17 digits, all zero but one", b"00000000000000005"),
    _overflow("4000 digits", b"f" * 4000),
    Case("chunk size, overflow", "2^32 + 5 is not 5", _OVERFLOW,
         (CHUNKED + b"100000005\r\nabcde\r\n" + _END + SMUGGLED, ARRIVED, RESET), "", "POST /v1/MARK cut",
         LEFT),
    Case("chunk size, overflow", "2^59", _OVERFLOW,
         (CHUNKED + b"800000000000000\r\nabcde\r\n" + _END + SMUGGLED, ARRIVED, RESET),
         "", "POST /v1/MARK cut", LEFT),
    _good("chunk size as it may be", "leading zeros", _SIZE, b"00005\r\nabcde\r\n000\r\n\r\n"),
    _good("chunk size as it may be", "either case", _SIZE, b"A\r\nabcdefghij\r\na\r\nabcdefghij\r\n" + _END,
          20),
)  # fmt: skip

EXTENSIONS = (
    _good("chunk extension, dropped", "name and value", _EXT, b"5;sneaky=1\r\nabcde\r\n" + _END,
          never=b"sneaky"),
    _good("chunk extension, dropped", "name alone", _EXT, b"5;a\r\nabcde\r\n0;b\r\n\r\n"),
    _good("chunk extension, dropped", "empty", _EXT, b"5;\r\nabcde\r\n" + _END),
    _good("chunk extension, dropped", "quoted with a semicolon", _EXT, b'5;a="b;c"\r\nabcde\r\n' + _END),
    _good("chunk extension, dropped", "octets beyond ASCII", _EXT, b"5;a=\xe9\r\nabcde\r\n" + _END),
    _good("chunk extension, dropped", "4000 octets", _EXT, b"5;a=" + b"b" * 4000 + b"\r\nabcde\r\n" + _END),
    _good("chunk extension, dropped", "100 long ones", "CVE-2023-39326",
          (b"1;" + b"e" * 4000 + b"\r\nx\r\n") * 100 + _END, 100),
    _content("chunk extension, malformed", "bare LF in it", _FUNKY + "; " + _LF,
             b"5;a\nbcde\r\nabcde\r\n" + _END),
    _content("chunk extension, malformed", "bare LF, then a size", _FUNKY,
             b"5;\n2d\r\nabcde\r\n" + _END),
    _content("chunk extension, malformed", "bare LF instead of CRLF", _LF, b"5;a\nabcde\r\n" + _END),
    _content("chunk extension, malformed", "bare CR in it", _LF, b"5;a\rb\r\nabcde\r\n" + _END),
    _content("chunk extension, malformed", "NUL", _EXT, b"5;a\0\r\nabcde\r\n" + _END),
    _content("chunk extension, malformed", "control byte", _EXT, b"5;a=\x01\r\nabcde\r\n" + _END),
    _content("chunk extension, malformed", "space before the semicolon", _EXT, b"5 ;a\r\nabcde\r\n" + _END),
    _content("chunk extension, malformed", "bare LF in the last one", _FUNKY, b"5\r\nabcde\r\n0;\n\r\n"),
    _content("chunk extension, too long", "5000 octets", "CVE-2024-22019",
             b"5;a=" + b"b" * 5000 + b"\r\nabcde\r\n" + _END),
    _content("chunk extension, too long", "a megabyte without an end", "CVE-2024-22019",
             b"5;a=" + b"b" * 1_000_000),
)  # fmt: skip

ENDS = (
    _content("chunk end", "none", _SIZE, b"5\r\nabcde" + _END),
    _content("chunk end", "two other octets", _FUNKY, b"5\r\nabcdeXX0\r\n\r\n"),
    _content("chunk end", "bare LF", _LF, b"5\r\nabcde\n" + _END),
    _content("chunk end", "two LF", _FUNKY, b"5\r\nabcde\n\n" + _END),
    _content("chunk end", "bare CR", _LF, b"5\r\nabcde\r" + _END),
    _content("chunk end", "LF and CR", _FUNKY, b"5\r\nabcde\n\r" + _END),
    _content("chunk end", "CR and NUL", _FUNKY, b"5\r\nabcde\r\0" + _END),
    _content("chunk end", "an octet too early", _FUNKY, b"5\r\nabcd\r\n" + _END),
    _content("chunk end", "an octet too late", _FUNKY, b"5\r\nabcdef\r\n" + _END),
    _content("chunk end", "line break twice", _FUNKY, b"5\r\nabcde\r\n\r\n" + _END),
    _content("chunk end", "size line with a bare LF", _LF, b"5\nabcde\r\n" + _END),
    _content("chunk end", "size line with a bare CR", _LF, b"5\rabcde\r\n" + _END),
    _content("chunk end", "size line with CR CR LF", _LF, b"5\r\r\nabcde\r\n" + _END),
    _content("chunk end", "last chunk by bare LF", _LF, b"5\r\nabcde\r\n0\n\n"),
    _content("chunk end", "empty line by bare LF", _LF, b"5\r\nabcde\r\n0\r\n\n"),
    _content("chunk end", "empty line by CR CR", _LF, b"5\r\nabcde\r\n0\r\n\r\r\n"),
    Case("chunk end", "wrong once the request has gone", _SIZE,
         (CHUNKED + b"5\r\nabcde\r\n", ARRIVED, b"5\r\nabcdeXX" + _END + SMUGGLED),
         MALFORMED, "POST /v1/MARK cut"),
    Case("chunk size, malformed", "once the request has gone", _SIZE,
         (CHUNKED + b"5\r\nabcde\r\n", ARRIVED, b"0x5\r\nabcde\r\n" + _END + SMUGGLED),
         MALFORMED, "POST /v1/MARK cut"),
)  # fmt: skip

_TRAILER = "RFC 9112 7.1.2, RFC 9110 6.5.1"
_BODY = b"5\r\nabcde\r\n0\r\n"

TRAILERS = (
    _content("trailers, malformed", "no colon", _TRAILER, _BODY + b"sneaky\r\n\r\n"),
    _content("trailers, malformed", "no name", _TRAILER, _BODY + b": 1\r\n\r\n"),
    _content("trailers, malformed", "space before the colon", _TRAILER, _BODY + b"X : 1\r\n\r\n"),
    _content("trailers, malformed", "space in front", _TRAILER, _BODY + b" X: 1\r\n\r\n"),
    _content("trailers, malformed", "folded", _TRAILER, _BODY + b"X: 1\r\n 2\r\n\r\n"),
    _content("trailers, malformed", "bare LF", _TRAILER, _BODY + b"X: 1\nY: 2\r\n\r\n"),
    _content("trailers, malformed", "bare CR", _TRAILER, _BODY + b"X: 1\rY: 2\r\n\r\n"),
    _content("trailers, malformed", "NUL", _TRAILER, _BODY + b"X: 1\0\r\n\r\n"),
    _content("trailers, malformed", "a request in their place", _TRAILER, _BODY),
    _content("trailers, too large", "one field", "RFC 9110 5.4", _BODY + b"X: " + b"a" * 5000 + b"\r\n\r\n"),
    _content("trailers, too large", "many fields", "RFC 9110 5.4",
             _BODY + (b"X: " + b"a" * 1000 + b"\r\n") * 20 + b"\r\n"),
    *(
        _good("trailers, removed", name.decode(), _TRAILER, _BODY + name + b": " + value + b"\r\n\r\n",
              never=never)
        for name, value, never in (
            (b"Authorization", b"Bearer sneaky", b"sneaky"),
            (b"authorization", b"Basic sneaky", b"sneaky"),
            (b"X-Api-Key", b"sneaky", b"sneaky"),
            (b"X_Api_Key", b"sneaky", b"sneaky"),
            (b"Cookie", b"sneaky", b"sneaky"),
            (b"Proxy-Authorization", b"sneaky", b"sneaky"),
            (b"Content-Length", b"77777", b"77777"),
            (b"Content_Length", b"77777", b"77777"),
            (b"Transfer-Encoding", b"sneaky", b"sneaky"),
            (b"Host", b"sneaky.test", b"sneaky"),
            (b"Connection", b"sneaky", b"sneaky"),
            (b"Content-Encoding", b"sneaky", b"sneaky"),
            (b"X-HTTP-Method-Override", b"SNEAKY", b"SNEAKY"),
            (b"X-Forwarded-For", b"sneaky", b"sneaky"),
        )
    ),
)  # fmt: skip

ROWS = (*SIZES, *EXTENSIONS, *ENDS, *TRAILERS)
