"""Heads out of bytes: llhttp (by httptools) judges, behind limits and checks of our own. Its only user.

Only heads go through llhttp, and one parser reads one head. So it never sees where a message ends, and
what it cannot be told (a response to HEAD, a body after 204, pipelined requests, upgrades) does not matter.
Once it has found a head well-formed, the fields are split here, and lines that came before are not read
again: peers repeat most of theirs in every message, and remembering them halves what a head costs. Only
those are remembered that hold no credential, whoever's it is.
What llhttp lets pass and we do not: a start line with extra spaces or another protocol's name, versions
other than 1.0 and 1.1, a bare LF behind the target (HTTP/0.9), unlimited fields.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import attrs
import httptools

from awfproxy.errors.client import (
    ClientError,
    HeadTooLarge,
    MalformedMessage,
    MethodUnknown,
    TargetTooLong,
    VersionNotSupported,
)
from awfproxy.wire.message import Field, RequestHead, ResponseHead

_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+( .*)?", re.DOTALL)
_VERSIONS = {b"HTTP/1.1": b"1.1", b"HTTP/1.0": b"1.0"}
_OTHER_VERSION = re.compile(rb"HTTP/[0-9](\.[0-9])?")
_STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
_LINE_BREAK = (b"\r", b"\n")
_REMEMBERED = 256
"""Octets of a line above which it is read anew each time, so that what peers send fills no memory."""
_MOST_LINES = 512
_HOLD_NO_CREDENTIAL = frozenset(
    {
        b"accept", b"accept-encoding", b"accept-language", b"alt-svc", b"anthropic-beta",
        b"anthropic-version", b"cache-control", b"cf-cache-status", b"connection", b"content-encoding",
        b"content-length",
        b"content-type", b"copilot-integration-id", b"date", b"editor-plugin-version", b"editor-version",
        b"expect", b"host", b"keep-alive", b"openai-beta", b"openai-intent", b"openai-version", b"origin",
        b"originator", b"pragma", b"sec-fetch-mode", b"server", b"strict-transport-security", b"te",
        b"transfer-encoding", b"upgrade", b"user-agent", b"vary", b"via", b"x-app", b"x-content-type-options",
        b"x-github-api-version", b"x-goog-api-client", b"x-initiator", b"x-stainless-arch",
        b"x-stainless-async", b"x-stainless-helper-method", b"x-stainless-lang", b"x-stainless-os",
        b"x-stainless-package-version", b"x-stainless-retry-count", b"x-stainless-runtime",
        b"x-stainless-runtime-version", b"x-stainless-timeout",
    }
)  # fmt: skip
"""Names of fields that peers repeat. Any other may hold a credential, by a name that the operator chose."""


@attrs.frozen
class Limits:
    """Sizes in bytes of what a head may have."""

    head: int = 65536
    target: int = 16384
    fields: int = 256


REQUEST_LIMITS = Limits()
RESPONSE_LIMITS = Limits(head=131072, fields=512)


class _Sink:
    """What llhttp calls, once it has seen a whole head."""

    __slots__ = ("complete",)

    def __init__(self) -> None:
        self.complete = False

    def on_headers_complete(self) -> None:
        self.complete = True


class _HeadReader:
    """Gathers bytes up to a head's end, one head after the other."""

    __slots__ = ("_fed", "_limits", "_lines", "_parse", "_parser", "_raw", "_sink", "_start")

    def __init__(self, parser: Callable[[_Sink], Any], limits: Limits) -> None:
        self._parser = parser
        self._limits = limits
        self._raw = bytearray()
        self._sink: _Sink | None = None
        self._parse: Callable[[bytes], None] | None = None
        self._fed = 0
        self._lines = 0
        self._start = 0

    @property
    def begun(self) -> bool:
        """Some of the head has arrived, and not only (parts of) empty lines in front of it."""
        return self._fed > self._start

    def _gather(self, data: bytes) -> tuple[bytes, bytes] | None:
        """(the head with its empty line, the bytes after it), or None while the head is incomplete."""
        raw = self._raw
        if not raw and data[:1] not in _LINE_BREAK:
            # The common case, without a copy: the whole head is in the first piece.
            end = data.find(b"\r\n\r\n") + 4
            if end > 3:
                head = data[:end]
                self._judge(head, head)
                self._end()
                return head, data[end:]
        searched = len(raw) - 3
        raw += data
        if self._fed == self._start and not self._at_start_line():
            self._check_limits(bytes(raw))
            return None
        end = raw.find(b"\r\n\r\n", max(self._start, searched))
        to = len(raw) if end < 0 else end + 4
        piece = bytes(raw[self._fed : to])
        self._fed = to
        if end >= 0:
            head = bytes(raw[self._start : to])
            self._judge(piece, head)
            self._end()
            self._raw = bytearray()
            return head, bytes(raw[to:])
        self._judge(piece, raw[self._start :] if self._start else raw)
        if self._sink is not None and self._sink.complete:
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

    def _judge(self, piece: bytes, head: bytes | bytearray) -> None:
        """Gives llhttp the next `piece`; `head` is all there is so far."""
        self._lines += piece.count(b"\n")
        if self._parse is None:
            self._sink = _Sink()
            self._parse = self._parser(self._sink).feed_data
        try:
            self._parse(piece)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError as error:
            self._check_limits(head)
            raise self._refusal(error, head) from None
        self._check_limits(head)

    def _refusal(self, error: httptools.HttpParserError, head: bytes | bytearray) -> ClientError:
        return MalformedMessage(type(error).__name__)

    def _check_limits(self, head: bytes | bytearray) -> None:
        # A head has two lines that are no fields: the first and the last.
        if len(head) > self._limits.head or self._lines - 2 > self._limits.fields:
            raise HeadTooLarge()

    def _end(self) -> None:
        """The head is there: ready for the next one."""
        sink, self._sink, self._parse = self._sink, None, None
        self._fed = self._lines = self._start = 0
        if sink is None or not sink.complete:
            raise MalformedMessage("the head ends too early")


