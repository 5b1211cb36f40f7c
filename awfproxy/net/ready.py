"""`OriginEndpoint`: the one way out. TCP, CONNECT and verified TLS as one connect, with our errors.

The pool, the probe and any control request dial with this same object, so there is one place where the
egress rule is kept and one trust configuration.
"""

import errno
import ssl
from collections.abc import Callable
from typing import Any

from twisted.internet import defer, error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from zope.interface import implementer

from awfproxy.errors.base import AwfError
from awfproxy.errors.egress import EgressFailed, EgressTimeout, EgressUnreachable
from awfproxy.errors.origin import OriginConnectTimeout, OriginUnreachable
from awfproxy.errors.own import InternalError, OutOfDescriptors
from awfproxy.errors.tls import TlsTimeout
from awfproxy.net.dial import TcpEndpoint
from awfproxy.net.egress import SquidConnectEndpoint
from awfproxy.net.tls import ClientTls, TlsConnection
from awfproxy.settings.syntax import Egress
from awfproxy.settings.values import Deadlines, Settings
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
        self._direct = egress is None
        self._place = origin.authority.decode("ascii") if egress is None else str(egress)
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
            raise _connect_error(problem, self._place, self._direct) from None
        assert isinstance(tls, TlsConnection)
        return tls


def origin_endpoint(
    reactor: Any, settings: Settings, origin: Origin, context: ssl.SSLContext
) -> OriginEndpoint:
    """The way to `origin` by these settings; `context` is the one of all origins."""
    tls = ClientTls(origin.host, context)
    return OriginEndpoint(reactor, origin, settings.egress, tls, settings.deadlines)


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


def _connect_error(problem: BaseException, place: str, direct: bool) -> AwfError:
    """Our error for one of Twisted's while TCP and CONNECT are under way; `place` is where they go."""
    if isinstance(problem, defer.TimeoutError | error.TimeoutError | error.TCPTimedOutError):
        return OriginConnectTimeout(place) if direct else EgressTimeout(place)
    if isinstance(problem, error.ConnectionClosed):
        return EgressFailed(f"{place}: closed without an answer to CONNECT")
    if not isinstance(problem, error.ConnectError | error.DNSLookupError):
        return InternalError(type(problem).__name__)
    cause = getattr(problem, "osError", None)
    if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
        return OutOfDescriptors(place)
    why = type(problem).__name__
    if isinstance(problem, error.DNSLookupError):
        why = "its name does not resolve"
    elif isinstance(problem, error.ConnectionRefusedError):
        why = "connection refused"
    return OriginUnreachable(f"{place}: {why}") if direct else EgressUnreachable(f"{place}: {why}")
