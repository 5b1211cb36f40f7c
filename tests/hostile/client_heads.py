"""The head: line breaks, field names and values, Host, versions, methods, sizes; and what is no HTTP."""

from tests.hostile.client_case import END, GET, HOST, KEPT, MALFORMED, SMUGGLED, UNKNOWN_METHOD, Case

_BARE = "RFC 9112 2.2; CVE-2022-32214, CVE-2023-30589"
_FOLD = "RFC 9112 5.2"
_NAME = "RFC 9110 5.1, RFC 9112 5.1"
_VALUE = "RFC 9110 5.5"
_HOST = "RFC 9112 3.2, RFC 9110 7.2"
_VERSION = "RFC 9112 2.3, RFC 9110 2.5"
_METHOD = "RFC 9110 9.1"
_LINE = "RFC 9112 3"
_SIZE = "RFC 9110 5.4, RFC 9112 3; CVE-2018-12121"
_OTHER = "cross-protocol requests, CWE-441"
_H11_STRICT = "it takes none, where a server SHOULD take one"
_START = b"GET /v1/MARK HTTP/1.1"


def _line(kind: str, name: str, source: str, line: bytes, answers: str = MALFORMED) -> Case:
    """A head with that line among its fields, and a request behind it."""
    return Case(kind, name, source, GET + line + b"\r\n\r\n" + SMUGGLED, answers)


def _good(
    kind: str, name: str, source: str, sent: bytes, never: bytes = b"", by_h11: str = ""
) -> Case:
    return Case(kind, name, source, sent, "200", "GET /v1/MARK", KEPT, never=never, not_by_h11=by_h11)


def _start(kind: str, name: str, source: str, start: bytes, answers: str = MALFORMED) -> Case:
    """A request line of that form."""
    return Case(kind, name, source, start + b"\r\n" + HOST + END + SMUGGLED, answers)


def _raw(name: str, data: bytes, answers: str = MALFORMED) -> Case:
    return Case("another protocol", name, _OTHER, data, answers)


BREAKS = (
    _raw("no CR at all", b"GET /v1/MARK HTTP/1.1\nHost: a\n\n" + SMUGGLED),
    Case("bare line break", "LF behind the request line", _BARE, _START + b"\nHost: a\r\n\r\n" + SMUGGLED),
    Case("bare line break", "LF behind Host", _BARE, _START + b"\r\nHost: a\n\r\n" + SMUGGLED),
    Case("bare line break", "LF as the empty line", _BARE, GET + b"\n" + SMUGGLED),
    Case("bare line break", "CR behind the request line", _BARE, _START + b"\rHost: a\r\n\r\n" + SMUGGLED),
    Case("bare line break", "CR CR LF", _BARE, _START + b"\r\r\nHost: a\r\n\r\n" + SMUGGLED),
    Case("bare line break", "CR CR LF at the end", _BARE, GET + b"\r\r\n" + SMUGGLED),
    Case("bare line break", "LF in front of the request", _BARE, b"\n" + GET + END),
    Case("bare line break", "CR in front of the request", _BARE, b"\r" + GET + END),
    Case("bare line break", "CR CR LF in front of the request", _BARE, b"\r\r\n" + GET + END),
    _line("bare line break", "CR in a value", _BARE, b"X: 1\rY: 2"),
    _line("bare line break", "LF in a value", _BARE, b"X: 1\nY: 2"),
    _line("bare line break", "CR in a name", _BARE, b"X\rY: 2"),
    _line("bare line break", "LF CR", _BARE, b"X: 1\n\rY: 2"),
    _line("bare line break", "CR at a value's end", _BARE, b"X: 1\r"),
    _good("empty lines in front", "one", "RFC 9112 2.2", END + GET + END, by_h11=_H11_STRICT),
    _good("empty lines in front", "thousand", "RFC 9112 2.2", END * 1000 + GET + END, by_h11=_H11_STRICT),
    Case("empty lines in front", "then another protocol", "RFC 9112 2.2", END * 3 + b"QUIT\r\n\r\n",
         UNKNOWN_METHOD),
)  # fmt: skip

FOLDS = (
    _line("obs-fold", "space", _FOLD, b"X: 1\r\n 2"),
    _line("obs-fold", "tab", _FOLD, b"X: 1\r\n\t2"),
    _line("obs-fold", "an empty folded line", _FOLD, b"X: 1\r\n "),
    Case("obs-fold", "of Host", _FOLD, _START + b"\r\nHost: a\r\n b\r\n\r\n" + SMUGGLED),
    Case("obs-fold", "in front of the first field", _FOLD, _START + b"\r\n Host: a\r\n\r\n" + SMUGGLED),
    Case("obs-fold", "alone in front of the first field", _FOLD, _START + b"\r\n \r\nHost: a\r\n\r\n"),
)  # fmt: skip

