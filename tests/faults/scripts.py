"""What the way out does in a cell: scripts over real sockets."""

from twisted.internet.task import deferLater

from tests.faults.place import ESTABLISHED, SHORT, Place, Serve
from tests.faults.tlspeer import TlsPeer
from tests.kit.sockets import Peer
from tests.memory.peers import SWITCHED, answer, chunk, post

UPLOAD = post(100, b"0123456789")
UPLOAD_END = b"9876543210"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
"""The head of an answer."""


async def pause(seconds: float = 0.1) -> None:
    from twisted.internet import reactor

    await deferLater(reactor, seconds)  # type: ignore[arg-type]


async def good(place: Place, peer: Peer) -> None:
    """An origin that answers each request."""
    await answers_all(await place.tls(peer))


async def answers_all(tls: TlsPeer) -> None:
    while await tls.until(b"\r\n\r\n"):
        await tls.send(answer())


async def gone(place: Place, peer: Peer) -> None:
    peer.reset()


async def closed(place: Place, peer: Peer) -> None:
    peer.finish()
    await peer.rest()


def squid_says(*data: bytes, then: str = "close") -> Serve:
    async def serve(place: Place, peer: Peer) -> None:
        await place.asked(peer)
        for piece in data:
            await peer.send(piece)
            await pause(0 if len(data) == 1 else 0.1)
        await end(peer, then)

    return serve


def tls_says(*data: bytes, then: str = "close") -> Serve:
    """What comes in place of TLS, once the client has said hello."""

    async def serve(place: Place, peer: Peer) -> None:
        await place.connected(peer)
        await peer.some()
        for piece in data:
            await peer.send(piece)
            await pause(0 if len(data) == 1 else 0.1)
        await end(peer, then)

    return serve


async def end(peer: Peer, how: str) -> None:
    if how == "reset":
        peer.reset()
    elif how == "stall":
        await peer.rest()
    else:
        peer.finish()
        await peer.rest()


def origin_says(*data: bytes, then: str = "close", between: float = 0.1, below: bytes = b"") -> Serve:
    """What comes after a request's head; `then`: a reset, silence, a FIN with close_notify or without."""

    async def serve(place: Place, peer: Peer) -> None:
        tls = await place.requested(peer)
        for number, piece in enumerate(data):
            await pause(between if number else 0)
            await tls.send(piece)
        if below:
            await peer.send(below)
        if then == "close":
            await tls.end()
        if then == "answer":
            await answers_all(tls)
        await end(peer, then)

    return serve


async def takes_all(place: Place, peer: Peer) -> None:
    """An origin that reads the whole body, however slowly it comes, and answers."""
    tls = await place.requested(peer)
    await tls.until(UPLOAD_END)
    await tls.send(answer())
    await answers_all(tls)


def takes_slowly(octets: int) -> Serve:
    """An origin that reads the first half of so many octets with pauses, longer than any deadline in all.

    Not the second: once the kernel has all of it, the deadline is that of an answer.
    """

    async def serve(place: Place, peer: Peer) -> None:
        tls = await place.tls(peer)
        _, _, content = (await tls.until(b"\r\n\r\n")).partition(b"\r\n\r\n")
        taken, pause_at = len(content), 0
        while taken < octets:
            if pause_at <= taken < octets // 2:
                pause_at += octets // 32
                await pause(SHORT / 5)
            piece = await tls.some()
            if not piece:
                raise EOFError
            taken += len(piece)
        await tls.send(answer())
        await answers_all(tls)

    return serve


async def takes_nothing(place: Place, peer: Peer) -> None:
    """An origin that reads no body and says nothing, and closes when the other side has."""
    await place.requested(peer)
    while await peer.some(1):
        await pause(10 * SHORT)


def repeats_its_key(then: str) -> Serve:
    """An origin that begins an answer with the key that came."""

    async def serve(place: Place, peer: Peer) -> None:
        tls = await place.tls(peer)
        head = await tls.until(b"\r\n\r\n")
        key = head.partition(b"Bearer ")[2].partition(b"\r\n")[0]
        await tls.send(STREAM + chunk(key + b"\n"))
        await end(peer, then)

    return serve


def switches(*data: bytes, until: bytes = b"") -> Serve:
    """An origin that becomes a WebSocket, reads until these bytes or the client's end, and ends in order."""

    async def serve(place: Place, peer: Peer) -> None:
        tls = await place.requested(peer)
        await tls.send(SWITCHED)
        if until:
            await tls.until(until)
        else:
            while await tls.some():
                pass
        for piece in data:
            await tls.send(piece)
        await tls.end()
        await peer.rest()

    return serve


async def switches_and_takes_nothing(place: Place, peer: Peer) -> None:
    """An origin that becomes a WebSocket, and reads nothing more until the other side has closed."""
    tls = await place.requested(peer)
    await tls.send(SWITCHED)
    while await peer.some(1):
        await pause(10 * SHORT)


async def late_connect(place: Place, peer: Peer) -> None:
    """A good way out that is slow to answer CONNECT."""
    await place.asked(peer)
    await pause(SHORT / 2)
    await peer.send(ESTABLISHED)
    await answers_all(await place.shaken(peer))


async def late_tls(place: Place, peer: Peer) -> None:
    """A good way out whose origin is slow to answer TLS's hello."""
    await place.connected(peer)
    await pause(SHORT / 2)
    await answers_all(await place.shaken(peer))
