"""`Reader`: bytes off a blocking socket, by line, by count, by framing; for the origin and the client."""

import contextlib
import os
import socket
import ssl
import struct
import time
from collections.abc import Iterator


class Closed(Exception):
    """The peer closed before what was expected arrived; `reset` tells an RST from an orderly end."""

    def __init__(self, reset: bool, partial: bytes) -> None:
        super().__init__("reset" if reset else f"closed after {partial!r:.200}")
        self.reset = reset
        self.partial = partial


class Reader:
    """Buffered reading with one deadline for each call, taken from the socket's timeout."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""

    def more(self) -> bytes:
        """At least one byte, straight from the buffer or the socket; raises `Closed` at the end."""
        if self.buffer:
            data, self.buffer = self.buffer, b""
            return data
        try:
            data = self.sock.recv(262144)
        except TimeoutError:
            raise
        except ssl.SSLZeroReturnError:  # close_notify, after ours
            raise Closed(False, b"") from None
        except OSError as error:  # a reset, or TLS ended without close_notify
            raise Closed(True, b"") from error
        if not data:
            raise Closed(False, b"")
        return data

    def until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`."""
        data = b""
        while mark not in data:
            try:
                data += self.more()
            except Closed as closed:
                raise Closed(closed.reset, data) from None
        at = data.index(mark) + len(mark)
        self.buffer = data[at:]
        return data[:at]

    def exactly(self, count: int) -> Iterator[bytes]:
        """`count` bytes, in pieces as they arrive."""
        while count:
            data = self.more()
            if len(data) > count:
                self.buffer = data[count:]
                data = data[:count]
            count -= len(data)
            yield data

    def chunks(self) -> Iterator[bytes]:
        """The content of a chunked body, one item a chunk; the trailer section is kept in `trailers`."""
        self.trailers: tuple[tuple[bytes, bytes], ...] = ()
        while True:
            size = int(self.until(b"\r\n").split(b";")[0], 16)
            if not size:
                break
            yield b"".join(self.exactly(size))
            assert self.until(b"\r\n") == b"\r\n"
        lines = []
        while (line := self.until(b"\r\n")) != b"\r\n":
            lines.append(line)
        self.trailers = parse_fields(lines)

    def rest(self) -> Iterator[bytes]:
        """All until an orderly close."""
        while True:
            try:
                yield self.more()
            except Closed as closed:
                if closed.reset:
                    raise
                return


def parse_fields(lines: list[bytes]) -> tuple[tuple[bytes, bytes], ...]:
    pairs = []
    for line in lines:
        name, _, value = line.rstrip(b"\r\n").partition(b":")
        pairs.append((name, value.strip(b" \t")))
    return tuple(pairs)


def values(fields: tuple[tuple[bytes, bytes], ...], name: bytes) -> list[bytes]:
    return [value for each, value in fields if each.lower() == name.lower()]


def poll(condition, deadline: float = 10.0, interval: float = 0.01):  # type: ignore[no-untyped-def]
    """The first true value of `condition()`; for what can only be asked, such as another process's port."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"not true within {deadline} s: {condition}")
        time.sleep(interval)


def reset(sock: socket.socket) -> None:
    """Ends the connection with RST."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # close() alone would leave the descriptor to a thread that is still reading from it.
        sock.shutdown(socket.SHUT_RD)
    except OSError:
        pass
    sock.close()


def reset_beneath(sock: socket.socket) -> None:
    """Ends with RST a connection that another thread reads, and will close.

    Its number stays taken until then: whoever got it next would share what it receives with that thread.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.shutdown(socket.SHUT_RD)
    except OSError:
        pass
    with contextlib.suppress(OSError), open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), sock.fileno(), inheritable=False)
