"""Which requests are let in: whole heads, from their bytes to the verdict."""

import pytest

from awfproxy.errors.base import AwfError
from awfproxy.errors.client import (
    BadHost,
    BadTarget,
    BadWebSocketHandshake,
    ClientError,
    MalformedMessage,
    MethodNotAllowed,
    WebSocketUnsupported,
)
from awfproxy.proxy.admission import Admitted, admit, persistent
from awfproxy.wire.framing import CHUNKED, NO_BODY, Framing, Length
from awfproxy.wire.message import RequestHead
from awfproxy.wire.parser import RequestHeadReader
from awfproxy.wire.target import Origin

ORIGIN = Origin("api.openai.com")


def head(raw: bytes) -> RequestHead:
    read = RequestHeadReader().feed(raw)
    assert read is not None
    return read[0]


def admitted(raw: bytes) -> Admitted:
    return admit(head(raw), ORIGIN, 10000)


def refusal(raw: bytes) -> type[AwfError]:
    with pytest.raises(ClientError) as caught:
        admitted(raw)
    return type(caught.value)


def post(*lines: bytes, version: bytes = b"1.1") -> bytes:
    fields = b"".join(line + b"\r\n" for line in lines)
    return b"POST /a HTTP/" + version + b"\r\nHost: a\r\n" + fields + b"\r\n"


@pytest.mark.parametrize(
    ("raw", "framing"),
    [
        (post(), NO_BODY),
        (post(b"Content-Length: 5"), Length(5)),
        (post(b"Content-Length: 5", version=b"1.0"), Length(5)),
        (post(b"Transfer-Encoding: chunked"), CHUNKED),
        (post(b"Transfer-Encoding: Chunked", b"Expect: 100-continue"), CHUNKED),
    ],
)
def test_request_is_admitted_with_its_framing(raw: bytes, framing: Framing) -> None:
    assert admitted(raw).framing == framing


