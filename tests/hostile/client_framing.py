"""Where a request ends: Content-Length, Transfer-Encoding, both, each written so that readers may differ."""

from tests.hostile.client_case import ARRIVED, GET, KEPT, LEFT, POST, RESET, SMUGGLED, Case

_BOTH = "RFC 9112 6.3 (3), CWE-444"
_DESYNC = "PortSwigger, HTTP Desync Attacks (2019)"
_TE = "RFC 9112 6.1, 7; CVE-2022-32213; PortSwigger, HTTP Desync Attacks (2019)"
_OWS = "RFC 9112 5.1; CVE-2021-22959"
_FOLD = "RFC 9112 5.2; CVE-2022-32215"
_LENGTH = "RFC 9110 8.6"

_FIVE = b"5\r\nabcde\r\n0\r\n\r\n"


def _coded(kind: str, name: str, source: str, line: bytes, answers: str = "400 malformed_request") -> Case:
    """A chunked body under that line, and a request behind it."""
    return Case(kind, name, source, POST + line + b"\r\n\r\n" + _FIVE + SMUGGLED, answers)


def _chunked(name: str, source: str, line: bytes) -> Case:
    """One that is the chunked coding, for every reader alike: both requests are what they seem."""
    sent = POST + line + b"\r\n\r\n" + _FIVE + SMUGGLED
    saw = "POST /v1/MARK 5, GET /v1/MARK/smuggled"
    return Case("TE as it may be", name, source, sent, "200, 200", saw, KEPT)


def _length(name: str, line: bytes, source: str = _LENGTH) -> Case:
    return Case("Content-Length, malformed", name, source, POST + line + b"\r\n\r\nabcde" + SMUGGLED)


