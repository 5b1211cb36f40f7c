"""A tunnel through the egress proxy: CONNECT (RFC 9110 9.3.6), as a Twisted client endpoint.

`CONNECTING -> ASKED -> OPEN`; each way to fail has its own error, and none relays what the proxy said.
"""

import re
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.error import NoProtocol
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from awfproxy.credentials.secret import Secret
from awfproxy.errors.egress import (
    EgressAuthRequired,
    EgressDenied,
    EgressError,
    EgressFailed,
    EgressProtocolError,
)
from awfproxy.wire.target import Origin

_MAX_ANSWER = 16384
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?")
_SQUID_ERROR = re.compile(rb"\r\n(?i:x-squid-error):[ \t]*(ERR_[A-Z_]{1,60})[ \r]")
# In the form of Squid's own names alone: what is in capitals might be the password that it was sent.


def connect_request(origin: Origin, authorization: Secret | None) -> bytes:
    """The CONNECT request for a tunnel to `origin`."""
    extra = b"" if authorization is None else b"Proxy-Authorization: %b\r\n" % authorization.reveal()
    return b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (origin.authority, origin.authority, extra)


def connect_answer(data: bytes) -> tuple[EgressError | None, bytes] | None:
    """(why not, or None for an open tunnel; the tunnel's first bytes), or None while incomplete."""
    end = data.find(b"\r\n\r\n")
    if end < 0 or end > _MAX_ANSWER:
        if len(data) > _MAX_ANSWER or b"HTTP/1."[: len(data)] != data[:7]:
            return EgressProtocolError("not an HTTP answer"), b""
        return None
    head = data[: end + 2]
    match = _STATUS.match(head)
    if match is None or head[match.end() : match.end() + 2] != b"\r\n":
        return EgressProtocolError("not an HTTP answer"), b""
    status = int(match.group(1))
    if 200 <= status < 300:
        return None, data[end + 4 :]
    squid = _SQUID_ERROR.search(head)
    detail = f"CONNECT was answered {status}"
    if squid:
        detail += f", {squid.group(1).decode('ascii')}"
    if status == 403:
        return EgressDenied(detail), b""
    if status == 407:
        return EgressAuthRequired(detail), b""
    if squid is None and status in (404, 501):
        return EgressProtocolError(detail), b""  # so answers a web server
    if status >= 500 or status == 404 or status == 429:
        return EgressFailed(detail), b""
    return EgressProtocolError(detail), b""


class _Connect(Protocol):
    """Asks for the tunnel, then stands aside: every byte and event goes to the protocol inside it."""

    def __init__(self, request: bytes, build: Callable[[], IProtocol | None], opened: Deferred[IProtocol]):
        self._request = request
        self._build = build
        self._opened: Deferred[IProtocol] | None = opened
        self._answer = b""
        self._inner: IProtocol | None = None

    def connectionMade(self) -> None:
        assert self.transport is not None
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        self.transport.write(self._request)
        self._request = b""

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._answer += data
        answer = connect_answer(self._answer)
        if answer is not None:
            self._answered(*answer)

    def _answered(self, error: EgressError | None, tail: bytes) -> None:
        assert self.transport is not None
        opened, self._opened = self._opened, None
        if opened is None:
            return
        inner = None if error else self._build()
        if inner is None:
            self.transport.abortConnection()  # type: ignore[attr-defined]
            opened.errback(error or NoProtocol())
            return
        self._inner, self._answer = inner, b""
        inner.makeConnection(self.transport)
        if tail:
            inner.dataReceived(tail)
        opened.callback(inner)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        opened, self._opened = self._opened, None
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif opened is not None:
            opened.errback(EgressFailed("closed without an answer to CONNECT"))

    def abandon(self) -> None:
        """The caller wants no tunnel any more."""
        self._opened = None
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]


@implementer(IStreamClientEndpoint)
class SquidConnectEndpoint:
    """Connects through `proxy` to `origin`; fires once the tunnel is open, errs with an `EgressError`.

    The proxy's own connect errors come out as they are. Cancelling aborts the connection to the proxy.
    """

    def __init__(self, proxy: IStreamClientEndpoint, origin: Origin, authorization: Secret | None) -> None:
        self._proxy = proxy
        self._origin = origin
        self._authorization = authorization

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        asked: list[_Connect] = []
        opened: Deferred[IProtocol] = Deferred(lambda _: asked[0].abandon())

        def build() -> _Connect:
            def inner() -> IProtocol | None:
                assert asked[0].transport is not None
                return protocolFactory.buildProtocol(asked[0].transport.getPeer())

            asked.append(_Connect(connect_request(self._origin, self._authorization), inner, opened))
            return asked[0]

        factory = Factory.forProtocol(build)
        factory.noisy = False
        return self._proxy.connect(factory).addCallback(lambda _: opened)
