"""Heads out of bytes: llhttp (by httptools) behind limits and checks of our own. The only user of httptools.

Only heads go through llhttp, and one parser reads one head. So it never sees where a message ends, and
what it cannot be told (a response to HEAD, a body after 204, pipelined requests, upgrades) does not matter.
What llhttp lets pass and we do not: a start line with extra spaces or another protocol's name, versions
other than 1.0 and 1.1, unlimited fields.
"""

import re
from collections.abc import Callable

import attrs
import httptools

from awfproxy.errors import (
    ClientError,
    HeadTooLarge,
    MalformedMessage,
    MethodUnknown,
    TargetTooLong,
    VersionNotSupported,
)
from awfproxy.wire.message import Field, RequestHead, ResponseHead

_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+( .*)?", re.DOTALL)
_STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")


@attrs.frozen
class Limits:
    """Sizes in bytes of what a head may have."""

    head: int = 65536
    target: int = 16384
    fields: int = 256


REQUEST_LIMITS = Limits()
RESPONSE_LIMITS = Limits(head=131072, fields=512)


_LINE_BREAK = (b"\r", b"\n")


class _Sink:
    """What llhttp calls. Trailing whitespace stays in its values, so it is taken off here."""

    __slots__ = ("complete", "fields", "target")

    def __init__(self) -> None:
        self.target = b""
        self.fields: list[Field] = []
        self.complete = False

    def on_url(self, piece: bytes) -> None:
        self.target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.complete = True


class _HeadReader:
    """Gathers bytes up to a head's end. One object reads one head."""

    __slots__ = ("_fed", "_limits", "_parse", "_raw", "_sink", "_start")

    def __init__(self, feed: Callable[[bytes], None], sink: _Sink, limits: Limits) -> None:
        self._parse = feed
        self._sink = sink
        self._limits = limits
        self._raw = bytearray()
        self._fed = 0
        self._start = 0

    @property
    def begun(self) -> bool:
        """Some of the head has arrived."""
        return bool(self._raw)

    def _gather(self, data: bytes) -> tuple[bytes, bytes] | None:
        """(the start line, the bytes after the head), or None while the head is incomplete."""
        raw = self._raw
        if not raw and data[:1] not in _LINE_BREAK:
            # The common case, without a copy: the whole head is in the first piece.
            end = data.find(b"\r\n\r\n")
            if end >= 0:
                self._read(data[: end + 4])
                return data[: data.find(b"\r\n")], self._complete(data[end + 4 :])
        searched = len(raw) - 3
        raw += data
        if self._fed == self._start and not self._at_start_line():
            self._check_limits(len(raw))
            return None
        end = raw.find(b"\r\n\r\n", max(self._start, searched))
        if end >= 0:
            self._feed(end + 4)
            line_end = raw.find(b"\r\n", self._start)
            return bytes(raw[self._start : line_end]), self._complete(bytes(raw[end + 4 :]))
        self._feed(len(raw))
        if self._sink.complete:
            raise MalformedMessage("the head does not end with an empty line")
        return None

    def _at_start_line(self) -> bool:
        """Reads over empty lines in front of the head (RFC 9112 2.2), each byte once."""
        while self._raw.startswith(b"\r\n", self._start):
            self._start += 2
        self._fed = self._start
        begin = bytes(self._raw[self._start : self._start + 2])
        if begin in (b"", b"\r"):
            return False
        if begin[:1] in (b"\r", b"\n"):
            raise MalformedMessage("a bare line break in front of the head")
        return True

    def _feed(self, to: int) -> None:
        piece = bytes(self._raw[self._fed : to])
        self._fed = to
        self._read(piece)

    def _complete(self, rest: bytes) -> bytes:
        if not self._sink.complete:
            raise MalformedMessage("the head ends too early")
        return rest

    def _read(self, piece: bytes) -> None:
        try:
            if piece:
                self._parse(piece)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError as error:
            self._check_limits(max(self._fed, len(piece)))
            raise self._refusal(error, bytes(self._raw[self._start : self._fed]) or piece) from None
        self._check_limits(max(self._fed, len(piece)))

    def _refusal(self, error: httptools.HttpParserError, head: bytes) -> ClientError:
        return MalformedMessage(type(error).__name__)

    def _check_limits(self, octets: int) -> None:
        if len(self._sink.target) > self._limits.target:
            raise TargetTooLong()
        if octets > self._limits.head or len(self._sink.fields) > self._limits.fields:
            raise HeadTooLarge()


class RequestHeadReader(_HeadReader):
    """Reads one request head (RFC 9112 3)."""

    __slots__ = ("_parser",)

    def __init__(self, limits: Limits = REQUEST_LIMITS) -> None:
        sink = _Sink()
        self._parser = httptools.HttpRequestParser(sink)
        super().__init__(self._parser.feed_data, sink, limits)

    def feed(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """(head, bytes after it), or None while incomplete; raises a `ClientError`."""
        gathered = self._gather(data)
        if gathered is None:
            return None
        line, rest = gathered
        method = self._parser.get_method()
        version = self._parser.get_http_version().encode("ascii")
        if version not in (b"1.1", b"1.0"):
            raise VersionNotSupported()
        if line != b"%b %b HTTP/%b" % (method, self._sink.target, version):
            raise MalformedMessage("the request line is malformed")
        return RequestHead(method, self._sink.target, version, tuple(self._sink.fields)), rest

    def _refusal(self, error: httptools.HttpParserError, head: bytes) -> ClientError:
        if isinstance(error, httptools.HttpParserInvalidMethodError):
            line = head.partition(b"\r\n")[0]
            if _METHOD.fullmatch(line):
                return MethodUnknown()
        return super()._refusal(error, head)


class ResponseHeadReader(_HeadReader):
    """Reads one response head, interim or final (RFC 9112 4)."""

    __slots__ = ()

    def __init__(self, limits: Limits = RESPONSE_LIMITS) -> None:
        sink = _Sink()
        super().__init__(httptools.HttpResponseParser(sink).feed_data, sink, limits)

    def feed(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """(head, bytes after it), or None while incomplete; raises `ClientError`, for the caller to map."""
        gathered = self._gather(data)
        if gathered is None:
            return None
        line, rest = gathered
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise MalformedMessage("the status line is malformed")
        version, status, reason = match.groups()
        return ResponseHead(version, int(status), reason or b"", tuple(self._sink.fields)), rest
