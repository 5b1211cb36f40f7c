"""Accepting: bursts, refusals, running out of descriptors, and what is left when a listener stops."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.interfaces import IListeningPort, IReadDescriptor
from twisted.logger import formatEvent, globalLogPublisher
from zope.interface.verify import verifyObject

from awfproxy.net.listener import Listener, ListeningEndpoint
from awfproxy.net.transport import StreamTransport
from tests.kit.sockets import DEADLINE, KINDS, Peer, Recorder, Recorders, eventually, turns, watched_by

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=KINDS)
def watcher(request: pytest.FixtureRequest) -> Iterator[Any]:
    yield from watched_by(request.param)


def described(text: str = "tcp:0:interface=127.0.0.1") -> Any:
    from twisted.internet import reactor

    return serverFromString(reactor, text)


@asynccontextmanager
async def listening(watcher: Any, factory: Recorders, endpoint: Any = None) -> AsyncIterator[Any]:
    """A listener, stopped at the end, with all connections that came through it."""
    port = await ListeningEndpoint(watcher, endpoint or described()).listen(factory)
    try:
        yield port
    finally:
        await maybeDeferred(port.stopListening)
        for protocol in factory.built:
            if protocol is not None and protocol.transport is not None:
                protocol.transport.abortConnection()
        await turns()


def connect(port: Any) -> Peer:
    host = port.getHost()
    return Peer(socket.create_connection((host.host, host.port), timeout=DEADLINE))


def refused(host: Any) -> bool:
    try:
        socket.create_connection((host.host, host.port), timeout=DEADLINE).close()
    except ConnectionRefusedError:
        return True
    return False


# --- accepting ---------------------------------------------------------------------------------------


async def test_connections_get_our_transport_and_know_their_addresses(watcher: Any) -> None:
    factory = Recorders()
    async with listening(watcher, factory) as port:
        assert verifyObject(IListeningPort, port)
        assert verifyObject(IReadDescriptor, port)
        peer = connect(port)
        (protocol,) = await factory.count(1)
        transport = protocol.transport
        assert type(transport) is StreamTransport
        assert transport.getPeer() == IPv4Address("TCP", *peer.sock.getsockname())
        assert transport.getHost() == port.getHost()
        assert factory.addresses == [transport.getPeer()]
        await peer.send(b"x")
        assert await protocol.gets(1) == b"x"
        peer.close()


@pytest.mark.parametrize("size", [16, 100])
async def test_burst_is_accepted_whole(watcher: Any, size: int) -> None:
    factory = Recorders(lambda: Recorder(made=lambda self: self.transport.write(b"hello")))
    async with listening(watcher, factory, described("tcp:0:interface=127.0.0.1:backlog=128")) as port:
        peers = [connect(port) for _ in range(size)]
        for peer in peers:
            assert await peer.exactly(5) == b"hello"
            peer.close()
        assert len(factory.built) == size
        for protocol in factory.built:
            await protocol.ends()


async def test_factory_that_builds_nothing_closes_the_connection_and_accepts_on(watcher: Any) -> None:
    answers = iter([None, Recorder()])
    factory = Recorders(lambda: next(answers))
    async with listening(watcher, factory) as port:
        first, second = connect(port), connect(port)
        assert await first.rest() == b""
        await second.send(b"x")
        assert await (await factory.count(2))[1].gets(1) == b"x"
        first.close()
        second.close()


@pytest.mark.parametrize("where", ["buildProtocol", "connectionMade"])
async def test_failure_at_the_start_of_one_connection_leaves_the_listener_alone(
    watcher: Any, where: str, logged_failures: list[Any]
) -> None:
    def fail(*_: object) -> None:
        raise ValueError(where)

    bad = fail if where == "buildProtocol" else lambda: Recorder(made=fail)
    answers = iter([bad, Recorder])
    factory = Recorders(lambda: next(answers)())  # type: ignore[operator]
    async with listening(watcher, factory) as port:
        first, second = connect(port), connect(port)
        assert await first.is_reset() is (where == "connectionMade")
        await second.send(b"x")
        assert await (await factory.count(1 if where == "buildProtocol" else 2))[-1].gets(1) == b"x"
        first.close()
        second.close()
    assert [each["log_failure"].type for each in logged_failures] == [ValueError]
    logged_failures.clear()


async def test_connection_that_is_gone_before_it_is_accepted_harms_nothing(watcher: Any) -> None:
    factory = Recorders()
    async with listening(watcher, factory) as port:
        connect(port).reset()
        peer = connect(port)
        await peer.send(b"x")
        await factory.count(2)
        assert await factory.built[1].gets(1) == b"x"
        await factory.built[0].ends()
        peer.close()


# --- stopping ----------------------------------------------------------------------------------------


async def test_stopping_closes_both_descriptors_and_fires_once_the_port_is_refused(watcher: Any) -> None:
    before = set(os.listdir("/proc/self/fd"))
    port = await ListeningEndpoint(watcher, described()).listen(Recorders())
    host = port.getHost()
    assert not refused(host)
    await turns()
    await port.stopListening()
    assert refused(host)
    assert port.fileno() == -1
    await turns()
    assert len(os.listdir("/proc/self/fd")) <= len(before)


async def test_stopping_twice_is_harmless(watcher: Any) -> None:
    port = await ListeningEndpoint(watcher, described()).listen(Recorders())
    first, second = maybeDeferred(port.stopListening), maybeDeferred(port.stopListening)
    await second
    await first
    await maybeDeferred(port.stopListening)


async def test_connections_accepted_before_it_stops_live_on(watcher: Any) -> None:
    factory = Recorders()
    async with listening(watcher, factory) as port:
        peer = connect(port)
        (protocol,) = await factory.count(1)
        await port.stopListening()
        await peer.send(b"x")
        assert await protocol.gets(1) == b"x"
        protocol.transport.write(b"y")
        assert await peer.exactly(1) == b"y"
        peer.close()
        assert await protocol.ends() is error.ConnectionDone


async def test_stopping_while_it_accepts_is_harmless(watcher: Any) -> None:
    factory = Recorders(lambda: Recorder(made=lambda _: port.stopListening()))
    async with listening(watcher, factory) as port:
        first, second = connect(port), connect(port)
        await factory.count(1)
        await turns()
        assert len(factory.built) == 1
        assert factory.built[0].events == ["made"]
        first.close()
        second.close()


async def test_factory_is_told_of_the_start_and_the_end(watcher: Any) -> None:
    told: list[str] = []
    factory = Recorders()
    factory.startFactory = lambda: told.append("start")  # type: ignore[method-assign]
    factory.stopFactory = lambda: told.append("stop")  # type: ignore[method-assign]
    async with listening(watcher, factory):
        assert told == ["start"]
    assert told == ["start", "stop"]


# --- other kinds of endpoint -------------------------------------------------------------------------


async def test_unix_endpoint_is_taken_over_and_its_path_removed(watcher: Any, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    factory = Recorders()
    async with listening(watcher, factory, described(f"unix:{path}")) as port:
        assert port.getHost() == UNIXAddress(bytes(path))
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(path))
        peer = Peer(sock)
        await peer.send(b"x")
        (protocol,) = await factory.count(1)
        assert await protocol.gets(1) == b"x"
        assert protocol.transport.getHost() == UNIXAddress(bytes(path))
        assert protocol.transport.getPeer() == UNIXAddress(None)
        peer.close()
    assert not path.exists()


async def test_inherited_socket_is_taken_over_as_systemd_gives_it(watcher: Any) -> None:
    from twisted.internet import reactor

    factory = Recorders()
    given = socket.create_server(("127.0.0.1", 0))
    early = Peer(socket.create_connection(given.getsockname(), timeout=DEADLINE))
    endpoint = AdoptedStreamServerEndpoint(reactor, given.detach(), socket.AF_INET)
    async with listening(watcher, factory, endpoint) as port:
        await early.send(b"x")
        (protocol,) = await factory.count(1)
        assert await protocol.gets(1) == b"x"
        host = port.getHost()
        early.close()
    assert refused(host)


async def test_port_in_use_is_the_callers_error(watcher: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = described(f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1")
        with pytest.raises(error.CannotListenError):
            await ListeningEndpoint(watcher, endpoint).listen(Recorders())


# --- errors of accept --------------------------------------------------------------------------------


class Failing:
    """A listening socket whose next accepts fail."""

    def __init__(self, sock: socket.socket, *numbers: int) -> None:
        self._socket = sock
        self.numbers = list(numbers)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def accept(self) -> Any:
        if self.numbers:
            number = self.numbers.pop(0)
            raise OSError(number, os.strerror(number))
        return self._socket.accept()


@pytest.mark.parametrize(
    "number",
    [errno.ECONNABORTED, errno.EPERM, errno.ENETDOWN, errno.EPROTO, errno.ENOPROTOOPT, errno.EHOSTDOWN,
     errno.ENONET, errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.EINTR],
)  # fmt: skip
async def test_error_of_one_connection_is_passed_over(watcher: Any, number: int) -> None:
    factory = Recorders()
    async with listening(watcher, factory) as port:
        port._socket = Failing(port._socket, number, number)
        peer = connect(port)
        await peer.send(b"x")
        (protocol,) = await factory.count(1)
        assert await protocol.gets(1) == b"x"
        peer.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_exhaustion_closes_the_waiting_connection_and_rests(watcher: Any, number: int) -> None:
    factory = Recorders()
    async with listening(watcher, factory) as port:
        port._socket = Failing(port._socket, number)
        first = connect(port)
        assert await first.rest() == b""
        second = connect(port)
        await turns(5)
        assert factory.built == [], "it rests"
        assert port._resting.active()
        port._resting.reset(0)
        await factory.count(1)
        first.close()
        second.close()


async def test_the_refused_one_is_told_by_the_factory_after_what_it_sent_was_read(watcher: Any) -> None:
    """Unread, what it sent would turn the end into a reset, which may overtake the answer."""
    factory = Recorders()
    factory.refusal = lambda: b"HTTP/1.1 503 Service Unavailable\r\n\r\n"  # type: ignore[attr-defined]
    async with listening(watcher, factory) as port:
        port._reactor.removeReader(port)  # until the client has sent
        peer = connect(port)
        await peer.send(b"GET / HTTP/1.1\r\n\r\n")
        port._socket = Failing(port._socket, errno.EMFILE)
        port._reactor.addReader(port)
        assert await peer.rest() == b"HTTP/1.1 503 Service Unavailable\r\n\r\n"
        assert factory.built == []
        peer.close()


async def test_one_who_is_gone_when_it_would_be_told_is_a_refusal_too(watcher: Any) -> None:
    """The factory counts those that it is asked about."""
    asked: list[int] = []
    factory = Recorders()
    factory.refusal = lambda: asked.append(1) or b"refused"  # type: ignore[attr-defined]
    async with listening(watcher, factory) as port:
        port._reactor.removeReader(port)
        connect(port).reset()
        port._socket = Failing(port._socket, errno.EMFILE)
        port._reactor.addReader(port)
        await eventually(lambda: port._resting)
        assert (asked, port._refused) == ([1], 0), "and the line has said it"


async def test_exhaustion_is_said_once_a_minute_with_the_count(watcher: Any) -> None:
    lines: list[str] = []

    def observe(event: Any) -> None:
        if event.get("event") == "descriptors_exhausted":
            lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        async with listening(watcher, Recorders()) as port:
            for _ in range(3):
                port._socket = Failing(port._socket, errno.EMFILE)
                peer = connect(port)
                if port._resting is not None:
                    port._resting.reset(0)
                assert await peer.rest() == b""
                peer.close()
            assert len(lines) == 1
            assert "1 connections refused" in lines[0]
            assert "LimitNOFILE" in lines[0]
            port._say_at = 0.0
            port._socket = Failing(port._socket, errno.EMFILE)
            peer = connect(port)
            port._resting.reset(0)
            assert await peer.rest() == b""
            assert "3 connections refused" in lines[1]
            peer.close()
    finally:
        globalLogPublisher.removeObserver(observe)


async def test_stopping_while_it_rests_leaves_no_timer(watcher: Any) -> None:
    async with listening(watcher, Recorders()) as port:
        port._socket = Failing(port._socket, errno.EMFILE)
        peer = connect(port)
        assert await peer.rest() == b""
        peer.close()
        await port.stopListening()
        assert port._resting is None


async def test_exhaustion_without_a_spare_descriptor_rests_too(
    watcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    factory = Recorders()
    async with listening(watcher, factory) as port:
        port._socket = Failing(port._socket, errno.EMFILE)
        with monkeypatch.context() as patch:
            patch.setattr("awfproxy.net.listener.os.open", none_left)
            first = connect(port)
            assert await first.rest() == b""
            port._socket = Failing(port._socket, errno.EMFILE)
            port._resting.reset(0)
            second = connect(port)
            await eventually(lambda: not port._socket.numbers)
        port._resting.reset(0)  # nothing was given back: only a rest
        await factory.count(1)
        assert os.readlink(f"/proc/self/fd/{port._spare}") == os.devnull
        first.close()
        second.close()


async def test_error_that_nobody_expects_is_logged_and_rested_from(
    watcher: Any, logged_failures: list[Any]
) -> None:
    factory = Recorders()
    async with listening(watcher, factory) as port:
        port._socket = Failing(port._socket, errno.EFAULT)
        peer = connect(port)
        await eventually(lambda: port._resting)
        port._resting.reset(0)
        await factory.count(1)
        peer.close()
    assert [each["log_failure"].type for each in logged_failures] == [OSError]
    logged_failures.clear()


async def test_end_of_the_reactor_closes_the_port(watcher: Any) -> None:
    port: Listener = await ListeningEndpoint(watcher, described()).listen(Recorders())  # type: ignore[assignment]
    from twisted.python.failure import Failure

    host = port.getHost()
    port.connectionLost(Failure(error.ConnectionLost()))
    await turns()
    assert refused(host)


_LIMITED = """
import resource, sys
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import formatEvent, globalLogPublisher
from awfproxy.net.hub import Hub
from awfproxy.net.listener import ListeningEndpoint

