"""Size and number: a gigabyte each way and two hundred streams, in flat memory."""

import hashlib
import uuid

import pytest

from tests.e2e.conftest import Stack
from tests.kit.answers import PIECE
from tests.kit.client import Client

GIGABYTE = 1 << 30
LIMIT = 100 << 20
STREAMS = 200


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_gigabyte_down_in_flat_memory(own_stack: Stack, framing: str) -> None:
    size = GIGABYTE if framing == "length" else GIGABYTE // 4
    with Client(own_stack.port, timeout=60) as client:
        client.send_head("GET", f"/v1/kit/download?bytes={size}&{framing}")
        head = client.final_head()
        received = sum(map(len, client.pieces(head)))
    assert received == size
    assert own_stack.daemon.peak_memory() < LIMIT


def test_download_is_the_same_bytes(own_stack: Stack) -> None:
    size = 32 << 20
    expected = hashlib.sha256(PIECE * (size // len(PIECE))).hexdigest()
    digest = hashlib.sha256()
    with Client(own_stack.port, timeout=60) as client:
        client.send_head("GET", f"/v1/kit/download?bytes={size}&chunked")
        for piece in client.pieces(client.final_head()):
            digest.update(piece)
    assert digest.hexdigest() == expected


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_gigabyte_up_in_flat_memory(own_stack: Stack, framing: str) -> None:
    size = GIGABYTE if framing == "length" else GIGABYTE // 4
    coding = (b"Content-Length", b"%d" % size) if framing == "length" else (b"Transfer-Encoding", b"chunked")
    digest = hashlib.sha256()
    with Client(own_stack.port, timeout=60) as client:
        client.send_head("POST", "/v1/kit/upload", [coding])
        for _ in range(size // len(PIECE)):
            digest.update(PIECE)
            client.send(PIECE if framing == "length" else b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
        if framing == "chunked":
            client.send(b"0\r\n\r\n")
        answer = client.answer().json()
    assert (answer["length"], answer["sha256"]) == (size, digest.hexdigest())
    assert own_stack.daemon.peak_memory() < LIMIT


def test_two_hundred_streams_at_once(own_stack: Stack) -> None:
    """All are open before the first event of any of them."""
    mark = uuid.uuid4().hex
    gate = own_stack.origin.gate(mark)
    clients = [Client(own_stack.port, timeout=60) for _ in range(STREAMS)]
    try:
        for client in clients:
            client.send_head("GET", f"/v1/kit/drip?events=3&gate={mark}")
        streams = []
        for client in clients:
            head = client.final_head()
            assert head.status == 200
            streams.append(client.pieces(head))
        # One gate for all: a step each for three events and the end marker.
        gate.release(STREAMS * 4)
        ends = [b"".join(stream) for stream in streams]
    finally:
        for client in clients:
            client.close()
    expected = b"".join(b"event: message\ndata: %d\n\n" % number for number in range(3)) + b"data: [DONE]\n\n"
    assert ends == [expected] * STREAMS
    assert own_stack.daemon.peak_memory() < LIMIT
    assert own_stack.origin.connections >= STREAMS
