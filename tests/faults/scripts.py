"""What the way out and the client do in a cell: scripts over real sockets."""

import socket
from collections.abc import Awaitable, Callable

import pytest
from twisted.internet.task import deferLater

from tests.faults.answers import answers
from tests.faults.place import SHORT, Place, Serve
from tests.kit.sockets import Peer
from tests.memory.peers import answer, get, post

Ask = Callable[[Place], Awaitable[str]]

UPLOAD = post(100, b"0123456789")
UPLOAD_END = b"9876543210"


async def pause(seconds: float = 0.1) -> None:
    from twisted.internet import reactor

    await deferLater(reactor, seconds)  # type: ignore[arg-type]


# --- what the way out does ----------------------------------------------------------------------------


async def good(place: Place, peer: Peer) -> None:
    """An origin that answers each request."""
    tls = await place.tls(peer)
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
            while await tls.until(b"\r\n\r\n"):
                await tls.send(answer())
        await end(peer, then)

    return serve


async def takes_all(place: Place, peer: Peer) -> None:
    """An origin that reads the whole body, however slowly it comes, and answers."""
    tls = await place.requested(peer)
    await tls.until(UPLOAD_END)
    await tls.send(answer())
    while await tls.until(b"\r\n\r\n"):
        await tls.send(answer())


async def takes_nothing(place: Place, peer: Peer) -> None:
    """An origin that reads no body and says nothing, and closes when the other side has."""
    await place.requested(peer)
    while await peer.some(1):
        await pause(10 * SHORT)


# --- what the client does, and what it gets -------------------------------------------------------------


def sends(
    *data: bytes, then: str = "", between: float = 0.1, answers: int = 1, before: bytes = b""
) -> Ask:
    """A client that sends these, and what it is answered; `then`: it ends its sending, or resets.

    `before` is a request whose answer it reads first, in another connection.
    """

    async def ask(place: Place) -> str:
        if before:
            assert await said(await sent(place, before), 1) == "200; kept"
        peer = place.client()
        try:
            for number, piece in enumerate(data):
                await pause(between if number else 0)
                await peer.send(piece)
        except ConnectionError:
            pass  # it was answered meanwhile
        if then == "reset":
            await pause()
            peer.reset()
            return "-"
        if then == "finish":
            peer.finish()
        return await said(peer, answers)

    return ask


async def sent(place: Place, data: bytes) -> Peer:
    peer = place.client()
    await peer.send(data)
    return peer


async def said(peer: Peer, expected: int) -> str:
    """All answers with their codes, and how the connection ended: `kept` if it serves another request."""
    received, how = bytearray(), "closed"
    asked_again = False
    try:
        while piece := await peer.some():
            received += piece
            so_far = answers(bytes(received))
            last = so_far[-1] if so_far else None  # an interim one, so far
            if last and not asked_again and len(so_far) == expected and last.ends_nothing:
                asked_again = True
                await peer.send(get(b"/healthz", b"Connection: close"))
    except ConnectionResetError:
        how = "reset"
    peer.close()
    found = answers(bytes(received))
    if len(found) == expected + 1 and found[-1].status == 200 and asked_again:
        del found[-1]
        how = "kept"
    content = [repr(one.content)[1:] for one in found if one.status == 101]
    return "; ".join([*map(str, found), *content, how])


async def connects_in_vain(place: Place) -> str:
    await place.stop_listening()
    with socket.socket() as sock, pytest.raises(ConnectionRefusedError):
        sock.connect(place.address)
    await place.listen()
    return "refused"
