"""`OriginEndpoint`: the one way out. TCP, CONNECT and verified TLS as one connect, with our errors.

The pool, the probe and any control request dial with this same object, so there is one place where the
egress rule is kept and one trust configuration.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet import defer, error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from zope.interface import implementer

from awfproxy.errors import (
    AwfError,
    EgressError,
    EgressFailed,
    EgressTimeout,
    EgressUnreachable,
    InternalError,
    TlsTimeout,
)
from awfproxy.net.dial import TcpEndpoint
from awfproxy.net.egress import SquidConnectEndpoint
from awfproxy.net.tls import ClientTls, TlsConnection
from awfproxy.settings import Deadlines, Egress
from awfproxy.wire.target import Origin


@implementer(IStreamClientEndpoint)
class OriginEndpoint:
    """Connects to `origin` through `egress` (None: directly, where the operator said so).

    The Deferred fires with the protocol once the certificate is verified, and errs with an `AwfError` that
    names the hop. It is cancellable at any stage; a failed or cancelled attempt leaves no socket behind.
    """

    def __init__(
        self,
        reactor: Any,
        origin: Origin,
        egress: Egress | None,
        tls: ClientTls,
        deadlines: Deadlines,
        tcp: Callable[[Any, str, int], IStreamClientEndpoint] = TcpEndpoint,
    ) -> None:
        self._reactor = reactor
        self._tls = tls
        self._deadlines = deadlines
        if egress is None:
            self._tunnel = tcp(reactor, origin.host, origin.port)
        else:
            proxy = tcp(reactor, egress.host, egress.port)
            self._tunnel = SquidConnectEndpoint(proxy, origin, egress.authorization)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, application: IProtocolFactory) -> IProtocol:
        tls = await self._open_tunnel(application)
        try:
            ready = tls.ready.addTimeout(self._deadlines.tls, self._reactor)
            return await ready
        except defer.TimeoutError:
            raise TlsTimeout() from None

    async def _open_tunnel(self, application: IProtocolFactory) -> TlsConnection:
        factory = _TlsFactory(self._tls, application)
        opening = self._tunnel.connect(factory)
        opening.addTimeout(self._deadlines.connect, self._reactor)
        try:
            tls = await opening
        except Exception as problem:
            factory.abandon()
            if isinstance(problem, AwfError | defer.CancelledError):
                raise
            raise _egress_error(problem) from None
        assert isinstance(tls, TlsConnection)
        return tls


class _TlsFactory(Factory):
    """Builds the one TLS connection of an attempt around the application's protocol."""

    noisy = False

    def __init__(self, options: ClientTls, application: IProtocolFactory) -> None:
        self._options = options
        self._application = application
        self._built: TlsConnection | None = None

    def buildProtocol(self, addr: object) -> TlsConnection | None:
        inner = self._application.buildProtocol(addr)  # type: ignore[arg-type]
        if inner is None:
            return None
        self._built = TlsConnection(self._options, inner)
        return self._built

    def abandon(self) -> None:
        """After a failure: a connection that was made all the same is not left open."""
        if self._built is not None and self._built.transport is not None:
            self._built.abortConnection()


def _egress_error(problem: BaseException) -> EgressError | InternalError:
    """Our error for one of Twisted's while TCP and CONNECT are under way."""
    if isinstance(problem, defer.TimeoutError | error.TimeoutError | error.TCPTimedOutError):
        return EgressTimeout()
    if isinstance(problem, error.DNSLookupError):
        return EgressUnreachable("its name does not resolve")
    if isinstance(problem, error.ConnectionRefusedError):
        return EgressUnreachable("connection refused")
    if isinstance(problem, error.ConnectError):
        return EgressUnreachable(type(problem).__name__)
    if isinstance(problem, error.ConnectionClosed):
        return EgressFailed("closed without an answer to CONNECT")
    return InternalError(type(problem).__name__)
