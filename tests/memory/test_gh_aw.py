"""The gh-aw profile on the data path: ids both ways, errors, and nothing forwarded without a key."""

import json
import re

import pytest

from awfproxy.credentials.secret import Secret
from awfproxy.credentials.store import InForce
from awfproxy.settings.profile import GH_AW
from awfproxy.wire.parser import RequestHeadReader
from tests.memory.peers import House, answer, get, post, responses

UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

HANDSHAKE = get(
    b"/v1/responses", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)  # fmt: skip


@pytest.fixture
def house(canary):
    made = House(canary, profile=GH_AW)
    yield made
    made.close()


@pytest.fixture
def empty():
    made = House(None, profile=GH_AW)
    yield made
    made.close()


def upstream(house):
    """The fields of the only request that the origin got, by lower-case name."""
    head, _ = RequestHeadReader().feed(house.origin.received)
    return head


def reply(client):
    ((status, fields, content),) = responses(client.received)
    return status, fields, content


def test_clients_id_goes_upstream_and_replaces_the_providers_own(house):
    client = house.client()
    client.deliver(get(b"/v1/models", b"X-Request-ID: trace-abc.1"))
    assert upstream(house).values(b"x-request-id") == [b"trace-abc.1"]
    house.origin.deliver(answer(b"ok", b"x-request-id: req_provider"))
    assert client.received.lower().count(b"\r\nx-request-id:") == 1
    _, fields, _ = reply(client)
    assert fields[b"x-request-id"] == fields[b"awfproxy-request-id"] == b"trace-abc.1"
    assert house.line["request_id"] == "trace-abc.1"
    assert house.line["provider_request_id"] == "req_provider"


@pytest.mark.parametrize(
    "sent",
    [(), (b"X-Request-ID: <script>alert(1)</script>",), (b"X-Request-ID: " + b"a" * 129,),
     (b"X-Request-ID: a", b"X-Request-ID: b")],
    ids=["none", "not an id", "too long", "two"],
)  # fmt: skip
def test_without_a_good_id_it_is_a_uuid_in_both_directions(house, sent):
    client = house.client()
    client.deliver(get(b"/v1/models", *sent))
    (made,) = upstream(house).values(b"x-request-id")
    assert UUID.fullmatch(made)
    house.origin.deliver(answer())
    assert reply(client)[1][b"x-request-id"] == made


def test_ids_are_not_given_twice(house):
    assert len({house.site.new_request_id() for _ in range(100)}) == 100


def test_zstd_is_not_asked_for(house):
    house.client().deliver(get(b"/v1/models", b"Accept-Encoding: gzip, zstd, br"))
    assert upstream(house).values(b"accept-encoding") == [b"gzip, br"]


def test_clients_credentials_are_replaced_as_in_every_profile(house, canary):
    house.client().deliver(
        get(b"/responses", b"Authorization: Bearer sk-placeholder-for-api-proxy", b"x-api-key: x")
    )
    head = upstream(house)
    assert head.target == b"/v1/responses"
    assert head.values(b"authorization") == [b"Bearer " + canary.encode()]
    assert head.values(b"x-api-key") == []


@pytest.mark.parametrize("target", [b"//evil.example/x", b"http://evil.example/x"])
def test_target_that_is_no_path_is_400_bad_request(house, target):
    client = house.client()
    client.deliver(get(target))
    status, fields, content = reply(client)
    assert (status, json.loads(content)["error"]) == (400, "Bad Request")
    assert fields[b"x-request-id"]
    assert house.origins == []


def test_default_profile_has_neither_second_id_nor_another_style(canary):
    house = House(canary)
    client = house.client()
    client.deliver(get(b"/v1/models", b"X-Request-ID: trace", b"Accept-Encoding: zstd"))
    head = upstream(house)
    assert head.values(b"accept-encoding") == [b"zstd"]
    house.origin.deliver(answer(b"ok", b"x-request-id: req_provider"))
    assert reply(client)[1][b"x-request-id"] == b"req_provider"
    house.close()


# --- without a key ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_bytes",
    [
        get(b"/v1/models"),
        get(b"/v1/models", b"Authorization: Bearer sk-of-the-agents-own"),
        post(5, b"hello"),
        post(100000, b"the beginning"),
        get(b"/v1/x", method=b"DELETE"),
        HANDSHAKE,
        get(b"/v1/models", version=b"1.0"),
    ],
    ids=["GET", "with a key of the agent's", "POST", "upload", "DELETE", "websocket", "1.0"],
)
def test_nothing_is_forwarded_without_a_credential(empty, request_bytes):
    client = empty.client()
    client.deliver(request_bytes)
    empty.wait(60)
    status, _, content = reply(client)
    websocket = b"websocket" in request_bytes
    assert status == (503 if websocket else 404)
    assert (content == b"") is websocket
    assert empty.endpoint.attempts == []


def test_first_key_lets_a_handshake_through_that_was_a_bare_503_before(empty, canary):
    empty.client().deliver(HANDSHAKE)
    assert empty.endpoint.attempts == []
    assert (empty.line["status"], empty.line["error"]) == (503, "credential_missing")
    empty.forwarding.credentials.replace({"openai": InForce((Secret(canary.encode()),))})
    empty.client().deliver(HANDSHAKE)
    assert upstream(empty).values(b"upgrade") == [b"websocket"]


def test_websocket_that_the_operator_refuses_is_426_with_and_without_a_key(canary):
    for key in None, canary:
        house = House(key, profile=GH_AW, websocket=False)
        client = house.client()
        client.deliver(HANDSHAKE)
        assert reply(client)[0] == 426
        house.close()


def test_refusal_without_a_key_is_in_the_log_as_a_refusal(empty):
    empty.client().deliver(get())
    assert (empty.line["status"], empty.line["outcome"]) == (404, "refused")
    assert empty.error == "credential_missing"
    assert [name for name, _ in empty.events] == ["request_start"]
