"""The hub's own duties: stale events, failures that stay where they arose, nothing left over."""

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from select import select
from typing import Any, ClassVar

import pytest
from twisted.internet import error
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from awfproxy.net.dial import TcpEndpoint
from awfproxy.net.hub import Hub
from awfproxy.net.listener import ListeningEndpoint
from awfproxy.net.transport import StreamTransport
from tests.kit.sockets import (
    DEADLINE,
    KINDS,
    Peer,
    Producer,
    Recorder,
    Recorders,
    backlog_full,
    eventually,
    fill,
    turns,
    watched_by,
    wired,
)

ROOT = Path(__file__).resolve().parents[2]
UNIX = socket.AF_UNIX
"""Pairs that are ready in the order of the sends, so that it is known whose event comes first in a batch."""


@pytest.fixture
def hub() -> Iterator[Hub]:
    yield from watched_by("hub")


def on_reactor(hub: Hub) -> bool:
    from twisted.internet import reactor

    return hub in reactor.getReaders()


class Heir:
    """A new connection on the descriptor of one that another's event aborts, within the same batch."""

    def __init__(self, hub: Hub, victim: Recorder) -> None:
        self.protocol = Recorder()
        self._hub, self._victim = hub, victim

    def __call__(self, *_: object) -> None:
        number = self._victim.transport.fileno()
        self._victim.transport.abortConnection()
        ours, theirs = socket.socketpair()
        if ours.fileno() != number:
            os.dup2(ours.fileno(), number)
            ours.close()
            ours = socket.socket(fileno=number)
        self.transport = StreamTransport(self._hub, ours, "")
        self.transport.start(self.protocol)
        self.peer = Peer(theirs)
        assert self.transport.fileno() == number

    async def lives(self) -> None:
        await turns()
        assert self.protocol.events == ["made"]
        await self.peer.send(b"x")
        assert await self.protocol.gets(1) == b"x"
        self.peer.close()
        await self.protocol.ends()


# --- stale events ------------------------------------------------------------------------------------


@pytest.mark.parametrize("leaving", [False, True])
async def test_descriptor_used_again_within_a_batch_is_spared_the_old_ones_bytes_and_end(
    hub: Hub, leaving: bool
) -> None:
    victim = Recorder()
    heir = Heir(hub, victim)
    async with (
        wired(hub, Recorder(received=heir), UNIX) as (_, first),
        wired(hub, victim, UNIX) as (_, second),
    ):
        await turns()
        first.sock.send(b"a")
        second.sock.send(b"b")
        if leaving:
            second.close()
        assert await victim.ends() is error.ConnectionAborted
        assert victim.data == b""
        await heir.lives()


async def test_descriptor_used_again_within_a_batch_is_spared_the_old_ones_error(hub: Hub) -> None:
    victim = Recorder()
    heir = Heir(hub, victim)
    async with (
        wired(hub, Recorder(received=heir), UNIX) as (_, first),
        wired(hub, victim, UNIX) as (own, second),
    ):
        fill(own)
        own.pauseProducing()  # so that the end comes as an error without anything to read
        await turns()
        first.sock.send(b"a")
        second.close()
        assert await victim.ends() is error.ConnectionAborted
        await heir.lives()


async def test_connection_aborted_by_another_in_the_same_batch_hears_nothing_but_its_end(hub: Hub) -> None:
    victim = Recorder()
    first_protocol = Recorder(received=lambda *_: victim.transport.abortConnection())
    async with wired(hub, first_protocol, UNIX) as (_, first), wired(hub, victim, UNIX) as (_, second):
        await turns()
        first.sock.send(b"a")
        second.sock.send(b"b")
        assert await victim.ends() is error.ConnectionAborted
        assert victim.events == ["made", "lost"]


async def test_all_closed_and_one_opened_within_a_batch_goes_on(hub: Hub) -> None:
    victim, protocol = Recorder(), Recorder()
    heir = Heir(hub, victim)

    def last(self: Recorder, _: bytes) -> None:
        self.transport.abortConnection()
        heir()

    async with wired(hub, Recorder(received=last), UNIX) as (_, first), wired(hub, victim, UNIX):
        await turns()
        first.sock.send(b"a")
        await victim.ends()
        await heir.lives()
    assert not on_reactor(hub)
    async with wired(hub, protocol):
        assert on_reactor(hub)


# --- nothing left over -------------------------------------------------------------------------------


