"""One attempt at the way out, by the endpoint that the daemon dials with, and how far it got.

`OriginEndpoint` is one connect to its callers. Its three stages are told here by watching it from both
ends: the TCP endpoint that it is given, and the protocol that it builds once the tunnel stands.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from awfproxy.net.dial import TcpEndpoint
from awfproxy.net.ready import OriginEndpoint
from awfproxy.net.tls import ClientTls
from awfproxy.settings.syntax import Egress
from awfproxy.settings.values import Deadlines
from awfproxy.wire.target import Origin

Dial = Callable[[Any, str, int], IStreamClientEndpoint]


async def try_way(
    reactor: Any,
    origin: Origin,
    egress: Egress | None,
    tls: ClientTls,
    deadlines: Deadlines,
    passed: Callable[[str], None],
    dial: Dial = TcpEndpoint,
) -> str:
    """Tells `passed` of `egress` (TCP stands) and `connect` (the tunnel stands); what TLS is, at the end.

    Raises the endpoint's `AwfError`. Without an egress proxy there is no `egress`.
    """

    def watched(*where: Any) -> IStreamClientEndpoint:
        return _Watched(dial(*where), (lambda: passed("egress")) if egress is not None else None)

    endpoint = OriginEndpoint(reactor, origin, egress, tls, deadlines, watched)
    protocol: Any = await endpoint.connect(_Tunnel(lambda: passed("connect")))
    try:
        shown: str = protocol.transport.shown()
        return shown
    finally:
        protocol.transport.abortConnection()


@implementer(IStreamClientEndpoint)
class _Watched:
    """An endpoint that tells when it has connected."""

    def __init__(self, endpoint: IStreamClientEndpoint, connected: Callable[[], None] | None) -> None:
        self._endpoint = endpoint
        self._connected = connected

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        if self._connected is None:
            return self._endpoint.connect(protocolFactory)
        return self._endpoint.connect(_Telling(protocolFactory, self._connected))


class _Telling(Factory):
    noisy = False

    def __init__(self, factory: IProtocolFactory, connected: Callable[[], None]) -> None:
        self._factory = factory
        self._connected = connected

    def buildProtocol(self, addr: IAddress | None) -> Any:
        self._connected()
        return self._factory.buildProtocol(addr)  # type: ignore[arg-type]


class _Tunnel(Factory):
    """Its protocol is asked for when the tunnel stands, in front of TLS."""

    noisy = False

    def __init__(self, opened: Callable[[], None]) -> None:
        self._opened = opened

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        self._opened()
        return Protocol()
