"""What the client does in a cell, and what it gets."""

import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from tests.faults.answers import answers
from tests.faults.place import SHORT, Place
from tests.faults.scripts import pause
from tests.kit.sockets import Peer, eventually
from tests.memory.peers import get

Ask = Callable[[Place], Awaitable[str]]

_MUCH = 1 << 16
"""Octets of a WebSocket above which nobody wants to see them."""


def sends(
    *data: bytes,
    then: str = "",
    after: bytes = b"",
    between: float = 0.1,
    answers: int = 1,
    before: bytes = b"",
) -> Ask:
    """A client that sends these, and what it is answered; `then`: it ends its sending, or resets.

    `after`: it does that once it has received these bytes. `before` is a request whose answer it reads
    first, in another connection.
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
        received = bytearray()
        while after not in received:
            received += await peer.some()
        if then == "reset":
            await pause()
            peer.reset()
            return "-"
        if then == "finish":
            peer.finish()
        return await said(peer, answers, received)

    return ask


def reads_slowly(data: bytes, octets: int) -> Ask:
    """A client that reads an answer of so many octets with pauses, longer than any deadline in all."""

    async def ask(place: Place) -> str:
        peer = await sent(place, data)
        received = bytearray()
        pause_at = 0
        while len(received) < octets:
            if len(received) >= pause_at:
                pause_at += octets // 16
                await pause(SHORT / 5)
            received += await peer.exactly(min(262144, octets - len(received)))
        return await said(peer, 1, received)

    return ask


def reads_nothing(data: bytes) -> Ask:
    """A client that reads nothing until it has been given up, then what there is."""

    async def ask(place: Place) -> str:
        peer = await sent(place, data)
        await eventually(lambda: place.lines)
        return await said(peer, 1)

    return ask


async def sent(place: Place, data: bytes) -> Peer:
    peer = place.client()
    await peer.send(data)
    return peer


async def said(peer: Peer, expected: int, received: bytearray | None = None) -> str:
    """All answers with their codes, and how the connection ended: `kept` if it serves another request.

    `received` is what has been read before.
    """
    received, how = received or bytearray(), "closed"
    asked_again = False
    try:
        while piece := await peer.some():
            received += piece
            so_far = answers(bytes(received))
            last = so_far[-1] if so_far else None  # an interim one, so far
            if last and not asked_again and len(so_far) == expected and last.ends_nothing:
                asked_again = True
                with suppress(BrokenPipeError):  # it has ended its sending
                    await peer.send(get(b"/healthz", b"Connection: close"))
    except ConnectionResetError:
        how = "reset"
    peer.close()
    found = answers(bytes(received))
    if len(found) == expected + 1 and found[-1].status == 200 and asked_again:
        del found[-1]
        how = "kept"
    contents = [one.content for one in found if one.status == 101]
    shown = [repr(each)[1:] if len(each) < _MUCH else "much" for each in contents]
    return "; ".join([*map(str, found), *shown, how])


async def connects_in_vain(place: Place) -> str:
    await place.stop_listening()
    with socket.socket() as sock, pytest.raises(ConnectionRefusedError):
        sock.connect(place.address)
    await place.listen()
    return "refused"
