"""`Asker`: one request of our own to the provider, on the way that agents' requests go.

It goes by treq over the endpoint that the pool dials with, so it proves the same way: one CONNECT, TLS
verified, then one request. It follows no redirect, keeps no connection, sends what it is given to the
configured origin alone, and has a deadline over all of it and a cap on what it reads.
"""

from collections.abc import Callable, Iterator
from typing import Any

import attrs
from treq.client import HTTPClient
from twisted.internet import defer, error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseDone
from twisted.web.error import SchemeNotSupported
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from awfproxy import __version__
from awfproxy.errors.base import AwfError
from awfproxy.errors.egress import EgressTimeout, EgressUnreachable
from awfproxy.errors.origin import IncompleteMessage, OriginClosed, OriginMalformed
from awfproxy.wire.message import RequestHead
from awfproxy.wire.target import Origin

_STAND_IN = "https://origin.invalid/"


@attrs.frozen
class Answer:
    """What the provider answered."""

    status: int
    content: bytes = attrs.field(repr=False)
    """As much as was asked for."""

    complete: bool
    """It was not cut short on the way."""


@attrs.frozen
class NoAnswer:
    """The connection stood, and nothing came within so many seconds."""

    seconds: float


class Asker:
    """Asks one origin. Probes and the fetching of models call it; it calls treq and the endpoint."""

    def __init__(self, reactor: IReactorTime, endpoint: IStreamClientEndpoint, origin: Origin) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._origin = origin

    async def ask(
        self, head: RequestHead, body: bytes | None, limit: float, most: Callable[[int], int]
    ) -> Answer | NoAnswer | AwfError:
        """One request, over within `limit` seconds; whatever the peers do becomes a value.

        `head` is prepared, with the credential in it; `body` is JSON. `most` says for a status how many
        octets of the answer are of interest.
        """
        way = _Way(self._endpoint)
        asking = Deferred.fromCoroutine(self._ask(way, head, body, most)).addErrback(_bare_cancel)
        asking.addTimeout(limit, self._reactor)
        try:
            return await asking
        except CancelledError:
            raise
        except defer.TimeoutError:
            if way.protocol is None:
                return EgressTimeout(f"no verified connection to the provider within {limit:g} s")
            return NoAnswer(limit)
        except Exception as problem:
            return _mapped(problem, connected=way.protocol is not None)
        finally:
            way.abort()

    async def _ask(
        self, way: "_Way", head: RequestHead, body: bytes | None, most: Callable[[int], int]
    ) -> Answer:
        pool = HTTPConnectionPool(self._reactor, persistent=False)
        agent = Agent.usingEndpointFactory(self._reactor, _OnlyTo(self._origin, way), pool)
        headers = Headers({b"User-Agent": [b"awfproxy/" + __version__.encode("ascii")]})
        headers.addRawHeader(b"Accept", b"application/json")
        if body is not None:
            headers.addRawHeader(b"Content-Type", b"application/json")
        for lower, name, value in head.fields:
            if lower != b"host":  # Agent writes that one
                headers.addRawHeader(name, value)
        url = b"https://" + self._origin.host_field + head.target
        response = await HTTPClient(_Exactly(agent, url)).request(
            head.method.decode("ascii"),
            _STAND_IN,
            headers=headers,
            data=body,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._reactor,  # type: ignore[arg-type]  # it only tells the time
        )
        status: int = response.code
        wanted = most(status)
        if not wanted:
            return Answer(status, b"", complete=True)
        try:
            return Answer(status, await _content_of(response, wanted), complete=True)
        except IncompleteMessage:
            return Answer(status, b"", complete=False)


def _bare_cancel(failure: Failure) -> Failure:
    """Agent wraps the cancelling of a request that was sent; `addTimeout` knows only the bare one."""
    if any(isinstance(cause, CancelledError) for cause in _causes(failure.value)):
        raise CancelledError
    return failure


def _mapped(problem: BaseException, connected: bool) -> AwfError:
    causes = list(_causes(problem))
    for cause in causes:
        if isinstance(cause, AwfError):
            return cause
    if not connected:
        if isinstance(problem, (defer.TimeoutError, error.TimeoutError, TimeoutError)):
            return EgressTimeout(type(problem).__name__)
        if isinstance(problem, (error.ConnectError, error.ConnectionClosed, OSError)):
            return EgressUnreachable(type(problem).__name__)
        raise problem
    if len(causes) == 1:
        raise problem
    last = type(causes[-1]).__name__
    if any(isinstance(cause, (error.ConnectionClosed, error.ConnectionLost)) for cause in causes):
        return OriginClosed(last)
    return OriginMalformed(last)


def _causes(problem: BaseException | None) -> Iterator[BaseException]:
    """The exception and those that Agent has wrapped into it."""
    if problem is None:
        return
    yield problem
    reasons: Any = getattr(problem, "reasons", ())
    for reason in reasons:
        if isinstance(reason, Failure):
            yield from _causes(reason.value)


@implementer(IStreamClientEndpoint)
class _Way:
    """The endpoint for one attempt: it remembers the connection, to abort it and to tell the stage."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint
        self.protocol: IProtocol | None = None

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return self._endpoint.connect(protocolFactory).addCallback(self._connected)

    def _connected(self, protocol: IProtocol) -> IProtocol:
        self.protocol = protocol
        return protocol

    def abort(self) -> None:
        """No polite end: an answer not read to its end would hold a TLS connection open."""
        transport = getattr(self.protocol, "transport", None)
        if transport is not None:
            transport.abortConnection()


@implementer(IAgent)
@attrs.frozen
class _Exactly:
    """Requests the one URL, as it is.

    treq takes every host for a name to be encoded by IDNA, which refuses IPv6 literals and underscores,
    and it rewrites paths; so it is given a stand-in.
    """

    _agent: IAgent
    _url: bytes

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        return self._agent.request(method, self._url, headers, bodyProducer)


@implementer(IAgentEndpointFactory)
@attrs.frozen
class _OnlyTo:
    """Gives Agent the one endpoint, for the one origin, by TLS; what is sent must not go anywhere else."""

    _origin: Origin
    _way: _Way

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        host = uri.host.decode("ascii", "replace").lower()
        if uri.scheme != b"https" or (host, uri.port) != (self._origin.host.lower(), self._origin.port):
            raise SchemeNotSupported("this only goes to the configured origin, and by https")
        return self._way


async def _content_of(response: IResponse, most: int) -> bytes:
    """The content, up to the cap; raises `IncompleteMessage` if it is cut short."""
    ended: Deferred[bytes] = Deferred()
    response.deliverBody(_Collector(ended, most))
    return await ended


class _Collector(Protocol):
    """Gathers content; fires with it at its end or at the cap, and fails when it is cut short."""

    def __init__(self, ended: Deferred[bytes], most: int) -> None:
        self._ended = ended
        self._most = most
        self._content = bytearray()

    def dataReceived(self, data: bytes) -> None:
        self._content += data
        if len(self._content) >= self._most and not self._ended.called:
            self._ended.callback(bytes(self._content[: self._most]))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._ended.called:
            return
        if isinstance(reason.value, (ResponseDone, PotentialDataLoss)):
            self._ended.callback(bytes(self._content))
        else:
            self._ended.errback(IncompleteMessage("in an answer to awfproxy itself"))
