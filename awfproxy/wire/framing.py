"""How long a message's body is, decided once per message (RFC 9112 6.3), and readers that follow it.

Stricter than the RFC allows where two readers could differ: what is ambiguous is refused, never repaired.
"""

from typing import Final, Protocol

import attrs

from awfproxy.errors.client import MalformedMessage
from awfproxy.wire.chunked import ChunkedReader
from awfproxy.wire.message import Fields, RequestHead, ResponseHead

_MAX_LENGTH_DIGITS = 18


@attrs.frozen
class NoBody:
    """Nothing follows the head."""


@attrs.frozen
class Length:
    """`octets` follow (Content-Length)."""

    octets: int


@attrs.frozen
class Chunked:
    """The chunked coding follows."""


@attrs.frozen
class UntilClose:
    """All bytes until the end of the connection: responses only."""


Framing = NoBody | Length | Chunked | UntilClose
# One object each, compared by identity: `==` of two attrs values costs four times as much.
NO_BODY: Final = NoBody()
CHUNKED: Final = Chunked()
UNTIL_CLOSE: Final = UntilClose()


def request_framing(head: RequestHead) -> Framing:
    """The framing of a request; raises `MalformedMessage` for all that could be read two ways."""
    return _declared(head) or NO_BODY


def response_framing(method: bytes, head: ResponseHead) -> Framing:
    """The framing of the response to a request by `method`; raises `MalformedMessage` likewise.

    Also where there is no body (RFC 9112 6.3, rule 1): the length that such a head gives is relayed.
    """
    declared = _declared(head)
    if method == b"HEAD" or head.status < 200 or head.status in (204, 304):
        return NO_BODY
    return declared or UNTIL_CLOSE


def _declared(head: RequestHead | ResponseHead) -> Framing | None:
    """What the head's fields say; None where they say nothing."""
    coding = head.values(b"transfer-encoding")
    length = head.values(b"content-length")
    if coding:
        if head.version == b"1.0" or length:
            raise MalformedMessage("Transfer-Encoding in HTTP/1.0 or beside Content-Length")
        _only_chunked(coding)
        return CHUNKED
    if length:
        octets = _length(length)
        return Length(octets) if octets else NO_BODY
    return None


def _only_chunked(coding: list[bytes]) -> None:
    if len(coding) != 1 or coding[0].lower() != b"chunked":
        raise MalformedMessage("a Transfer-Encoding other than chunked")


def _length(length: list[bytes]) -> int:
    if len(length) != 1 or not length[0].isdigit() or len(length[0]) > _MAX_LENGTH_DIGITS:
        raise MalformedMessage("Content-Length is malformed or repeated")
    return int(length[0])


class BodyReader(Protocol):
    """Takes the framing off a body as it arrives."""

    rest: bytes

    @property
    def done(self) -> bool:
        """The body is complete; `rest` holds what followed it."""

    @property
    def trailers(self) -> Fields:
        """The trailer section, once done."""

    def feed(self, data: bytes) -> bytes:
        """The content in `data`; raises `MalformedMessage`."""


class LengthReader:
    """Counts off a body of known length; zero is done at once."""

    __slots__ = ("_left", "rest")
    trailers: Fields = ()

    def __init__(self, octets: int) -> None:
        self._left = octets
        self.rest = b""

    @property
    def done(self) -> bool:
        return not self._left

    def feed(self, data: bytes) -> bytes:
        if len(data) > self._left:
            data, self.rest = data[: self._left], data[self._left :]
        self._left -= len(data)
        return data


class UntilCloseReader:
    """Everything is content; only the connection's end is the end."""

    __slots__ = ()
    done = False
    rest = b""
    trailers: Fields = ()

    def feed(self, data: bytes) -> bytes:
        return data


def body_reader(framing: Framing) -> BodyReader:
    """The reader for a body with that framing."""
    if isinstance(framing, Chunked):
        return ChunkedReader()
    if isinstance(framing, UntilClose):
        return UntilCloseReader()
    return LengthReader(framing.octets if isinstance(framing, Length) else 0)
