"""One HTTP/1.1 client connection to the origin: sends a request, reads its response, then is free again.

It owns the framing on the upstream side; it knows nothing of clients. Everything about one request goes
to the `ResponseSink` that came with `send`.
"""

import select
from enum import Enum
from typing import Any, Final
from typing import Protocol as Interface

from twisted.internet import error
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IPushProducer
from twisted.python.failure import Failure
from zope.interface import classImplements

from awfproxy.errors.base import AwfError
from awfproxy.errors.client import ClientError
from awfproxy.errors.origin import IncompleteMessage, OriginClosed, OriginMalformed, OriginUnexpectedUpgrade
from awfproxy.wire.chunked import encode_chunk, encode_end
from awfproxy.wire.framing import (
    CHUNKED,
    NO_BODY,
    UNTIL_CLOSE,
    BodyReader,
    Framing,
    body_reader,
    response_framing,
)
from awfproxy.wire.message import Fields, RequestHead, ResponseHead, serialise_request
from awfproxy.wire.parser import ResponseHeadReader

_MAX_INTERIM = 16


class ResponseSink(Interface):
    """Who hears of one request's response, and of when to stop uploading."""

    def interim(self, head: ResponseHead) -> None:
        """A 1xx other than 101."""

    def response_head(self, head: ResponseHead, framing: Framing) -> None:
        """The final head."""

    def switched(self, head: ResponseHead) -> None:
        """The 101 that was asked for; the sink has the connection `become_tunnel`, and hears no more."""

    def response_body(self, content: bytes) -> None:
        """Content, with the framing taken off; never empty."""

    def response_end(self, trailers: Fields) -> None:
        """The response is complete; the connection is already free or closing."""

    def flush(self) -> None:
        """All that has arrived so far has been told: it may go out, in one piece."""

    def upstream_failed(self, reason: AwfError) -> None:
        """No (more) response will come; the connection is gone."""

    def pause_upload(self) -> None:
        """The origin takes no more for now."""

    def resume_upload(self) -> None:
        """It does again."""


class Tunnel(Interface):
    """Who hears of what comes after a 101."""

    def from_origin(self, data: bytes) -> None:
        """Bytes for the client."""

    def origin_ended(self) -> None:
        """The origin sends no more."""

    def origin_lost(self, orderly: bool) -> None:
        """The connection is gone; orderly: the origin had said so."""

    def origin_full(self) -> None:
        """The origin takes no more for now."""

    def origin_ready(self) -> None:
        """It does again."""


class State(Enum):
    """`CONNECTING -> IDLE <-> AWAITING -> RECEIVING -> IDLE | CLOSED`; AWAITING -> TUNNEL -> CLOSED, which
    is final."""

    CONNECTING = "CONNECTING"
    IDLE = "IDLE"
    AWAITING = "AWAITING"
    RECEIVING = "RECEIVING"
    TUNNEL = "TUNNEL"
    CLOSED = "CLOSED"


# Looking a member up on its Enum costs as much as a call (Python 3.11), and these are asked for all the time.
_CONNECTING: Final = State.CONNECTING
_IDLE: Final = State.IDLE
_AWAITING: Final = State.AWAITING
_RECEIVING: Final = State.RECEIVING
_TUNNEL: Final = State.TUNNEL
_CLOSED: Final = State.CLOSED


