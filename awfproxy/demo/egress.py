# mypy: untyped-calls-exclude=twisted
"""The stand-in for Squid: a CONNECT proxy with an allowlist, on the loopback interface.

It speaks the part of RFC 9110 9.3.6 that awfproxy uses, refuses as Squid does (`X-Squid-Error` names the
reason), and relays bytes with backpressure in both directions. Each allowed authority is mapped to where it
really is, so that no name is resolved.
"""

import re
from collections.abc import Mapping

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableProtocol,
    IListeningPort,
    IPushProducer,
    IReactorTCP,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

_HEAD_LIMIT = 16384
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/1\.[01]\r\n")


class ITunnelTransport(ITCPTransport, IConsumer, IPushProducer):
    """What Twisted's TCP transports are, and one interface of theirs alone does not say."""


@implementer(IHalfCloseableProtocol)
class _End(Protocol):
    """One end of a tunnel. What happens to it is passed on to its peer: bytes, fullness, end, loss.

    `join` makes the ends each other's producer, so that a full one stops the other's reading.
    """

    transport: ITunnelTransport
    peer: "_End | None" = None
    _input_ended = False
    _output_ended = False

    def join(self, peer: "_End") -> None:
        for end, other in (self, peer), (peer, self):
            end.peer = other
            end.transport.registerProducer(other.transport, True)

    def dataReceived(self, data: bytes) -> None:
        if self.peer is not None:
            self.peer.transport.write(data)

    def readConnectionLost(self) -> None:
        if self._input_ended:
            return
        self._input_ended = True
        if self.peer is None:
            self.transport.loseConnection()
            return
        self.peer.transport.unregisterProducer()
        self.peer.transport.loseWriteConnection()
        self._close_if_done()

    def writeConnectionLost(self) -> None:
        self._output_ended = True
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._input_ended and self._output_ended:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        peer, self.peer = self.peer, None
        if peer is None:
            return
        peer.peer = None
        peer.transport.unregisterProducer()
        if reason.check(ConnectionDone):
            peer.transport.loseConnection()
        else:
            peer.transport.abortConnection()


class ConnectProxy(_End):
    """The client's end: reads one CONNECT, then becomes a tunnel or answers and closes."""

    def __init__(self, reactor: IReactorTCP, allowed: Mapping[bytes, tuple[str, int]]) -> None:
        self._reactor = reactor
        self._allowed = allowed
        self._buffer: bytes = b""
        self._head_read = False

    def dataReceived(self, data: bytes) -> None:
        if self.peer is not None:
            super().dataReceived(data)
            return
        self._buffer += data
        if self._head_read:
            return
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _HEAD_LIMIT:
                self._refuse(b"400 Bad Request", b"ERR_TOO_BIG 0")
            return
        head, self._buffer = self._buffer[: end + 2], self._buffer[end + 4 :]
        self._head_read = True
        self._open(head)

    def _open(self, head: bytes) -> None:
        match = _REQUEST_LINE.match(head)
        if match is None:
            self._refuse(b"400 Bad Request", b"ERR_INVALID_REQ 0")
            return
        method, target = match.groups()
        place = self._allowed.get(target.lower()) if method == b"CONNECT" else None
        if place is None:
            self._refuse(b"403 Forbidden", b"ERR_ACCESS_DENIED 0")
            return
        # Nothing more is read, so nothing more is buffered, until the far end stands.
        self.transport.pauseProducing()
        factory = Factory.forProtocol(_End)
        factory.noisy = False
        host, port = place
        opening = TCP4ClientEndpoint(self._reactor, host, port, timeout=5).connect(factory)
        opening.addCallbacks(self._opened, self._not_opened)

    def _opened(self, far: _End) -> None:
        if not self.connected:
            far.transport.abortConnection()
            return
        self.transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.join(far)
        early, self._buffer = self._buffer, b""
        if early:
            far.transport.write(early)
        self.transport.resumeProducing()

    def _not_opened(self, reason: Failure) -> None:
        if self.connected:
            self._refuse(b"503 Service Unavailable", b"ERR_CONNECT_FAIL 111")

    def _refuse(self, status: bytes, squid_error: bytes) -> None:
        self._head_read = True
        self._buffer = b""
        text = b"The demo's egress proxy: " + squid_error.partition(b" ")[0] + b"\n"
        self.transport.write(
            b"HTTP/1.1 %b\r\nX-Squid-Error: %b\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
            b"Connection: close\r\n\r\n%b" % (status, squid_error, len(text), text)
        )
        self.transport.loseConnection()


class ConnectProxyFactory(ServerFactory):
    """Listens for `ConnectProxy`. `allowed` maps `host:port`, in lower case, to an IPv4 address and port."""

    noisy = False

    def __init__(self, reactor: IReactorTCP, allowed: Mapping[bytes, tuple[str, int]]) -> None:
        self._reactor = reactor
        self._allowed = allowed

    def buildProtocol(self, addr: IAddress | None) -> ConnectProxy:
        return ConnectProxy(self._reactor, self._allowed)


def listen(reactor: IReactorTCP, allowed: Mapping[bytes, tuple[str, int]]) -> IListeningPort:
    """Serve on a free port of 127.0.0.1."""
    port: IListeningPort = reactor.listenTCP(0, ConnectProxyFactory(reactor, allowed), interface="127.0.0.1")
    return port
