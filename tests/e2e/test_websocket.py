"""WebSocket through the real Squid to the TLS origin: what passes, what is refused, and how it ends."""

import contextlib
import json
import os
import select
import socket
import threading
import uuid
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.e2e.conftest import NAME, Stack, options
from tests.kit.certificates import Authority
from tests.kit.client import Client
from tests.kit.daemon import Daemon
from tests.kit.origin import Origin
from tests.kit.ports import origin_listener
from tests.kit.reader import Closed, poll, reset
from tests.kit.squid import Squid
from tests.kit.websocket import ask, connect, join

EVIL = b"GET /evil HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def mark() -> str:
    return uuid.uuid4().hex


def quiet(stack: Stack) -> bool:
    """No tunnel is in use, being opened or waited for."""
    tunnels = stack.daemon.health()["tunnels"]
    assert isinstance(tunnels, dict)
    return not (tunnels["busy"] or tunnels["waiting"] or tunnels["opening"])


def works(stack: Stack) -> None:
    """A WebSocket of another client passes, and then nothing is left over."""
    with connect(stack.port) as socket_:
        socket_.send("hello")
        assert socket_.recv(timeout=20) == "hello"
    poll(lambda: quiet(stack))


# --- messages -----------------------------------------------------------------------------------------


def test_text_and_binary_come_back_as_they_were(stack: Stack) -> None:
    with connect(stack.port) as socket_:
        for message in ("", "text", "\N{SNOWMAN}", b"", b"\x00\xff" * 1000):
            socket_.send(message)
            assert socket_.recv(timeout=20) == message


def test_sixteen_megabytes_each_way(own_stack: Stack) -> None:
    with connect(own_stack.port) as socket_:
        for message in (os.urandom(16 << 20), os.urandom(16 << 20)):
            socket_.send(message)
            assert socket_.recv(timeout=60) == message
    assert own_stack.daemon.peak_memory() < 100 << 20


def test_ten_thousand_small_messages(stack: Stack) -> None:
    with connect(stack.port, max_queue=None) as socket_:
        for number in range(10_000):
            socket_.send(str(number))
        assert [socket_.recv(timeout=60) for _ in range(10_000)] == list(map(str, range(10_000)))


def test_pings_are_answered_by_the_origin(stack: Stack) -> None:
    with connect(stack.port) as socket_:
        for _ in range(3):
            assert socket_.ping(uuid.uuid4().hex).wait(20)


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
def test_close_codes_pass_in_both_directions(stack: Stack, code: int, mark: str) -> None:
    with connect(stack.port, f"/v1/kit/ws?{mark}") as socket_:
        socket_.close(code, "because")
    assert stack.origin.wait_for(mark.encode(), lambda seen: seen.ended == "answered").close_code == code
    with connect(stack.port, f"/v1/kit/ws?do=close&code={code}") as socket_:
        socket_.send("now")
        with pytest.raises(ConnectionClosed):
            socket_.recv(timeout=20)
        assert (socket_.close_code, socket_.close_reason) == (code, "because")


def test_compression_is_negotiated_end_to_end(stack: Stack, mark: str) -> None:
    with connect(stack.port, f"/v1/kit/ws?{mark}", compression="deflate") as socket_:
        response = socket_.response
        assert response is not None
        assert "permessage-deflate" in response.headers["Sec-WebSocket-Extensions"]
        for message in ("a" * 1_000_000, os.urandom(100_000)):
            socket_.send(message)
            assert socket_.recv(timeout=20) == message
    seen = stack.origin.wait_for(mark.encode())
    assert b"permessage-deflate" in b"".join(seen.values(b"sec-websocket-extensions"))


def test_two_hundred_at_once(own_stack: Stack) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(own_stack.port, timeout=60)) for _ in range(200)]
        for client in clients:
            ask(client, "/v1/kit/ws?do=first")
        for client in clients:
            assert client.read_head().status == 101
        for number, client in enumerate(clients):
            assert b"".join(client.reader.exactly(5)) == b"first"
            client.send(b"%06d" % number)
        bodies = poll(lambda: _bodies(own_stack.origin, 200), 30)
        assert bodies == {b"%06d" % number for number in range(200)}
        assert own_stack.daemon.peak_memory() < 100 << 20
    poll(lambda: quiet(own_stack))


