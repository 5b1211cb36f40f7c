"""Streams: each piece leaves as it arrives, each side's leaving is passed on, a cut is never a proper end."""

import uuid

import pytest

from tests.e2e.conftest import Stack
from tests.kit.client import Client, Response
from tests.kit.reader import poll


@pytest.fixture
def mark() -> str:
    return uuid.uuid4().hex


def start_stream(client: Client, target: str) -> Response:
    client.send_head("POST", target, [(b"Content-Length", b"2"), (b"Accept", b"text/event-stream")])
    client.send(b"{}")
    head = client.final_head()
    assert head.status == 200
    return head


def test_each_event_leaves_as_it_arrives(stack: Stack, mark: str) -> None:
    gate = stack.origin.gate(mark)
    with Client(stack.port) as client:
        pieces = client.pieces(start_stream(client, f"/v1/kit/drip?events=5&gate={mark}"))
        for number in range(5):
            gate.release()  # the origin sends no further event before this one is here
            assert next(pieces) == b"event: message\ndata: %d\n\n" % number
        gate.release()
        assert b"".join(pieces) == b"data: [DONE]\n\n"


def test_head_of_a_stream_leaves_before_its_first_event(stack: Stack, mark: str) -> None:
    gate = stack.origin.gate(mark)
    with Client(stack.port) as client:
        head = start_stream(client, f"/v1/kit/drip?events=0&gate={mark}")
        assert head.value(b"Content-Type") == b"text/event-stream"
        gate.release()
        assert b"".join(client.pieces(head)) == b"data: [DONE]\n\n"


@pytest.mark.parametrize("how", ["close", "reset"])
def test_client_that_leaves_takes_the_upstream_connection_with_it(stack: Stack, mark: str, how: str) -> None:
    gate = stack.origin.gate(mark)
    client = Client(stack.port)
    pieces = client.pieces(start_stream(client, f"/v1/kit/drip?events=1&linger&gate={mark}"))
    gate.release()
    next(pieces)
    getattr(client, how)()
    gate.release()  # the end marker, to nobody
    assert stack.origin.wait_for(mark.encode(), lambda seen: seen.ended == "left")


def test_client_that_leaves_before_the_answer_takes_the_upstream_connection_with_it(
    stack: Stack, mark: str
) -> None:
    client = Client(stack.port)
    client.send_head("GET", f"/v1/kit/stall?{mark}")
    stack.origin.wait_for(mark.encode())
    client.reset()
    assert stack.origin.wait_for(mark.encode(), lambda seen: seen.ended == "left")


def test_client_that_leaves_amid_its_upload_takes_the_upstream_connection_with_it(
    stack: Stack, mark: str
) -> None:
    client = Client(stack.port)
    client.send_head("POST", f"/v1/kit/upload?{mark}", [(b"Content-Length", b"1000")])
    client.send(b"1")
    stack.origin.wait_for(mark.encode(), lambda seen: seen.body == b"1")
    client.reset()
    assert stack.origin.wait_for(mark.encode(), lambda seen: seen.ended == "left")


def test_client_that_closes_after_the_end_marker_is_a_success(stack: Stack, mark: str) -> None:
    client = Client(stack.port)
    client.send_head(
        "POST", "/v1/kit/drip?events=1&linger", [(b"Content-Length", b"0"), (b"X-Request-Id", mark.encode())]
    )
    client.reader.until(b"data: [DONE]\n\n")
    client.close()
    assert '"client_left_after_done"' in stack.daemon.wait_for_output(f'"{mark}"')


@pytest.mark.parametrize("behaviour", ["short-length", "short-chunked", "until-reset"])
def test_truncated_answer_resets_the_client(stack: Stack, behaviour: str) -> None:
    with Client(stack.port) as client:
        client.send_head("GET", f"/v1/kit/{behaviour}")
        assert client.was_reset()


def test_origin_that_restarts_amid_a_stream_resets_the_client(own_stack: Stack, mark: str) -> None:
    gate = own_stack.origin.gate(mark)
    with Client(own_stack.port) as client:
        pieces = client.pieces(start_stream(client, f"/v1/kit/drip?events=9&gate={mark}"))
        gate.release()
        next(pieces)
        own_stack.origin.drop_connections()
        assert client.was_reset()
    assert own_stack.daemon.ask("GET", "/v1/kit/length").status == 200


def test_client_that_does_not_read_holds_the_origin_back(stack: Stack, mark: str) -> None:
    """The origin may run ahead by what sockets and our buffers hold, and no further."""
    size = 256 << 20
    with Client(stack.port) as client:
        before = stack.daemon.memory()
        client.send_head("GET", f"/v1/kit/download?bytes={size}&{mark}")
        head = client.final_head()
        with pytest.raises(TimeoutError):  # it does not come to its end by itself
            poll(lambda: stack.origin.wait_for(mark.encode()).ended, 1.5, 0.1)
        assert stack.daemon.memory() - before < 30 << 20
        assert sum(map(len, client.pieces(head))) == size


def test_origin_that_does_not_read_holds_the_client_back(stack: Stack, mark: str) -> None:
    gate = stack.origin.gate(mark)
    size = 128 << 20
    with Client(stack.port) as client:
        before = stack.daemon.memory()
        client.send_head("POST", f"/v1/kit/upload?gate={mark}", [(b"Content-Length", b"%d" % size)])
        client.sock.settimeout(1.5)
        sent = 0
        piece = bytes(1 << 16)
        try:
            while sent < size:
                sent += client.sock.send(piece[: size - sent])
        except TimeoutError:
            pass
        assert sent < size // 2
        assert stack.daemon.memory() - before < 30 << 20
        client.sock.settimeout(60)
        gate.release()
        while sent < size:
            sent += client.sock.send(piece[: size - sent])
        assert client.answer().json()["length"] == size


def test_stop_lets_a_stream_end(own_stack: Stack, mark: str) -> None:
    gate = own_stack.origin.gate(mark)
    with Client(own_stack.port) as client, Client(own_stack.port) as idle:
        idle.request("GET", "/v1/kit/length")
        pieces = client.pieces(start_stream(client, f"/v1/kit/drip?events=1&gate={mark}"))
        own_stack.daemon.running.terminate()
        assert idle.closed()
        poll(lambda: not own_stack.daemon.listening())
        gate.release(2)
        assert b"".join(pieces).endswith(b"data: [DONE]\n\n")
        assert client.closed()
    assert own_stack.daemon.exit_code() == 143
