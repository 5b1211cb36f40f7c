"""Both ends of a connection on the real reactor: ours with a protocol that notes all, the peer's a socket."""

import os
import select
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IReadDescriptor, IWriteDescriptor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from awfproxy.net.hub import Hub
from awfproxy.net.transport import StreamTransport
from tests.kit.ports import ORIGIN_PORTS

DEADLINE = 20.0
"""Seconds after which what should have happened has not."""
KINDS = ("reactor", "hub")
"""Who watches our sockets: either must do."""


def watched_by(kind: str) -> Iterator[Any]:
    """The reactor itself, or a hub of its own, which must have let go of everything afterwards."""
    from twisted.internet import reactor

    if kind == "reactor":
        yield reactor
        return
    hub = Hub(reactor)
    yield hub
    assert hub.fileno() == -1, "the hub still watches something"


async def turns(count: int = 3) -> None:
    """As many turns of the reactor, so that whatever was going to happen at once has."""
    from twisted.internet import reactor

    for _ in range(count):
        await deferLater(reactor, 0)


async def eventually(condition: Callable[[], object]) -> None:
    """As many turns as that takes; for what nobody tells."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        await turns(1)


def open_sockets() -> set[str]:
    """Those of this process, by inode, since numbers are used again.

    Without those of the kit's origins: a daemon that serves several tests has one in this process, and opens
    a tunnel to it whenever an old one's time is over.
    """
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one for the listing; or one that another thread has just closed
            inode = os.readlink(f"/proc/self/fd/{name}")
            if inode.startswith("socket:") and not _is_origins(int(name)):
                found.add(inode)
    return found


def _is_origins(descriptor: int) -> bool:
    with socket.socket(fileno=os.dup(descriptor)) as copy:
        return copy.family == socket.AF_INET and copy.getsockname()[1] in ORIGIN_PORTS


class Recorder(Protocol):
    """Notes what its transport tells it; `made`, `received`, `lost`, ... = what to do then."""

    def __init__(self, **then: Callable[..., object]) -> None:
        self.events: list[str] = []
        self.data = bytearray()
        self.reason: Failure | None = None
        self._then = then
        self._waiting: list[Deferred[None]] = []

    def note(self, event: str, *arguments: object) -> None:
        from twisted.internet import reactor

        self.events.append(event)
        waiting, self._waiting = self._waiting, []
        for each in waiting:  # not from inside this call, which is the transport's
            reactor.callLater(0, each.callback, None)
        if event in self._then:
            self._then[event](self, *arguments)

    async def until(self, condition: Callable[[], object]) -> None:
        from twisted.internet import reactor

        while not condition():
            changed: Deferred[None] = Deferred()
            self._waiting.append(changed)
            await changed.addTimeout(DEADLINE, reactor)

    async def gets(self, count: int) -> bytes:
        """What was received, once it is that much."""
        await self.until(lambda: len(self.data) >= count)
        return bytes(self.data)

    async def ends(self) -> type[BaseException]:
        """The kind of reason for which the connection was lost."""
        await self.until(lambda: self.reason)
        await turns()
        assert self.events.count("lost") == 1
        assert self.events[-1] == "lost"
        assert self.reason is not None
        assert self.reason.type is not None
        return self.reason.type

    def connectionMade(self) -> None:
        self.note("made")

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self.note("received", data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.reason = reason
        self.note("lost", reason)


@implementer(IHalfCloseableProtocol)
class HalfCloser(Recorder):
    """One that goes on when a single direction ends."""

    def readConnectionLost(self) -> None:
        self.note("read ended")

    def writeConnectionLost(self) -> None:
        self.note("write ended")


class Producer:
    """Notes what its consumer asks of it, and what `resumed` does then."""

    def __init__(self, resumed: Callable[[], object] = lambda: None) -> None:
        self.asked: list[str] = []
        self._resumed = resumed

    def pauseProducing(self) -> None:
        self.asked.append("pause")

    def resumeProducing(self) -> None:
        self.asked.append("resume")
        self._resumed()

    def stopProducing(self) -> None:
        self.asked.append("stop")


@implementer(IReadDescriptor, IWriteDescriptor)
class _Ready:
    """Fires once the socket can be read or written, or has ended."""

    def __init__(self, reactor: Any, sock: socket.socket, to_write: bool) -> None:
        self._reactor, self._socket = reactor, sock
        self.fired: Deferred[None] = Deferred(lambda _: self._leave())
        (reactor.addWriter if to_write else reactor.addReader)(self)

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "peer"

    def _leave(self) -> None:
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)

    def doRead(self) -> None:
        self._leave()
        self.fired.callback(None)

    doWrite = doRead

    def connectionLost(self, reason: Failure) -> None:
        self.doRead()


class Peer:
    """The other end: it reads and writes only when it is told to."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock

    async def ready(self, to_write: bool = False) -> None:
        """Returns from inside an event of the reactor's: what is due at once comes before any other event."""
        from twisted.internet import reactor

        await _Ready(reactor, self.sock, to_write).fired.addTimeout(DEADLINE, reactor)

    def at_once(self, most: int = 262144) -> bytes:
        """What arrives while the reactor stands still."""
        stand_still(self.sock, select.POLLIN)
        return self.sock.recv(most)

    async def some(self, most: int = 262144) -> bytes:
        """What is there, or once something is; b"" is our FIN, a reset raises ConnectionResetError."""
        while True:
            try:
                return self.sock.recv(most)
            except BlockingIOError:
                await self.ready()

    async def exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = await self.some(count - len(data))
            assert piece, f"ended after {len(data)} of {count}"
            data += piece
        return bytes(data)

    async def rest(self) -> bytes:
        """All until our FIN."""
        data = bytearray()
        while piece := await self.some():
            data += piece
        return bytes(data)

    async def is_reset(self, received: bytearray | None = None) -> bool:
        """Whether the connection ends by a reset rather than by our FIN; what comes before is `received`."""
        try:
            while piece := await self.some():
                if received is not None:
                    received += piece
        except ConnectionResetError:
            return True
        return False

    async def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self.sock.send(view) :]
            except BlockingIOError:
                await self.ready(to_write=True)

    def finish(self) -> None:
        """A FIN; reading goes on."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


def stand_still(sock: socket.socket, event: int = 0) -> None:
    """Until the kernel has that event for the socket (0: its end); no turn of the reactor passes."""
    poll = select.poll()
    poll.register(sock, event)
    assert poll.poll(DEADLINE * 1000)


def pair(family: int = socket.AF_INET) -> tuple[socket.socket, socket.socket]:
    """Two connected sockets."""
    if family == socket.AF_UNIX:
        return socket.socketpair()
    host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    with socket.create_server((host, 0), family=family) as door:
        theirs = socket.create_connection(door.getsockname()[:2], timeout=DEADLINE)
        ours, _ = door.accept()
    # Left to itself the kernel may in the end hold more than `fill` writes.
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 262144)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262144)
    return ours, theirs


@asynccontextmanager
async def wired(
    watcher: Any, protocol: Recorder, family: int = socket.AF_INET, transport: type = StreamTransport
) -> AsyncIterator[tuple[Any, Peer]]:
    """Our transport with `protocol`, and its peer; in the end all is gone and has been told so once."""
    ours, theirs = pair(family)
    peer = Peer(theirs)
    own = transport(watcher, ours, ours.getpeername())
    try:
        own.start(protocol)
        yield own, peer
    finally:
        peer.close()
        own.abortConnection()
        await turns()
    assert protocol.events.count("lost") == 1
    assert ours.fileno() == -1


def fill(transport: Any, octet: bytes = b"f") -> int:
    """Writes more than the kernel takes, so that a producer is paused; how much that was."""
    size = 8 << 20
    transport.write(octet * size)
    return size


class Recorders(Factory):
    """Builds recorders, keeps them, and says when there are as many as wanted."""

    noisy = False

    def __init__(self, build: Callable[[], Protocol | None] = Recorder) -> None:
        self.built: list[Any] = []
        self.addresses: list[Any] = []
        self._build = build
        self._waiting: list[Deferred[None]] = []

    def buildProtocol(self, address: Any) -> Protocol | None:  # type: ignore[override]
        from twisted.internet import reactor

        protocol = self._build()
        self.built.append(protocol)
        self.addresses.append(address)
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            reactor.callLater(0, each.callback, None)
        return protocol

    async def count(self, wanted: int) -> list[Any]:
        from twisted.internet import reactor

        while len(self.built) < wanted:
            changed: Deferred[None] = Deferred()
            self._waiting.append(changed)
            await changed.addTimeout(DEADLINE, reactor)
        return self.built


@contextmanager
def backlog_full() -> Iterator[tuple[str, int]]:
    """An address where connecting neither succeeds nor fails."""
    with ExitStack() as stack:
        door = stack.enter_context(socket.socket())
        door.bind(("127.0.0.1", 0))
        door.listen(0)
        poll = select.poll()
        while True:
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(door.getsockname())
            poll.register(waiting, select.POLLOUT)
            if not poll.poll(200):
                break
            poll.unregister(waiting)
        yield door.getsockname()