def _bodies(origin: Origin, wanted: int) -> set[bytes]:
    found = {seen.body for seen in origin.find(b"/v1/kit/ws") if len(seen.body) == 6}
    return found if len(found) == wanted else set()


# --- the handshake ------------------------------------------------------------------------------------


def test_the_origin_sees_the_key_and_none_of_the_clients_credentials(stack: Stack, mark: str) -> None:
    with Client(stack.port) as client:
        head = join(
            client,
            f"/kit/ws?do=first&{mark}",
            (b"Authorization", b"Bearer mine"),
            (b"X-Api-Key", b"mine"),
            (b"Cookie", b"mine"),
            (b"Sec-WebSocket-Protocol", b"realtime, openai-insecure-api-key.mine, openai-beta.realtime-v1"),
        )
        seen = stack.origin.wait_for(mark.encode())
        assert b"".join(client.reader.exactly(5)) == b"first"
    assert seen.target.startswith(b"/v1/kit/ws?")
    assert b"mine" not in seen.head
    assert seen.values(b"authorization") == [b"Bearer THE-KEY"]
    assert seen.values(b"sec-websocket-protocol") == [b"realtime, openai-beta.realtime-v1"]
    assert seen.values(b"connection") == [b"Upgrade"]
    assert seen.values(b"upgrade") == [b"websocket"]
    assert head.value(b"Upgrade") == b"websocket"
    assert head.value(b"Connection") == b"Upgrade"
    assert head.value(b"Sec-WebSocket-Accept") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert head.values(b"awfproxy-request-id")


@pytest.mark.parametrize("status", [200, 401, 426])
@pytest.mark.parametrize("how", ["one write", "pieces", "while it waits"])
def test_no_second_request_goes_through_a_refused_upgrade(own_stack: Stack, status: int, how: str) -> None:
    """The agent pipelines one of its own making behind the handshake."""
    origin = own_stack.origin
    gate = origin.gate("refusal")
    target = f"/v1/kit/refuse?code={status}&gate=refusal"
    before = len(origin.requests)
    with Client(own_stack.port) as client:
        ask(client, target, behind=EVIL if how == "one write" else b"")
        if how == "pieces":
            for at in range(len(EVIL)):
                client.send(EVIL[at : at + 1])
        origin.wait_for(b"/v1/kit/refuse")
        if how == "while it waits":
            client.send(EVIL * 5000)
        gate.release()
        answer = client.answer()
        assert (answer.status, answer.json()) == (status, {"refused": True})
        assert answer.value(b"Connection") == b"close"
        assert not answer.error_code
        with contextlib.suppress(OSError):
            client.send(EVIL)
        assert client.closed()
    works(own_stack)
    assert len(origin.requests) == before + 2, [seen.head for seen in origin.requests]
    assert not origin.find(b"/evil")


def test_what_comes_before_the_101_reaches_the_origin_after_it_in_order(stack: Stack, mark: str) -> None:
    gate = stack.origin.gate(mark)
    data = os.urandom(1 << 20)
    with Client(stack.port) as client:
        ask(client, f"/v1/kit/ws?do=keep&gate={mark}", behind=data[:1000])
        sender = threading.Thread(target=client.send, args=(data[1000:],))
        sender.start()
        stack.origin.wait_for(mark.encode())
        gate.release()
        assert client.read_head().status == 101
        sender.join(20)
        seen = stack.origin.wait_for(mark.encode(), lambda seen: seen.length == len(data))
        assert seen.body == data[:65536]


def test_a_malformed_handshake_is_400_and_goes_nowhere(stack: Stack, mark: str) -> None:
    fields = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"), (b"Sec-WebSocket-Version", b"13")]
    answer = stack.daemon.ask("GET", f"/v1/responses?{mark}", fields=fields)
    assert (answer.status, answer.error_code) == (400, "bad_websocket_handshake")
    assert not stack.origin.find(mark.encode())


