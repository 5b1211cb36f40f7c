"""The log's stream, which neither holds the daemon up nor fills its memory.

A write to a pipe whose reader has stopped waits for it, and everything else waits with that write. So what a
full disk, a pipe or a terminal has no room for is lost, in whole lines where that can be told, and counted.
"""

import os
import select
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TextIO

from twisted.python.logfile import LogFile

_TERMINAL = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
_AT_ONCE = 4096
"""Octets for which a pipe, a socket or a terminal that is writable has room (pipe(7): PIPE_BUF)."""


class TurnedLogFile(LogFile):
    """Twisted's file, turned over at a length, whose `write` says how much it took.

    A disk that becomes full takes a part of a write without an error, and `LogFile` would not tell.
    """

    def write(self, data: bytes) -> int:
        """The octets that are now in the file."""
        if self._file.closed:  # no descriptor was left for a new one, when it was turned over
            self._openFile()  # type: ignore[no-untyped-call]
        if self.shouldRotate():  # type: ignore[no-untyped-call]
            self.rotate()  # type: ignore[no-untyped-call]
        written = self._file.write(data)
        self.size += written
        return written


Stream = TextIO | TurnedLogFile


class LogStream:
    """A text stream as Twisted's observers use one; `write` never raises.

    `notice` makes the line that stands for so many lost ones: it comes first as soon as there is room again.
    """

    encoding = "utf-8"

    def __init__(self, stream: Stream, notice: Callable[[int], str]) -> None:
        self._stream = stream
        self._notice = notice
        self._descriptor = _descriptor(stream)
        self._waits = _waits(self._descriptor)
        self._torn = False
        """The last octet written does not end a line."""
        self.lost = 0
        """Lines since the last that could be written."""
        self._told = 0
        """Lost lines for which a notice stands in the stream."""

    def write(self, text: str) -> None:
        """Writes these lines, or as many of the first ones as there is room for."""
        if self.lost:
            before, self.lost = self.lost, 0
            self._write(("\n" if self._torn else "") + self._notice(before))
            if self.lost:  # still no room
                self.lost = before + text.count("\n")
                return
            self._told += before
        self._write(text)

    @property
    def lost_in_all(self) -> int:
        """Lines since the start."""
        return self._told + self.lost

    def flush(self) -> None:
        """Nothing waits here."""

    def _write(self, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        for piece in _pieces(data) if self._waits else (data,):
            if self.lost or not self._write_piece(piece):
                self.lost += piece.count(b"\n")

    def _write_piece(self, piece: bytes) -> bool:
        if self._descriptor is not None and self._waits and not _has_room(self._descriptor):
            return False
        try:
            written = self._put(piece)
        except (OSError, ValueError):
            return False
        self._torn = not piece[:written].endswith(b"\n")
        if written == len(piece):
            return True
        # Counted here: the first part did arrive.
        self.lost += piece.count(b"\n", written)
        return True

    def _put(self, piece: bytes) -> int:
        """Hands it to the stream, which took so many octets of it."""
        if self._descriptor is not None:
            return os.write(self._descriptor, piece)
        if isinstance(self._stream, TurnedLogFile):
            return self._stream.write(piece)
        self._torn = True  # unless it goes well: it does not say what it took
        self._stream.write(piece.decode("utf-8"))
        self._stream.flush()
        return len(piece)


def _pieces(data: bytes) -> Iterator[bytes]:
    """Each of whole lines where these are short enough."""
    while len(data) > _AT_ONCE:
        end = data.rfind(b"\n", 0, _AT_ONCE) + 1 or _AT_ONCE
        yield data[:end]
        data = data[end:]
    if data:
        yield data


def _descriptor(stream: Stream) -> int | None:
    """The stream's own; None where it has none, or turns its files over by itself."""
    fileno = getattr(stream, "fileno", None)
    if fileno is None:
        return None
    with suppress(OSError, ValueError):
        stream.flush()
        descriptor = int(fileno())
        if os.isatty(descriptor):
            # One that can be written may have less room than a line, and then wait (Ctrl-S): only an open
            # file of our own may be made not to.
            return os.open(os.ttyname(descriptor), _TERMINAL)
        return descriptor
    return None


def _waits(descriptor: int | None) -> bool:
    if descriptor is None:
        return False
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)


def _has_room(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return any(events & select.POLLOUT for _, events in poll.poll(0))