FIELDS = (
    *(
        _line("field name, malformed", name, _NAME, line)
        for name, line in (
            ("empty", b": 1"), ("space in front of the colon", b"X : 1"),
                           ("tab in front of the colon", b"X\t: 1"),
            ("two words", b"X Y: 1"), ("no colon", b"X"), ("parenthesis", b"X(: 1"), ("slash", b"X/Y: 1"),
            ("bracket", b"X[0]: 1"), ("at", b"X@: 1"), ("quotes", b'"X": 1'), ("semicolon", b"X;: 1"),
            ("comma", b"X,: 1"), ("equals", b"X=1: 1"), ("braces", b"{X}: 1"), ("less than", b"<X>: 1"),
            ("question mark", b"X?: 1"), ("backslash", b"X\\: 1"), ("NUL", b"X\0: 1"), ("DEL", b"X\x7f: 1"),
            ("beyond ASCII", b"X\xe9: 1"), ("UTF-8", "Ü: 1".encode()), ("vertical tab", b"X\x0b: 1"),
        )
    ),
    *(
        _line("field value, malformed", name, _VALUE, line)
        for name, line in (
            ("NUL", b"X: a\0b"), ("SOH", b"X: a\x01b"), ("escape", b"X: a\x1bb"), ("DEL", b"X: a\x7fb"),
            ("vertical tab", b"X: a\x0bb"), ("form feed", b"X: a\x0cb"), ("backspace", b"X: \x08"),
        )
    ),
    _good("field value as it may be", "octets beyond ASCII", _VALUE, GET + b"X: \x80\xa0\xff\r\n\r\n"),
    _good("field value as it may be", "tab", _VALUE, GET + b"X: a\tb\r\n\r\n"),
    _good("field value as it may be", "encoded line break", _VALUE,
          GET + b"X: a%0d%0aHost: evil.test\r\n\r\n"),
)  # fmt: skip

BAD_HOST = "400 bad_host"
HOSTS = (
    Case("Host", "none", _HOST, _START + b"\r\n\r\n" + SMUGGLED, BAD_HOST),
    Case("Host", "two", _HOST, GET + b"Host: evil.test\r\n\r\n" + SMUGGLED, BAD_HOST),
    Case("Host", "two equal ones", _HOST, GET + HOST + END, BAD_HOST),
    Case("Host", "two in another case", _HOST, GET + b"X: 1\r\nhOsT: evil.test\r\n\r\n", BAD_HOST),
    Case("Host", "second one empty", _HOST, GET + b"Host:\r\n\r\n", BAD_HOST),
    *(
        Case("Host", name, _HOST, _START + b"\r\nHost: " + value + b"\r\n\r\n" + SMUGGLED, BAD_HOST)
        for name, value in (
            ("list", b"a, evil.test"), ("two words", b"a evil.test"), ("user", b"a@evil.test"),
            ("path", b"evil.test/x"), ("query", b"evil.test?x"), ("URL", b"http://evil.test"),
            ("port that is none", b"a:b"), ("two ports", b"a:1:2"), ("bracket left open", b"[::1"),
            ("backslash", b"a\\evil.test"), ("quotes", b'"a"'),
        )
    ),
    Case("Host", "with NUL", _HOST, _START + b"\r\nHost: a\0.evil.test\r\n\r\n"),
    Case("Host", "space before the colon", _HOST, _START + b"\r\nHost : a\r\n\r\n"),
    _good("Host as it may be", "another's name does not choose the origin", _HOST,
          _START + b"\r\nHost: evil.test\r\n\r\n", never=b"evil"),
    _good("Host as it may be", "empty", _HOST, _START + b"\r\nHost:\r\n\r\n"),
    _good("Host as it may be", "X-Forwarded-Host", "Host header injection, CWE-644",
          GET + b"X-Forwarded-Host: evil.test\r\n\r\n",
          never=b"evil"),
    _good("Host as it may be", "Forwarded", "RFC 7239", GET + b"Forwarded: host=evil.test\r\n\r\n",
          never=b"evil"),
    Case("Host as it may be", "none in HTTP/1.0", _HOST, b"GET /v1/MARK HTTP/1.0\r\n\r\n", "200",
         "GET /v1/MARK"),
    Case("Host", "two in HTTP/1.0", _HOST, b"GET /v1/MARK HTTP/1.0\r\n" + HOST * 2 + END, BAD_HOST),
)  # fmt: skip

