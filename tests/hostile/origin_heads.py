"""Hostile origins: status lines, other protocols, fields, sizes."""

from tests.hostile.origin_row import (
    CHUNKED,
    CLOSED,
    EVIL,
    LENGTH_5,
    MALFORMED,
    OK,
    POST,
    UPGRADED,
    Refused,
    Row,
    answer,
)
from tests.kit.scripted import Again, Below, Close, Left

_STATUS = "status line"
_OTHER = "another protocol"
_UPGRADE = "101 unasked, or to another protocol"
_HOP = "hop-by-hop fields"
_BREAK = "bare CR, LF and NUL"
_NAME = "field names"
_FOLD = "obs-fold"
_SIZE = "oversized"
_BODY = LENGTH_5 + b"\r\nhello"


def _line(name: str, line: bytes, source: str = "RFC 9112 4") -> Row:
    """A status line that is none, before an answer that would else be good."""
    return Row(name, _STATUS, source, [line + b"\r\n" + _BODY], MALFORMED)


def _field(name: str, kind: str, lines: bytes, source: str) -> Row:
    """Field lines that are none, in an answer that would else be good."""
    return Row(name, kind, source, [OK + lines + b"\r\n" + _BODY], MALFORMED)


STATUS_LINES = [
    Row("status-no-reason", _STATUS, "RFC 9112 4: the reason may be empty", [b"HTTP/1.1 200 \r\n" + _BODY],
        answer(b"HTTP/1.1 200 \r\n", LENGTH_5, b"hello")),
    Row("status-no-reason-and-no-space", _STATUS, "servers that leave the space out (llhttp, h11 take it)",
        [b"HTTP/1.1 200\r\n" + _BODY], answer(b"HTTP/1.1 200 \r\n", LENGTH_5, b"hello")),
    Row("status-latin-1-reason", _STATUS, "RFC 9112 4: obs-text", [b"HTTP/1.1 200 \xe9\xff\r\n" + _BODY],
        answer(b"HTTP/1.1 200 \xe9\xff\r\n", LENGTH_5, b"hello")),
    Row("status-999", _STATUS, "RFC 9110 15: three digits", [b"HTTP/1.1 999 Denied\r\n" + _BODY],
        answer(b"HTTP/1.1 999 Denied\r\n", LENGTH_5, b"hello")),
    Row("status-599", _STATUS, "RFC 9110 15", [b"HTTP/1.1 599 X\r\n" + _BODY],
        answer(b"HTTP/1.1 599 X\r\n", LENGTH_5, b"hello")),
    _line("status-000", b"HTTP/1.1 000 X"),
    _line("status-099", b"HTTP/1.1 099 X"),
    _line("status-two-digits", b"HTTP/1.1 20 OK"),
    _line("status-four-digits", b"HTTP/1.1 2000 OK"),
    _line("status-negative", b"HTTP/1.1 -20 OK"),
    _line("status-plus", b"HTTP/1.1 +200 OK"),
    _line("status-hexadecimal", b"HTTP/1.1 0xC8 OK"),
    _line("status-missing", b"HTTP/1.1 OK"),
    _line("status-other-digits", "HTTP/1.1 \N{FULLWIDTH DIGIT TWO}00 OK".encode()),
    _line("status-tab", b"HTTP/1.1\t200\tOK"),
    _line("status-two-spaces", b"HTTP/1.1  200 OK"),
    _line("status-space-in-front", b" HTTP/1.1 200 OK"),
    _line("status-lower-case", b"http/1.1 200 OK"),
    _line("status-nul-in-reason", b"HTTP/1.1 200 O\0K"),
    _line("status-bare-cr-in-reason", b"HTTP/1.1 200 O\rX: y"),
    _line("status-escape-in-reason", b"HTTP/1.1 200 \x1b[2J", "terminal escapes in logs, CWE-150"),
    _line("version-1.2", b"HTTP/1.2 200 OK", "RFC 9110 2.5: no such version"),
    _line("version-2.0", b"HTTP/2.0 200 OK", "RFC 9113: not in this form"),
    _line("version-2", b"HTTP/2 200", "RFC 9113: not in this form"),
    _line("version-0.9", b"HTTP/0.9 200 OK", "RFC 1945"),
    _line("version-long", b"HTTP/1.10 200 OK"),
    _line("version-of-icy", b"ICY 200 OK", "SHOUTcast, which llhttp takes in its lenient mode"),
    Row("empty-line-in-front", _STATUS, "RFC 9112 2.2 allows it to clients' servers; here it is read over",
        [b"\r\n" + OK + _BODY], answer(OK, LENGTH_5, b"hello")),
    Row("bare-lf-in-front", _STATUS, "RFC 9112 2.2", [b"\n" + OK + _BODY], MALFORMED),
    Row("bare-lf-lines", _BREAK, "RFC 9112 2.2: clients may take it; two readers differ",
        [b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"], MALFORMED),
]  # fmt: skip

OTHER_PROTOCOLS = [
    Row("http-0.9", _OTHER, "RFC 1945: a body and nothing else", [b"<html>hello</html>", Close()], MALFORMED),
    Row("nothing-but-lf", _OTHER, "RFC 9112 2.2", [b"\n\n\n\n", Close()], MALFORMED),
    Row("smtp", _OTHER, "ALPACA (alpaca-attack.com): another service's port",
        [b"220 mail ESMTP\r\n", Close()], MALFORMED),
    Row("ssh", _OTHER, "ALPACA", [b"SSH-2.0-OpenSSH_9.2\r\n", Left()], MALFORMED),
    Row("http2-settings", _OTHER, "RFC 9113 3.4", [bytes.fromhex("000000040000000000"), Left()], MALFORMED),
    Row("tls-alert-inside-tls", _OTHER, "RFC 8446 6", [bytes.fromhex("15030300020228"), Left()], MALFORMED),
    Row("nul-bytes", _OTHER, "CWE-158", [b"\0" * 64, Left()], MALFORMED),
    Row("a-request", _OTHER, "a reflecting peer", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Left()], MALFORMED),
    Row("plain-http-below-tls", _OTHER, "RFC 8446 5: STARTTLS-injection class", [Below(OK + _BODY), Left()],
        CLOSED, requests=2),
    Row("plain-http-below-tls-to-post", _OTHER, "RFC 9110 9.2.2", [Below(OK + _BODY), Left()], CLOSED,
        **POST),
]  # fmt: skip

_101 = b"HTTP/1.1 101 Switching Protocols\r\n"
_100 = b"HTTP/1.1 100 Continue\r\n\r\n"
_WS = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13",
       b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip
_TO_WS = b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
_RFC_101 = "RFC 9110 15.2.2; tunnel smuggling (h2c, WebSocket)"

UPGRADES = [
    Row("101-unasked", _UPGRADE, _RFC_101, [_101 + _TO_WS + b"frames" + EVIL, Left()], UPGRADED),
    Row("101-bare", _UPGRADE, _RFC_101, [_101 + b"\r\n" + EVIL, Left()], MALFORMED),
    Row("101-to-post", _UPGRADE, _RFC_101, [_101 + _TO_WS + EVIL, Left()], UPGRADED, **POST),
    Row("101-h2c", _UPGRADE, "h2c smuggling (Bishop Fox 2020)",
        [_101 + b"Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n", Left()], UPGRADED,
        fields=(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP")),
    Row("101-websocket-asked-h2c-given", _UPGRADE, _RFC_101,
        [_101 + b"Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n", Left()], UPGRADED, fields=_WS),
    Row("101-websocket-asked-two-given", _UPGRADE, _RFC_101,
        [_101 + b"Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n\r\n", Left()], UPGRADED, fields=_WS),
    Row("101-websocket-asked-no-connection-field", _UPGRADE, "RFC 6455 4.1",
        [_101 + b"Upgrade: websocket\r\n\r\n", Left()], MALFORMED, fields=_WS),
    Row("101-websocket-by-http-1.0", _UPGRADE, "RFC 9110 7.8",
        [b"HTTP/1.0 101 X\r\n" + _TO_WS, Left()], UPGRADED, fields=_WS),
    Row("101-after-100", _UPGRADE, _RFC_101, [_100 + _101 + _TO_WS, Left()],
        Refused(502, "origin_unexpected_upgrade", _100), **POST),
    Row("websocket-refused-with-200", _UPGRADE, "a refusal that a client could take for the tunnel's bytes",
        [OK + _BODY], answer(OK, LENGTH_5, b"hello"), fields=_WS),
]  # fmt: skip

FIELDS = [
    Row("nominated", _HOP, "RFC 9110 7.6.1; hop-by-hop abuse (Nathan Davison 2019)",
        [OK + b"Connection: x-secret, content-length, transfer-encoding, awfproxy-request-id\r\n"
         b"X-Secret: 1\r\nX-Kept: 2\r\nContent-Length: 5\r\n\r\nhello"],
        answer(OK, b"X-Kept: 2\r\nContent-Length: 5\r\n", b"hello")),
    Row("nominated-coding", _HOP, "RFC 9110 7.6.1",
        [OK + b"Connection: transfer-encoding\r\n" + CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n"],
        answer(OK, CHUNKED, b"5\r\nhello\r\n0\r\n\r\n")),
    Row("proxy-connection", _HOP, "RFC 9112 C.2.2",
        [OK + b"Proxy-Connection: keep-alive\r\nKeep-Alive: max=5\r\nTE: x\r\nUpgrade: h2c\r\n" + _BODY],
        answer(OK, LENGTH_5, b"hello")),
    Row("proxy-authenticate", _HOP, "RFC 9110 11.7.1: a proxy's own word to its next client",
        [b"HTTP/1.1 407 X\r\nProxy-Authenticate: Basic realm=x\r\nproxy-authentication-info: x\r\n" + _BODY],
        answer(b"HTTP/1.1 407 X\r\n", LENGTH_5, b"hello")),
    Row("own-fields-forged", _HOP, "an answer that says it is awfproxy's own error",
        [OK + b"awfproxy-error: shutting_down\r\nAwfproxy-Request-Id: forged\r\n" + _BODY],
        answer(OK, LENGTH_5, b"hello")),
    Row("many-set-cookies", _HOP, "RFC 9110 5.3: never joined",
        [OK + b"Set-Cookie: a=1\r\nset-cookie: b=2\r\nConnection: close\r\n" + _BODY, Close()],
        answer(OK, b"Set-Cookie: a=1\r\nset-cookie: b=2\r\n" + LENGTH_5, b"hello")),
    _field("obs-fold", _FOLD, b"X-A: b\r\n c", "RFC 9112 5.2"),
    _field("obs-fold-by-tab", _FOLD, b"X-A: b\r\n\tTransfer-Encoding: chunked", "RFC 9112 5.2"),
    _field("fold-in-front", _FOLD, b" X-A: b", "RFC 9112 2.2: white space before the first field"),
    _field("bare-lf-between-fields", _BREAK, b"X-A: b\nX-B: c", "RFC 9112 2.2"),
    _field("bare-cr-in-value", _BREAK, b"X-A: b\rX-B: c", "RFC 9112 2.2; response splitting, CWE-113"),
    _field("cr-cr-lf", _BREAK, b"X-A: b\r", "response splitting"),
    _field("nul-in-value", _BREAK, b"X-A: b\0c", "RFC 9110 5.5"),
    _field("escape-in-value", _BREAK, b"X-A: \x1b[31m", "RFC 9110 5.5: a control character"),
    _field("delete-in-value", _BREAK, b"X-A: \x7f", "RFC 9110 5.5"),
    _field("split-in-field", _BREAK, b"X-A: b\n\nHTTP/1.1 200 OK", "response splitting, CWE-113"),
    _field("space-before-colon", _NAME, b"Content-Length : 9", "RFC 9112 5.1: CVE-2019-16276 class"),
    _field("space-in-name", _NAME, b"X A: b", "RFC 9110 5.6.2"),
    _field("no-colon", _NAME, b"X-A", "RFC 9112 5"),
    _field("empty-name", _NAME, b": b", "RFC 9110 5.6.2; CVE-2023-25725 (HAProxy)"),
    _field("nul-in-name", _NAME, b"X\0A: b", "RFC 9110 5.6.2"),
    _field("latin-1-in-name", _NAME, b"X-\xe9: b", "RFC 9110 5.6.2"),
    _field("vertical-tab-before-name", _NAME, b"\x0bContent-Length: 9", "RFC 9110 5.6.2"),
]  # fmt: skip

SIZES = [
    Row("head-of-100k", _SIZE, "below the limit of 128 KiB",
        [OK + b"X-A: " + b"a" * 100_000 + b"\r\n" + _BODY],
        answer(OK, b"X-A: " + b"a" * 100_000 + b"\r\n" + LENGTH_5, b"hello")),
    Row("field-of-200k", _SIZE, "CWE-770", [OK + b"X-A: " + b"a" * 200_000 + b"\r\n" + _BODY, Left()],
        MALFORMED),
    Row("fields-600", _SIZE, "CWE-770", [OK + b"X-A: b\r\n" * 600 + _BODY, Left()], MALFORMED),
    Row("reason-of-200k", _SIZE, "CWE-770", [b"HTTP/1.1 200 " + b"a" * 200_000 + b"\r\n" + _BODY, Left()],
        MALFORMED),
    Row("head-without-end", _SIZE, "CWE-770", [OK, Again(b"X-A: " + b"a" * 1000 + b"\r\n")], MALFORMED),
    Row("field-without-end", _SIZE, "CWE-770", [OK + b"X-A: ", Again(b"a" * 10_000)], MALFORMED),
    Row("empty-lines-without-end", _SIZE, "RFC 9112 2.2", [Again(b"\r\n" * 1000)], MALFORMED),
]  # fmt: skip

ROWS = [*STATUS_LINES, *OTHER_PROTOCOLS, *UPGRADES, *FIELDS, *SIZES]
