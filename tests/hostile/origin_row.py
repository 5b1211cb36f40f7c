"""One row of the corpus of hostile origins: what the origin does, and all that may come of it."""

from collections.abc import Sequence

import attrs

from tests.kit.scripted import Step

OK = b"HTTP/1.1 200 OK\r\n"
ID = b"row"
"""The request id that the test sends, which each answer has."""
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"
"""A whole answer that nobody may ever get."""


@attrs.frozen
class Refused:
    """An error of awfproxy's own, with nothing of the origin's in it; `before`: 1xx that were passed on."""

    status: int
    code: str
    before: bytes = b""


MALFORMED = Refused(502, "origin_malformed")
CLOSED = Refused(502, "origin_closed")
UPGRADED = Refused(502, "origin_unexpected_upgrade")
SLOW = Refused(504, "origin_timeout")


@attrs.frozen
class Exactly:
    """These bytes and an orderly end."""

    data: bytes


@attrs.frozen
class Cut:
    """These bytes, or where the fault came in the same read the beginning of them, and then a reset."""

    data: bytes
    code: str = "origin_truncated"


@attrs.frozen
class Row:
    """`answer` is what the client sees; `requests` what the origin sees of it, retries included."""

    name: str
    kind: str
    source: str
    steps: Sequence[Step]
    answer: Refused | Exactly | Cut
    requests: int = 1
    method: bytes = b"GET"
    fields: Sequence[bytes] = ()
    content: bytes = b""
    """Of the request, after its head; its fields say how long it is."""
    before_body: bool = False


def answer(start: bytes, fields: bytes = b"", content: bytes = b"") -> Exactly:
    """What the client gets of an answer: the origin's fields, and our two."""
    return Exactly(_head(start, fields) + content)


def _head(start: bytes, fields: bytes) -> bytes:
    return start + fields + b"awfproxy-request-id: " + ID + b"\r\nConnection: close\r\n\r\n"


def cut(start: bytes, fields: bytes = b"", content: bytes = b"", code: str = "origin_truncated") -> Cut:
    """The beginning of such an answer."""
    return Cut(_head(start, fields) + content, code)


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


LENGTH_5 = b"Content-Length: 5\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
END = b"0\r\n\r\n"
POST = {"method": b"POST", "fields": (b"Content-Length: 2",), "content": b"{}"}
