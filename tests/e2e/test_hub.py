"""The hub's own duties: stale events, failures that stay where they arose, nothing left over."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

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
    Recorder,
    Recorders,
    backlog_full,
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
    assert hub.nameResolver is reactor.nameResolver
    await deferLater(hub, 0)
