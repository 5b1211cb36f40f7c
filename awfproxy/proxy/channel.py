"""The downstream side: one client connection, HTTP/1.1 on our own parser, behind `Site.protocol`.

It owns reading requests one after the other, writing responses, keep-alive, half-close, and the phases'
deadlines. Requests go to the site's resource at the *end of their head*; bodies stream.
"""

from collections.abc import Callable
from enum import Enum
from select import POLLERR
from typing import Any, Final

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IPushProducer, ITCPTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import classImplements

from awfproxy.errors.base import AwfError
from awfproxy.errors.client import ClientError, RequestHeadTimeout
from awfproxy.errors.own import InternalError, TooManyConnections
from awfproxy.net.deadlines import NEVER
from awfproxy.net.transport import seen_ending
from awfproxy.observe.accesslog import AccessRecord, Outcome
from awfproxy.proxy.admission import admit, given_request_id
from awfproxy.proxy.channelsite import ChannelSite
from awfproxy.proxy.request import Request
from awfproxy.proxy.tunnel import Tunnel
from awfproxy.wire.framing import NO_BODY, BodyReader, body_reader
from awfproxy.wire.message import RequestHead
from awfproxy.wire.parser import RequestHeadReader

_MAX_HELD = 65536
"""Octets of pipelined requests kept while one is answered; beyond it the connection closes after that one.
Behind a WebSocket handshake reading stops there instead, until the origin has switched."""
_EACH_SWEEP: Final = 0.0
_HALF_CLOSE = 2.0
"""Seconds after a request's end in which its client's FIN means "I have sent all", not "I have gone"."""
_LINGER = 2.0
"""Seconds in which a client that still sends may read our last response, from when all of it has left."""
_STILL_USED = 1.0
"""Seconds since its last use in which a stop does not close a connection: a request may be on its way."""
_EMPTY_HEAD: Final = RequestHead(b"-", b"-", b"1.1", ())
_log = Logger(namespace="awfproxy.proxy.channel")


class _State(Enum):
    HEAD = "HEAD"
    BODY = "BODY"
    ANSWERING = "ANSWERING"
    TUNNEL = "TUNNEL"
    CLOSING = "CLOSING"
    CLOSED = "CLOSED"


# Looking a member up on its Enum costs as much as a call (Python 3.11), and these are asked for all the time.
_HEAD: Final = _State.HEAD
_BODY: Final = _State.BODY
_ANSWERING: Final = _State.ANSWERING
_TUNNEL: Final = _State.TUNNEL
_CLOSING: Final = _State.CLOSING
_CLOSED: Final = _State.CLOSED