def test_a_switch_to_another_protocol_is_502(stack: Stack) -> None:
    with Client(stack.port) as client:
        ask(client, "/v1/kit/upgrade")
        answer = client.answer()
        assert (answer.status, answer.error_code) == (502, "origin_unexpected_upgrade")
        assert client.closed()


# --- ends ---------------------------------------------------------------------------------------------


def test_the_clients_end_is_passed_on_and_the_origin_goes_on(stack: Stack, mark: str) -> None:
    with Client(stack.port) as client:
        join(client, f"/v1/kit/ws?do=after_end&bytes=5000000&{mark}", _id(mark))
        client.send(b"all")
        client.sock.shutdown(socket.SHUT_WR)
        assert sum(map(len, client.reader.rest())) == 5_000_000
    assert stack.origin.wait_for(mark.encode()).body == b"all"
    line = _line(stack.daemon, mark)
    assert (line["status"], line["outcome"], line["error"]) == (101, "completed", None)
    assert (line["request_bytes"], line["response_bytes"]) == (3, 5_000_000)


def test_the_origins_end_is_passed_on_and_the_client_goes_on(stack: Stack, mark: str) -> None:
    with Client(stack.port) as client:
        join(client, f"/v1/kit/ws?do=ends&{mark}", _id(mark))
        assert b"".join(client.reader.rest()) == b"last"
        stack.origin.wait_for(mark.encode(), lambda seen: seen.said_end)
        client.send(b"still ")
        stack.origin.wait_for(mark.encode(), lambda seen: seen.body == b"still ")
        client.send(b"here")
        client.sock.shutdown(socket.SHUT_WR)
        seen = stack.origin.wait_for(mark.encode(), lambda seen: seen.ended == "answered")
        assert seen.body == b"still here"
    assert _line(stack.daemon, mark)["outcome"] == "completed"


@pytest.mark.parametrize("how", ["", "&fin"])
def test_an_origin_that_is_lost_resets_the_client(stack: Stack, mark: str, how: str) -> None:
    with Client(stack.port) as client:
        join(client, f"/v1/kit/ws?do=cut{how}", _id(mark))
        assert b"".join(client.reader.exactly(6)) == b"\x81\x0ahalf"
        stack.origin.gate("cut").release()
        assert client.was_reset()
    line = _line(stack.daemon, mark)
    assert (line["outcome"], line["error"]) == ("upstream_truncated", "origin_truncated")


def _id(mark: str) -> tuple[bytes, bytes]:
    """Makes the mark the request's id, by which its access line is found."""
    return b"X-Request-Id", mark.encode()


def _line(daemon: Daemon, mark: str) -> dict[str, object]:
    def line() -> dict[str, object]:
        lines = [json.loads(line) for line in daemon.output().splitlines() if mark in line]
        return next((line for line in lines if line["event"] == "request_complete"), {})

    found = poll(line)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("stage", ["part of the head", "before the 101", "after the 101", "amid a message"])
@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_client_that_leaves_at_any_stage_takes_the_upstream_with_it(
    own_stack: Stack, mark: str, stage: str, how: str
) -> None:
    client = Client(own_stack.port)
    if stage == "part of the head":
        client.send(b"GET /v1/kit/ws HTTP/1.1\r\nUpgr")
    elif stage == "before the 101":
        ask(client, f"/v1/kit/ws?gate=never&{mark}", behind=b"held")
        own_stack.origin.wait_for(mark.encode())
    else:
        join(client, f"/v1/kit/ws?do=keep&{mark}")
        if stage == "amid a message":
            client.send(b"\x82\xfe\x01\x00half")
            own_stack.origin.wait_for(mark.encode(), lambda seen: bool(seen.body))
    getattr(client, how)()
    if "101" in stage or "amid" in stage:
        own_stack.origin.gate("never").release()
        own_stack.origin.wait_for(mark.encode(), lambda seen: bool(seen.ended))
    works(own_stack)


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_client_that_leaves_during_tls_leaves_nothing_behind(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str, how: str
) -> None:
    with Daemon(
        *options(authority, own_origin, squid), "--pool-warm", "0", env={"OPENAI_API_KEY": canary}
    ) as daemon:
        daemon.ready("/readyz")
        own_origin.delay_handshake.clear()
        client = Client(daemon.port)
        ask(client, "/v1/kit/ws?during-tls", behind=b"held")
        poll(lambda: daemon.health()["tunnels"]["opening"] == 1)  # type: ignore[index]
        getattr(client, how)()
        daemon.wait_for_output("outcome=client_left")
        assert daemon.health()["tunnels"]["waiting"] == 0  # type: ignore[index]
        own_origin.delay_handshake.set()
        works(Stack(authority, own_origin, squid, daemon))
        assert not own_origin.find(b"during-tls")