SMUGGLING: dict[str, bytes] = {
    "length, then coding": post(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "coding, then length": post(b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    "two equal lengths": post(b"Content-Length: 5", b"Content-Length: 5"),
    "two lengths": post(b"Content-Length: 5", b"Content-Length: 6"),
    "list of lengths": post(b"Content-Length: 2, 2"),
    "plus sign": post(b"Content-Length: +2"),
    "5,000 digits": post(b"Content-Length: " + b"1" * 5000),
    "5,000 zeros": post(b"Content-Length: " + b"0" * 5000 + b"5"),
    "gzip, chunked": post(b"Transfer-Encoding: gzip, chunked"),
    "two codings": post(b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"),
    "chunked twice": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "identity": post(b"Transfer-Encoding: identity"),
    "unknown coding": post(b"Transfer-Encoding: xchunked"),
    "coding in 1.0": post(b"Transfer-Encoding: chunked", version=b"1.0"),
    "coding in 1.0 beside length": post(b"Transfer-Encoding: chunked", b"Content-Length: 5", version=b"1.0"),
    "space before colon": post(b"Transfer-Encoding : chunked"),
    "obs-fold": post(b"Transfer-Encoding:", b" chunked"),
    "obs-fold behind": post(b"X: a", b"\tContent-Length: 5"),
}


@pytest.mark.parametrize("name", SMUGGLING)
def test_what_could_be_read_in_two_ways_is_400(name: str) -> None:
    assert refusal(SMUGGLING[name]) is MalformedMessage


def test_framing_is_judged_before_all_else() -> None:
    raw = b"TRACE * HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert refusal(raw) is MalformedMessage


@pytest.mark.parametrize(
    "line", [b"CONNECT api.openai.com:443", b"CONNECT evil:443", b"CONNECT /a", b"TRACE /a", b"TRACE *"]
)
def test_connect_and_trace_are_405(line: bytes) -> None:
    assert refusal(line + b" HTTP/1.1\r\nHost: a\r\n\r\n") is MethodNotAllowed


@pytest.mark.parametrize(
    "method", [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"QUERY"]
)
def test_every_other_method_is_admitted(method: bytes) -> None:
    assert admitted(method + b" /a HTTP/1.1\r\nHost: a\r\n\r\n").head.method == method


# --- Host -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        b"api.openai.com", b"api.openai.com:443", b"evil", b"172.30.0.30:10000", b"[::1]", b"[::1]:10000",
        b"[fe80::1%25eth0]:1", b"a_b", b"", b"a:", b"xn--bcher-kva.example",
    ],
)  # fmt: skip
def test_host_is_judged_by_its_form_alone(host: bytes) -> None:
    assert admitted(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n").head.target == b"/"


@pytest.mark.parametrize(
    "host",
    [
        b"a b", b"a/b", b"a?b", b"a#b", b"user@a", b"user:pw@a", b"a:b", b"a:1:2", b"a, b", b"http://a",
        b"::1", b"[::1", b"::1]", b"[::1]a", b"[a b]", b"[]", b"[::1]:x", b"\xe9", b"a\\b", b'"a"', b"a\tb",
    ],
)  # fmt: skip
def test_malformed_host_is_refused(host: bytes) -> None:
    assert refusal(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n") is BadHost


@pytest.mark.parametrize(
    "lines", [b"", b"Host: a\r\nHost: a\r\n", b"Host: a\r\nX: b\r\nhOST: b\r\n", b"Host: a\r\nHost:\r\n"]
)
def test_http_1_1_has_exactly_one_host(lines: bytes) -> None:
    assert refusal(b"GET / HTTP/1.1\r\n" + lines + b"\r\n") is BadHost


def test_http_1_0_may_have_no_host_but_not_two() -> None:
    assert admitted(b"GET / HTTP/1.0\r\n\r\n").head.version == b"1.0"
    assert refusal(b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n") is BadHost


def test_host_is_asked_for_in_absolute_form_too() -> None:
    assert refusal(b"GET http://api.openai.com/ HTTP/1.1\r\n\r\n") is BadHost


# --- targets ----------------------------------------------------------------------------------------


def test_absolute_form_is_reduced_and_nothing_else_of_the_head_changes() -> None:
    raw = b"GET http://api.openai.com/a?b HTTP/1.1\r\nHost: evil\r\nX: 1\r\n\r\n"
    before = head(raw)
    after = admitted(raw).head
    assert after == RequestHead(b"GET", b"/a?b", b"1.1", before.fields)


def test_origin_form_is_the_very_head() -> None:
    before = head(post())
    assert admit(before, ORIGIN, 10000).head is before


@pytest.mark.parametrize("target", [b"//a", b"*", b"http://evil/", b"http://api.openai.com@evil:10000/"])
def test_other_targets_are_refused(target: bytes) -> None:
    method = b"OPTIONS" if target == b"*" else b"GET"
    assert refusal(method + b" " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n") is BadTarget


# --- upgrades and persistence -----------------------------------------------------------------------


ASKS = (b"Connection: Upgrade", b"Upgrade: websocket")
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
VERSION = b"Sec-WebSocket-Version: 13"


def handshake(*lines: bytes, start: bytes = b"GET /v1/responses HTTP/1.1") -> bytes:
    return b"".join(line + b"\r\n" for line in (start, b"Host: a", *lines)) + b"\r\n"


ASKING = [
    ASKS,
    (b"Connection: keep-alive, upgrade", b"Upgrade: WebSocket"),
    (b"Connection: keep-alive", b"Connection: UPGRADE", b"Upgrade: h2c, websocket"),
    (b"Connection: Upgrade", b"Upgrade: h2c", b"Upgrade: websocket"),
]


@pytest.mark.parametrize("lines", ASKING)
def test_a_websocket_handshake_is_admitted(lines: tuple[bytes, ...]) -> None:
    assert admitted(handshake(*lines, KEY, VERSION)).websocket


@pytest.mark.parametrize("lines", ASKING)
@pytest.mark.parametrize("more", [(), (KEY, VERSION)])
def test_where_websocket_is_refused_it_is_426(lines: tuple[bytes, ...], more: tuple[bytes, ...]) -> None:
    with pytest.raises(WebSocketUnsupported):
        admit(head(handshake(*lines, *more)), ORIGIN, 10000, websocket=False)


@pytest.mark.parametrize(
    "raw",
    [
        handshake(*ASKS, KEY, VERSION, start=b"POST / HTTP/1.1"),
        handshake(*ASKS, KEY, VERSION, start=b"HEAD / HTTP/1.1"),
        handshake(*ASKS, KEY, VERSION, start=b"GET / HTTP/1.0"),
        handshake(*ASKS, KEY, VERSION, b"Content-Length: 5"),
        handshake(*ASKS, KEY, VERSION, b"Content-Length: 0"),
        handshake(*ASKS, KEY, VERSION, b"Transfer-Encoding: chunked"),
        handshake(b"Upgrade: websocket", KEY, VERSION),
        handshake(b"Upgrade: websocket", b"Connection: keep-alive", KEY, VERSION),
        handshake(*ASKS, VERSION),
        handshake(*ASKS, KEY, KEY, VERSION),
        handshake(*ASKS, b"Sec-WebSocket-Key:", VERSION),
        handshake(*ASKS, KEY),
    ],
)
def test_a_websocket_handshake_with_anything_wrong_is_refused(raw: bytes) -> None:
    """RFC 6455 4.2.1; a body above all: where it ends, something else could begin."""
    assert refusal(raw) is BadWebSocketHandshake


@pytest.mark.parametrize("upgrade", [b"h2c", b"TLS/1.0", b"websockets", b"", b"HTTP/2.0"])
def test_other_upgrades_are_ignored(upgrade: bytes) -> None:
    request = admitted(post(b"Connection: Upgrade", b"Upgrade: " + upgrade))
    assert request.framing == NO_BODY
    assert not request.websocket


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (post(), True),
        (post(b"Connection: keep-alive"), True),
        (post(b"Connection: close"), False),
        (post(b"Connection: TE, Close"), False),
        (post(b"Connection: TE", b"Connection: close"), False),
        (post(b"Connection: keep-alive, close"), False),
        (post(b"Connection: closed"), True),
        (post(version=b"1.0"), False),
        (post(b"Connection: Keep-Alive", version=b"1.0"), True),
        (post(b"Connection: Keep-Alive, close", version=b"1.0"), False),
        (post(b"Proxy-Connection: keep-alive", version=b"1.0"), False),
    ],
)
def test_whether_the_connection_persists(raw: bytes, wanted: bool) -> None:
    assert persistent(head(raw)) is wanted
