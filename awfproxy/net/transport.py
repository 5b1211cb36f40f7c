"""A stream transport over a connected socket: what is written is sent at once, only what is left over waits.

"At once" is before the call returns; or, while a hub serves several events, behind these.

Twisted's own transports put every write into a buffer and send it from the next turn of the reactor, which
costs two changes of epoll's interest and a wake-up per write: a third of a request. This one keeps to the
same public interfaces (ITCPTransport, IConsumer, IPushProducer; a read and write descriptor of any reactor),
so protocols cannot tell the difference.

Rules that callers may rely on: `connectionLost` comes once and never from inside a call of the protocol's
own; bytes leave in the order of the writes; what is queued is copied, what was received is the receiver's.
"""

import os
import select
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet import error
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableProtocol,
    IProtocol,
    IPushProducer,
    IReadDescriptor,
    ITCPTransport,
    IWriteDescriptor,
)
from twisted.python.failure import Failure
from zope.interface import classImplements

_RECEIVE = 65536
"""Octets read at once. From 128 KiB on, the C library maps and unmaps memory for each read: 15 µs, not 3."""
_HIGH_WATER = 65536
"""Octets waiting to be sent above which the producer is paused."""
_SMALL = 16384
"""Octets up to which a write may wait for the other events of a batch."""
_MAX_PIECES = 64
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, no seconds; close() then sends RST


def address(family: int, name: Any) -> IAddress:
    """Twisted's address for what the socket module gives."""
    if family == socket.AF_INET:
        return IPv4Address("TCP", *name[:2])
    if family == socket.AF_INET6:
        return IPv6Address("TCP", *name)
    return UNIXAddress(name or None)


def seen_ending(handle: Any) -> int:
    """What the kernel knows of that socket's end, whether or not anybody reads: POLLHUP, POLLERR, or 0."""
    poll = select.poll()
    poll.register(handle, 0)
    return next((events for _, events in poll.poll(0)), 0)