UNSUPPORTED = "505 version_not_supported"
VERSIONS = (
    Case("HTTP/0.9", "simple request", "RFC 1945 4.1", b"GET /v1/MARK\r\n\r\n" + SMUGGLED,
         UNSUPPORTED),
    _start("HTTP/0.9", "in words", _VERSION, b"GET /v1/MARK HTTP/0.9", UNSUPPORTED),
    _start("HTTP version", "2.0", _VERSION, b"GET /v1/MARK HTTP/2.0", UNSUPPORTED),
    _start("HTTP version", "2", _VERSION, b"GET /v1/MARK HTTP/2", MALFORMED),
    _start("HTTP version", "3.0", _VERSION, b"GET /v1/MARK HTTP/3.0", MALFORMED),
    _start("HTTP version", "1.2", _VERSION, b"GET /v1/MARK HTTP/1.2", MALFORMED),
    _start("HTTP version", "1.10", _VERSION, b"GET /v1/MARK HTTP/1.10"),
    _start("HTTP version", "01.1", _VERSION, b"GET /v1/MARK HTTP/01.1"),
    _start("HTTP version", "11", _VERSION, b"GET /v1/MARK HTTP/11"),
    _start("HTTP version", "lower case", _VERSION, b"GET /v1/MARK http/1.1"),
    _start("HTTP version", "of another protocol", _VERSION, b"GET /v1/MARK RTSP/1.0"),
    _start("HTTP version", "ICE", _VERSION, b"SOURCE /v1/MARK ICE/1.0"),
    _start("HTTP version", "HTTPS", _VERSION, b"GET /v1/MARK HTTPS/1.1"),
    _start("HTTP version", "space inside", _VERSION, b"GET /v1/MARK HTTP /1.1"),
    _start("HTTP version", "space behind", _VERSION, b"GET /v1/MARK HTTP/1.1 "),
    _start("HTTP version", "two", _VERSION, b"GET /v1/MARK HTTP/1.1 HTTP/1.1"),
    _start("HTTP version", "NUL behind", _VERSION, b"GET /v1/MARK HTTP/1.1\0"),
)  # fmt: skip

REFUSED = "405 method_not_allowed"
METHODS = (
    _start("method", "lower case", _METHOD, b"get /v1/MARK HTTP/1.1", UNKNOWN_METHOD),
    _start("method", "mixed case", _METHOD, b"GeT /v1/MARK HTTP/1.1", UNKNOWN_METHOD),
    _start("method", "unheard of", _METHOD, b"FROB /v1/MARK HTTP/1.1", UNKNOWN_METHOD),
    _start("method", "longer than one known", _METHOD, b"GETS /v1/MARK HTTP/1.1", UNKNOWN_METHOD),
    _start("method", "none", _METHOD, b" /v1/MARK HTTP/1.1"),
    _start("method", "space in front", _LINE, b" GET /v1/MARK HTTP/1.1"),
    _start("method", "tab behind", _LINE, b"GET\t/v1/MARK HTTP/1.1"),
    _start("method", "two spaces behind", _LINE, b"GET  /v1/MARK HTTP/1.1"),
    _start("method", "two spaces behind the target", _LINE, b"GET /v1/MARK  HTTP/1.1"),
    _start("method", "vertical tab behind", _LINE, b"GET\x0b/v1/MARK HTTP/1.1"),
    _start("method", "NUL", _METHOD, b"GE\0T /v1/MARK HTTP/1.1"),
    _start("method", "beyond ASCII", _METHOD, b"G\xc9T /v1/MARK HTTP/1.1"),
    _start("method", "colon", _METHOD, b"GET: /v1/MARK HTTP/1.1"),
    _start("CONNECT", "authority-form", "RFC 9110 9.3.6", b"CONNECT evil.test:443 HTTP/1.1", REFUSED),
    _start("CONNECT", "to the provider", "RFC 9110 9.3.6", b"CONNECT {ORIGIN} HTTP/1.1", REFUSED),
    _start("CONNECT", "to a path", "RFC 9110 9.3.6", b"CONNECT /v1/MARK HTTP/1.1", REFUSED),
    Case("CONNECT", "with content", "RFC 9110 9.3.6",
         b"CONNECT evil.test:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 43\r\n\r\n" + SMUGGLED, REFUSED),
    _start("TRACE", "path", "RFC 9110 9.3.8; cross-site tracing (2003)", b"TRACE /v1/MARK HTTP/1.1", REFUSED),
    Case("TRACE", "with content", "RFC 9110 9.3.8",
         b"TRACE /v1/MARK HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde" + SMUGGLED, REFUSED),
    Case("method as it may be", "PURGE", _METHOD, b"PURGE /v1/MARK HTTP/1.1\r\n" + HOST + END, "200",
         "PURGE /v1/MARK", KEPT),
    Case("method as it may be", "HEAD has no content", "RFC 9110 9.3.2",
         b"HEAD /v1/kit/length?MARK HTTP/1.1\r\n" + HOST + END, "200", "HEAD /v1/kit/length?MARK", KEPT),
    Case("method as it may be", "content of DELETE", "RFC 9110 9.3.5",
         b"DELETE /v1/MARK HTTP/1.1\r\n" + HOST + b"Content-Length: 43\r\n\r\n" + SMUGGLED, "200",
         "DELETE /v1/MARK 43", KEPT),
)  # fmt: skip

