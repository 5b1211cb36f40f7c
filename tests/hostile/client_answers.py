"""awfproxy's own answers, whole: each field of the head and all of the content, by docs/errors.md."""

import re
from http.client import responses

from awfproxy.errors.base import Hop
from awfproxy.errors.table import table
from tests.kit.client import Response

_ROWS = {row.code: row for row in table()}
_REASONS = responses | {414: "URI Too Long"}
"""RFC 9110's; Python has the older one of 414."""
_ALLOW = (b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
_REQUEST_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}")
"""Ours: no client here gives one."""
_ALIVE = b'{"status":"alive"}'


def check_error(answer: Response, *, closes: bool) -> None:
    """It is its row of the table in OpenAI's style, and nothing else."""
    row = _ROWS[answer.error_code]
    assert answer.status == row.status, answer.head
    own = [(b"awfproxy-error", row.code.encode("ascii")), *[_ALLOW] * (row.status == 405)]
    if row.retry_after is not None:
        own.append((b"Retry-After", b"%d" % row.retry_after))
    _check_head(answer, own, closes)
    content = {
        "error": {
            "message": f"{row.sentence} {row.fix}",
            "type": "invalid_request_error" if row.hop is Hop.CLIENT else "awfproxy_error",
            "param": None,
            "code": row.code,
            "hop": row.hop.value,
            "retryable": row.retryable,
            "request_id": answer.value(b"awfproxy-request-id").decode("ascii"),
        }
    }
    assert answer.json() == content, answer.body


def check_alive(answer: Response, *, closes: bool = False) -> None:
    """It is the page /healthz."""
    assert answer.status == 200, answer.head
    _check_head(answer, [(b"Cache-Control", b"no-store")], closes)
    assert answer.body == _ALIVE


def _check_head(answer: Response, own: list[tuple[bytes, bytes]], closes: bool) -> None:
    request_id = answer.value(b"awfproxy-request-id")
    assert _REQUEST_ID.fullmatch(request_id)
    wanted = [
        *own,
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"%d" % len(answer.body)),
        (b"awfproxy-request-id", request_id),
        *[(b"Connection", b"close")] * closes,
    ]
    assert answer.reason.decode("ascii") == _REASONS[answer.status]
    assert sorted(answer.fields) == sorted(wanted), answer.head
