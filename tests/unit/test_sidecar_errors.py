"""Errors in the sidecar's style: status and shape of each row, and the answers without a key."""

import json
from typing import Any

import pytest

from awfproxy.errors.base import AwfError
from awfproxy.errors.client import BadTarget, PathDenied, RequestBodyTimeout, WebSocketUnsupported
from awfproxy.errors.egress import EgressDenied, EgressError, EgressUnreachable
from awfproxy.errors.origin import IncompleteMessage, OriginClosed, ResponseHeadTimeout, StreamSilent
from awfproxy.errors.own import CredentialMissing, NoKeyForHandshake, ShuttingDown
from awfproxy.errors.table import table
from awfproxy.errors.tls import TlsFailed, TlsUntrusted
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.providers.provider import Provider
from awfproxy.providers.sidecar import in_its_style
from awfproxy.proxy.responses import error_response

BY_NAME = {provider.name: provider for provider in BUILT_IN}
EACH = pytest.mark.parametrize("name", BY_NAME)


def styled(name: str = "openai") -> Provider:
    return in_its_style(BY_NAME[name])


def answer(error: AwfError, name: str = "openai") -> tuple[int, Any]:
    provider = styled(name)
    return provider.error_status(error), json.loads(provider.error_body(error, "id-1"))


@pytest.mark.parametrize("kind", table(), ids=lambda kind: kind.code)
@EACH
def test_every_error_has_the_shape_and_says_which_hop_failed(name: str, kind: type[AwfError]) -> None:
    if kind is CredentialMissing:
        return
    _, content = answer(kind(), name)
    assert isinstance(content["error"], str)
    assert content["error"]
    assert content["message"].startswith(kind.sentence)
    assert (content["code"], content["hop"]) == (kind.code, kind.hop.value)
    assert content["request_id"] == "id-1"


@pytest.mark.parametrize(
    "kind", [*table(EgressError), *table(TlsFailed), OriginClosed], ids=lambda kind: kind.code
)
def test_whatever_fails_on_the_way_is_502_proxy_error(kind: type[AwfError]) -> None:
    status, content = answer(kind())
    assert (status, content["error"]) == (502, "Proxy error")


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [
        (BadTarget(), 400, "Bad Request"),
        (RequestBodyTimeout(), 408, "Client error"),
        (IncompleteMessage(), 502, "Response stream error"),
        (StreamSilent(), 504, "Response stream error"),
        (ResponseHeadTimeout(), 504, "Proxy error"),
        (PathDenied(), 403, "Forbidden"),
        (WebSocketUnsupported(), 426, "Upgrade Required"),
        (ShuttingDown(), 503, "Service Unavailable"),
    ],
)
def test_error_has_the_sidecars_word(error: AwfError, status: int, word: str) -> None:
    found, content = answer(error)
    assert (found, content["error"]) == (status, word)


def test_error_of_ours_is_told_from_the_providers_by_its_field() -> None:
    response = error_response(EgressDenied(), styled(), b"id-1", None, b"GET")
    assert response.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert b"\r\nawfproxy-error: egress_denied\r\n" in response


def test_detail_that_is_the_operators_is_not_in_it() -> None:
    assert b"10.9.8.7" not in styled().error_body(EgressUnreachable("connect to 10.9.8.7"), "id")
    assert b"10.9.8.7" not in styled().error_body(TlsUntrusted("issuer at 10.9.8.7"), "id")


# --- without a key ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "status"), [("openai", 404), ("gemini", 503), ("vertex", 503)])
def test_openai_and_googles_say_it_in_a_plain_string(name: str, status: int) -> None:
    found, content = answer(CredentialMissing(), name)
    assert found == status
    assert isinstance(content["error"], str)
    assert "not configured" in content["error"]
    assert BY_NAME[name].variable in content["error"]


@pytest.mark.parametrize(("name", "port"), [("anthropic", 10001), ("copilot", 10002)])
def test_others_say_it_in_an_object(name: str, port: int) -> None:
    status, content = answer(CredentialMissing(), name)
    assert status == 403
    message = content["error"].pop("message")
    assert "not configured" in message
    assert content["error"] == {
        "type": "provider_not_configured", "provider": name, "port": port, "retryable": False
    }  # fmt: skip


@EACH
def test_websocket_without_a_key_is_a_bare_503(name: str) -> None:
    response = error_response(NoKeyForHandshake(), styled(name), b"id-1", b"close", b"GET")
    head, _, content = response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert content == b""
    assert b"\r\nUpgrade:" not in head
