"""Requests of web pages: who is foreign, by the fields that a browser sends and a page cannot forge."""

import pytest

from awfproxy.errors.client import ForeignOrigin
from awfproxy.proxy.admission import admit
from awfproxy.proxy.crossorigin import TrustedOrigins
from awfproxy.wire.message import RequestHead
from awfproxy.wire.parser import RequestHeadReader
from awfproxy.wire.target import Origin

ORIGIN = Origin("api.openai.com")
TRUSTED = TrustedOrigins(
    frozenset({b"http://localhost:3000", b"https://app.test", b"vscode-webview://*", b"app://obsidian.md"}),
    frozenset({b"api-proxy"}),
)
TRUSTS_NULL = TrustedOrigins(frozenset({b"null"}))


def head(
    *lines: bytes, host: bytes = b"127.0.0.1:10000", start: bytes = b"POST /v1/x HTTP/1.1"
) -> RequestHead:
    read = RequestHeadReader().feed(b"\r\n".join((start, b"Host: " + host, *lines, b"", b"")))
    assert read is not None
    return read[0]


def passes(request: RequestHead, trusted: TrustedOrigins = TRUSTED) -> bool:
    try:
        admit(request, ORIGIN, 10000, True, trusted)
    except ForeignOrigin:
        return False
    return True


@pytest.mark.parametrize(
    "lines",
    [(), (b"User-Agent: curl",), (b"Sec-Fetch-Mode: cors",), (b"Referer: https://evil.test/",)],
)
def test_program_sends_neither_field_and_passes(lines: tuple[bytes, ...]) -> None:
    assert passes(head(*lines))


@pytest.mark.parametrize(
    "origin",
    [
        b"https://evil.test", b"http://evil.test:10000", b"null", b"", b"file://", b"https://api.openai.com",
        b"chrome-extension://abcdef", b"app://other", b"http://localhost:3001", b"http://localhost",
        b"https://localhost:3000", b"http://app.test", b"https://app.test.evil.test", b"https://app.test:444",
        b"http://127.0.0.1", b"http://127.0.0.1:10001", b"http://127.0.0.2:10000", b"http://[::1]:10000",
        b"http://127.0.0.1:10000.evil.test", b"http://evil.test/127.0.0.1:10000", b"//127.0.0.1:10000",
        b"ws://127.0.0.1:10000", b"http://127.0.0.1:10000/", b"http://127.0.0.1:10000, https://evil.test",
        b"http://user@127.0.0.1:10000", b"*", b"https://*", b"vscode-webview:*",
    ],
)  # fmt: skip
def test_page_of_another_origin_is_refused(origin: bytes) -> None:
    assert not passes(head(b"Origin: " + origin))


@pytest.mark.parametrize(
    "host",
    [
        b"127.0.0.1:10000", b"127.0.0.1", b"localhost:10000", b"localhost", b"LocalHost:1", b"[::1]:10000",
        b"[::1]", b"172.30.0.30:10000", b"0.0.0.0:10000", b"127.9.9.9:1", b"api-proxy:10000", b"[fe80::1]:8",
    ],
)  # fmt: skip
@pytest.mark.parametrize("scheme", [b"http", b"https"])
def test_own_address_is_own(scheme: bytes, host: bytes) -> None:
    """As WebSocket libraries send it, which put the target's own origin there."""
    assert passes(head(b"Origin: " + scheme + b"://" + host, host=host))
    assert passes(head(b"Origin: " + scheme + b"://" + host, b"Sec-Fetch-Site: same-origin", host=host))


@pytest.mark.parametrize(
    "host",
    [
        b"evil.test:10000", b"evil.test", b"127.0.0.1.evil.test:10000", b"127.0.0.1.nip.io",
        b"api-proxy.evil", b"localhost.evil.test", b"localhost.", b"a.localhost:1",
        b"2130706433", b"0x7f.1", b"127.1",
        b"0177.0.0.1", b"127.0.0.1.", b"[fe80]", b"", b":10000", b"awfproxy",
    ],
)  # fmt: skip
def test_name_that_equals_host_is_not_enough(host: bytes) -> None:
    """DNS rebinding: a page's name leads to its server first, then to 127.0.0.1. Origin equals Host."""
    assert not passes(head(b"Origin: http://" + host, host=host))


