"""The gh-aw profile's last changes to heads: `x-request-id` both ways, and codings that usage can be read in.

Pure. github/gh-aw-firewall's sidecar sends its id upstream and puts it in the place of the provider's own.
"""

from awfproxy.wire.message import Field, Fields, RequestHead, field

NAME = b"X-Request-ID"
_ACCEPT_ENCODING = b"accept-encoding"
_CODINGS = frozenset({b"gzip", b"x-gzip", b"deflate", b"br", b"identity"})


def with_request_id(fields: Fields, name: bytes, request_id: bytes) -> Fields:
    """The fields with that id in the field of that name, and no other there."""
    ours = field(name, request_id)
    return (*(item for item in fields if item[0].replace(b"_", b"-") != ours[0]), ours)


def as_the_sidecar_sends(head: RequestHead, request_id: bytes) -> RequestHead:
    """A prepared upstream head with our id, and in Accept-Encoding none but the known codings."""
    fields = tuple(_known(item) if item[0] == _ACCEPT_ENCODING else item for item in head.fields)
    return RequestHead(head.method, head.target, head.version, with_request_id(fields, NAME, request_id))


def _known(item: Field) -> Field:
    """RFC 9110 12.5.3: without the field any coding would do, so where none is left it is `identity`."""
    members = [part.strip(b" \t") for part in item[2].split(b",")]
    kept = [part for part in members if part.partition(b";")[0].strip(b" \t").lower() in _CODINGS]
    return (item[0], item[1], b", ".join(kept) or b"identity")
