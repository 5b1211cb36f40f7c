"""The whole data path between bare ends: no socket, no TLS, no reactor, and a clock that stands still.

Every run takes the very same way, so what it costs can be counted: calls, instructions, objects kept.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IStreamClientEndpoint, ITCPTransport
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import implementer

from awfproxy.observe.logs import LogWriter
from awfproxy.proxy import channel
from tests.memory.peers import SWITCHED, House, handshake

KEY = "sk-proj-" + "a" * 48
REQUEST = (
    b"POST /v1/responses HTTP/1.1\r\nHost: 127.0.0.1:10000\r\nAuthorization: Bearer placeholder\r\n"
    b"X-Api-Key: placeholder\r\nContent-Type: application/json\r\nAccept: application/json\r\n"
    b"User-Agent: guard/1\r\nContent-Length: 1024\r\n\r\n" + b"y" * 1024
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: guard/1\r\nDate: Tue, 24 Nov 2026 17:00:00 GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: 1000\r\nConnection: keep-alive\r\n\r\n" + b"x" * 1000
)
STREAM = (
    b"HTTP/1.1 200 OK\r\nServer: guard/1\r\nDate: Tue, 24 Nov 2026 17:00:00 GMT\r\n"
    b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_TEXT = b"event: response.output_text.delta\ndata: " + b"z" * 200 + b"\n\n"
EVENT = b"%x\r\n%b\r\n" % (len(_TEXT), _TEXT)
END = b"0\r\n\r\n"


@implementer(ITCPTransport)
class End:
    """Our end of a connection, whose peer takes all at once; the path tells the protocol how it ends."""

    connected, disconnecting, unsent = True, False, 0

    def __init__(self, path: "DataPath", protocol: Any) -> None:
        self._path, self.protocol = path, protocol
        self.writes = 0
        protocol.makeConnection(self)

    def lost(self, why: type[Exception]) -> None:
        """The connection is gone."""
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            self.connected, self.disconnecting = False, True
            protocol.connectionLost(Failure(why()))

    def write(self, data: bytes) -> None:
        self.writes += 1

    def loseConnection(self) -> None:
        self.disconnecting = True
        self._path.ending.append((self, ConnectionDone))

    def abortConnection(self) -> None:
        self.disconnecting = True
        self._path.ending.append((self, ConnectionAborted))

    def loseWriteConnection(self) -> None:
        pass

    def registerProducer(self, producer: object, streaming: bool) -> None:
        pass

    def unregisterProducer(self) -> None:
        pass

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 50000)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 10000)


@implementer(IStreamClientEndpoint)
class _WayOut:
    """Each tunnel stands at once; `origins` are those that have not been lost."""

    def __init__(self, attach: Callable[[Any], Any]) -> None:
        self._attach = attach
        self.origins: list[Any] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        protocol = factory.buildProtocol(None)
        self.origins.append(self._attach(protocol))
        return succeed(protocol)


class DataPath:
    """Units of work, each of which can be done again and again: what one costs is what the next costs."""

    def __init__(self) -> None:
        globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)  # or it remembers all until then
        assert channel.__file__.endswith(".py"), "compiled: a profile function sees none of its calls"
        self.ending: list[tuple[End, type[Exception]]] = []
        self._way_out = _WayOut(self.attach)
        self._log = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the interpreter
        writer = LogWriter("text")
        self.house = House(KEY, endpoint=self._way_out, write=writer.access, max_connections=10000)
        writer.observer(self._log)
        writer.gather(self.house.sweep)
        self.write_lines = writer.deadline_passed
        """Writes the access lines that wait for others."""
        self.house.close()  # which then remembers no events
        self._client: Any = None

    def attach(self, protocol: Any) -> Any:
        """A transport for a protocol of ours."""
        return End(self, protocol)

    def connect(self) -> Any:
        """A client connects."""
        return self.attach(self.house.site.buildProtocol(None))

    @property
    def origin(self) -> Any:
        """The origin's end of the newest tunnel."""
        origins = self._way_out.origins
        while origins[-1].protocol is None:
            origins.pop()
        return origins[-1]

    def settle(self) -> None:
        """Connections that are to end have ended."""
        while self.ending:
            end, why = self.ending.pop(0)
            end.lost(why)
        self._way_out.origins[:] = [end for end in self._way_out.origins if end.protocol is not None]

    # --- units of work ---------------------------------------------------------------------------

    def request(self) -> None:
        """A request and its answer on a connection and a tunnel that are kept."""
        client = self._client
        if client is None:
            client = self._client = self.connect()
        client.protocol.dataReceived(REQUEST)
        self.origin.protocol.dataReceived(ANSWER)

    def begin_stream(self) -> None:
        """A request whose answer is a stream of events, up to its head."""
        if self._client is None:
            self._client = self.connect()
        self._client.protocol.dataReceived(REQUEST)
        self.event(STREAM)

    def event(self, data: bytes = EVENT) -> None:
        """One event of the stream that has begun."""
        self.origin.protocol.dataReceived(data)

    def stream(self) -> None:
        """A stream of three events, to its end."""
        self.begin_stream()
        for data in (EVENT, EVENT, EVENT, END):
            self.event(data)

    def connection(self) -> None:
        """A client that connects, asks once and leaves."""
        client = self.connect()
        client.protocol.dataReceived(REQUEST)
        self.origin.protocol.dataReceived(ANSWER)
        client.protocol.readConnectionLost()
        self.settle()

    def left(self) -> None:
        """A client that is gone in the midst of its stream; the tunnel goes with it."""
        client = self.connect()
        client.protocol.dataReceived(REQUEST)
        self.event(STREAM)
        self.event()
        client.lost(ConnectionLost)
        self.settle()

    def cut(self) -> None:
        """An origin that is gone in the midst of its answer; the client's connection goes with it."""
        client = self.connect()
        client.protocol.dataReceived(REQUEST)
        self.event(STREAM)
        self.origin.lost(ConnectionLost)
        self.settle()
        assert client.protocol is None

    def unanswered(self) -> None:
        """An origin that is gone without an answer: 502."""
        client = self.connect()
        client.protocol.dataReceived(REQUEST)
        self.origin.lost(ConnectionLost)
        client.lost(ConnectionDone)
        self.settle()

    def malformed(self) -> None:
        """What is no request: 400, and the end."""
        client = self.connect()
        client.protocol.dataReceived(b"GET / HTTP/1.1\r\nHost : x\r\n\r\n")
        client.lost(ConnectionDone)
        self.settle()

    def websocket(self) -> None:
        """A WebSocket of two messages, and its client's end."""
        client = self.connect()
        client.protocol.dataReceived(handshake())
        origin = self.origin
        origin.protocol.dataReceived(SWITCHED)
        client.protocol.dataReceived(b"\x81\x80....")
        origin.protocol.dataReceived(b"\x81\x00")
        client.lost(ConnectionDone)
        self.settle()
        origin.lost(ConnectionDone)


UNITS = ("request", "stream", "connection", "left", "cut", "unanswered", "malformed", "websocket")
"""Names of what can be repeated for itself."""
