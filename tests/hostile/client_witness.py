"""`Witness`: an origin that keeps every byte of every connection, and h11 as the judge of what they say."""

import socket
import threading
from collections import defaultdict
from typing import Any

import attrs
import h11

from tests.kit.exchange import Exchange
from tests.kit.origin import Origin, Seen
from tests.kit.reader import Reader
from tests.kit.turn import KEY


class TapedReader(Reader):
    """Keeps what it read."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.tape = bytearray()

    def more(self) -> bytes:
        fresh = not self.buffer
        data = super().more()
        if fresh:
            self.tape += data
        return data


class TapedExchange(Exchange):
    """Keeps what it sends."""

    origin: "Witness"

    def send(self, data: bytes) -> None:
        self.origin.said[self.seen] += data
        super().send(data)


class Witness(Origin):
    """The kit's origin, with a tape of each connection; the rows say how many requests they explain."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments, exchange=TapedExchange)
        self.tapes: list[TapedReader] = []
        self.said: defaultdict[Seen, bytearray] = defaultdict(bytearray)
        """All that each request was answered with, but what follows a 101."""
        self.accounted = 0
        self._races: dict[bytes, int] = {}
        self._lock = threading.Lock()

    def account(self, requests: int) -> None:
        """So many requests are explained by a row."""
        with self._lock:
            self.accounted += requests

    def account_at_most(self, mark: bytes, requests: int) -> None:
        """Up to so many with this mark are explained, whenever they come: the client's end races them."""
        with self._lock:
            self._races[mark] = requests

    def unexplained(self) -> int:
        """How many requests no row explains; below zero, how many rows counted too many."""
        raced = (min(most, len(self.of_row(mark))) for mark, most in self._races.items())
        return len(self.requests) - self.accounted - sum(raced)

    def of_row(self, mark: bytes) -> list[Seen]:
        """Those of the row with this mark, without what was asked to see whether others get their answers."""
        return [seen for seen in self.find(mark) if b"/next-" not in seen.target]

    def reader(self, sock: socket.socket) -> TapedReader:  # type: ignore[override]
        reader = TapedReader(sock)
        self.tapes.append(reader)
        return reader

    def content(self, seen: Seen) -> bytes:
        """What that request was answered with, up to now, as h11 reads it."""
        connection = h11.Connection(h11.CLIENT)
        method = seen.method.decode("ascii")
        connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        connection.send(h11.EndOfMessage())
        connection.receive_data(bytes(self.said[seen]))
        content = bytearray()
        while not isinstance(event := connection.next_event(), (h11.EndOfMessage, h11.NEED_DATA)):
            if isinstance(event, h11.Data):
                content += event.data
        return bytes(content)

    def readings(self) -> list[list["Read"]]:
        """What h11 makes of each connection's bytes."""
        return [h11_reads(bytes(taped.tape).replace(self.key, KEY)) for taped in list(self.tapes)]


@attrs.frozen
class Read:
    """A request as h11 reads it; `complete` where its content has ended."""

    method: bytes
    target: bytes
    content: bytes
    complete: bool


def h11_reads(data: bytes) -> list[Read]:
    """The requests in what one client sent, up to where h11 finds something wrong or another protocol."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    reads: list[Read] = []
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                reads.append(Read(event.method, event.target, b"", False))
            elif isinstance(event, h11.Data):
                reads[-1] = attrs.evolve(reads[-1], content=reads[-1].content + bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                reads[-1] = attrs.evolve(reads[-1], complete=True)
                if connection.their_state is h11.MIGHT_SWITCH_PROTOCOL:
                    return reads
                _answer(connection)
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    return reads
                connection.start_next_cycle()
            else:
                return reads
    except h11.RemoteProtocolError:
        return reads


def _answer(connection: h11.Connection) -> None:
    connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())


def shown(seen: Seen, mark: bytes) -> str:
    """A request at the origin, as rows write it."""
    words = [seen.method, seen.target.replace(mark, b"MARK")]
    if seen.ended == "left":
        words.append(b"cut")
    elif seen.length:
        words.append(b"%d" % seen.length)
    return b" ".join(words).decode("latin-1")
