"""Accepting: a Twisted server endpoint whose connections get our transports.

The endpoint opens the socket as Twisted does it, so every kind of description works (tcp:, unix:, systemd:);
accepting is then done here, on a duplicate of its descriptor.
"""

import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IListeningPort,
    IProtocolFactory,
    IReadDescriptor,
    IStreamServerEndpoint,
)
from twisted.internet.tcp import Port
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from awfproxy.callers.allowed import Peer
from awfproxy.net.peercred import peer_of
from awfproxy.net.transport import StreamTransport, address

_ACCEPTS = 16
"""Connections accepted per wake-up, so that a burst does not keep the others waiting."""
_REST = 1.0
"""Seconds without accepting when it fails, which it would go on to do without a pause."""
_SAY_EVERY = 60.0
"""Seconds between two lines that say so while descriptors are short."""
_READ_AWAY = 65536
_PASSING = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPERM,
        # accept(2): errors of the new connection's network, to be treated like EAGAIN
        errno.ENETDOWN,
        errno.EPROTO,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.ENONET,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ENETUNREACH,
    }
)
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@implementer(IStreamServerEndpoint)
class ListeningEndpoint:
    """Listens as `endpoint` does and accepts by itself; `endpoint` must be one of plain stream sockets."""

    def __init__(
        self, reactor: Any, endpoint: IStreamServerEndpoint, admits: Callable[[Peer], bool] | None = None
    ) -> None:
        """`admits` says who may connect, where it is a unix socket; None: everyone."""
        self._reactor = reactor
        self._endpoint = endpoint
        self._admits = admits

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        def adopt(port: Any) -> IListeningPort:
            port.stopReading()
            listener = Listener(self._reactor, port, protocolFactory, self._admits)
            listener.startListening()
            return listener

        return self._endpoint.listen(protocolFactory).addCallback(adopt)


class SharingPorts:
    """A reactor, but its TCP ports are opened with SO_REUSEPORT.

    Every process that opens one so, and that has the same effective user, gets a part of its connections
    (socket(7)); another user's cannot join, and one that opens the port without it cannot either.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def listenTCP(
        self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        shared = _SharedPort(port, factory, backlog, interface, self._reactor)
        shared.startListening()
        return shared

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


class _SharedPort(Port):
    def createInternetSocket(self) -> socket.socket:
        made: socket.socket = super().createInternetSocket()  # type: ignore[no-untyped-call]
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return made


@implementer(IListeningPort, IReadDescriptor)
class Listener:
    """A listening port of Twisted's, with accepting taken over."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        port: Any,
        factory: IProtocolFactory,
        admits: Callable[[Peer], bool] | None = None,
    ) -> None:
        self._reactor = reactor
        self._port = port
        self._factory = factory
        self._socket = socket.socket(fileno=os.dup(port.fileno()))
        self._socket.setblocking(False)
        self._admits = admits if self._socket.family == socket.AF_UNIX else None
        # Given back when descriptors run out, so that a waiting client can be told by a close.
        self._spare = _spare_descriptor()
        self._resting: IDelayedCall | None = None
        self._open = True
        self._refused = 0
        """Since the last line that said so."""
        self._say_at = 0.0

    def startListening(self) -> None:
        self._reactor.addReader(self)

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "awfproxy"

    def doRead(self) -> None:
        for _ in range(_ACCEPTS):
            try:
                sock, peer = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as problem:
                if problem.errno in _PASSING:
                    continue
                if problem.errno in _EXHAUSTED:
                    self._refuse_one()
                else:
                    self._log.failure("accepting connections fails")
                self._rest()
                return
            try:
                protocol = None
                if self._admits is None or self._admits(peer_of(sock)):
                    protocol = self._factory.buildProtocol(address(sock.family, peer))
                if protocol is None:
                    sock.close()
                else:
                    StreamTransport(self._reactor, sock, peer).start(protocol)
            except BaseException:  # as the reactor does; the next connection may fare better
                self._log.failure("a connection failed at its start")
                sock.close()
            if not self._open:
                return

    def _refuse_one(self) -> None:
        """One client is told, by the factory's `refusal` where it has one; the others wait."""
        if self._spare is not None:
            os.close(self._spare)
            with suppress(OSError):  # it may have gone by itself
                sock, _ = self._socket.accept()
                self._refused += 1
                refusal = getattr(self._factory, "refusal", None)
                with sock:
                    if refusal is not None:
                        _tell(sock, refusal())
            self._spare = _spare_descriptor()
        now = self._reactor.seconds()
        if now < self._say_at:
            return
        self._say_at = now + _SAY_EVERY
        self._log.error(
            "Out of file descriptors: {refused} connections refused, others wait. "
            "Raise the limit (LimitNOFILE=, ulimit -n), or lower --max-connections.",
            event="descriptors_exhausted",
            refused=self._refused,
        )
        self._refused = 0

    def _rest(self) -> None:
        self._reactor.removeReader(self)
        self._resting = self._reactor.callLater(_REST, self._accept_again)

    def _accept_again(self) -> None:
        self._resting = None
        if self._spare is None:
            self._spare = _spare_descriptor()
        self._reactor.addReader(self)

    def stopListening(self) -> Deferred[None] | None:
        if not self._open:
            return None
        self._open = False
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        self._reactor.removeReader(self)
        self._socket.close()
        if self._spare is not None:
            os.close(self._spare)
        return maybeDeferred(self._port.stopListening)

    def connectionLost(self, reason: Failure) -> None:
        """From the reactor: its own end, above all."""
        self.stopListening()

    def getHost(self) -> IAddress:
        host: IAddress = self._port.getHost()
        return host


def _tell(sock: socket.socket, refusal: bytes) -> None:
    """Sends the refusal. What the client has sent is read away: unread, it would make the end a reset."""
    sock.setblocking(False)
    with suppress(BlockingIOError):
        sock.recv(_READ_AWAY)
    sock.send(refusal)
    sock.shutdown(socket.SHUT_WR)


def _spare_descriptor() -> int | None:
    """None where even that one is not to be had."""
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
