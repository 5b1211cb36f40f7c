"""What a client sent of its own secrets is gone with its request: nothing keeps it for the next one."""

import gc
import secrets
import sys

import pytest

from tests.memory.peers import House, answer, get

FIELDS = (
    b"Authorization: Bearer %b", b"Proxy-Authorization: Basic %b", b"X-Api-Key: %b", b"api-key: %b",
    b"x-goog-api-key: %b", b"Cookie: session=%b", b"X-Unheard-Of: %b", b"Referer: http://a/?key=%b",
    b"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.%b",
)  # fmt: skip


def everything():
    """All objects that can be reached from modules and from what the collector knows."""
    seen, waiting = set(), [*sys.modules.values(), *gc.get_objects()]
    while waiting:
        new = []
        for one in waiting:
            if id(one) not in seen:
                seen.add(id(one))
                new.append(one)
        yield from new
        waiting = gc.get_referents(*new) if new else []


def kept(marker):
    """The bytes and texts, other than `marker` itself, that it stands in."""
    text = marker.decode()
    return [
        one
        for one in everything()
        if (isinstance(one, bytes | bytearray) and one is not marker and marker in one)
        or (isinstance(one, str) and one is not text and text in one)
    ]


def sent_and_answered(house, request):
    """The request's secret, once it has been answered and both sides have ended."""
    marker = secrets.token_hex(12).encode()
    client = house.client()
    client.deliver(request.replace(b"%b", marker))
    house.origins[-1].deliver(answer())
    assert client.clear().startswith(b"HTTP/1.1 200 OK\r\n")
    house.origins[-1].clear()
    client.reset()
    house.origins[-1].reset()
    return marker


@pytest.mark.parametrize("request_", [get(b"/v1/x?key=%b"), get(b"/v1/x", *FIELDS)], ids=["query", "fields"])
def test_no_secret_of_a_clients_stays(canary, request_):
    house = House(canary, write=str)  # Twisted's own log remembers its events until it is begun
    try:
        marker = sent_and_answered(house, request_)
        assert not kept(marker)
    finally:
        house.close()


def test_what_stays_is_found():
    marker = secrets.token_hex(12).encode()
    held = [b"Authorization: " + marker, "query " + marker.decode()]
    assert len(kept(marker)) == len(held)