async def test_it_is_on_the_reactor_only_while_it_watches_something(hub: Hub) -> None:
    assert verifyObject(IReadDescriptor, hub)
    assert not on_reactor(hub)
    for _ in range(3):
        protocol = Recorder()
        async with wired(hub, protocol) as (transport, peer):
            assert on_reactor(hub)
            transport.pauseProducing()
            assert not on_reactor(hub)
            transport.resumeProducing()
            assert on_reactor(hub)
            await peer.send(b"x")
            assert await protocol.gets(1) == b"x"
        assert not on_reactor(hub)
        assert hub.fileno() == -1


async def test_removing_what_is_not_watched_is_nothing(hub: Hub) -> None:
    async with wired(hub, Recorder()) as (transport, _):
        hub.removeWriter(transport)
        hub.removeReader(transport)
        hub.removeReader(transport)
        assert not on_reactor(hub)
        hub.removeWriter(transport)
        assert hub.fileno() == -1


# --- many at once, and fairness ----------------------------------------------------------------------


async def test_more_ready_sockets_than_one_batch_holds_are_all_served(hub: Hub) -> None:
    protocols = [Recorder() for _ in range(300)]
    async with AsyncExitStack() as stack:
        peers = [(await stack.enter_async_context(wired(hub, each, UNIX)))[1] for each in protocols]
        for peer in peers:
            peer.sock.send(b"x")
        for protocol in protocols:
            assert await protocol.gets(1) == b"x"


async def test_timers_run_beside_connections_that_are_always_ready(hub: Hub) -> None:
    def back(protocol: Recorder, data: bytes) -> None:
        protocol.transport.write(data)  # type: ignore[union-attr]

    one, other = Recorder(received=back), Recorder(received=back)
    for protocol, sock in zip((one, other), socket.socketpair(), strict=True):
        StreamTransport(hub, sock, "").start(protocol)
    one.transport.write(b"ball")  # type: ignore[union-attr]
    await turns(10)
    assert "received" in one.events
    one.transport.abortConnection()  # type: ignore[union-attr]
    await other.ends()


# --- what is sent while several are served ------------------------------------------------------------


class Echo(Recorder):
    """Answers all that comes, then does `then`."""

    def __init__(self, then: Callable[[Any], object] = lambda transport: None, **more: Any) -> None:
        super().__init__(**more)
        self._answered = then
        self.writes: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        for piece in self.writes or [data]:
            self.transport.write(piece)  # type: ignore[union-attr]
        self._answered(self.transport)


@asynccontextmanager
async def batch(hub: Hub, *protocols: Recorder) -> AsyncIterator[list[Peer]]:
    """The peers of these, which have all sent something that the hub will find at once, in this order."""
    async with AsyncExitStack() as stack:
        peers = [(await stack.enter_async_context(wired(hub, each, UNIX)))[1] for each in protocols]
        await turns()
        for peer in peers:
            peer.sock.send(b"x")
        yield peers


async def test_what_one_of_several_writes_leaves_behind_the_others_events(hub: Hub) -> None:
    seen: list[bool] = []

    def look(*_: object) -> None:
        seen.append(bool(select([peers[0].sock], [], [], 0)[0]))

    async with batch(hub, Echo(), Recorder(received=look), Recorder(received=look)) as peers:
        hub.doRead()
        assert seen == [False, False]
        assert peers[0].sock.recv(10) == b"x"


async def test_what_the_only_one_writes_leaves_at_once(hub: Hub) -> None:
    seen: list[bytes] = []
    async with batch(hub, Echo(lambda _: seen.append(peers[0].sock.recv(10)))) as peers:
        hub.doRead()
        assert seen == [b"x"]


@pytest.mark.parametrize(
    "sizes", [(5, 5), (5, 100000, 5), (100000, 5), (5, 0, 5), (3, 16384, 16385, 3), (5,) * 500]
)
async def test_writes_of_any_size_stay_in_their_order(hub: Hub, sizes: tuple[int, ...]) -> None:
    content = random.Random(1).randbytes(sum(sizes))
    echo, at = Echo(), 0
    for size in sizes:
        echo.writes.append(content[at : at + size])
        at += size
    async with batch(hub, echo, Recorder()) as peers:
        hub.doRead()
        assert await peers[0].exactly(len(content)) == content
        echo.transport.loseConnection()  # type: ignore[union-attr]
        assert await peers[0].rest() == b""


async def test_what_waits_for_the_batch_is_a_copy(hub: Hub) -> None:
    buffer = bytearray(b"kept")

    def write(protocol: Any, _: bytes) -> None:
        protocol.transport.write(memoryview(buffer))
        buffer[:] = b"lost"

    async with batch(hub, Recorder(received=write), Recorder()) as peers:
        hub.doRead()
        assert peers[0].sock.recv(10) == b"kept"


