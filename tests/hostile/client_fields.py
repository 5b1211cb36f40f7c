"""Fields that would reach past us: nominated by Connection, credentials, Upgrade and Expect."""

from tests.hostile.client_case import (
    ANSWER,
    ARRIVED,
    CONTENT,
    END,
    FIN,
    GET,
    KEPT,
    LEFT,
    POST,
    RESET,
    SMUGGLED,
    Case,
)

_HOPS = "RFC 9110 7.6.1; N. Davison, Abusing HTTP hop-by-hop request headers (2019)"
_KEY = "CWE-522, CWE-441"
_UPGRADE = "RFC 9110 7.8; J. Miller, h2c Smuggling (2020)"
_WEBSOCKET = "RFC 6455 4.2.1; M. Egorov, WebSocket smuggling (2019)"
_EXPECT = "RFC 9110 10.1.1; PortSwigger, HTTP/1.1 must die (2025)"
BAD_HANDSHAKE = "400 bad_websocket_handshake"

HANDSHAKE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
SOCKET = b"GET /v1/kit/ws?do=keep&MARK HTTP/1.1\r\nHost: a\r\n" + HANDSHAKE + END


def _passes(kind: str, name: str, source: str, lines: bytes, never: bytes = b"sneaky") -> Case:
    """The request is forwarded, without what is not for the origin."""
    return Case(kind, name, source, GET + lines + b"\r\n\r\n", "200", "GET /v1/MARK", KEPT, never=never)


def _content(kind: str, name: str, source: str, lines: bytes, never: bytes = b"") -> Case:
    """The same with content, whose framing nobody may touch."""
    sent = POST + b"Content-Length: 5\r\n" + lines + b"\r\n\r\nabcde"
    return Case(kind, name, source, sent, "200", "POST /v1/MARK 5", KEPT, never=never)


NOMINATED = (
    _passes("nominated by Connection", "authorization", _HOPS, b"Connection: authorization"),
    _passes("nominated by Connection", "authorization that is there", _HOPS,
            b"Connection: Authorization\r\nAuthorization: Bearer sneaky"),
    _passes("nominated by Connection", "host", _HOPS, b"Connection: host"),
    _passes("nominated by Connection", "x-api-key", _HOPS, b"Connection: x-api-key\r\nx-api-key: sneaky"),
    _passes("nominated by Connection", "connection itself", _HOPS, b"Connection: connection, keep-alive"),
    _passes("nominated by Connection", "what is there is removed", _HOPS,
            b"Connection: X-Gone\r\nX-Gone: sneaky"),
    _passes("nominated by Connection", "in the second of two fields", _HOPS,
            b"Connection: keep-alive\r\nX-Gone: sneaky\r\nConnection: x-gone"),
    _passes("nominated by Connection", "a hundred names", _HOPS,
            b"X-50: sneaky\r\nConnection: " + b", ".join(b"X-%d" % number for number in range(100))),
    _content("nominated by Connection", "content-length", _HOPS, b"Connection: content-length"),
    _content("nominated by Connection", "transfer-encoding", _HOPS, b"Connection: transfer-encoding"),
    Case("nominated by Connection", "transfer-encoding that is there", _HOPS,
         POST + b"Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
         "200", "POST /v1/MARK 5", KEPT),
    _passes("for one hop", "keep-alive", _HOPS, b"Keep-Alive: sneaky"),
    _passes("for one hop", "proxy-connection", _HOPS, b"Proxy-Connection: sneaky"),
    _passes("for one hop", "TE", "RFC 9110 10.1.4", b"TE: sneaky"),
    _passes("for one hop", "transfer_encoding", _HOPS, b"Transfer_Encoding: sneaky"),
)  # fmt: skip

CREDENTIALS = tuple(
    _passes("the client's own credential", name, _KEY, name.encode() + b": Bearer sneaky")
    for name in (
        "Authorization", "authorization", "AUTHORIZATION", "Proxy-Authorization", "Proxy_Authorization",
        "X-Api-Key", "X_Api_Key", "x-api_key", "api-key", "x-goog-api-key", "Cookie", "Cookie2",
        "ChatGPT-Account-Id", "Forwarded", "Via", "X-Forwarded-For", "X_Forwarded_Host",
    )
)  # fmt: skip
SEVERAL = (
    _passes("the client's own credential", "Authorization twice", _KEY,
            b"Authorization: Bearer sneaky\r\nAuthorization: Basic sneaky"),
    _passes("the client's own credential", "key as a subprotocol", _KEY,
            b"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sneaky"),
    Case("the client's own credential", "behind a space", _KEY,
         GET + b"X: 1\r\n Authorization: Bearer sneaky\r\n\r\n" + SMUGGLED),
    Case("the client's own credential", "space before the colon", _KEY,
         GET + b"Authorization : Bearer sneaky\r\n\r\n" + SMUGGLED),
)  # fmt: skip


def _handshake(name: str, sent: bytes) -> Case:
    return Case("WebSocket handshake, malformed", name, _WEBSOCKET, sent + SMUGGLED, BAD_HANDSHAKE)