def test_a_client_that_is_reset_during_connect_leaves_nothing_behind(
    authority: Authority, origin: Origin, canary: str
) -> None:
    """The egress proxy takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as egress:
        url = f"http://127.0.0.1:{egress.getsockname()[1]}"
        with Daemon(
            "--egress-proxy", url, "--ca-file", str(authority.file), "--target", f"{NAME}:{origin.port}",
            "--probe", "off", "--pool-warm", "0", "--connect-deadline", "5",
            env={"OPENAI_API_KEY": canary},
        ) as daemon:  # fmt: skip
            daemon.ready()
            client = Client(daemon.port)
            ask(client, "/v1/kit/ws", behind=b"held")
            taken, _ = egress.accept()
            with taken:
                assert taken.recv(65536).startswith(b"CONNECT ")
                client.reset()
                daemon.wait_for_output("outcome=client_left")
                assert daemon.health()["tunnels"]["waiting"] == 0  # type: ignore[index]
                taken.settimeout(20)
                with contextlib.suppress(ConnectionResetError):
                    assert not taken.recv(65536), "nothing of the handshake, then the attempt's own end"
            assert daemon.running.poll() is None


@pytest.mark.parametrize("behaviour", ["vanish", "no_answer", "short_head", "garbage"])
def test_an_origin_that_fails_before_the_101_is_a_502(own_stack: Stack, behaviour: str) -> None:
    with Client(own_stack.port) as client:
        ask(client, f"/v1/kit/{behaviour}", behind=b"held")
        answer = client.answer()
        assert answer.status == 502
        assert answer.value(b"Connection") == b"close"
        assert client.closed()
    works(own_stack)


@pytest.mark.parametrize(("listening", "code"), [(True, "tls_closed"), (False, "egress_failed")])
def test_an_origin_that_fails_before_tls_stands_is_said(
    authority: Authority, squid: Squid, canary: str, listening: bool, code: str
) -> None:
    """It resets each connection within TLS, or takes none."""
    with origin_listener() as door:
        port = door.getsockname()[1]
        if not listening:
            door.close()
        else:
            threading.Thread(target=_reset_all, args=(door,), daemon=True).start()
        with Daemon(
            "--egress-proxy", squid.url, "--ca-file", str(authority.file), "--target", f"{NAME}:{port}",
            "--probe", "off", "--pool-warm", "0", env={"OPENAI_API_KEY": canary},
        ) as daemon, Client(daemon.ready().port) as client:  # fmt: skip
            ask(client, "/v1/kit/ws", behind=b"held")
            answer = client.answer()
            assert answer.error_code == code
            assert answer.value(b"Connection") == b"close"
            assert client.closed()
            assert daemon.health()["tunnels"]["waiting"] == 0  # type: ignore[index]
        if listening:
            door.shutdown(socket.SHUT_RDWR)


def _reset_all(door: socket.socket) -> None:
    """Once the client has begun TLS: earlier, Squid might not have answered CONNECT yet."""
    with contextlib.suppress(OSError):
        while True:
            taken, _ = door.accept()
            taken.recv(1)
            reset(taken)


def test_an_egress_proxy_that_denies_is_403(authority: Authority, origin: Origin, canary: str) -> None:
    with Squid(["example.test"]) as squid, Daemon(
        *options(authority, origin, squid), "--probe", "off", env={"OPENAI_API_KEY": canary}
    ) as daemon:
        daemon.ready()
        with pytest.raises(InvalidStatus) as refused:
            connect(daemon.port)
        assert refused.value.response.status_code == 403
        assert refused.value.response.headers["awfproxy-error"] == "egress_denied"


# --- memory -------------------------------------------------------------------------------------------


def test_memory_stays_flat_while_nobody_reads(own_stack: Stack) -> None:
    """All are filled in both directions until nothing moves: buffers of the kernel apart, each
    holds what one read brings and what waits above the transport's high water."""
    sockets = 24
    works(own_stack)
    before = own_stack.daemon.memory()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(own_stack.port, timeout=60)) for _ in range(sockets)]
        for client in clients:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            join(client, "/v1/kit/ws?do=flood")
        filling = [threading.Thread(target=_fill, args=(client.sock,)) for client in clients]
        for each in filling:
            each.start()
        for each in filling:
            each.join(60)
        assert own_stack.daemon.memory() - before < sockets * (512 << 10)
    poll(lambda: quiet(own_stack), 20)