LARGE = "431 head_too_large"
SIZES = (
    _start("too large", "target", _SIZE, b"GET /v1/MARK/" + b"t" * 16384 + b" HTTP/1.1",
           "414 target_too_long"),
    _start("too large", "query", _SIZE, b"GET /v1/MARK?" + b"q" * 20000 + b" HTTP/1.1",
           "414 target_too_long"),
    Case("too large", "target without an end", _SIZE, b"GET /v1/MARK/" + b"t" * 300_000,
         "414 target_too_long"),
    _line("too large", "one field", _SIZE, b"X: " + b"a" * 70_000, LARGE),
    _line("too large", "field name", _SIZE, b"X" * 70_000 + b": 1", LARGE),
    _line("too large", "field without an end", _SIZE, b"X: " + b"a" * 300_000, LARGE),
    _line("too large", "all fields together", _SIZE, (b"X: " + b"a" * 1000 + b"\r\n") * 70 + b"X: 1", LARGE),
    _line("too large", "256 fields beside Host", "RFC 9110 5.4", b"X: 1\r\n" * 255 + b"X: 1", LARGE),
    _line("too large", "10000 empty fields", "RFC 9110 5.4", b"X:\r\n" * 9999 + b"X:", LARGE),
    Case("too large", "method without an end", _SIZE, b"G" * 300_000, UNKNOWN_METHOD),
    Case("too large", "empty lines without an end", "RFC 9112 2.2", END * 100_000, LARGE),
    Case("too large", "absolute-form", _SIZE,
         b"GET http://{ORIGIN}/MARK" + b"t" * 20000 + b" HTTP/1.1\r\n" + HOST + END,
         "414 target_too_long"),
    _good("large as it may be", "255 fields beside Host", "RFC 9110 5.4", GET + b"X: 1\r\n" * 255 + END),
    _good("large as it may be", "60000 octets of fields", "RFC 9110 5.4",
          GET + (b"X: " + b"a" * 992 + b"\r\n") * 60 + END),
)  # fmt: skip

_HELLO = bytes.fromhex("160301020001fc0303") + bytes(range(32)) + bytes(400)
OTHERS = (
    _raw("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"),
         MALFORMED),
    _raw("TLS client hello", _HELLO),
    _raw("TLS alert", bytes.fromhex("15030100020100")),
    _raw("SSH", b"SSH-2.0-OpenSSH_9.2\r\n", UNKNOWN_METHOD),
    _raw("SMTP", b"EHLO evil.test\r\nMAIL FROM:<a@evil.test>\r\n", UNKNOWN_METHOD),
    _raw("FTP", b"USER anonymous\r\n", UNKNOWN_METHOD),
    _raw("Redis", b"*1\r\n$8\r\nFLUSHALL\r\n", UNKNOWN_METHOD),
    _raw("memcached", b"stats\r\n", UNKNOWN_METHOD),
    _raw("SOCKS5", bytes.fromhex("050100")),
    _raw("SOCKS4", bytes.fromhex("04010050") + bytes(5)),
    _raw("PROXY protocol 1", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + GET + END, UNKNOWN_METHOD),
    _raw("PROXY protocol 2", b"\r\n\r\n\0\r\nQUIT\n" + bytes.fromhex("2111000c") + bytes(12) + GET + END),
    _raw("JSON", b'{"jsonrpc": "2.0"}\r\n\r\n'),
    _raw("NUL bytes", bytes(1000)),
    _raw("ones", b"\xff" * 1000),
    _raw("an answer", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + SMUGGLED),
)  # fmt: skip

ROWS = (*BREAKS, *FOLDS, *FIELDS, *HOSTS, *VERSIONS, *METHODS, *SIZES, *OTHERS)
