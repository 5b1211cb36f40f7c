"""Peers in memory: Twisted's own transport logic over a peer that a test plays by hand, byte by byte.

`Wire` is `FileDescriptor` with the socket left out, so buffering, producers, half-close, loseConnection and
abortConnection behave as on TCP; `Loop` is the reactor that drives wires and the clock; `House` is the whole
data path between a client's wire and the origins' ones, TLS left out.
"""

import socket
from contextlib import suppress

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IStreamClientEndpoint, ITCPTransport
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.posixbase import _DisconnectSelectableMixin
from twisted.internet.task import Clock
from twisted.internet.tcp import _AbortingMixin
from twisted.logger import globalLogPublisher
from zope.interface import implementer

from awfproxy.credentials.secret import Secret
from awfproxy.credentials.store import CredentialStore, InForce
from awfproxy.net.deadlines import INTERVAL, Sweep
from awfproxy.observe.accesslog import AccessLog, emit
from awfproxy.observe.health import Health
from awfproxy.observe.metrics import Metrics, ProcessMetrics
from awfproxy.observe.models import ModelLists
from awfproxy.observe.part import PagePart
from awfproxy.observe.requestevents import RequestEvents
from awfproxy.providers.openai import PROVIDER as OPENAI
from awfproxy.providers.provider import Asked
from awfproxy.providers.rules import NO_RULES
from awfproxy.proxy.exchange import Forwarding
from awfproxy.proxy.pages import LocalPages
from awfproxy.proxy.resource import ReverseProxyResource
from awfproxy.proxy.site import ProxySite
from awfproxy.settings.profile import DEFAULT
from awfproxy.settings.values import Deadlines, PoolLimits, WebSocketLimits
from awfproxy.upstream.pool import Pool


class Loop(_DisconnectSelectableMixin, Clock):
    """A reactor for wires: it reads and writes where something can move, and time passes by hand."""

    def __init__(self):
        super().__init__()
        self.readers, self.writers = {}, {}
        self._turning = False

    def addReader(self, wire):
        self.readers[wire] = None

    def removeReader(self, wire):
        self.readers.pop(wire, None)

    def addWriter(self, wire):
        self.writers[wire] = None

    def removeWriter(self, wire):
        self.writers.pop(wire, None)

    def settle(self):
        """Turns until nothing moves any more; nothing when it is turning already."""
        if self._turning:
            return
        self._turning = True
        try:
            self._turn()
        finally:
            self._turning = False

    def _turn(self):
        for _ in range(10000):
            moved = False
            for wire in list(self.readers):
                if wire in self.readers and wire.readable:
                    moved = True
                    self._ended(wire, wire.doRead(), True)
            for wire in list(self.writers):
                if wire in self.writers and wire.writable:
                    moved = True
                    self._ended(wire, wire.doWrite(), False)
            if any(call.getTime() <= self.seconds() for call in self.getDelayedCalls()):
                moved = True
                self.advance(0)
            if not moved:
                return
        raise AssertionError("it never settles")

    def _ended(self, wire, why, reading):
        if why:
            self._disconnectSelectable(wire, why, reading)

    def wait(self, seconds):
        """Lets time pass in the sweep's steps, and everything that comes of it."""
        for _ in range(round(seconds / INTERVAL)):
            self._turning = True
            try:
                self.advance(INTERVAL)
            finally:
                self._turning = False
            self.settle()