async def test_more_writers_than_are_sent_at_once_are_all_served(hub: Hub) -> None:
    async with batch(hub, *(Echo() for _ in range(100))) as peers:
        hub.doRead()
        assert [peer.sock.recv(10) for peer in peers] == [b"x"] * 100


@pytest.mark.parametrize("end", ["loseConnection", "loseWriteConnection"])
async def test_an_end_comes_after_what_waits_for_the_batch(hub: Hub, end: str) -> None:
    echo = Echo(lambda transport: getattr(transport, end)())
    async with batch(hub, echo, Recorder()) as peers:
        assert await peers[0].rest() == b"x"
        if end == "loseConnection":
            assert await echo.ends() is error.ConnectionDone


async def test_the_end_comes_from_outside_of_the_call_that_asks_for_it(hub: Hub) -> None:
    def end(transport: Any) -> None:
        transport.loseConnection()
        echo.note("asked")

    echo = Echo(end)
    async with batch(hub, echo, Recorder()):
        await echo.ends()
        assert echo.events == ["made", "received", "asked", "lost"]


@pytest.mark.parametrize("writes", [[], [b"a", b"b" * 16385, b"c"]])
async def test_what_waited_leaves_before_an_abort_as_it_would_have_without_the_others(
    hub: Hub, writes: list[bytes]
) -> None:
    def end(transport: Any) -> None:
        transport.abortConnection()
        echo.note("asked")

    echo = Echo(end)
    echo.writes = writes
    async with batch(hub, echo, Recorder()) as peers:
        hub.doRead()
        expected = b"".join(writes) or b"x"
        assert await peers[0].exactly(len(expected)) == expected
        assert await echo.ends() is error.ConnectionAborted
        assert echo.events == ["made", "received", "asked", "lost"]


async def test_over_tcp_what_waited_is_read_before_the_reset(hub: Hub) -> None:
    echo, received = Echo(lambda transport: transport.abortConnection()), bytearray()
    async with wired(hub, echo) as (_, peer), wired(hub, Recorder(), UNIX) as (_, other):
        await turns()
        peer.sock.send(b"x")
        other.sock.send(b"y")
        await eventually(lambda: bool(select([echo.transport.getHandle()], [], [], 0)[0]))
        hub.doRead()
        assert await peer.is_reset(received)
        assert received == b"x"


async def test_what_waits_for_a_peer_that_takes_nothing_is_not_waited_for_by_an_abort(hub: Hub) -> None:
    echo = Echo(lambda transport: transport.abortConnection())
    async with batch(hub, echo, Recorder()) as peers:
        fill(echo.transport)
        hub.doRead()
        assert await echo.ends() is error.ConnectionAborted
        assert b"x" not in await peers[0].rest()


async def test_who_drops_what_waited_sends_nothing_of_it(hub: Hub) -> None:
    def end(transport: Any) -> None:
        transport.drop_unsent()
        transport.abortConnection()

    echo = Echo(end)
    async with batch(hub, echo, Recorder()) as peers:
        assert await echo.ends() is error.ConnectionAborted
        assert peers[0].sock.recv(10) == b""


async def test_a_peer_that_takes_nothing_gets_all_once_it_does_and_the_producer_is_told(hub: Hub) -> None:
    echo, producer = Echo(), Producer()
    echo.writes = [b"x" * 10000] * 100
    async with wired(hub, echo, UNIX) as (transport, peer), wired(hub, Recorder(), UNIX) as (_, other):
        transport.registerProducer(producer, True)
        await turns()
        peer.sock.send(b"x")
        other.sock.send(b"x")
        hub.doRead()
        assert producer.asked == ["pause"]
        assert await peer.exactly(1000000) == b"x" * 1000000
        await eventually(lambda: producer.asked == ["pause", "resume"])
        transport.unregisterProducer()


async def test_a_peer_that_has_gone_meanwhile_ends_only_its_own_connection(hub: Hub) -> None:
    echo = Echo()
    leave = Recorder(received=lambda *_: peers[0].close())
    async with batch(hub, echo, leave, Echo()) as peers:
        hub.doRead()
        assert await echo.ends() is error.ConnectionLost
        assert peers[2].sock.recv(10) == b"x"