UPGRADES = (
    _passes("Upgrade to another protocol", "h2c", _UPGRADE,
            b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ", b"h2c"),
    _passes("Upgrade to another protocol", "h2c, not nominated", _UPGRADE, b"Upgrade: h2c", b"h2c"),
    _passes("Upgrade to another protocol", "TLS", "RFC 2817", b"Connection: Upgrade\r\nUpgrade: TLS/1.0",
            b"TLS"),
    _passes("Upgrade to another protocol", "not quite websocket", _UPGRADE,
            b"Connection: Upgrade\r\nUpgrade: websockets", b"websockets"),
    Case("Upgrade to another protocol", "h2c with an HTTP/2 preface behind", _UPGRADE,
         GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n"
         b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "200, 400 malformed_request", "GET /v1/MARK", never=b"h2c"),
    _handshake("with content", SOCKET.replace(b"Host: a", b"Host: a\r\nContent-Length: 43")),
    _handshake("with empty content", SOCKET.replace(b"Host: a", b"Host: a\r\nContent-Length: 0")),
    _handshake("with chunked content", SOCKET.replace(b"Host: a", b"Host: a\r\nTransfer-Encoding: chunked")),
    _handshake("by POST", SOCKET.replace(b"GET", b"POST")),
    _handshake("by HTTP/1.0", SOCKET.replace(b"HTTP/1.1", b"HTTP/1.0")),
    _handshake("without Connection", SOCKET.replace(b"Connection: Upgrade\r\n", b"")),
    _handshake("without a key", SOCKET.replace(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"")),
    _handshake("with two keys", SOCKET.replace(b"Host: a", b"Host: a\r\nSec-WebSocket-Key: x")),
    _handshake("without a version", SOCKET.replace(b"Sec-WebSocket-Version: 13\r\n", b"")),
    Case("WebSocket that is refused", "a request behind it", _WEBSOCKET,
         b"GET /v1/kit/refuse?code=426&MARK HTTP/1.1\r\nHost: a\r\n" + HANDSHAKE + END + SMUGGLED,
         "426", "GET /v1/kit/refuse?code=426&MARK"),
    Case("WebSocket that is refused", "bad version, a request behind it", _WEBSOCKET,
         b"GET /v1/kit/refuse?code=426&MARK HTTP/1.1\r\nHost: a\r\n" + HANDSHAKE.replace(b"13", b"777") + END
         + SMUGGLED, "426", "GET /v1/kit/refuse?code=426&MARK"),
    Case("WebSocket that is refused", "by a good answer", _WEBSOCKET,
         GET + HANDSHAKE + END + SMUGGLED, "200", "GET /v1/MARK"),
    Case("WebSocket that is refused", "a request once it is", _WEBSOCKET,
         (b"GET /v1/kit/refuse?code=426&MARK HTTP/1.1\r\nHost: a\r\n" + HANDSHAKE + END, ANSWER, SMUGGLED),
         "426", "GET /v1/kit/refuse?code=426&MARK"),
    Case("WebSocket that is granted", "a request behind it is the tunnel's", _WEBSOCKET,
         (SOCKET + SMUGGLED, ARRIVED, ANSWER, FIN), "101", "GET /v1/kit/ws?do=keep&MARK 43"),
    Case("WebSocket that is granted", "reset", "RFC 6455 7.1.7",
         (SOCKET, ANSWER, RESET), "101", "GET /v1/kit/ws?do=keep&MARK", LEFT),
    Case("WebSocket that is granted", "reset in the midst of a frame", "RFC 6455 7.1.7",
         (SOCKET, ANSWER, b"\x81\xfe\x7f\xff", CONTENT, RESET), "101",
         "GET /v1/kit/ws?do=keep&MARK 4", LEFT),
)  # fmt: skip

EXPECTS = (
    _content("Expect", "100-continue, content at once", _EXPECT, b"Expect: 100-continue"),
    _content("Expect", "a word in front", _EXPECT, b"Expect: y 100-continue"),
    _content("Expect", "another status", _EXPECT, b"Expect: 200-ok"),
    _content("Expect", "twice", _EXPECT, b"Expect: 100-continue\r\nExpect: 100-continue"),
    _content("Expect", "a list", _EXPECT, b"Expect: 100-continue, x"),
    _content("Expect", "empty", _EXPECT, b"Expect:"),
    _passes("Expect", "without content", _EXPECT, b"Expect: 100-continue"),
    Case("Expect", "a request in place of the content", _EXPECT,
         POST + b"Expect: 100-continue\r\nContent-Length: 43\r\n\r\n" + SMUGGLED, "200", "POST /v1/MARK 43",
         KEPT),
    Case("Expect", "content of GET is a request", _EXPECT,
         GET + b"Expect: y 100-continue\r\nContent-Length: 43\r\n\r\n" + SMUGGLED, "200", "GET /v1/MARK 43",
         KEPT),
    Case("Expect", "folded", _EXPECT, POST + b"Expect:\r\n 100-continue\r\nContent-Length: 5\r\n\r\nabcde"),
    Case("Expect", "HTTP/1.0", _EXPECT,
         POST.replace(b"1.1", b"1.0") + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nabcde" + SMUGGLED,
         "200", "POST /v1/MARK 5"),
    Case("Expect", "refused, then a request in place of the content", _EXPECT,
         (b"POST /v1/kit/refuse-continue?MARK HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
          b"Content-Length: 43\r\n\r\n", ANSWER, SMUGGLED),
         "413", "POST /v1/kit/refuse-continue?MARK", not_by_h11="the origin refuses the content unread"),
)  # fmt: skip

ROWS = (*NOMINATED, *CREDENTIALS, *SEVERAL, *UPGRADES, *EXPECTS)