@implementer(ITCPTransport)
class Wire(_AbortingMixin, FileDescriptor):
    """Our end of a connection; the test plays the other one.

    `deliver`, `finish` and `reset` are what the peer does; `received` is what has reached it, at most `room`
    bytes more; `ended` that it has seen our end, `lost` why the connection is gone.
    """

    def __init__(self, loop, protocol, port=40000):
        super().__init__(loop)
        self.loop, self.protocol = loop, protocol
        self.connected = True
        self.received, self.room = b"", None
        self.ended, self.lost = False, None
        self._arriving = []
        self._port = port
        self._pair = None
        self.startReading()
        protocol.makeConnection(self)
        loop.settle()

    # --- the peer ---

    def deliver(self, *pieces):
        """The peer sends these, each read on its own."""
        for piece in pieces:
            self._arriving.append(piece)
        self.loop.settle()

    def finish(self):
        """The peer sends its end and still reads."""
        self.deliver(CONNECTION_DONE)

    def reset(self):
        self.deliver(CONNECTION_LOST)

    def vanish(self):
        """The peer's socket is gone without a word that would be read; the kernel knows it."""
        self.getHandle()
        self._pair[1].close()

    def whisper(self, data):
        """Bytes that the kernel has and the reactor has not read."""
        self.getHandle()
        self._pair[1].send(data)

    def take(self, room=None):
        """The peer reads: all that comes, or so many bytes more."""
        self.room = room
        self.loop.settle()

    def clear(self):
        """What was received up to now."""
        received, self.received = self.received, b""
        return received

    @property
    def unread(self):
        """The peer's bytes that wait because nobody reads."""
        return sum(len(piece) for piece in self._arriving if isinstance(piece, bytes))

    @property
    def held(self):
        """Bytes that wait in the transport because the peer does not read."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen

    @property
    def unsent(self):
        return self.held

    @property
    def reading(self):
        return self in self.loop.readers

    @property
    def aborted(self):
        return bool(self._aborting)

    def close_handles(self):
        if self._pair:
            for each in self._pair:
                with suppress(OSError):
                    each.close()

    # --- for the loop and Twisted's own code ---

    @property
    def readable(self):
        return bool(self._arriving)

    @property
    def writable(self):
        return self.room is None or self.room > 0 or not self.held

    def doRead(self):
        piece = self._arriving.pop(0)
        if isinstance(piece, bytes):
            self.protocol.dataReceived(piece)
            return None
        return piece

    def writeSomeData(self, data):
        data = bytes(data)[: self.room]
        self.received += data
        if self.room is not None:
            self.room -= len(data)
        return len(data)

    def readConnectionLost(self, reason):
        halves = IHalfCloseableProtocol(self.protocol, None)
        if halves:
            halves.readConnectionLost()
        else:
            self.connectionLost(reason)

    def _closeWriteConnection(self):
        self.ended = True
        halves = IHalfCloseableProtocol(self.protocol, None)
        if halves:
            halves.writeConnectionLost()

    def connectionLost(self, reason):
        super().connectionLost(reason)
        assert self.lost is None
        self.lost, self.ended = reason.type, True
        self.protocol.connectionLost(reason)

    def getHandle(self):
        if self._pair is None:
            self._pair = socket.socketpair()
        return self._pair[0]

    def getPeer(self):
        return IPv4Address("TCP", "192.0.2.7", 50000)

    def getHost(self):
        return IPv4Address("TCP", "127.0.0.1", self._port)

    def setTcpNoDelay(self, enabled):
        self.no_delay = enabled

    def loseWriteConnection(self):
        self._writeDisconnecting = True
        self.startWriting()

    def getTcpNoDelay(self):
        return self.no_delay

    def getTcpKeepAlive(self):
        return False

    def setTcpKeepAlive(self, enabled):
        pass


class Attempt:
    """One call of the endpoint's connect: to be opened or failed by the test."""

    def __init__(self, loop, factory):
        self._loop, self._factory = loop, factory
        self.cancelled = False
        self.wire = None
        self.deferred = Deferred(self._cancel)

    def _cancel(self, _):
        self.cancelled = True

    def open(self):
        """The tunnel stands; gives the origin's end."""
        protocol = self._factory.buildProtocol(None)
        self.wire = Wire(self._loop, protocol)
        self.deferred.callback(protocol)
        self._loop.settle()
        return self.wire

    def fail(self, error):
        self.deferred.errback(error)
        self._loop.settle()


@implementer(IStreamClientEndpoint)
class Endpoint:
    """The way out, played by the test; `automatic` opens each tunnel at once."""

    def __init__(self, loop, automatic=True):
        self._loop = loop
        self.automatic = automatic
        self.attempts = []

    def connect(self, factory):
        attempt = Attempt(self._loop, factory)
        self.attempts.append(attempt)
        if self.automatic:
            self._loop.callLater(0, attempt.open)
        return attempt.deferred

    @property
    def pending(self):
        return [one for one in self.attempts if not one.deferred.called and not one.cancelled]

    @property
    def origins(self):
        """Our ends of all tunnels that were opened, in order."""
        return [attempt.wire for attempt in self.attempts if attempt.wire is not None]


