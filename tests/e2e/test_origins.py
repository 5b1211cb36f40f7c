"""The fake origins: each takes the right key in the right field alone, and answers as its provider does."""

import contextlib
import json
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit import responses_api
from tests.kit.anthropic_origin import AnthropicExchange
from tests.kit.certificates import Authority
from tests.kit.client import Client, Response
from tests.kit.copilot_origin import CopilotExchange
from tests.kit.gemini_origin import GeminiExchange
from tests.kit.origin import Exchange, Origin
from tests.kit.reader import Reader

KINDS = {
    "openai": Exchange,
    "anthropic": AnthropicExchange,
    "copilot": CopilotExchange,
    "gemini": GeminiExchange,
}
BEARER, X_API_KEY, GOOG = b"Authorization", b"x-api-key", b"x-goog-api-key"
RIGHT = {"openai": BEARER, "anthropic": X_API_KEY, "copilot": BEARER, "gemini": GOOG}
MODELS = {"openai": "/v1/models", "anthropic": "/v1/models", "copilot": "/models", "gemini": "/v1beta/models"}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextlib.contextmanager
def serving(authority: Authority, key: str, exchange: type[Exchange]) -> Iterator[Origin]:
    with Origin(authority.leaf("kit.test"), key, exchange=exchange) as origin:
        yield origin


@contextlib.contextmanager
def straight(authority: Authority, origin: Origin) -> Iterator[Client]:
    """A connection over TLS with nothing in between."""
    with Client(origin.port) as client:
        context = ssl.create_default_context(cafile=str(authority.file))
        client.sock = context.wrap_socket(client.sock, server_hostname="kit.test")
        client.reader.sock = client.sock
        yield client


def asked(
    authority: Authority, origin: Origin, target: str, *fields: tuple[bytes, bytes], body: bytes | None = None
) -> Response:
    with straight(authority, origin) as client:
        return client.request("POST" if body else "GET", target, fields, body)


def field_of(kind: str, key: str) -> tuple[bytes, bytes]:
    return RIGHT[kind], (b"Bearer " if RIGHT[kind] == BEARER else b"") + key.encode()


def test_right_key_in_its_field_is_admitted(kind: str, authority: Authority, canary: str) -> None:
    with serving(authority, canary, KINDS[kind]) as origin:
        assert asked(authority, origin, MODELS[kind], field_of(kind, canary)).status == 200


def test_no_key_a_wrong_one_or_one_too_many_is_refused(kind: str, authority: Authority, canary: str) -> None:
    right, wrong = field_of(kind, canary), field_of(kind, "placeholder")
    other = (BEARER, b"Bearer placeholder") if RIGHT[kind] != BEARER else (BEARER, b"Bearer other")
    with serving(authority, canary, KINDS[kind]) as origin:
        for fields in ((), (wrong,), (right, other)):
            answer = asked(authority, origin, MODELS[kind], *fields)
            assert answer.status in (400, 401, 403), (fields, answer.status)


@pytest.mark.parametrize("name", ["key", "apiKey", "api_key", "access_token"])
def test_gemini_refuses_a_key_in_the_query(name: str, authority: Authority, canary: str) -> None:
    with serving(authority, canary, GeminiExchange) as origin:
        target = f"/v1beta/models?{name}=placeholder"
        assert asked(authority, origin, target, field_of("gemini", canary)).status == 403


def test_gemini_says_that_a_key_is_invalid_with_400(authority: Authority, canary: str) -> None:
    with serving(authority, canary, GeminiExchange) as origin:
        answer = asked(authority, origin, "/v1beta/models", field_of("gemini", "wrong"))
        assert answer.status == 400
        assert answer.json()["error"]["details"][0]["reason"] == "API_KEY_INVALID"


def test_anthropic_answers_an_empty_message_with_400(authority: Authority, canary: str) -> None:
    with serving(authority, canary, AnthropicExchange) as origin:
        answer = asked(authority, origin, "/v1/messages", field_of("anthropic", canary), body=b"{}")
        assert (answer.status, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_responses_over_websocket_are_the_events_of_the_stream(authority: Authority, canary: str) -> None:
    fields = [
        (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"),
        (b"Sec-WebSocket-Version", b"13"), (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    ]  # fmt: skip
    with serving(authority, canary, Exchange) as origin, straight(authority, origin) as client:
        client.send_head("GET", "/v1/responses", [field_of("openai", canary), *fields])
        head = client.read_head()
        # The accept value of RFC 6455 1.3's own example.
        assert head.value(b"sec-websocket-accept") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        for size in (1, 200, 70000):
            request = {"type": "response.create", "input": "x" * size}
            client.send(masked(1, json.dumps(request).encode()))
            events: list[Any] = []
            while not events or events[-1]["type"] != "response.completed":
                events.append(json.loads(message(client.reader)))
            assert events == list(responses_api.response_objects(request))
        assert [len(each["input"]) for each in origin.requests[0].messages] == [1, 200, 70000]
        client.send(masked(9, b"ping") + masked(8, b"\x03\xe8"))
        assert message(client.reader) == b"ping"
        assert message(client.reader) == b"\x03\xe8"
        assert client.closed()


def masked(kind: int, content: bytes) -> bytes:
    """One frame of a client's."""
    size = len(content)
    if size < 126:
        head = bytes([0x80 | kind, 0x80 | size])
    elif size < 65536:
        head = bytes([0x80 | kind, 0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([0x80 | kind, 0x80 | 127]) + size.to_bytes(8, "big")
    mask = b"\x11\x22\x33\x44"
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(content))


def message(reader: Reader) -> bytes:
    """One unfragmented frame of a server's."""

    def take(count: int) -> bytes:
        return b"".join(reader.exactly(count))

    size = take(2)[1]
    if size > 125:
        size = int.from_bytes(take(2 if size == 126 else 8), "big")
    return take(size)


def test_origins_keep_the_key_out_of_their_records(kind: str, authority: Authority, canary: str) -> None:
    with serving(authority, canary, KINDS[kind]) as origin:
        asked(authority, origin, MODELS[kind], field_of(kind, canary))
        assert canary.encode() not in origin.requests[0].head
        assert b"THE-KEY" in origin.requests[0].head

