"""The data path on our own transports and hub, over pairs of sockets, served by hand."""

import select
import socket
from collections.abc import Callable
from typing import Any

from awfproxy.net.hub import Hub
from awfproxy.net.transport import StreamTransport
from tests.guard.datapath import ANSWER, EVENT, REQUEST, STREAM, DataPath
from tests.kit.sockets import DEADLINE, pair
from tests.memory.peers import Loop


class SocketPath(DataPath):
    """Connections that are held open, and let go of."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = Loop()
        self._hub = Hub(self._loop)
        self._peers: list[socket.socket] = []

    def attach(self, protocol: Any) -> socket.socket:
        """The peer's socket."""
        ours, theirs = pair()
        StreamTransport(self._hub, ours, ours.getpeername()).start(protocol)
        self._peers.append(theirs)
        return theirs

    def idle(self, count: int) -> None:
        """So many clients that have had an answer and stay; one tunnel does for all of them."""
        for _ in range(count):
            self._ask(ANSWER)

    def streaming(self, count: int) -> None:
        """So many clients in the midst of a stream."""
        for _ in range(count):
            self._ask(STREAM + EVENT)

    def part(self) -> None:
        """All peers leave."""
        for peer in self._peers:
            peer.close()
        self._peers.clear()
        self._way_out.origins.clear()
        self._serve_until(lambda: self._hub.fileno() == -1)
        for _ in range(3):
            self._loop.advance(0)  # what an end has put off to the next turn, and that to the one after it
        assert self.house.site.connections == 0

    def _ask(self, answer: bytes) -> None:
        client, origins = self.connect(), self._way_out.origins
        client.send(REQUEST)
        self._serve_until(lambda: origins and _readable(origins[-1]))
        origins[-1].recv(65536)
        origins[-1].send(answer)
        self._serve_until(lambda: _readable(client))
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")

    def _serve_until(self, condition: Callable[[], object]) -> None:
        while not condition():
            if self._hub.fileno() != -1 and _readable(self._hub, DEADLINE):
                self._hub.doRead()
            self._loop.advance(0)


def _readable(one: Any, seconds: float = 0) -> bool:
    return bool(select.select([one], [], [], seconds)[0])