class StreamTransport:
    """Open, then (after `loseConnection`, while bytes wait) closing, then closed.

    The two directions may end apart: `read_closed` after the peer's FIN, `write_closed` after ours.
    """

    def __init__(self, reactor: Any, sock: socket.socket, peer: Any) -> None:
        sock.setblocking(False)
        self._reactor = reactor
        self._socket = sock
        self._descriptor = sock.fileno()
        self._peer = peer
        self._send = sock.send
        # The hub's; a reactor has none, and everything is sent at once.
        self._send_later: Callable[[StreamTransport], bool] = getattr(reactor, "sendLater", _never)
        self._protocol: Any = None
        self._deliver: Any = None
        self._buffer: memoryview | None = None
        self._queue: deque[bytes | memoryview] = deque()
        self._queued = 0
        self._producer: Any = None
        self._producer_paused = False
        self._reading = self._writing = False
        self._error: error.ConnectionLost | None = None
        self._write_closed = self._read_closed = False
        self.connected = True
        self.disconnecting = False

    def start(self, protocol: IProtocol) -> None:
        """Connects the protocol and begins to read; if `connectionMade` raises, the connection ends."""
        self._protocol = protocol
        self._deliver = protocol.dataReceived
        self.resumeProducing()
        try:
            protocol.makeConnection(self)
        except BaseException:
            self.abortConnection()
            raise

    def receive_into(self, buffer: memoryview, deliver: Callable[[memoryview], None]) -> None:
        """From now on what is received comes to `deliver`, as views into `buffer`, void once it returns.

        `buffer` may be shared, and larger than what can be had as bytes at a good price (see `_RECEIVE`).
        """
        self._buffer, self._deliver = buffer, deliver

    @property
    def unsent(self) -> int:
        """Octets that wait for the peer to take more."""
        return self._queued

    # --- for the reactor -------------------------------------------------------------------------

    def fileno(self) -> int:
        return self._descriptor if self.connected else -1

    def logPrefix(self) -> str:
        return "awfproxy"

    def doRead(self) -> None:
        if not self._reading:
            return  # paused since the reactor looked
        try:
            data = self._receive()
        except (BlockingIOError, InterruptedError):
            return
        except OSError as problem:
            self._end(_lost(problem))
            return
        if data:
            self._deliver(data)
        else:
            self._read_end()

    def _receive(self) -> bytes | memoryview:
        buffer = self._buffer
        if buffer is None:
            return self._socket.recv(_RECEIVE)
        received = self._socket.recv_into(buffer)  # on its own line: mypyc evaluates a slice's bound twice
        return buffer[:received]

    def doWrite(self) -> None:
        queue = self._queue
        try:
            if len(queue) == 1:
                sent = self._send(queue[0])
            elif not queue:
                return
            else:
                sent = self._send_some()
        except (BlockingIOError, InterruptedError):
            return
        except OSError as problem:
            self._error = _lost(problem)
            self._read_out()
            return
        self._queued -= sent
        if not self._queued:
            queue.clear()
            if self._writing or self.disconnecting or self._write_closed or self._producer_paused:
                self._all_sent()
            return
        while sent >= len(queue[0]):
            sent -= len(queue.popleft())
        if sent:
            queue[0] = memoryview(queue[0])[sent:]

    def _send_some(self) -> int:
        queue = self._queue
        return self._socket.sendmsg([queue[i] for i in range(min(len(queue), _MAX_PIECES))])

    def drop_unsent(self) -> None:
        """Sends nothing of what waits: for who aborts, and would rather have said nothing."""
        self._queue.clear()
        self._queued = 0

    def flush(self) -> None:
        """From the hub: sends what has been written while it served other events."""
        if self._queue and not self._writing:
            self.doWrite()
            if self._queue:
                self._await_room()

    def connectionLost(self, reason: Failure) -> None:
        """From the reactor: an error event, an exception in `doRead`, or the reactor's own end."""
        self._end(reason.value)

    def _read_end(self) -> None:
        self._read_closed = True
        self._stop_reading()
        if IHalfCloseableProtocol.providedBy(self._protocol):
            self._protocol.readConnectionLost()
            if self._write_closed and not self._queue:
                self._end_soon()
        else:
            self._end(None)

    def _await_room(self) -> None:
        self._writing = True
        self._reactor.addWriter(self)

    def _all_sent(self) -> None:
        if self._writing:
            self._writing = False
            self._reactor.removeWriter(self)
        if self.disconnecting:
            self._end(None)
        elif self._write_closed:
            self._shut_down()
        elif self._producer_paused:
            self._producer_paused = False
            self._producer.resumeProducing()

    # --- ITransport ------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.disconnecting or self._write_closed:
            return
        sent = 0
        if not self._queue:
            if 0 < len(data) <= _SMALL and self._send_later(self):
                self._queue.append(bytes(data))
                self._queued = len(data)
                return
            try:
                sent = self._send(data)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as problem:
                # A socket tells its error once; connectionLost must not come from inside this call.
                self._error = _lost(problem)
                self.disconnecting = True
                self._reactor.callLater(0, self._read_out)
                return
            if sent == len(data):
                return
            self._await_room()
        self._queue.append(bytes(data[sent:]))
        self._queued += len(data) - sent
        if self._queued > _HIGH_WATER and self._producer is not None and not self._producer_paused:
            self._producer_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def loseConnection(self, *ignored: Any) -> None:
        """Ends after what is queued; nothing is delivered any more, nor is the peer's end waited for."""
        self._stop_reading()
        if self.disconnecting:
            return
        self.disconnecting = True
        if not self._queue:
            self._end_soon()

    def abortConnection(self) -> None:
        """Ends now, with a reset behind what was sent.

        What waits for the other events of a batch is tried once: had there been one event, it would have left
        before. A peer reads what it was sent, and then of the reset.
        """
        if self.connected:
            if self._queue and not self._writing:
                with suppress(OSError):
                    self._send_some()
            with suppress(OSError):  # of a unix socket, or one that is gone, closing is all there is
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._release()
            self._reactor.callLater(0, self._tell, error.ConnectionAborted())

    def loseWriteConnection(self) -> None:
        """Our FIN, after what is queued."""
        if self.disconnecting or self._write_closed:
            return
        self._write_closed = True
        if not self._queue:
            self._shut_down()

    def _shut_down(self) -> None:
        with suppress(OSError):  # the peer was faster; reading tells
            self._socket.shutdown(socket.SHUT_WR)
        self._reactor.callLater(0, self._write_end)

    def _write_end(self) -> None:
        if self.connected and IHalfCloseableProtocol.providedBy(self._protocol):
            self._protocol.writeConnectionLost()
        if self._read_closed:
            self._end(None)

    def getPeer(self) -> Any:
        return address(self._socket.family, self._peer)

    def getHost(self) -> Any:
        return address(self._socket.family, self._socket.getsockname())

    def getHandle(self) -> socket.socket:
        """The socket, for asking the kernel about it."""
        return self._socket

    def getTcpNoDelay(self) -> bool:
        return self._socket.family != socket.AF_UNIX and bool(
            self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        )

    def setTcpNoDelay(self, enabled: bool) -> None:
        if self._socket.family != socket.AF_UNIX:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        return bool(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)

    # --- producer of what is received ------------------------------------------------------------

    def pauseProducing(self) -> None:
        self._stop_reading()

    def resumeProducing(self) -> None:
        if not (self._reading or self._read_closed or self.disconnecting):
            self._reading = True
            self._reactor.addReader(self)

    def stopProducing(self) -> None:
        self.loseConnection()

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._reactor.removeReader(self)

    # --- consumer of what is sent ----------------------------------------------------------------

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self._producer is not None:
            raise RuntimeError("a producer is registered already")
        if not streaming:
            raise NotImplementedError("push producers only")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer = producer
        if self._queued > _HIGH_WATER:
            self._producer_paused = True
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        self._producer = None
        self._producer_paused = False

    # --- the end ---------------------------------------------------------------------------------

    def _end_soon(self) -> None:
        self._reactor.callLater(0, self._end, None)

    def _read_out(self) -> None:
        """Sending has failed; what the peer sent before it left, such as an early answer, is there yet."""
        try:
            while self._reading:
                try:
                    data = self._receive()
                except OSError:
                    break
                if not data:
                    break
                self._deliver(data)
        finally:
            self._end(None)

    def _end(self, problem: BaseException | None) -> None:
        if self.connected:
            self._release()
            self._tell(self._error or problem or error.ConnectionDone())

    def _release(self) -> None:
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self.connected = self._reading = self._writing = False
        self.disconnecting = True
        self._queue.clear()
        self._queued = 0
        self._socket.close()

    def _tell(self, problem: BaseException) -> None:
        producer, self._producer = self._producer, None
        protocol, self._protocol, self._deliver = self._protocol, None, None
        if producer is not None:
            producer.stopProducing()
        if protocol is not None:
            protocol.connectionLost(Failure(problem))


def _never(_: object) -> bool:
    return False


# Not as a decorator: mypyc makes a class of its own kind, with fast attributes, only of one without.
classImplements(StreamTransport, ITCPTransport, IConsumer, IPushProducer, IReadDescriptor, IWriteDescriptor)


def _lost(problem: OSError) -> error.ConnectionLost:
    return error.ConnectionLost(os.strerror(problem.errno) if problem.errno else "")
