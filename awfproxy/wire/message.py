"""Message heads as values, and how they are written (RFC 9112 2, 3, 4, 5).

Field sections are ordered tuples that keep each name's casing, each value's bytes and every duplicate;
the lower-case name is made once, when the head is read.
"""

from collections.abc import Set
from typing import Any

import attrs

from awfproxy.errors.own import InternalError

Field = tuple[bytes, bytes, bytes]
"""(lower-case name, name as received, value without surrounding whitespace)."""

Fields = tuple[Field, ...]


def field(name: bytes, value: bytes) -> Field:
    """A field of our own making."""
    return (name.lower(), name, value)


def values(fields: Fields, name: bytes) -> list[bytes]:
    """All values of the fields called `name` (lower case), in order."""
    return [value for lower, _, value in fields if lower == name]


def tokens(fields: Fields, name: bytes) -> list[bytes]:
    """The lower-case members of a comma-separated field, over all its lines (RFC 9110 5.6.1)."""
    members = []
    for lower, _, value in fields:
        if lower == name:
            members += [member.strip(b" \t").lower() for member in value.split(b",")]
    return [member for member in members if member]


@attrs.frozen(auto_attribs=False)
class _Head:
    """Looking up fields: a head is asked for a dozen names it mostly does not have."""

    __slots__ = ()
    fields: Fields
    names: Set[bytes] | None
    """The lower-case names, where the parser has gathered them."""

    def values(self, name: bytes) -> list[bytes]:
        """`values` of this head's fields."""
        if self.names is not None and name not in self.names:
            return []
        return values(self.fields, name)

    def tokens(self, name: bytes) -> list[bytes]:
        """`tokens` of this head's fields."""
        if self.names is not None and name not in self.names:
            return []
        return tokens(self.fields, name)


@attrs.frozen
class RequestHead(_Head):
    """A request's start line and field section."""

    method: bytes
    target: bytes
    version: bytes
    """b"1.1" or b"1.0"."""
    fields: Fields
    names: Set[bytes] | None = attrs.field(default=None, eq=False, repr=False)


@attrs.frozen
class ResponseHead(_Head):
    """A response's start line and field section."""

    version: bytes
    status: int
    reason: bytes
    fields: Fields
    names: Set[bytes] | None = attrs.field(default=None, eq=False, repr=False)
    # Not `bytes | None`: mypyc would check against it what stands here until attrs has made the class.
    raw: Any = attrs.field(default=None, eq=False, repr=False)
    """The bytes that it was read from, where a parser has read it."""

    @property
    def interim(self) -> bool:
        """True for 1xx (RFC 9110 15.2)."""
        return self.status < 200


def serialise_request(head: RequestHead) -> bytes:
    """The head's bytes, always as HTTP/1.1."""
    return _serialise(b"%b %b HTTP/1.1\r\n" % (head.method, head.target), head.fields)


def serialise_response(head: ResponseHead) -> bytes:
    """The head's bytes, always as HTTP/1.1 (RFC 9110 2.5: we send our own version)."""
    return _serialise(b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason), head.fields)


def _serialise(start_line: bytes, fields: Fields) -> bytes:
    lines = [b"%b: %b\r\n" % (name, value) for _, name, value in fields]
    data = b"%b%b\r\n" % (start_line, b"".join(lines))
    # Nothing that came through the parsers can hold a line break; were it otherwise, this is the last
    # place where a response or request could be split in two.
    if data.count(b"\n") != len(fields) + 2 or data.count(b"\r") != len(fields) + 2 or b"\0" in data:
        raise InternalError("a line break or NUL inside a message head")
    return data
