"""`Client`: asks at a provider's port as an agent does, by plain HTTP, with a placeholder or token."""

import json
from collections.abc import Mapping
from typing import Any

import attrs
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IConsumer, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer
from zope.interface import implementer

from awfproxy import __version__
from awfproxy.doctor.door import Door
from awfproxy.net.dial import TcpEndpoint

PLACEHOLDER = b"awfproxy-placeholder"
LARGEST = 1024 * 1024
"""Bytes of an answer that are kept; those of a tiny request are far fewer."""


@attrs.frozen
class Answer:
    status: int
    own_error: str
    """The code, where it is an error of awfproxy's own."""

    content_type: str
    content: bytes = attrs.field(repr=False)
    is_whole: bool
    """Whether it ended as its framing says."""

    first_after: float
    """Seconds until the first of the content came."""


class Client:
    """Errs with Twisted's `ConnectError`s; it has no timeout of its own: cancel it."""

    def __init__(self, reactor: Any, door: Door, key: bytes = PLACEHOLDER) -> None:
        """`key` is what it sends in place of one."""
        self._reactor = reactor
        self._door = door
        self._key = key

    async def connect(self) -> None:
        """Opens a connection and closes it."""
        factory = Factory.forProtocol(Protocol)
        factory.noisy = False
        protocol: Any = await self._endpoint.connect(factory)
        protocol.transport.loseConnection()

    async def get(self, target: bytes) -> Answer:
        return await self._ask(b"GET", target, None)

    async def post(self, target: bytes, content: Mapping[str, object]) -> Answer:
        return await self._ask(b"POST", target, json.dumps(content).encode("ascii"))

    @property
    def _endpoint(self) -> IStreamClientEndpoint:
        if self._door.path:
            return UNIXClientEndpoint(self._reactor, self._door.path)
        return TcpEndpoint(self._reactor, self._door.host, self._door.port)

    async def _ask(self, method: bytes, target: bytes, content: bytes | None) -> Answer:
        only = _Only(self._endpoint)
        agent = Agent.usingEndpointFactory(
            self._reactor, only, HTTPConnectionPool(self._reactor, persistent=False)
        )
        headers = Headers({b"User-Agent": [b"awfproxy-doctor/" + __version__.encode("ascii")]})
        producer = None
        if content is not None:
            headers.addRawHeader(b"Authorization", b"Bearer " + self._key)
            headers.addRawHeader(b"Content-Type", b"application/json")
            producer = _Content(content)
        url = b"http://" + self._door.authority.encode("ascii") + target
        began = self._reactor.seconds()
        try:
            response = await agent.request(method, url, headers, producer)
            body = _Body(self._reactor)
            response.deliverBody(body)
            is_whole = await body.ended
        finally:
            only.abort()
        text = [b",".join(response.headers.getRawHeaders(name, [])) for name in _FIELDS]
        return Answer(
            response.code,
            text[0].decode("ascii", "replace"),
            text[1].decode("ascii", "replace").lower(),
            bytes(body.content),
            is_whole,
            (body.first_at or self._reactor.seconds()) - began,
        )


_FIELDS = (b"awfproxy-error", b"content-type")


def was_cut(problem: BaseException) -> bool:
    """Whether the connection stood, and what came over it was no whole answer."""
    return not isinstance(problem, defer.TimeoutError | OSError) and bool(getattr(problem, "reasons", ()))


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class _Only:
    """The one endpoint, and the connection that came of it."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint
        self._protocol: IProtocol | None = None

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return self

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return self._endpoint.connect(protocolFactory).addCallback(self._connected)

    def _connected(self, protocol: IProtocol) -> IProtocol:
        self._protocol = protocol
        return protocol

    def abort(self) -> None:
        transport = getattr(self._protocol, "transport", None)
        if transport is not None:
            transport.abortConnection()


@implementer(IBodyProducer)
class _Content:
    """A request's content, all at once."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.length = len(content)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._content)
        return defer.succeed(None)

    def pauseProducing(self) -> None:
        """It has all been written."""

    resumeProducing = stopProducing = pauseProducing


class _Body(Protocol):
    """Gathers a body; `ended` fires with whether it is whole."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self.content = bytearray()
        self.first_at: float | None = None
        self.ended: Deferred[bool] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        if self.first_at is None:
            self.first_at = self._clock.seconds()
        self.content += data[: LARGEST - len(self.content)]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.ended.called:
            self.ended.callback(isinstance(reason.value, ResponseDone | PotentialDataLoss))