class House:
    """The data path between clients' wires and origins' wires, with every line it logs."""

    def __init__(
        self,
        key,
        *,
        deadlines=None,
        limits=None,
        automatic=True,
        max_connections=100,
        resource=None,
        local_pages="",
        rules=NO_RULES,
        host=None,
        websocket=True,
        websocket_limits=None,
        profile=DEFAULT,
        endpoint=None,
        write=emit,
        leak_guard=True,
        callers=None,
        access=None,
    ):
        self.loop = Loop()
        self.sweep = Sweep(self.loop)
        self.deadlines = deadlines or Deadlines()
        self.endpoint = endpoint or Endpoint(self.loop, automatic)
        self.heard = []
        self.pool = Pool(self.sweep, self.endpoint, limits or PoolLimits(warm=0), self.heard.append)
        self.metrics = Metrics()
        self.health = Health(lambda: 0.0, True)
        access = access or OPENAI.access(Asked())
        keys = {} if key is None else {"openai": InForce((Secret(key.encode("ascii")),), rules)}
        provider = OPENAI if profile.errors is None else profile.errors(OPENAI)
        log = AccessLog("openai", self.metrics, write)
        if profile.request_events:
            log = RequestEvents("openai", access.origin.host, self.metrics)
        self.forwarding = Forwarding(
            provider=provider,
            access=access,
            credentials=CredentialStore(keys),
            pool=self.pool,
            deadlines=self.deadlines,
            websocket_limits=websocket_limits or WebSocketLimits(),
            health=self.health,
            log=log,
            upstream_head=profile.upstream_head,
            leak_guard=leak_guard,
            callers=callers,
        )
        squid = "http://127.0.0.1:3128"
        part = PagePart(OPENAI, access, self.health, self.metrics, self.pool)
        self.lines_lost = 0
        self.process = ProcessMetrics(self.loop.seconds, lambda: self.lines_lost)
        self.models = ModelLists()
        pages = LocalPages(
            prefix=local_pages,
            egress=squid,
            parts=(part,),
            credentials=self.forwarding.credentials,
            process=self.process,
            models=self.models,
            place=lambda name: ("127.0.0.1", 10000),
            host=host,
            callers=callers,
        )
        self.site = ProxySite(
            resource or ReverseProxyResource(self.forwarding, pages.by_path(OPENAI)),
            reactor=self.loop,
            sweep=self.sweep,
            provider=provider,
            origin=access.origin,
            deadlines=self.deadlines,
            websocket=websocket,
            access_log=self.forwarding.log,
            metrics=self.metrics,
            max_connections=max_connections,
            request_id_field=profile.request_id_field,
        )
        self.pool.startService()
        self.lines, self._wires, self.events = [], [], []
        globalLogPublisher.addObserver(self._observe)

    def _observe(self, event):
        if event.get("event", "").startswith("websocket_upgrade_"):
            self.events.append(event["event"].removeprefix("websocket_upgrade_"))
        if event.get("event") == "request_complete":
            self.lines.append(event["line"].values)
        elif "line" in event:
            self.events.append((event["event"], event["line"].values))

    def close(self):
        globalLogPublisher.removeObserver(self._observe)
        for wire in [*self._wires, *self.origins]:
            wire.close_handles()

    def client(self):
        """A client connects; None where it is refused."""
        channel = self.site.buildProtocol(None)
        if channel is None:
            return None
        wire = Wire(self.loop, channel, port=10000)
        self._wires.append(wire)
        return wire

    @property
    def origins(self):
        return self.endpoint.origins

    @property
    def origin(self):
        """The only tunnel."""
        (wire,) = self.origins
        return wire

    @property
    def outcomes(self):
        return [line["outcome"] for line in self.lines]

    @property
    def line(self):
        """The only line."""
        (line,) = self.lines
        return line

    @property
    def error(self):
        """The code in the only line."""
        return self.line["error"]

    def wait(self, seconds):
        self.loop.wait(seconds)


def get(target=b"/v1/models", *fields, version=b"1.1", method=b"GET"):
    """A request without a body."""
    lines = [b"%b %b HTTP/%b" % (method, target, version), b"Host: localhost:10000", *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def handshake(target=b"/v1/responses", *fields):
    """A request to become a WebSocket (RFC 6455 1.2)."""
    return get(
        target,
        b"Connection: keep-alive, Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Version: 13",
        *fields,
    )


SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def post(length, content=b"", *fields):
    """A request with a body of that length, of which `content` comes along."""
    return get(b"/v1/responses", b"Content-Length: %d" % length, *fields, method=b"POST") + content


def chunked_post(content=b""):
    return get(b"/v1/responses", b"Transfer-Encoding: chunked", method=b"POST") + content


def answer(content=b"ok", *fields, status=b"200 OK"):
    """A whole response of known length."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(content), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + content


def chunk(content):
    return b"%x\r\n%b\r\n" % (len(content), content)


def responses(data):
    """The responses in `data`, each of known length, as (status, fields in lower case, content)."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(b": ")
            fields[name.lower()] = value
        length = int(fields.get(b"content-length", b"0"))
        found.append((int(lines[0].split(b" ")[1]), fields, data[:length]))
        data = data[length:]
    return found


def statuses(data):
    return [status for status, _, _ in responses(data)]
