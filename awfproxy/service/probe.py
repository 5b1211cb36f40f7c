"""One authenticated request that tells whether the way to the provider and the key are good.

It goes by treq over the endpoint that the pool dials with, so it proves the same way: one CONNECT, TLS
verified, then one cheap GET. It follows no redirect, keeps no connection, sends the key to the
configured origin alone, and has a deadline over all of it and a cap on what it reads. What
comes out is an `Attempt`: a verdict of the provider, or our error for the hop that failed.
"""

from collections.abc import Iterator
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
from awfproxy.credentials.injector import prepare_request
from awfproxy.credentials.store import CredentialStore
from awfproxy.credentials.verdict import CannotTell, ProviderError, Verdict, read_error, verdict
from awfproxy.errors import (
    AwfError,
    EgressTimeout,
    EgressUnreachable,
    IncompleteMessage,
    OriginClosed,
    OriginMalformed,
)
from awfproxy.providers.provider import Access, Provider
from awfproxy.wire.framing import NO_BODY
from awfproxy.wire.message import RequestHead
from awfproxy.wire.target import Origin

BODY_LIMIT = 64 * 1024
"""An error object is small; what is longer is cut, and then has no code."""

_WINDOW = 8
_STAND_IN = "https://origin.invalid/"

Attempt = Verdict | AwfError
"""What one probe found out."""


class KeyProbe:
    """Asks the provider once per `attempt()`. The validator calls it; it calls treq and the endpoint."""

    def __init__(
        self,
        reactor: IReactorTime,
        endpoint: IStreamClientEndpoint,
        provider: Provider,
        access: Access,
        credentials: CredentialStore,
    ) -> None:
        """It asks with the key that `credentials` has in force at each attempt."""
        self._reactor = reactor
        self._endpoint = endpoint
        self._provider = provider
        self._access = access
        self._credentials = credentials

    async def attempt(self, limit: float) -> Attempt:
        """One request, over within `limit` seconds; whatever the peers do becomes an `Attempt`."""
        way = _Way(self._endpoint)
        asking = Deferred.fromCoroutine(self._ask(way)).addErrback(_bare_cancel)
        asking.addTimeout(limit, self._reactor)
        try:
            return await asking
        except CancelledError:
            raise
        except defer.TimeoutError:
            if way.protocol is None:
                return EgressTimeout(f"no verified connection to the provider within {limit:g} s")
            return CannotTell(f"{self._provider.title} did not answer within {limit:g} s")
        except Exception as problem:
            return _mapped(problem, connected=way.protocol is not None)
        finally:
            way.abort()

    async def _ask(self, way: "_Way") -> Verdict:
        pool = HTTPConnectionPool(self._reactor, persistent=False)
        factory = _OnlyTo(self._access.origin, way)
        agent = Agent.usingEndpointFactory(self._reactor, factory, pool)
        probe = self._provider.probe
        asked = RequestHead(probe.method, probe.target, b"1.1", ())
        in_force = self._credentials.current(self._provider.name)
        keys = () if in_force is None else in_force.keys
        head = prepare_request(asked, NO_BODY, access=self._access, keys=keys or (None,))
        headers = Headers({b"User-Agent": [b"awfproxy/" + __version__.encode("ascii")]})
        headers.addRawHeader(b"Accept", b"application/json")
        if probe.body is not None:
            headers.addRawHeader(b"Content-Type", b"application/json")
        for lower, name, value in head.fields:
            if lower != b"host":  # Agent writes that one
                headers.addRawHeader(name, value)
        url = b"https://" + self._access.origin.host_field + head.target
        response = await HTTPClient(_Exactly(agent, url)).request(
            probe.method.decode("ascii"),
            _STAND_IN,
            headers=headers,
            data=probe.body,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._reactor,  # type: ignore[arg-type]  # it only tells the time
        )
        status: int = response.code
        found = ProviderError()
        if 400 <= status < 500:
            found = read_error(await _head_of(response, must_end=status in (400, 401, 403)))
            if any(key is not None and quotes(found.code, key.reveal()) for key in keys):
                found = attrs.evolve(found, code="")
        return verdict(self._provider, status, found.code, found.text)


def quotes(code: str, key: bytes) -> bool:
    """Whether a part of the key that could be recognised is in the code, which is going to be shown."""
    shown = code.encode("ascii")
    return any(shown[i : i + _WINDOW] in key for i in range(len(shown) - _WINDOW + 1))


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
    """Gives Agent the one endpoint, for the one origin, by TLS; the key must not go anywhere else."""

    _origin: Origin
    _way: _Way

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        host = uri.host.decode("ascii", "replace").lower()
        if uri.scheme != b"https" or (host, uri.port) != (self._origin.host.lower(), self._origin.port):
            raise SchemeNotSupported("the probe only goes to the configured origin, and by https")
        return self._way


async def _head_of(response: IResponse, must_end: bool) -> bytes:
    """The body, up to the cap. If it is cut short and `must_end`, raises: half an error says nothing."""
    ended: Deferred[bytes] = Deferred()
    response.deliverBody(_Collector(ended))
    try:
        return await ended
    except IncompleteMessage:
        if must_end:
            raise
        return b""


class _Collector(Protocol):
    """Gathers a body; fires with it at its end or at the cap, and fails when it is cut short."""

    def __init__(self, ended: Deferred[bytes]) -> None:
        self._ended = ended
        self._body = bytearray()

    def dataReceived(self, data: bytes) -> None:
        self._body += data
        if len(self._body) >= BODY_LIMIT and not self._ended.called:
            self._ended.callback(bytes(self._body[:BODY_LIMIT]))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._ended.called:
            return
        if isinstance(reason.value, (ResponseDone, PotentialDataLoss)):
            self._ended.callback(bytes(self._body))
        else:
            self._ended.errback(IncompleteMessage("in the answer to the key check"))