class UpstreamConnection:
    """The protocol inside TLS. Made by the pool, used by one exchange at a time.

    `on_end(self)` is called whenever a response is complete or the connection is lost, after the state has
    changed, so that the pool can take it back (`reusable`) or forget it.
    """

    def __init__(self, owner: "ConnectionOwner", opened_at: float) -> None:
        self._owner = owner
        self.factory: Any = None
        self.transport: Any = None
        self.opened_at = opened_at
        self.idle_since = opened_at
        self.requests = 0
        """Requests sent so far: above one, this is a reused tunnel."""
        self._state = _CONNECTING
        self._sink: ResponseSink | None = None
        self._tunnel: Tunnel | None = None
        self._method = b""
        self._request_framing: Framing = NO_BODY
        self._uploaded = True
        self._websocket = False
        self._keep = True
        self._head = ResponseHeadReader()
        self._body: BodyReader | None = None
        self._until_close = False
        self._interim = 0
        self._full = False
        self.answered = False
        """Any byte of an answer to the current request has arrived."""
        self.lost = False
        """The transport is gone too."""

    # --- for the exchange ------------------------------------------------------------------------

    def send(
        self,
        head: RequestHead,
        framing: Framing,
        content: bytes,
        complete: bool,
        sink: ResponseSink,
        *,
        websocket: bool = False,
    ) -> None:
        """Sends a request's head with the first `content` of its body; `complete`: that is all of it.

        `websocket`: it asks to become one. Whatever the answer, the connection serves no other request.
        `InternalError`, with nothing sent: the head cannot be written.
        """
        assert self._state is _IDLE
        self._state = _AWAITING
        self._sink = sink
        self._method = head.method
        self._request_framing = framing
        self._uploaded = complete
        self._websocket = websocket
        self.answered = False
        self._interim = 0
        self.requests += 1
        data = serialise_request(head)
        if content:
            data += encode_chunk(content) if framing is CHUNKED else content
        if complete and framing is CHUNKED:
            data += encode_end()
        self.transport.write(data)
        if self._full:
            sink.pause_upload()

    def write(self, content: bytes) -> None:
        """More of the request's body."""
        if self._state is not _CLOSED and content:
            self.transport.write(encode_chunk(content) if self._request_framing is CHUNKED else content)

    def end(self, trailers: Fields) -> None:
        """The request's body is complete."""
        self._uploaded = True
        if self._state is not _CLOSED and self._request_framing is CHUNKED:
            self.transport.write(encode_end(trailers))

    def become_tunnel(self, tunnel: Tunnel) -> None:
        """All that comes from the origin from now on is `tunnel`'s; `write` passes bytes as they are."""
        self._state = _TUNNEL
        self._sink, self._tunnel = None, tunnel

    def end_writing(self) -> None:
        """Tells the origin that nothing more comes; reading goes on."""
        if self._state is not _CLOSED:
            self.transport.loseWriteConnection()

    def abort(self) -> None:
        """Ends the connection now; the sink hears nothing more."""
        self._sink = None
        self._close(abort=True)

    def pause_response(self) -> None:
        """The client takes no more for now."""
        self.transport.pauseProducing()

    def resume_response(self) -> None:
        """It does again."""
        if self._state is not _CLOSED:
            self.transport.resumeProducing()

    # --- for the pool ----------------------------------------------------------------------------

    @property
    def reusable(self) -> bool:
        return self._state is _IDLE and not self.transport.disconnecting

    def still_open(self) -> bool:
        """Asks the kernel whether an end or stray bytes have arrived that the reactor has not read yet."""
        if not self.reusable:
            return False
        poll = select.poll()
        poll.register(self.transport.getHandle(), select.POLLIN | select.POLLRDHUP)
        return not poll.poll(0)

    def close(self) -> None:
        """Ends an idle connection or a tunnel politely; if the transport then lingers, the pool aborts it."""
        self._close(abort=False)

    def abort_lingering(self) -> None:
        """Ends what `close` has begun."""
        self.transport.abortConnection()

    # --- the protocol ----------------------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        self._state = _IDLE
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.from_origin(data)
            return
        sink = self._sink
        try:
            while data and self._state in (_AWAITING, _RECEIVING):
                data = self._read_head(data) if self._state is _AWAITING else self._read_body(data)
            if self._sink is sink and sink is not None:
                sink.flush()
        except ClientError as problem:
            self._fail(OriginMalformed(problem.detail or problem.code))
            return
        except AwfError as problem:
            self._fail(problem)
            return
        if data and self._state is _IDLE:
            self._close(abort=True)  # bytes that nobody asked for: never to be read as an answer

    def readConnectionLost(self) -> None:
        """The origin's end: of this direction in a tunnel, of all else."""
        if self._tunnel is not None:
            self._tunnel.origin_ended()
        else:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our end has been said."""

    def connectionLost(self, reason: Failure) -> None:
        was, self._state = self._state, _CLOSED
        self.lost = True
        sink, self._sink = self._sink, None
        ended = was is _RECEIVING and self._until_close and reason.check(error.ConnectionDone)
        self._owner.connection_ended(self)
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is not None:
            tunnel.origin_lost(orderly=reason.check(error.ConnectionDone) is not None)
        if sink is None:
            return
        if ended:
            sink.response_end(())
        elif was is _RECEIVING:
            sink.upstream_failed(IncompleteMessage())
        else:
            sink.upstream_failed(OriginClosed())

    def _read_head(self, data: bytes) -> bytes:
        self.answered = True
        read = self._head.feed(data)
        if read is None:
            return b""
        head, rest = read
        sink = self._sink
        assert sink is not None
        if head.interim:
            self._interim += 1
            if head.status == 101:
                if not self._websocket or not _to_websocket(head):
                    raise OriginUnexpectedUpgrade()
                sink.switched(head)
                self._begin_tunnel(rest)
                return b""
            if self._interim > _MAX_INTERIM:
                raise OriginMalformed("too many interim responses")
            sink.interim(head)
            return rest
        framing = response_framing(self._method, head)
        self._until_close = framing is UNTIL_CLOSE
        self._keep = (
            head.version == b"1.1"
            and not self._until_close
            and not self._websocket
            and b"close" not in head.tokens(b"connection")
            and not (framing is NO_BODY and _announces_body(self._method, head))
        )
        self._state = _RECEIVING
        self._body = body_reader(framing)
        sink.response_head(head, framing)
        if self._state is _RECEIVING and self._body.done:
            self._finish(rest, ())
            return b""
        return rest

    def _begin_tunnel(self, first: bytes) -> None:
        if self._full and self._tunnel is not None:
            self._tunnel.origin_full()
        if first and self._tunnel is not None:
            self._tunnel.from_origin(first)

    def _read_body(self, data: bytes) -> bytes:
        body = self._body
        assert body is not None
        content = body.feed(data)
        if content and self._sink is not None:
            self._sink.response_body(content)
        if body.done and self._state is _RECEIVING:
            self._finish(body.rest, body.trailers)
        return b""

    def _finish(self, rest: bytes, trailers: Fields) -> None:
        sink, self._sink = self._sink, None
        self._body = None
        if self._keep and self._uploaded and not rest:
            self._state = _IDLE
            self.transport.resumeProducing()  # a paused one would hang the next request
            self._owner.connection_ended(self)
        else:
            self._close(abort=not self._uploaded or bool(rest))
        if sink is not None:
            sink.response_end(trailers)

    def _fail(self, reason: AwfError) -> None:
        sink, self._sink = self._sink, None
        self._close(abort=True)
        if sink is not None:
            sink.upstream_failed(reason)

    def _close(self, abort: bool) -> None:
        if self._state is _CLOSED:
            return
        self._state = _CLOSED
        self._tunnel = None
        self.transport.unregisterProducer()
        if abort:
            self.transport.abortConnection()
        else:
            self.transport.loseConnection()
        self._owner.connection_ended(self)

    # --- the producer of what is written to the origin -------------------------------------------

    def pauseProducing(self) -> None:
        self._full = True
        if self._tunnel is not None:
            self._tunnel.origin_full()
        elif self._sink is not None:
            self._sink.pause_upload()

    def resumeProducing(self) -> None:
        self._full = False
        if self._tunnel is not None:
            self._tunnel.origin_ready()
        elif self._sink is not None:
            self._sink.resume_upload()

    def stopProducing(self) -> None:
        """The transport is ending; connectionLost follows."""


# As of the channel: see there.
classImplements(UpstreamConnection, IProtocol, IHalfCloseableProtocol, IPushProducer)


def _to_websocket(head: ResponseHead) -> bool:
    return (
        head.version == b"1.1"
        and head.tokens(b"upgrade") == [b"websocket"]
        and b"upgrade" in head.tokens(b"connection")
    )


def _announces_body(method: bytes, head: ResponseHead) -> bool:
    """Of a head that no body belongs to (HEAD, 204, 304), though one is spoken of.

    Some origins send it all the same. It may come after the next request has been sent, and would be read as
    the answer to that one; and a client that chooses its content would so answer another one's request.
    """
    return (
        method == b"HEAD"
        or bool(head.values(b"transfer-encoding"))
        or head.values(b"content-length") not in ([], [b"0"])
    )


class ConnectionOwner(Interface):
    """The pool, as its connections see it."""

    def connection_ended(self, connection: UpstreamConnection) -> None:
        """A response is complete (`reusable` tells what for) or the connection is closed; may come twice."""
