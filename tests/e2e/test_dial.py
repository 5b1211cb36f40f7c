"""Connecting: what the endpoint says when it cannot, which addresses it tries, that nothing is left over."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import ITCPTransport
from twisted.python.failure import Failure

from awfproxy.net.dial import TcpEndpoint
from tests.kit.sockets import (
    KINDS,
    Peer,
    Recorder,
    Recorders,
    backlog_full,
    fill,
    open_sockets,
    turns,
    watched_by,
    wired,
)


@pytest.fixture(params=KINDS)
def watcher(request: pytest.FixtureRequest) -> Iterator[Any]:
    yield from watched_by(request.param)


@pytest.fixture(autouse=True)
def no_descriptor_left() -> Iterator[None]:
    before = open_sockets()
    yield
    assert open_sockets() <= before


class Names:
    """A watcher whose threads are ours: asked for a name, they give the `found` addresses, or fail so."""

    def __init__(self, watcher: Any, *found: Any, at_once: bool = True) -> None:
        self._watcher = watcher
        self._found = found
        self._at_once = at_once
        self.asked: list[tuple[str, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._watcher, name)

    def getThreadPool(self) -> Any:
        return self

    def callInThreadWithCallback(self, told: Any, call: Any, host: str, port: int, *_: object) -> None:
        assert call is socket.getaddrinfo
        self.asked.append((host, port))
        self._told = told
        if self._at_once:
            self.answer()

    def answer(self) -> None:
        problem = next((each for each in self._found if isinstance(each, Exception)), None)
        if problem is not None:
            self._told(False, Failure(problem))
            return
        self._told(True, [(*_family(each), 6, "", _place(each)) for each in self._found])


def _family(found: Any) -> tuple[int, int]:
    families = {IPv4Address: socket.AF_INET, IPv6Address: socket.AF_INET6, UNIXAddress: socket.AF_UNIX}
    return families[type(found)], socket.SOCK_STREAM


def _place(found: Any) -> Any:
    """As getaddrinfo gives it: of IPv6 with flow label and scope."""
    if isinstance(found, UNIXAddress):
        return found.name
    return (found.host, found.port, *((0, 0) if isinstance(found, IPv6Address) else ()))


@pytest.fixture
def door() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def closed_port() -> tuple[str, int]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address: tuple[str, int] = sock.getsockname()
    return address


async def open_and_close(door: socket.socket, connecting: Deferred[Any]) -> Recorder:
    """Greets both ways, so that the right two are connected, and closes."""
    protocol: Recorder = await connecting
    door.settimeout(20)
    peer = Peer(door.accept()[0])
    protocol.transport.write(b"up")  # type: ignore[union-attr]
    assert await peer.exactly(2) == b"up"
    await peer.send(b"down")
    assert await protocol.gets(4) == b"down"
    peer.close()
    assert await protocol.ends() is error.ConnectionDone
    return protocol


async def test_literal_address_is_connected_without_the_resolver(watcher: Any, door: socket.socket) -> None:
    names = Names(watcher)
    seen: list[Any] = []

    def made(self: Recorder) -> None:
        seen.extend((self.transport.getPeer(), self.transport.getHost()))
        assert ITCPTransport.providedBy(self.transport)

    factory = Recorders(lambda: Recorder(made=made))
    protocol = await open_and_close(door, TcpEndpoint(names, *door.getsockname()).connect(factory))
    assert factory.built == [protocol]
    assert names.asked == []
    assert seen[0] == IPv4Address("TCP", *door.getsockname())
    assert seen[1].host == "127.0.0.1"


async def test_literal_ipv6_address_is_connected(watcher: Any) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as door:
        seen: list[Any] = []
        factory = Recorders(lambda: Recorder(made=lambda self: seen.append(self.transport.getPeer())))
        await open_and_close(door, TcpEndpoint(watcher, "::1", door.getsockname()[1]).connect(factory))
        assert seen == [IPv6Address("TCP", "::1", door.getsockname()[1])]


async def test_nagle_is_off(watcher: Any, door: socket.socket) -> None:
    seen: list[bool] = []
    factory = Recorders(lambda: Recorder(made=lambda self: seen.append(self.transport.getTcpNoDelay())))
    await open_and_close(door, TcpEndpoint(watcher, *door.getsockname()).connect(factory))
    assert seen == [True]


async def test_refused_port_is_an_error_of_its_own(watcher: Any) -> None:
    factory = Recorders()
    with pytest.raises(error.ConnectionRefusedError) as caught:
        await TcpEndpoint(watcher, *closed_port()).connect(factory)
    assert caught.value.osError
    assert factory.built == []


@pytest.mark.parametrize("host", ["255.255.255.255", "ff02::1"])
async def test_address_that_cannot_be_connected_to_is_a_connect_error(watcher: Any, host: str) -> None:
    with pytest.raises(error.ConnectError):
        await TcpEndpoint(watcher, host, 9).connect(Recorders())


async def test_address_of_a_family_that_the_machine_has_not_is_a_connect_error(
    watcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(97, "Address family not supported by protocol")

    with monkeypatch.context() as patch:
        patch.setattr("awfproxy.net.dial.socket.socket", none)
        connecting = TcpEndpoint(watcher, "::1", 9).connect(Recorders())
    with pytest.raises(error.ConnectError):
        await connecting


async def test_no_descriptor_left_for_the_resolver_is_a_connect_error_with_the_cause(watcher: Any) -> None:
    names = Names(watcher, OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
    with pytest.raises(error.ConnectError) as caught:
        await TcpEndpoint(names, "squid.test", 3128).connect(Recorders())
    assert caught.value.osError.errno == errno.EMFILE


async def test_name_is_resolved_by_the_system(watcher: Any, door: socket.socket) -> None:
    connecting = TcpEndpoint(watcher, "localhost", door.getsockname()[1]).connect(Recorders())
    await open_and_close(door, connecting)


async def test_unresolvable_name_is_a_lookup_error(watcher: Any) -> None:
    names = Names(watcher, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    with pytest.raises(error.DNSLookupError):
        await TcpEndpoint(names, "squid.invalid", 3128).connect(Recorders())
    assert names.asked == [("squid.invalid", 3128)]


async def test_addresses_of_a_name_are_tried_in_turn(watcher: Any, door: socket.socket) -> None:
    refusing, living = closed_port(), door.getsockname()
    found = IPv6Address("TCP", "::1", refusing[1]), IPv4Address("TCP", *refusing), IPv4Address("TCP", *living)
    factory = Recorders()
    connecting = TcpEndpoint(Names(watcher, *found), "squid.test", 3128).connect(factory)
    protocol = await open_and_close(door, connecting)
    assert factory.built == [protocol]


async def test_first_address_that_connects_is_the_only_one_used(watcher: Any, door: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as second:
        found = IPv4Address("TCP", *door.getsockname()), IPv4Address("TCP", *second.getsockname())
        await open_and_close(door, TcpEndpoint(Names(watcher, *found), "squid.test", 1).connect(Recorders()))
        second.setblocking(False)
        with pytest.raises(BlockingIOError):
            second.accept()


async def test_what_the_last_address_said_is_told_when_none_connects(watcher: Any) -> None:
    found = IPv4Address("TCP", "255.255.255.255", 9), IPv4Address("TCP", *closed_port())
    with pytest.raises(error.ConnectionRefusedError):
        await TcpEndpoint(Names(watcher, *found), "squid.test", 3128).connect(Recorders())


async def test_what_is_no_address_of_the_internet_is_passed_over(watcher: Any, door: socket.socket) -> None:
    found = UNIXAddress(b"/nowhere"), IPv4Address("TCP", *door.getsockname())
    await open_and_close(door, TcpEndpoint(Names(watcher, *found), "squid.test", 3128).connect(Recorders()))


async def test_cancelled_while_resolving_leaves_nothing_and_takes_a_late_answer(
    watcher: Any, door: socket.socket
) -> None:
    names = Names(watcher, IPv4Address("TCP", *door.getsockname()), at_once=False)
    factory = Recorders()
    connecting = TcpEndpoint(names, "squid.test", 3128).connect(factory)
    connecting.cancel()
    with pytest.raises(CancelledError):
        await connecting
    names.answer()
    await turns()
    assert factory.built == []
    door.setblocking(False)
    with pytest.raises(BlockingIOError):
        door.accept()


async def test_answer_of_the_resolver_may_come_later(watcher: Any, door: socket.socket) -> None:
    names = Names(watcher, IPv4Address("TCP", *door.getsockname()), at_once=False)
    connecting = TcpEndpoint(names, "squid.test", 3128).connect(Recorders())
    await turns()
    names.answer()
    await open_and_close(door, connecting)


async def test_cancelled_while_connecting_closes_the_socket_and_tries_no_other(
    watcher: Any, door: socket.socket
) -> None:
    with backlog_full() as address:
        before = open_sockets()
        found = IPv4Address("TCP", *address), IPv4Address("TCP", *door.getsockname())
        factory = Recorders()
        connecting = TcpEndpoint(Names(watcher, *found), "squid.test", 3128).connect(factory)
        await turns()
        connecting.cancel()
        with pytest.raises(CancelledError):
            await connecting
        await turns()
        assert open_sockets() <= before
    assert factory.built == []
    door.setblocking(False)
    with pytest.raises(BlockingIOError):
        door.accept()


async def test_cancelled_once_the_kernel_has_connected_builds_no_protocol(
    watcher: Any, door: socket.socket
) -> None:
    factory = Recorders()
    connecting = TcpEndpoint(watcher, *door.getsockname()).connect(factory)
    peer = Peer(door.accept()[0])
    connecting.cancel()
    with pytest.raises(CancelledError):
        await connecting
    assert await peer.rest() == b""
    peer.close()
    assert factory.built == []


async def test_cancelling_what_has_connected_does_nothing(watcher: Any, door: socket.socket) -> None:
    connecting = TcpEndpoint(watcher, *door.getsockname()).connect(Recorders())
    connecting.addCallback(lambda protocol: (connecting.cancel(), protocol)[1])
    await open_and_close(door, connecting)


async def test_factory_that_builds_nothing_closes_the_socket(watcher: Any, door: socket.socket) -> None:
    with pytest.raises(error.NoProtocol):
        await TcpEndpoint(watcher, *door.getsockname()).connect(Recorders(lambda: None))
    peer = Peer(door.accept()[0])
    assert await peer.rest() == b""
    peer.close()


async def test_factory_that_fails_closes_the_socket_and_is_the_callers(
    watcher: Any, door: socket.socket
) -> None:
    def fail() -> Recorder:
        raise ValueError("inside buildProtocol")

    before = open_sockets()
    with pytest.raises(ValueError, match="inside buildProtocol") as caught:
        await TcpEndpoint(watcher, *door.getsockname()).connect(Recorders(fail))
    assert open_sockets() == before, "closed, though the traceback lives"
    peer = Peer(door.accept()[0])
    assert await peer.rest() == b""
    peer.close()
    del caught


async def test_protocol_that_fails_at_its_start_closes_the_socket_and_is_the_callers(
    watcher: Any, door: socket.socket
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("inside connectionMade")

    factory = Recorders(lambda: Recorder(made=fail))
    with pytest.raises(ValueError, match="inside connectionMade"):
        await TcpEndpoint(watcher, *door.getsockname()).connect(factory)
    peer = Peer(door.accept()[0])
    assert await peer.is_reset()
    peer.close()
    await factory.built[0].ends()


async def test_descriptor_used_again_within_a_batch_is_not_taken_for_connected(watcher: Any) -> None:
    victim, factory = Recorder(), Recorders()
    with ExitStack() as stack:
        address = stack.enter_context(backlog_full())
        dialled: list[Any] = []

        def dial(*_: object) -> None:
            number = victim.transport.fileno()  # type: ignore[union-attr]
            while (filler := os.dup(0)) < number:  # so that it is the lowest free one
                stack.callback(os.close, filler)
            os.close(filler)
            victim.transport.abortConnection()  # type: ignore[union-attr]
            dialled.append(TcpEndpoint(watcher, *address).connect(factory))
            with socket.socket(fileno=os.dup(number)) as heir:
                assert heir.family == socket.AF_INET

        unix = socket.AF_UNIX  # ready in the order of the sends
        async with (
            wired(watcher, Recorder(received=dial), unix) as (_, first),
            wired(watcher, victim, unix) as (own, second),
        ):
            size = fill(own)
            own.pauseProducing()
            await turns()
            first.sock.send(b"a")
            second.sock.recv(size)  # the victim can send again
            assert await victim.ends() is error.ConnectionAborted
            await turns()
            assert factory.built == []
            dialled[0].cancel()
            with pytest.raises(CancelledError):
                await dialled[0]