globalLogPublisher.addObserver(lambda event: print("log", formatEvent(event), flush=True))
resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))
watcher = Hub(reactor) if sys.argv[1] == "hub" else reactor

class Greeter(Protocol):
    def connectionMade(self):
        self.transport.write(b"hi")

factory = Factory.forProtocol(Greeter)
factory.noisy = False
endpoint = serverFromString(reactor, "tcp:0:interface=127.0.0.1:backlog=128")
ListeningEndpoint(watcher, endpoint).listen(factory).addCallback(
    lambda port: print("port", port.getHost().port, flush=True))
reactor.run()
"""


@pytest.mark.parametrize("kind", KINDS)
def test_out_of_descriptors_refuses_one_and_serves_again_once_some_are_free(kind: str) -> None:
    with ExitStack() as stack:
        child = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", _LIMITED, kind],
                env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
        stack.callback(child.kill)
        assert child.stdout is not None
        while not (line := child.stdout.readline()).startswith("port "):
            assert line, "it ended"
        port = int(line.split()[1])
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=DEADLINE))
            for _ in range(60)
        ]
        # In the order of connecting: those that are served, the one that is refused, those that wait.
        served = []
        for client in clients:
            if client.recv(2) != b"hi":
                break
            served.append(client)
        assert 10 < len(served) < 48
        waiting = clients[len(served) + 1 :]
        for client in served:
            client.close()
        for client in waiting[:10]:
            assert client.recv(2) == b"hi"
        child.kill()
        assert child.stdout.read().count("Out of file descriptors") == 1
