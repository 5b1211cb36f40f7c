"""The local pages and the resource that finds them: exact paths, from memory, and nothing else of ours."""

import json

import pytest
from twisted.internet.testing import StringTransport

from awfproxy.credentials.verdict import Accepted, Rejected
from awfproxy.errors.egress import EgressUnreachable
from tests.memory.peers import House, answer, get, post, responses, statuses


def page(house, target=b"/health", method=b"GET", **request):
    client = house.client()
    client.deliver(get(target, method=method, **request))
    ((status, fields, content),) = responses(client.received)
    return status, fields, json.loads(content)


def test_health_has_the_keys_of_the_sidecar_and_more(house):
    house.health.key_checked(Accepted(""))
    status, fields, content = page(house)
    assert status == 200
    assert fields[b"content-type"] == b"application/json"
    assert fields[b"cache-control"] == b"no-store"
    assert content["status"] == "healthy"
    assert content["service"] == "awf-api-proxy"
    assert content["squid_proxy"] == "http://127.0.0.1:3128"
    assert content["providers"] == {
        "openai": True, "anthropic": False, "copilot": False, "gemini": False, "vertex": False
    }  # fmt: skip
    assert content["key_validation"]["complete"] is True
    assert content["key_validation"]["results"]["openai"]["status"] == "accepted"
    assert content["tunnels"]["idle"] == 0
    assert content["requests_seen"] == 0
    assert "reason" not in content


def test_health_counts_what_was_forwarded_and_not_itself(house):
    client = house.client()
    client.deliver(get())
    house.origin.deliver(answer())
    for _ in range(3):
        content = page(house)[2]
    assert content["requests_seen"] == 1
    assert content["metrics_summary"]["total_requests"] == 1
    assert content["metrics_summary"]["active_requests"] == 0
    assert content["tunnels"]["idle"] == 1
    assert content["last_success"] == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize("target", [b"/health", b"/readyz"])
def test_not_ready_is_503_with_the_reason(house, target):
    house.health.key_checked(Rejected("invalid_api_key"))
    status, _, content = page(house, target)
    assert status == 503
    assert content["reason"] == "The provider rejects the key (invalid_api_key)."


def test_readiness_follows_the_egress(house):
    house.health.key_checked(Accepted(""))
    house.health.egress_failed(EgressUnreachable())
    assert page(house, b"/readyz")[0] == 503
    assert page(house)[2]["egress"] == {"state": "failing", "error": "egress_unreachable"}
    house.health.egress_ok()
    assert page(house, b"/readyz")[::2] == (200, {"status": "ready"})


def test_alive_is_alive_whatever_fails(house):
    house.health.key_checked(Rejected("x"))
    assert page(house, b"/healthz")[::2] == (200, {"status": "alive"})


@pytest.mark.parametrize("target", [b"/health", b"/healthz", b"/readyz", b"/health?", b"/health?x=1"])
def test_a_page_answers_get_and_head_with_or_without_a_query(house, target):
    house.health.key_checked(Accepted(""))
    assert page(house, target)[0] == 200
    client = house.client()
    client.deliver(get(target, method=b"HEAD"))
    assert client.received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert client.received.endswith(b"\r\n\r\n")
    assert b"Content-Length: 0" not in client.received
    assert house.endpoint.attempts == []


@pytest.mark.parametrize(
    ("method", "target"),
    [
        (b"POST", b"/health"),
        (b"DELETE", b"/health"),
        (b"GET", b"/health/"),
        (b"GET", b"/Health"),
        (b"GET", b"/healthzz"),
        (b"GET", b"/v1/health"),
        (b"GET", b"/%68ealth"),
        (b"GET", b"/./health"),
        (b"GET", b"/"),
    ],
)
def test_every_other_request_is_the_providers(house, method, target):
    client = house.client()
    client.deliver(get(target, method=method))
    assert len(house.endpoint.attempts) == 1
    assert house.origin.received.startswith(method)


def test_pages_can_be_moved(build):
    house = build(local_pages="/-/awfproxy")
    house.health.key_checked(Accepted(""))
    assert page(house, b"/-/awfproxy/health")[0] == 200
    assert house.endpoint.attempts == []
    house.client().deliver(get(b"/health"))
    assert len(house.endpoint.attempts) == 1


def test_pages_can_be_switched_off(build):
    house = build(local_pages=None)
    for target in b"/health", b"/healthz", b"/readyz":
        house.client().deliver(get(target))
    assert len(house.endpoint.attempts) == 3


def test_a_page_answers_while_all_tunnels_hang(build):
    house = build(automatic=False)
    house.client().deliver(get())
    content = page(house)[2]
    assert (content["tunnels"]["waiting"], content["tunnels"]["opening"]) == (1, 1)


def test_a_page_needs_no_more_of_a_transport_than_any_has():
    """A unix socket has no port, and Twisted's plainest transport no half-close."""
    house = House(None)
    transport = StringTransport()
    channel = house.site.buildProtocol(None)
    channel.makeConnection(transport)
    channel.dataReceived(get(b"/healthz", b"Connection: close"))
    assert statuses(transport.value()) == [200]
    assert transport.disconnecting
    house.close()


def test_a_page_asked_for_with_a_body_answers_and_closes(house):
    client = house.client()
    client.deliver(post(1000).replace(b"POST /v1/responses", b"GET /healthz"))
    assert statuses(client.received) == [200]
    client.deliver(b"x" * 1000)
    assert client.ended
    assert house.endpoint.attempts == []


def test_pages_log_no_exchange(house):
    page(house)
    assert house.lines == []
    assert house.metrics.requests_seen == 0
