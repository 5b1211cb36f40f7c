"""The chunked transfer coding (RFC 9112 7.1), both ways. Extensions are read over, trailers are kept."""

import re
from enum import Enum
from functools import lru_cache
from typing import Final

from awfproxy.errors.client import MalformedMessage
from awfproxy.wire.message import Field, Fields

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_MAX_LINE = 4096
_MAX_TRAILERS = 16384
_REMEMBERED = 16
"""Octets of a size line above which it is read anew each time; below, streams have the same few."""


class _State(Enum):
    SIZE = "SIZE"
    CONTENT = "CONTENT"
    CONTENT_END = "CONTENT_END"
    TRAILERS = "TRAILERS"
    DONE = "DONE"


# Looking a member up on its Enum costs as much as a call (Python 3.11).
_SIZE_LINE: Final = _State.SIZE
_CONTENT: Final = _State.CONTENT
_CONTENT_END: Final = _State.CONTENT_END
_TRAILERS: Final = _State.TRAILERS
_DONE: Final = _State.DONE


class ChunkedReader:
    """Takes the coding off. States: SIZE -> CONTENT -> CONTENT_END -> SIZE ... -> TRAILERS -> DONE."""

    __slots__ = ("_held", "_left", "_state", "_trailer_bytes", "_trailers", "rest")

    def __init__(self) -> None:
        self._state = _SIZE_LINE
        self._left = 0
        self._held = b""
        self._trailers: list[Field] = []
        self._trailer_bytes = 0
        self.rest = b""
        """After the end: the bytes that followed it."""

    @property
    def done(self) -> bool:
        return self._state is _DONE

    @property
    def trailers(self) -> Fields:
        return tuple(self._trailers)

    def feed(self, data: bytes) -> bytes:
        """The content in `data`; raises `MalformedMessage` where the coding is broken."""
        if self._held:
            data, self._held = self._held + data, b""
        content: list[bytes] = []
        position = 0
        while True:
            if self._state is _CONTENT:
                piece = data[position : position + self._left]
                if piece:
                    content.append(piece)
                position += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self._state = _CONTENT_END
            elif self._state is _CONTENT_END:
                end = data[position : position + 2]
                if end != b"\r\n":
                    if not b"\r\n".startswith(end):
                        raise MalformedMessage("a chunk does not end with CRLF")
                    self._held = end
                    break
                position += 2
                self._state = _SIZE_LINE
            elif self._state is _DONE:
                self.rest = data[position:]
                break
            else:
                line_end = data.find(b"\r\n", position)
                if line_end < 0:
                    self._hold(data[position:])
                    break
                self._line(data[position:line_end])
                position = line_end + 2
                end_of_content = position + self._left
                if self._left and data[end_of_content : end_of_content + 2] == b"\r\n":
                    # All of the chunk is here, which is the common case.
                    content.append(data[position:end_of_content])
                    position = end_of_content + 2
                    self._left, self._state = 0, _SIZE_LINE
        return content[0] if len(content) == 1 else b"".join(content)

    def _hold(self, line: bytes) -> None:
        if len(line) > _MAX_LINE or b"\n" in line or b"\r" in line[:-1]:
            raise MalformedMessage("a chunk's size line or trailer is too long or has a bare line break")
        self._held = line

    def _line(self, line: bytes) -> None:
        if len(line) > _MAX_LINE:
            raise MalformedMessage("a chunk's size line or trailer is too long")
        if self._state is _SIZE_LINE:
            self._left = _known_size(line) if len(line) <= _REMEMBERED else _size(line)
            self._state = _CONTENT if self._left else _TRAILERS
        elif not line:
            self._state = _DONE
        else:
            match = _TRAILER.fullmatch(line)
            self._trailer_bytes += len(line)
            if match is None or self._trailer_bytes > _MAX_TRAILERS:
                raise MalformedMessage("a trailer field is malformed or too large")
            name, value = match.groups()
            self._trailers.append((name.lower(), name, value))


def _size(line: bytes) -> int:
    match = _SIZE.fullmatch(line)
    if match is None:
        raise MalformedMessage("a chunk size is malformed")
    return int(match.group(1), 16)


_known_size = lru_cache(maxsize=1024)(_size)


def encode_chunk(content: bytes) -> bytes:
    """`content` (not empty: that would be the end) as one chunk."""
    return b"%x\r\n%b\r\n" % (len(content), content)


def encode_end(trailers: Fields = ()) -> bytes:
    """The last chunk and the trailer section."""
    return b"0\r\n%b\r\n" % b"".join(b"%b: %b\r\n" % (name, value) for _, name, value in trailers)
