"""awfproxy's own responses, as bytes: error answers and local pages."""

from awfproxy.errors.base import AwfError
from awfproxy.providers.provider import Provider
from awfproxy.wire.message import Fields, ResponseHead, field, serialise_response

_REASONS = {
    200: b"OK",
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    414: b"URI Too Long",
    426: b"Upgrade Required",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}


def own_response(
    status: int, fields: Fields, content: bytes, request_id: bytes, connection: bytes | None, method: bytes
) -> bytes:
    """A whole response with known length; to HEAD the content is left out."""
    every = (
        *fields,
        field(b"Content-Length", b"%d" % len(content)),
        field(b"awfproxy-request-id", request_id),
        *([] if connection is None else [field(b"Connection", connection)]),
    )
    head = serialise_response(ResponseHead(b"1.1", status, _REASONS.get(status, b""), every))
    return head if method == b"HEAD" else head + content


def error_response(
    error: AwfError,
    provider: Provider,
    request_id: bytes,
    connection: bytes | None,
    method: bytes,
    more: Fields = (),
) -> bytes:
    """The response for one of our errors: its row of the table, in the provider's own style."""
    status = provider.error_status(error)
    fields = [
        *more,
        field(b"Content-Type", b"application/json"),
        field(b"awfproxy-error", error.code.encode("ascii")),
    ]
    if error.retry_after is not None:
        fields.append(field(b"Retry-After", b"%d" % error.retry_after))
    if status == 405:
        fields.append(field(b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"))
    if status == 426:
        fields.append(field(b"Upgrade", b"HTTP/1.1"))
        connection = b"Upgrade" if connection is None else b"Upgrade, " + connection
    content = provider.error_body(error, request_id.decode("ascii"))
    return own_response(status, tuple(fields), content, request_id, connection, method)