BOTH = (
    Case("CL.TE", "length counts the chunks", _BOTH,
         POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG" + SMUGGLED),
    Case("CL.TE", "a request behind the last chunk", _DESYNC,
         POST + b"Content-Length: 68\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED),
    Case("CL.TE", "no length at all", _BOTH,
         POST + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n" + _FIVE + SMUGGLED),
    Case("CL.TE", "coding twice", _BOTH,
         POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n\r\n" + _FIVE),
    Case("TE.CL", "coding first", _BOTH,
         POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + _FIVE + SMUGGLED),
    Case("TE.CL", "a request inside a chunk", _DESYNC,
         POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2b\r\n" + SMUGGLED
         + b"\r\n0\r\n\r\n"),
    Case("TE.CL", "empty coding", _BOTH,
         POST + b"Transfer-Encoding:\r\nContent-Length: 5\r\n\r\nabcde" + SMUGGLED),
    Case("TE.CL", "identity", _BOTH,
         POST + b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nabcde" + SMUGGLED),
    Case("TE.CL", "to GET", _BOTH,
         GET + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + _FIVE),
    Case("CL.0", "a request as content", "PortSwigger, Browser-Powered Desync Attacks (2022)",
         POST + b"Content-Length: 43\r\n\r\n" + SMUGGLED, "200", "POST /v1/MARK 43", KEPT),
    Case("0.CL", "content of GET", "PortSwigger, HTTP/1.1 must die (2025)",
         GET + b"Content-Length: 43\r\n\r\n" + SMUGGLED, "200", "GET /v1/MARK 43", KEPT),
    Case("0.CL", "length in two spellings", "PortSwigger, HTTP/1.1 must die (2025)",
         GET + b"Content_Length: 43\r\n\r\n" + SMUGGLED, "200, 200", "GET /v1/MARK, GET /v1/MARK/smuggled",
         KEPT,
         never=b"Content_Length"),
    Case("HTTP/1.0", "chunked", "RFC 9112 6.1",
         b"POST /v1/MARK HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + _FIVE + SMUGGLED),
    Case("HTTP/1.0", "chunked, kept alive", "RFC 9112 6.1",
         b"POST /v1/MARK HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
         + _FIVE + SMUGGLED),
    Case("HTTP/1.0", "content without a length", "RFC 9112 6.3",
         b"POST /v1/MARK HTTP/1.0\r\nHost: a\r\n\r\nabcde", "200", "POST /v1/MARK"),
    Case("HTTP/1.0", "a second request", "RFC 9112 9.3",
         b"GET /v1/MARK HTTP/1.0\r\nHost: a\r\n\r\n" + SMUGGLED, "200", "GET /v1/MARK"),
)  # fmt: skip

CODINGS = (
    _coded("TE obfuscated", "xchunked", _TE, b"Transfer-Encoding: xchunked"),
    _coded("TE obfuscated", "chunked and identity", _TE, b"Transfer-Encoding: chunked, identity"),
    _coded("TE obfuscated", "identity and chunked", _TE, b"Transfer-Encoding: identity, chunked"),
    _coded("TE obfuscated", "identity", _TE, b"Transfer-Encoding: identity"),
    _coded("TE obfuscated", "gzip and chunked", _TE, b"Transfer-Encoding: gzip, chunked"),
    _coded("TE obfuscated", "chunked twice", _TE, b"Transfer-Encoding: chunked, chunked"),
    _coded("TE obfuscated", "empty member behind", _TE, b"Transfer-Encoding: chunked,"),
    _coded("TE obfuscated", "empty member in front", _TE, b"Transfer-Encoding: , chunked"),
    _coded("TE obfuscated", "parameter", _TE, b"Transfer-Encoding: chunked;q=1"),
    _coded("TE obfuscated", "quoted", _TE, b'Transfer-Encoding: "chunked"'),
    _coded("TE obfuscated", "in apostrophes", _TE, b"Transfer-Encoding: 'chunked'"),
    _coded("TE obfuscated", "two words", _TE, b"Transfer-Encoding: chunked chunked"),
    _coded("TE obfuscated", "cut short", _TE, b"Transfer-Encoding: chunke"),
    _coded("TE obfuscated", "vertical tab in front", _TE, b"Transfer-Encoding: \x0bchunked"),
    _coded("TE obfuscated", "vertical tab behind", _TE, b"Transfer-Encoding: chunked\x0b"),
    _coded("TE obfuscated", "tab behind", "RFC 9110 5.5; llhttp refuses it", b"Transfer-Encoding: chunked\t"),
    _coded("TE obfuscated", "form feed", _TE, b"Transfer-Encoding: \x0cchunked"),
    _coded("TE obfuscated", "backspace", _TE, b"Transfer-Encoding: x\x08chunked"),
    _coded("TE obfuscated", "NUL in front", _TE, b"Transfer-Encoding: \0chunked"),
    _coded("TE obfuscated", "NUL behind", _TE, b"Transfer-Encoding: chunked\0"),
    _coded("TE obfuscated", "no-break space", _TE, b"Transfer-Encoding: \xa0chunked"),
    _coded("TE obfuscated", "octet beyond ASCII", _TE, b"Transfer-Encoding: chunked\xff"),
    _coded("TE obfuscated", "long s", _TE, "Transfer-Encoding: chunked\u017f".encode()),
    _coded("TE obfuscated", "CR in the value", _TE, b"Transfer-Encoding: chun\rked"),
    _coded("TE obfuscated", "CR in front of the value", _TE, b"Transfer-Encoding:\rchunked"),
    _coded("TE obfuscated", "LF in front of the value", _TE, b"Transfer-Encoding:\nchunked"),
    _coded("TE obfuscated", "two fields", _TE, b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    _coded("TE obfuscated", "two fields, first unknown", _TE,
           b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked"),
    _coded("TE obfuscated", "two fields, second unknown", _TE,
           b"Transfer-Encoding: chunked\r\nTransfer-encoding: x"),
    _coded("TE obfuscated", "two fields, second empty", _TE,
           b"Transfer-Encoding: chunked\r\nTransfer-Encoding:"),
    _coded("TE obfuscated", "space before the colon", _OWS, b"Transfer-Encoding : chunked"),
    _coded("TE obfuscated", "tab before the colon", _OWS, b"Transfer-Encoding\t: chunked"),
    _coded("TE obfuscated", "NUL before the colon", _OWS, b"Transfer-Encoding\0: chunked"),
    _coded("TE obfuscated", "space in front of the name", _FOLD, b" Transfer-Encoding: chunked"),
    _coded("TE obfuscated", "line break in the name", _OWS, b"Transfer-\r\nEncoding: chunked"),
    _coded("TE obfuscated", "line break before the colon", _OWS, b"Transfer-Encoding\r\n: chunked"),
    _coded("TE obfuscated", "behind a bare CR", "RFC 9112 2.2; CVE-2022-32214",
           b"X: y\rTransfer-Encoding: chunked"),
    _coded("TE obfuscated", "behind a bare LF", "RFC 9112 2.2; CVE-2022-32214",
           b"X: y\nTransfer-Encoding: chunked"),
    _coded("TE obfuscated", "folded into another field", _FOLD,
           b"X: y\r\n Transfer-Encoding: chunked"),
    _coded("TE obfuscated", "its value folded", _FOLD, b"Transfer-Encoding:\r\n chunked"),
    _coded("TE obfuscated", "its value folded by a tab", _FOLD, b"Transfer-Encoding: \r\n\tchunked"),
    Case("TE obfuscated", "underscore beside a length", _TE,
         POST + b"Transfer_Encoding: chunked\r\nContent-Length: 15\r\n\r\n" + _FIVE,
         "200", "POST /v1/MARK 15", KEPT, never=b"ransfer_"),
    Case("TE obfuscated", "underscore alone", _TE, POST + b"Transfer_Encoding: chunked\r\n\r\n" + _FIVE,
         "200, 501 method_not_implemented", "POST /v1/MARK", never=b"ransfer_"),
    _chunked("any case", "RFC 9112 7", b"tRANSFER-eNCODING: cHuNkEd"),
    _chunked("no white space", "RFC 9110 5.5", b"Transfer-Encoding:chunked"),
    _chunked("tab in front", "RFC 9110 5.5", b"Transfer-Encoding:\tchunked"),
    _chunked("space behind", "RFC 9110 5.5", b"Transfer-Encoding: chunked "),
)  # fmt: skip

LENGTHS = (
    _length("plus", b"Content-Length: +5", "RFC 9110 8.6; CVE-2023-38697"),
    _length("minus", b"Content-Length: -5"),
    _length("minus one", b"Content-Length: -1"),
    _length("hexadecimal", b"Content-Length: 0x5", "RFC 9110 8.6; CVE-2023-38697"),
    _length("hexadecimal digit", b"Content-Length: a"),
    _length("fraction", b"Content-Length: 5.0"),
    _length("exponent", b"Content-Length: 5e0"),
    _length("underscore", b"Content-Length: 0_5"),
    _length("semicolon", b"Content-Length: 5;"),
    _length("two numbers", b"Content-Length: 5 5"),
    _length("quoted", b'Content-Length: "5"'),
    _length("empty", b"Content-Length:"),
    _length("spaces alone", b"Content-Length:   "),
    _length("a word", b"Content-Length: chunked"),
    _length("digits beyond ASCII", "Content-Length: \u0665".encode()),
    _length("superscript", b"Content-Length: \xb2"),
    _length("vertical tab", b"Content-Length: \x0b5"),
    _length("NUL", b"Content-Length: 5\0"),
    _length("beyond 64 bits", b"Content-Length: 18446744073709551621", "RFC 9110 8.6; CWE-190"),
    _length("beyond 63 bits", b"Content-Length: 9223372036854775813", "RFC 9110 8.6; CWE-190"),
    _length("5000 digits", b"Content-Length: " + b"9" * 5000, "RFC 9110 8.6; CVE-2020-10735"),
    _length("space before the colon", b"Content-Length : 5", _OWS),
    _length("tab before the colon", b"Content-Length\t: 5", _OWS),
    _length("folded", b"Content-Length: 5\r\n 0", _FOLD),
    _length("behind a bare LF", b"X: y\nContent-Length: 5", "RFC 9112 2.2; CVE-2022-32214"),
    Case("Content-Length, repeated", "equal", "RFC 9112 6.3 (5)",
         POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde" + SMUGGLED),
    Case("Content-Length, repeated", "different", "RFC 9112 6.3 (5)",
         POST + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\nabcde" + SMUGGLED),
    Case("Content-Length, repeated", "zero first", "RFC 9112 6.3 (5)",
         POST + b"Content-Length: 0\r\nX: y\r\ncontent-length: 5\r\n\r\nabcde" + SMUGGLED),
    Case("Content-Length, repeated", "a list of equal ones", "RFC 9110 8.6",
         POST + b"Content-Length: 5, 5\r\n\r\nabcde" + SMUGGLED),
    Case("Content-Length, repeated", "a list of different ones", "RFC 9110 8.6",
         POST + b"Content-Length: 5,0\r\n\r\nabcde" + SMUGGLED),
    Case("Content-Length, repeated", "with an underscore", _DESYNC,
         POST + b"Content-Length: 5\r\nContent_Length: 0\r\n\r\nabcde", "200", "POST /v1/MARK 5", KEPT,
         never=b"Content_Length"),
    Case("Content-Length as it may be", "leading zeros", _LENGTH,
         POST + b"Content-Length: 00005\r\n\r\nabcde",
         "200", "POST /v1/MARK 5", KEPT, never=b"00005"),
    Case("Content-Length as it may be", "beyond 32 bits, not taken modulo", "RFC 9110 8.6; CWE-190",
         (POST + b"Content-Length: 4294967301\r\n\r\nabcde" + SMUGGLED, ARRIVED, RESET),
         "", "POST /v1/MARK cut", LEFT),
    Case("Content-Length as it may be", "of the next request", _LENGTH,
         POST + b"Content-Length: 5\r\n\r\nabcde" + SMUGGLED, "200, 200",
         "POST /v1/MARK 5, GET /v1/MARK/smuggled", KEPT),
)  # fmt: skip

ROWS = (*BOTH, *CODINGS, *LENGTHS)