def _fill(sock: socket.socket) -> None:
    """Writes until for a while nothing is taken."""
    sock.setblocking(False)
    ready = select.poll()
    ready.register(sock, select.POLLOUT)
    while ready.poll(300):
        with contextlib.suppress(BlockingIOError):
            sock.send(bytes(65536))


# --- limits -------------------------------------------------------------------------------------------


@pytest.fixture
def limited(authority: Authority, own_origin: Origin, squid: Squid, canary: str) -> Iterator[Stack]:
    limits = ("--websocket-idle-deadline", "1", "--websocket-lifetime", "3")
    with Daemon(*options(authority, own_origin, squid), *limits, env={"OPENAI_API_KEY": canary}) as daemon:
        daemon.ready("/readyz")
        yield Stack(authority, own_origin, squid, daemon)


def test_silence_ends_it(limited: Stack) -> None:
    with Client(limited.port) as client:
        join(client, "/v1/kit/ws?do=keep")
        assert client.closed()
    limited.daemon.wait_for_output("outcome=timed_out")
    poll(lambda: quiet(limited))


def test_its_lifetime_ends_it_whatever_it_does(limited: Stack) -> None:
    with connect(limited.port) as socket_, contextlib.suppress(ConnectionClosed):
        while True:
            socket_.send("still here")
            assert socket_.recv(timeout=20) == "still here"
    limited.daemon.wait_for_output("outcome=timed_out")
    poll(lambda: quiet(limited))


def test_refused_by_configuration_it_is_426(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    with Daemon(
        *options(authority, own_origin, squid), "--websocket", "refuse", env={"OPENAI_API_KEY": canary}
    ) as daemon:
        daemon.ready("/readyz")
        with pytest.raises(InvalidStatus) as refused:
            connect(daemon.port)
        assert refused.value.response.status_code == 426
        assert refused.value.response.headers["awfproxy-error"] == "websocket_unsupported"
        assert not own_origin.find(b"/v1/kit/ws")


# --- drain --------------------------------------------------------------------------------------------


def test_a_silent_one_does_not_hold_up_the_end(own_stack: Stack) -> None:
    with Client(own_stack.port) as client:
        join(client, "/v1/kit/ws?do=keep")
        assert own_stack.daemon.terminate(deadline=12) == 143  # --drain-deadline is 20
        with contextlib.suppress(Closed):
            client.reader.more()
    assert "outcome=drained" in own_stack.daemon.output()


def test_an_active_one_has_until_the_drain_deadline(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    with Daemon(
        *options(authority, own_origin, squid), "--drain-deadline", "4", env={"OPENAI_API_KEY": canary}
    ) as daemon:
        daemon.ready("/readyz")
        ended: list[int] = []
        with connect(daemon.port) as socket_:
            stopping = threading.Thread(target=lambda: ended.append(daemon.terminate()))
            stopping.start()
            daemon.wait_for_output("Stopping")
            count = 0
            with contextlib.suppress(ConnectionClosed):
                while True:
                    socket_.send("still here")
                    assert socket_.recv(timeout=20) == "still here"
                    count += 1
            stopping.join(20)
        assert ended == [143]
        assert count > 0
        assert "outcome=drained" in daemon.output()