def _read_field(line: bytes) -> Field:
    """The field in a line of a head that llhttp has found well-formed."""
    name, _, value = line.partition(b":")
    return (name.lower(), name, value.strip(b" \t"))


# Not an lru_cache, which would keep every line; and a line that is found in it costs no call.
_known_fields: Final[dict[bytes, Field]] = {}


def _new_field(line: bytes) -> Field:
    item = _read_field(line)
    if item[0] in _HOLD_NO_CREDENTIAL and len(line) <= _REMEMBERED:
        if len(_known_fields) >= _MOST_LINES:
            _known_fields.clear()
        _known_fields[line] = item
    return item


def _fields(lines: list[bytes]) -> tuple[Field, ...]:
    known = _known_fields
    return tuple([known[line] if line in known else _new_field(line) for line in lines])


class RequestHeadReader(_HeadReader):
    """Reads request heads (RFC 9112 3)."""

    __slots__ = ()

    def __init__(self, limits: Limits = REQUEST_LIMITS) -> None:
        super().__init__(httptools.HttpRequestParser, limits)

    def feed(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """(head, bytes after it), or None while incomplete; raises a `ClientError`."""
        gathered = self._gather(data)
        if gathered is None:
            return None
        head, rest = gathered
        lines = head[:-4].split(b"\r\n")
        start = lines.pop(0)
        if b"\n" in start:  # to llhttp one of HTTP/0.9, and a field behind it
            raise MalformedMessage("a bare line break in the request line")
        parts = start.split(b" ")
        if len(parts) == 3 and parts[2] in _VERSIONS:
            fields = _fields(lines)
            names = {item[0] for item in fields}
            return RequestHead(parts[0], parts[1], _VERSIONS[parts[2]], fields, names), rest
        if len(parts) == 2 or (len(parts) == 3 and _OTHER_VERSION.fullmatch(parts[2])):
            raise VersionNotSupported()  # two parts are HTTP/0.9
        raise MalformedMessage("the request line is malformed")

    def _check_limits(self, head: bytes | bytearray) -> None:
        limit = self._limits.target
        if len(head) > limit:
            _, space, after = bytes(head).partition(b"\r\n")[0].partition(b" ")
            if space and len(after.lstrip(b" ").partition(b" ")[0]) > limit:
                raise TargetTooLong()
        super()._check_limits(head)

    def _refusal(self, error: httptools.HttpParserError, head: bytes | bytearray) -> ClientError:
        if isinstance(error, httptools.HttpParserInvalidMethodError):
            line = bytes(head).partition(b"\r\n")[0].removesuffix(b"\r")
            if _METHOD.fullmatch(line):
                return MethodUnknown()
        return super()._refusal(error, head)


def _read_status_line(line: bytes) -> tuple[bytes, int, bytes]:
    """(version, status, reason)."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise MalformedMessage("the status line is malformed")
    version, status, reason = match.groups()
    return version, int(status), reason or b""


_known_status_line = lru_cache(maxsize=64)(_read_status_line)


class ResponseHeadReader(_HeadReader):
    """Reads response heads, interim and final (RFC 9112 4)."""

    __slots__ = ()

    def __init__(self, limits: Limits = RESPONSE_LIMITS) -> None:
        super().__init__(httptools.HttpResponseParser, limits)

    def feed(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """(head, bytes after it), or None while incomplete; raises `ClientError`, for the caller to map."""
        gathered = self._gather(data)
        if gathered is None:
            return None
        head, rest = gathered
        lines = head[:-4].split(b"\r\n")
        start = lines.pop(0)
        read = _known_status_line if len(start) <= _REMEMBERED else _read_status_line
        version, status, reason = read(start)
        fields = _fields(lines)
        names = {item[0] for item in fields}
        return ResponseHead(version, status, reason, fields, names, head), rest