async def test_a_failure_while_sending_what_waited_leaves_the_others_alone(
    hub: Hub, logged_failures: list[Any]
) -> None:
    class Failing:
        asked: ClassVar[list[str]] = []

        def pauseProducing(self) -> None:
            self.asked.append("pause")

        def resumeProducing(self) -> None:
            raise ValueError("inside")

        def stopProducing(self) -> None:
            self.asked.append("stop")

    failing = Echo(made=lambda protocol: protocol.transport.registerProducer(Failing(), True))
    failing.writes = [b"x" * 10000] * 10
    async with batch(hub, failing, Echo()) as peers:
        for peer in peers:
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        hub.doRead()
        assert peers[1].sock.recv(10) == b"x"
        assert await failing.ends() is ValueError
    assert [each["log_failure"].type for each in logged_failures] == [ValueError]
    logged_failures.clear()


# --- failures ----------------------------------------------------------------------------------------


async def test_failures_at_the_end_of_a_failed_connection_leave_the_others_alone(
    hub: Hub, logged_failures: list[Any]
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("inside")

    failing = [Recorder(received=fail, lost=fail) for _ in range(3)]
    async with AsyncExitStack() as stack:
        other = Recorder()
        _, beside = await stack.enter_async_context(wired(hub, other, UNIX))
        for protocol in failing:
            _, peer = await stack.enter_async_context(wired(hub, protocol, UNIX))
            peer.sock.send(b"x")
        for protocol in failing:
            assert await protocol.ends() is ValueError
        await beside.send(b"y")
        assert await other.gets(1) == b"y"
        assert on_reactor(hub)
    assert len(logged_failures) == 6
    logged_failures.clear()


async def test_end_of_the_reactor_ends_all_even_if_one_of_them_fails(
    hub: Hub, logged_failures: list[Any]
) -> None:
    from twisted.internet import reactor
    from twisted.internet.endpoints import TCP4ServerEndpoint

    def fail(*_: object) -> None:
        raise ValueError("inside connectionLost")

    endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    port = await ListeningEndpoint(hub, endpoint).listen(Recorders())
    address = port.getHost()
    protocols = [Recorder(), Recorder(lost=fail), Recorder()]
    async with AsyncExitStack() as stack:
        dialling = TcpEndpoint(hub, *stack.enter_context(backlog_full())).connect(Recorders())
        for protocol in protocols:
            await stack.enter_async_context(wired(hub, protocol))
        reactor.removeReader(hub)
        hub.connectionLost(Failure(error.ConnectionLost()))
        assert [each.reason.type for each in protocols] == [error.ConnectionLost] * 3
        with pytest.raises(error.ConnectError):
            await dialling
        await turns()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address.host, address.port), timeout=DEADLINE)
    assert [each["log_failure"].type for each in logged_failures] == [ValueError]
    logged_failures.clear()


async def test_what_is_begun_while_all_end_is_still_watched(hub: Hub) -> None:
    from twisted.internet import reactor

    async with AsyncExitStack() as stack:
        begun = Recorder()

        def begin(*_: object) -> None:
            ours, theirs = socket.socketpair()
            begun.note("peer", theirs)
            StreamTransport(hub, ours, "").start(begun)

        peers: list[Peer] = []
        begun._then["peer"] = lambda _, sock: peers.append(Peer(sock))
        await stack.enter_async_context(wired(hub, Recorder(lost=begin)))
        await stack.enter_async_context(wired(hub, Recorder()))
        reactor.removeReader(hub)
        hub.connectionLost(Failure(error.ConnectionLost()))
        await peers[0].send(b"x")
        assert await begun.gets(1) == b"x"
        peers[0].close()
        await begun.ends()


_STOPPED = """
import socket, sys
from twisted.internet import reactor
from twisted.internet.protocol import Protocol
from awfproxy.net.hub import Hub
from awfproxy.net.transport import StreamTransport

class Told(Protocol):
    def connectionLost(self, reason):
        print(reason.type.__name__, flush=True)

watcher = Hub(reactor) if sys.argv[1] == "hub" else reactor
kept = []
for _ in range(3):
    ours, theirs = socket.socketpair()
    kept.append(theirs)
    StreamTransport(watcher, ours, "").start(Told())
reactor.callWhenRunning(print, "running", flush=True)
reactor.run()
print("stopped", flush=True)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_connections_are_told_when_the_reactor_stops(kind: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _STOPPED, kind],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "running\n"
            child.send_signal(signal.SIGTERM)
            out, _ = child.communicate(timeout=DEADLINE)
        finally:
            child.kill()
    assert out.split() == ["ConnectionLost"] * 3 + ["stopped"]


async def test_timers_and_clock_are_the_reactors(hub: Hub) -> None:
    from twisted.internet import reactor

    assert abs(hub.seconds() - reactor.seconds()) < DEADLINE
    assert hub.getThreadPool() is reactor.getThreadPool()
    await deferLater(hub, 0)
