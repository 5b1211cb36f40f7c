"""Connecting: a client endpoint for TCP whose connections get our transports."""

import errno
import os
import socket
from ipaddress import ip_address
from typing import Any

from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReadDescriptor,
    IStreamClientEndpoint,
    IWriteDescriptor,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from awfproxy.net.names import addresses_of
from awfproxy.net.transport import StreamTransport, address


@implementer(IStreamClientEndpoint)
class TcpEndpoint:
    """Connects to a literal address without the resolver's threads; a name's addresses are tried in turn.

    Errs with Twisted's `ConnectError`s and `DNSLookupError`. It has no timeout of its own: cancel it.
    """

    def __init__(self, reactor: Any, host: str, port: int) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        problem: Exception = error.DNSLookupError(self._host)
        for family, name in await self._addresses():
            try:
                sock = await _connected(self._reactor, family, name)
            except error.ConnectError as this:
                problem = this
                continue
            try:
                protocol = factory.buildProtocol(address(family, name))
                if protocol is None:
                    raise error.NoProtocol()
            except BaseException:
                sock.close()
                raise
            StreamTransport(self._reactor, sock, name).start(protocol)
            return protocol
        raise problem

    async def _addresses(self) -> list[tuple[int, tuple[str, int]]]:
        try:
            version = ip_address(self._host).version
        except ValueError:
            return await addresses_of(self._reactor, self._host, self._port)
        return [(socket.AF_INET if version == 4 else socket.AF_INET6, (self._host, self._port))]


def _connected(reactor: Any, family: int, name: tuple[str, int]) -> Deferred[socket.socket]:
    """A socket connected to that address; cancelling closes it."""
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as problem:
        raise error.ConnectError(osError=problem) from problem
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    number = sock.connect_ex(name)
    connecting = _Connecting(reactor, sock)
    if number in (0, errno.EINPROGRESS):
        reactor.addWriter(connecting)
    else:
        connecting.end(number)
    return connecting.connected


@implementer(IReadDescriptor, IWriteDescriptor)
class _Connecting:
    """A socket on its way: writable, or in error, once the kernel has an answer."""

    def __init__(self, reactor: Any, sock: socket.socket) -> None:
        self._reactor = reactor
        self._socket = sock
        self.connected: Deferred[socket.socket] = Deferred(lambda _: self._close())

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "awfproxy"

    def doWrite(self) -> None:
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not number:
            try:
                self._socket.getpeername()
            except OSError:
                return  # not yet: the event was for an earlier user of the descriptor
        self.end(number)

    doRead = doWrite

    def connectionLost(self, reason: Failure) -> None:
        """From the reactor: an error event, for which the socket has the number; or the reactor's own end."""
        if self._socket.fileno() >= 0:
            self.end(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNABORTED)

    def end(self, number: int) -> None:
        """Fires with the socket, or with the error of that number."""
        self._reactor.removeWriter(self)
        if not number:
            self.connected.callback(self._socket)
            return
        self._socket.close()
        self.connected.errback(error.getConnectError((number, os.strerror(number))))

    def _close(self) -> None:
        self._reactor.removeWriter(self)
        self._socket.close()