class Channel:
    """`HEAD -> BODY -> ANSWERING -> HEAD ...`, from each to CLOSING (what comes is read over) and CLOSED.

    BODY: a request is being answered and more of its body is awaited. ANSWERING: its body is complete.
    TUNNEL, from ANSWERING: the origin has switched protocols, and nothing is read here any more.
    """

    def __init__(self, site: ChannelSite) -> None:
        self.site = site
        self.factory: Any = site
        self.transport: Any = None
        self.seconds = site.sweep.seconds
        self._state = _HEAD
        self._reader = RequestHeadReader()
        self._body: BodyReader | None = None
        self._request: Request | None = None
        self._tunnel: Tunnel | None = None
        self._held = b""
        self._advancing = self._held_up = self._half_closed = self._full = self._paused = False
        self._unsent = 0
        self._write_ended = self._draining = False
        self._received_at = 0.0
        """When the current request was complete."""
        self._refused = False
        """Something that the client sends is not read as requests any more."""
        self.closing_after = False
        """The connection closes after the current response."""
        self.over_limit = False
        """More connections than allowed: the first request is answered 503."""
        self._client = ""
        self._own_port: int | None = None
        self.deadline = NEVER

    # --- the protocol ----------------------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        site = self.site
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        peer, host = self.transport.getPeer(), self.transport.getHost()
        self._client = getattr(peer, "host", None) or "unix"
        self._own_port = getattr(host, "port", None)
        self.transport.registerProducer(self, True)
        self.deadline = self.seconds() + site.deadlines.head
        site.connection_made(self)

    def dataReceived(self, data: bytes) -> None:
        self._safely(self._received, data)

    def _received(self, data: bytes) -> None:
        if self._state is _BODY:
            self._read_body(data)
        elif self._state in (_HEAD, _ANSWERING):
            self._hold(data)
            self._advance()
        elif self._tunnel is not None:
            self._tunnel.from_client(data)

    def _safely(self, read: Callable[..., None], *data: bytes) -> None:
        """Nothing that a client sends may end more than its own connection."""
        try:
            read(*data)
        except ClientError as error:
            self._malformed(error)
        except Exception:
            _log.failure("{client}: a request failed inside awfproxy", client=self._client)
            self._malformed(InternalError())

    def readConnectionLost(self) -> None:
        """The client sends no more: it has left, or (RFC 9112 9.6) it waits for its answers."""
        self._half_closed = True
        if self._tunnel is not None:
            self._tunnel.client_ended()
        elif self._state is _CLOSING:
            self.transport.loseConnection()
        elif self._state is _BODY:
            self.abort()
        elif self._state is _HEAD:
            if not self._held:
                self._close()
        elif self._request is not None and (self._request.has_its_answer() or self._is_late()):
            self.abort()
        elif self._state is _ANSWERING:
            self.closing_after = self.closing_after or not self._held
            self._probe_client()

    def writeConnectionLost(self) -> None:
        """The last response, or the tunnel's last byte, has left."""
        self._write_ended = True
        if self._tunnel is None:
            self.deadline = min(self.deadline, self.seconds() + _LINGER)

    def connectionLost(self, reason: Failure) -> None:
        self._state = _CLOSED
        self.deadline = NEVER
        self.site.connection_lost(self)
        request, self._request = self._request, None
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is not None:
            tunnel.client_lost()
        if request is not None and request.exchange is not None:
            request.exchange.lost()
            request.exchange = None

    # --- reading ---------------------------------------------------------------------------------

    def _hold(self, data: bytes) -> None:
        if self._refused:
            return  # after a gap, bytes are no requests any more
        self._held = self._held + data if self._held else data
        if self._state is not _ANSWERING or len(self._held) <= _MAX_HELD:
            return
        if self._request is not None and self._request.websocket:
            self.pause_reading()
        else:
            self.closing_after = self._refused = True
            self._held = b""

    def _advance(self) -> None:
        """Reads requests while there are bytes and none is being answered; never inside itself.

        A client that does not read its responses is not given more of them.
        """
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._held and self._state is _HEAD and not self._full:
                if self._held_up:
                    self._held_up = False
                    self.resume_reading()
                data, self._held = self._held, b""
                self._read_head(data)
        finally:
            self._advancing = False
        if self._state is _HEAD:
            if self._held:
                self._held_up = True
                self.pause_reading()
            elif self._half_closed:
                self._close()

    def _read_head(self, data: bytes) -> None:
        begun = self._reader.begun
        read = self._reader.feed(data)
        if read is None:
            if self._reader.begun and not begun:
                self.deadline = self.seconds() + self.site.deadlines.head
            return
        head, rest = read
        self.deadline = NEVER
        record = self._record(head)
        if self.over_limit:
            self._refuse(head, record, TooManyConnections())
            return
        try:
            site = self.site
            admitted = admit(head, site.origin, self._own_port, site.websocket, site.trusted)
        except ClientError as error:
            self._refuse(head, record, error)
            return
        websocket = admitted.websocket
        request = self._request = Request(self, admitted.head, admitted.framing, record, websocket)
        # What follows a handshake is never a request, whether it is granted or not.
        self.closing_after = self.closing_after or websocket or self._draining
        if admitted.framing is NO_BODY:
            self._state = _ANSWERING
            self._received_at = record.started
            if rest:
                self._hold(rest)
        else:
            self._body = body_reader(admitted.framing)
            request.content = self._body.feed(rest) if rest else b""
            record.request_bytes = len(request.content)
            request.complete = self._body.done
            if request.complete:
                self._body_ended(request)
            else:
                self._state = _BODY
        if self._half_closed:
            if not request.complete:
                self._request = None
                self._close()
                return
            self.closing_after = self.closing_after or not self._held
        self.deadline = _EACH_SWEEP
        self.site.resource.render(request)
        if self._half_closed:
            self._probe_client()

    def _is_late(self) -> bool:
        """Who only has nothing more to send says so right after the request; a FIN later on is a leaving."""
        return self.seconds() - self._received_at > _HALF_CLOSE

    def _probe_client(self) -> None:
        """One who left answers this with a reset, one who waits reads over it (RFC 9110 15.2)."""
        request = self._request
        if request is not None and not request.response_begun and request.head.version == b"1.1":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _read_body(self, data: bytes) -> None:
        request, body = self._request, self._body
        assert request is not None
        assert body is not None
        content = body.feed(data)
        request.record.request_bytes += len(content)
        exchange = request.exchange
        if content and exchange is not None:
            exchange.upload(content)
        if body.done and self._state is _BODY:
            self._body_ended(request)
            if exchange is not None:
                exchange.upload_done(request.trailers)

    def _body_ended(self, request: Request) -> None:
        body, self._body = self._body, None
        assert body is not None
        self._state = _ANSWERING
        self._received_at = self.seconds()
        request.complete = True
        request.trailers = body.trailers
        if body.rest:
            self._hold(body.rest)

    def _record(self, head: RequestHead) -> AccessRecord:
        request_id = given_request_id(head) or self.site.new_request_id()
        return AccessRecord(request_id, self._client, head.method, head.target, self.seconds())

    # --- refusing --------------------------------------------------------------------------------

    def _malformed(self, error: AwfError) -> None:
        """A request that cannot be read (on): answered where that is still possible, then closed."""
        request = self._request
        if self._state in (_CLOSED, _CLOSING):
            return
        if request is None:
            self._refuse(_EMPTY_HEAD, self._record(_EMPTY_HEAD), error)
        elif request.response_begun:
            request.record.error = type(error)
            self.abort()
        elif request.exchange is not None:
            request.exchange.client_failed(error)
        else:
            self._refuse(request.head, request.record, error)

    def _refuse(self, head: RequestHead, record: AccessRecord, error: AwfError) -> None:
        """Answers a request that no exchange exists for; the connection ends with it."""
        self.closing_after = self._refused = True
        record.status, record.error = self.site.provider.error_status(error), type(error)
        self.site.access_log.begun(record)
        self.site.access_log.ended(record, Outcome.REFUSED, self.seconds(), error.detail)
        self._request = Request(self, head, NO_BODY, record)
        self._request.refuse(error)

    # --- for requests ----------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Sends to the client, now."""
        self.transport.write(data)

    def request_finished(self, request: Request) -> None:
        """A response is complete: on to the next request, or to the end."""
        if self._request is not request:
            return
        self._request = None
        request.exchange = None  # a cycle less: what has ended is freed at once, not by the collector
        if not request.persistent or self.closing_after or not request.complete:
            self._close()
            return
        self._state = _HEAD
        self._wait_for_client(_STILL_USED if self._draining else self.site.deadlines.idle)
        self.resume_reading()
        if self._held or self._half_closed:
            self._safely(self._advance)

    def abort(self) -> None:
        """Resets the connection."""
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is not None:
            tunnel.client_lost()  # unless it is the tunnel that says so
        if self._state is not _CLOSED:
            self._state = _CLOSING
            self.transport.abortConnection()

    def pause_reading(self) -> None:
        """Takes no more from the client for now."""
        self._paused = True
        if not self._half_closed and self._state is not _CLOSED:
            self.transport.pauseProducing()

    def resume_reading(self) -> None:
        """Reads on."""
        self._paused = False
        if not self._half_closed and self._state is not _CLOSED:
            self.transport.resumeProducing()

    # --- for a tunnel ----------------------------------------------------------------------------

    def become_tunnel(self, tunnel: Tunnel) -> None:
        """From now on all that the client sends is `tunnel`'s, first what has been held since its head."""
        self._state, self._tunnel = _TUNNEL, tunnel
        held, self._held = self._held, b""
        self.resume_reading()
        if self._full:  # by the 101, of which nobody has been told
            tunnel.client_full()
        if held:
            tunnel.from_client(held)
        if self._half_closed:
            tunnel.client_ended()
        if self._draining:
            tunnel.drain()

    def end_writing(self) -> None:
        """Our FIN, after what was written; the client may go on, where its transport has directions."""
        if hasattr(self.transport, "loseWriteConnection"):
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()

    def close(self) -> None:
        """Ends politely."""
        self._tunnel = self._request = None
        self._close()

    # --- ending ----------------------------------------------------------------------------------

    def _close(self) -> None:
        """Ends politely: what was written arrives, what the client still sends is read over for a moment.

        Closing with unread bytes would send a reset, which can overtake our last response (RFC 9112 9.6);
        so would an end before a slow client has taken all of it.
        """
        if self._state in (_CLOSING, _CLOSED):
            return
        sends = self._refused or self._state is _BODY or self._state is _TUNNEL
        unread = sends or bool(self._held) or self._reader.begun
        self._state = _CLOSING
        self._held = b""
        self.transport.unregisterProducer()
        self._wait_for_client(_LINGER if self._write_ended else self.site.deadlines.body)
        if unread and not self._half_closed and hasattr(self.transport, "loseWriteConnection"):
            self.resume_reading()
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()

    def drain(self) -> None:
        """One more request at most: that which may be on its way, since no response has told of the end."""
        self._draining = True
        waits = self.site.deadlines
        if self._tunnel is not None:
            self._tunnel.drain()
        elif self._request is not None:
            self.closing_after = self.closing_after or not self._request.response_begun
        elif self._state is _HEAD:
            used = self.deadline - (waits.idle if self._received_at else waits.head)
            self.deadline = min(self.deadline, (self.seconds() if self._reader.begun else used) + _STILL_USED)
            if self._held or self.deadline <= self.seconds():
                self._close()

    def drain_deadline_passed(self) -> None:
        """Ends whatever is still under way: with a 503 where no head has been sent, else with a reset."""
        request = self._request
        if self._tunnel is not None:
            self._tunnel.drain_deadline_passed()
            return
        if request is None or request.exchange is None:
            self.abort()
            return
        request.exchange.drain_deadline_passed()
        self.deadline = min(self.deadline, self.seconds() + _LINGER)
        self._unsent = 0  # however slowly it reads on, the process ends

    # --- deadlines -------------------------------------------------------------------------------

    def deadline_passed(self) -> None:
        if self._tunnel is not None:
            # Here an end of both directions is not yet a leaving: bytes of the client's may wait.
            if (self._half_closed or self._paused) and seen_ending(self.transport.getHandle()) & POLLERR:
                self.abort()
            else:
                self._tunnel.look()
        elif self._request is None and 0 < self._still_unsent() < self._unsent:
            self._wait_for_client(self.site.deadlines.body)
        elif self._state is _CLOSING:
            self.transport.abortConnection()
        elif self._request is not None:
            self._look_at_exchange(self._request)
        elif self._reader.begun:
            self._malformed(RequestHeadTimeout())
        else:
            self._close()

    def _look_at_exchange(self, request: Request) -> None:
        """While a request is answered its exchange has the deadline. Whether a client has gone that is not
        read from (half-closed, or paused) is asked of the kernel."""
        if (self._half_closed or self._paused) and seen_ending(self.transport.getHandle()):
            self.abort()
        elif request.exchange is not None and request.exchange.deadline <= self.seconds():
            request.exchange.deadline_passed()

    def _wait_for_client(self, seconds: float) -> None:
        """Sets the deadline, which moves on for a client that by then has taken more of our last response."""
        self._unsent = self._still_unsent()
        self.deadline = self.seconds() + seconds

    def _still_unsent(self) -> int:
        return getattr(self.transport, "unsent", 0)

    # --- the producer of what is written to the client -------------------------------------------

    def pauseProducing(self) -> None:
        self._full = True
        if self._tunnel is not None:
            self._tunnel.client_full()
        elif self._request is not None and self._request.exchange is not None:
            self._request.exchange.client_full()

    def resumeProducing(self) -> None:
        self._full = False
        if self._tunnel is not None:
            self._tunnel.client_ready()
        elif self._request is not None and self._request.exchange is not None:
            self._request.exchange.client_ready()
        elif self._held:
            self._safely(self._advance)

    def stopProducing(self) -> None:
        """The transport is ending; connectionLost follows."""


# Not by a decorator, and without Twisted's Protocol as a base: only so does mypyc make a native class, whose
# attributes cost a twentieth. For this one and the upstream side that is 4 µs a request.
classImplements(Channel, IProtocol, IHalfCloseableProtocol, IPushProducer)