def test_request_without_host_has_no_own_origin() -> None:
    read = RequestHeadReader().feed(b"GET / HTTP/1.0\r\nOrigin: http://127.0.0.1:10000\r\n\r\n")
    assert read is not None
    assert not passes(read[0])


@pytest.mark.parametrize(
    "origin",
    [
        b"http://localhost:3000", b"HTTP://LOCALHOST:3000", b"https://app.test", b"app://obsidian.md",
        b"vscode-webview://0f1e2d3c-4b5a", b"vscode-webview://x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("site", [(), (b"Sec-Fetch-Site: cross-site",), (b"Sec-Fetch-Site: same-site",)])
def test_allowed_origin_passes_whatever_the_site(origin: bytes, site: tuple[bytes, ...]) -> None:
    assert passes(head(b"Origin: " + origin, *site))
    assert not passes(head(b"Origin: " + origin, *site), TrustedOrigins())


def test_null_passes_only_where_it_is_allowed() -> None:
    assert passes(head(b"Origin: null"), TRUSTS_NULL)
    assert not passes(head(b"Origin: null"))


@pytest.mark.parametrize(
    ("site", "wanted"),
    [
        (b"same-origin", True), (b"none", True), (b"same-site", False), (b"cross-site", False), (b"", False),
        (b"Cross-Site", False), (b"same-origin, cross-site", False), (b"unheard-of", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("own", [(), (b"Origin: http://127.0.0.1:10000",)])
def test_site_decides_without_an_allowed_origin(own: tuple[bytes, ...], site: bytes, wanted: bool) -> None:
    """`same-site` is foreign too: another port of localhost is another's page."""
    assert passes(head(*own, b"Sec-Fetch-Site: " + site)) is wanted


@pytest.mark.parametrize(
    "lines",
    [
        (b"Origin: http://localhost:3000", b"Origin: https://evil.test"),
        (b"Origin: https://evil.test", b"Origin: http://localhost:3000"),
        (b"Origin: http://localhost:3000", b"origin: http://localhost:3000"),
        (b"Sec-Fetch-Site: same-origin", b"Sec-Fetch-Site: cross-site"),
        (b"SEC-FETCH-SITE: none", b"sec-fetch-site: none"),
    ],
)
def test_field_that_is_there_twice_is_refused(lines: tuple[bytes, ...]) -> None:
    assert not passes(head(*lines))


@pytest.mark.parametrize(
    "start",
    [b"GET /health HTTP/1.1", b"OPTIONS /v1/x HTTP/1.1", b"HEAD / HTTP/1.0", b"GET /v1/models HTTP/1.1"],
)
def test_every_method_and_path_is_meant(start: bytes) -> None:
    assert not passes(head(b"Origin: https://evil.test", b"Access-Control-Request-Method: POST", start=start))
    assert not passes(head(b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Mode: navigate", start=start))


def test_handshake_is_meant_before_it_is_looked_at() -> None:
    lines = (b"Upgrade: websocket", b"Connection: Upgrade", b"Origin: https://evil.test")
    with pytest.raises(ForeignOrigin):
        admit(head(*lines, start=b"GET / HTTP/1.1"), ORIGIN, 10000, websocket=False)


def test_head_without_gathered_names_is_looked_through() -> None:
    made = head(b"Origin: https://evil.test")
    assert not passes(RequestHead(made.method, made.target, made.version, made.fields))


def test_error_holds_nothing_of_the_page() -> None:
    with pytest.raises(ForeignOrigin) as caught:
        admit(head(b"Origin: https://evil.test"), ORIGIN, 10000)
    assert "evil" not in str(caught.value)
