"""From the client's head to the upstream head, and from the origin's head to the client's. Pure.

Inwards: hop-by-hop fields off, every credential of the client's off, in fields and in the query, Host and
base path set, the framing written anew, what the provider wants and the client did not send, and the
provider's credential put in. Outwards: hop-by-hop fields off, the framing written anew.
All other fields keep order, casing, duplicates and bytes.
"""

from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from itertools import starmap

from awfproxy.credentials.secret import Secret
from awfproxy.errors.own import CredentialMissing
from awfproxy.providers.provider import Access, Added, KeyUse
from awfproxy.providers.rules import OVERRIDES
from awfproxy.wire.framing import CHUNKED, UNTIL_CLOSE, Framing, Length
from awfproxy.wire.message import Field, Fields, RequestHead, ResponseHead, field
from awfproxy.wire.target import join_base_path, path_of, without_parameters

HOP_BY_HOP: dict[bytes, str] = {
    b"connection": "RFC 9110 7.6.1",
    b"keep-alive": "RFC 9110 7.6.1",
    b"proxy-connection": "RFC 9110 7.6.1",
    b"te": "RFC 9110 10.1.4: needs Connection, so it is for one hop",
    b"transfer-encoding": "RFC 9112 6.1: the framing is ours on each side",
    b"upgrade": "RFC 9110 7.8",
}
"""Fields for one connection, with the source of each."""

STRIPPED: dict[bytes, str] = {
    b"authorization": "the client's credential",
    b"proxy-authorization": "the client's credential; ours to the egress proxy goes on the CONNECT alone",
    b"proxy-authenticate": "RFC 9110 11.7.1: between a client and its proxy",
    b"x-api-key": "the client's credential (Anthropic)",
    b"api-key": "the client's credential (Azure)",
    b"x-goog-api-key": "the client's credential (Google)",
    b"chatgpt-account-id": "the client's account (codex)",
    b"cookie": "a credential for the origin",
    b"cookie2": "a credential for the origin",
    b"forwarded": "tells the provider about the sandbox",
    b"via": "tells the provider about the sandbox",
}
"""Fields of a request that never reach the provider, with the reason of each. Matched in any case and with
`_` for `-`, since many servers take the two for the same. `x-forwarded-*` and the fields that a key goes in
belong to it too."""

_STRIPPED_PREFIX = b"x-forwarded-"
KEY_SUBPROTOCOL = b"openai-insecure-api-key."
"""Behind it, in the list of WebSocket subprotocols, browser clients of OpenAI's realtime API put the key."""
_NO_TRAILER = OVERRIDES | {
    b"host", b"trailer", b"content-encoding", b"content-type", b"expect", b"sec-websocket-protocol"
}  # fmt: skip
# Content-Length itself is placed before this is asked; what is removed here is `Content_Length`.
_REMOVED = frozenset(HOP_BY_HOP) | frozenset(STRIPPED) | {b"content-length"}
_CHUNKED_FIELD = field(b"Transfer-Encoding", b"chunked")
_NOT_RELAYED = frozenset(HOP_BY_HOP) | {
    b"awfproxy-request-id", b"awfproxy-error",
    b"proxy-authenticate", b"proxy-authentication-info",  # RFC 9110 11.7: a proxy's to its own client
}  # fmt: skip
_NOT_IN_INTERIM = _NOT_RELAYED | {b"content-length"}
_NOT_IN_TRAILER = _NOT_IN_INTERIM | {b"trailer"}
_UPGRADE = (field(b"Connection", b"Upgrade"), field(b"Upgrade", b"websocket"))


class _Kind(Enum):
    """What happens to a request's field."""

    KEEP = "keep"
    STRIP = "strip"
    HOST = "host"
    FRAMING = "framing"
    SUBPROTOCOL = "subprotocol"


# Looking a member up on its Enum costs as much as a call (Python 3.11), and these are asked for all the time.
_KEEP, _STRIP, _HOST, _FRAMING, _SUBPROTOCOL = _Kind


_LONGEST = 64
# Longer than every name that `_kind` knows: of longer ones so much says as much, and fills no memory.


@lru_cache(maxsize=2048)
def _kind(name: bytes, stripped: frozenset[bytes]) -> _Kind:
    """By lower-case name. Clients send the same few names again and again."""
    if name == b"host":
        return _HOST
    if name in (b"content-length", b"transfer-encoding"):
        return _FRAMING
    key = name.replace(b"_", b"-")
    if key in _REMOVED or key in stripped or key.startswith(_STRIPPED_PREFIX):
        return _STRIP
    return _SUBPROTOCOL if key == b"sec-websocket-protocol" else _KEEP


def _without_key_subprotocol(item: Field) -> Field | None:
    """The list without keys, or None where nothing else is in it."""
    kept = [
        part for part in item[2].split(b",") if not part.strip(b" \t").lower().startswith(KEY_SUBPROTOCOL)
    ]
    value = b",".join(kept).strip(b" \t")
    return (item[0], item[1], value) if value.strip(b" \t,") else None


def prepare_request(
    head: RequestHead, framing: Framing, *, access: Access, keys: Sequence[Secret | None]
) -> RequestHead:
    """The head to send upstream; `head.target` is in origin-form and `framing` is the client's.

    `keys` are those that are there, as in `access.keys`; without the first, `CredentialMissing`.
    """
    return prepare_with_key(head, framing, access, keys)[0]


def prepare_with_key(
    head: RequestHead, framing: Framing, access: Access, keys: Sequence[Secret | None]
) -> tuple[RequestHead, bytes, tuple[bytes, ...]]:
    """As `prepare_request`, with the key that has been put in, and what else that is secret: whoever relays
    the answer looks out for them."""
    nominated = head.tokens(b"connection")
    fields: list[Field] = []
    host_field, stripped = access.origin.host_field, access.stripped
    host_placed = framing_placed = False
    for item in head.fields:
        lower = item[0]
        kind = _kind(lower, stripped) if len(lower) <= _LONGEST else _kind(lower[:_LONGEST], stripped)
        if kind is _KEEP:
            if lower not in nominated:
                fields.append(item)
        elif kind is _HOST:
            if not host_placed:
                fields.append((lower, item[1], host_field))
                host_placed = True
        elif kind is _FRAMING:
            if not framing_placed:
                fields += _framing_field(framing, item)
                framing_placed = True
        elif kind is _SUBPROTOCOL and lower not in nominated:
            kept = _without_key_subprotocol(item)
            if kept is not None:
                fields.append(kept)
    if not host_placed:
        fields.insert(0, field(b"Host", host_field))
    target = head.target
    if access.without_query:
        target = without_parameters(target, access.without_query)
    target = join_base_path(access.base_path, target)
    use, key = _chosen(head.method, target, access, keys)
    injected = [field(name, value) for name, value in use.inject(key)]
    if access.defaults is not None:
        fields = _with_defaults(fields, injected, access.defaults(head.method, path_of(target)))
    fields += injected
    return RequestHead(head.method, target, b"1.1", tuple(fields)), key, use.beside


def secrets_of(access: Access, keys: Sequence[Secret | None]) -> tuple[bytes, ...]:
    """All that may be put in and is secret: no text of a peer's is shown with it in it."""
    beside = [each for use in access.keys for each in use.beside]
    return (*[key.reveal() for key in keys if key is not None], *beside)


def _chosen(
    method: bytes, target: bytes, access: Access, keys: Sequence[Secret | None]
) -> tuple[KeyUse, bytes]:
    chosen = 0 if access.key_for is None else access.key_for(method, path_of(target))
    secret = keys[chosen]
    if secret is None:
        chosen, secret = 0, keys[0]
    if secret is None:
        raise CredentialMissing
    return access.keys[chosen], secret.reveal()


def _with_defaults(fields: list[Field], injected: list[Field], defaults: Added) -> list[Field]:
    """With each default for which neither has a value; an empty field of that name gives way to it."""
    sent = {lower.replace(b"_", b"-") for lower, _, value in (*fields, *injected) if value}
    missing = {item[0]: item for item in starmap(field, defaults) if item[0] not in sent}
    kept = [item for item in fields if item[2] or item[0].replace(b"_", b"-") not in missing]
    return [*kept, *missing.values()]


def as_handshake(head: RequestHead) -> RequestHead:
    """A prepared request that asks for a WebSocket: the two fields for one hop are ours, on this hop too."""
    return RequestHead(head.method, head.target, head.version, head.fields + _UPGRADE)


def prepare_trailers(trailers: Fields, access: Access) -> Fields:
    """A request's trailers without what must not be there: a server may merge them into the head."""
    if not trailers:
        return trailers
    return tuple(
        item
        for item in trailers
        if item[0].replace(b"_", b"-") not in _NO_TRAILER
        and _kind(item[0][:_LONGEST], access.stripped) is _KEEP
    )


def _framing_field(framing: Framing, received: Field) -> list[Field]:
    if framing is CHUNKED:
        return [_CHUNKED_FIELD]
    octets = framing.octets if isinstance(framing, Length) else 0
    name = received[1] if received[0] == b"content-length" else b"Content-Length"
    return [(b"content-length", name, b"%d" % octets)]


def client_framing(framing: Framing, version: bytes) -> Framing:
    """How a response with that framing upstream is framed towards a client of that version."""
    if framing is CHUNKED or framing is UNTIL_CLOSE:
        return CHUNKED if version == b"1.1" else UNTIL_CLOSE
    return framing


def prepare_response(
    head: ResponseHead, framing: Framing, request_id: bytes, connection: bytes | None
) -> ResponseHead:
    """The head to send to the client; `framing` is that towards the client.

    `connection` is the Connection field's value, or None for none. On responses without a body
    Content-Length stays as the origin sent it (to HEAD, 304: RFC 9110 8.6).
    """
    nominated = head.tokens(b"connection")
    fields: list[Field] = []
    wants_chunked = framing is CHUNKED
    for item in head.fields:
        lower = item[0]
        if lower == b"transfer-encoding" and wants_chunked:
            fields.append(_CHUNKED_FIELD)
            wants_chunked = False
        elif lower == b"content-length" or (lower not in _NOT_RELAYED and lower not in nominated):
            fields.append(item)
    if wants_chunked:
        fields.append(_CHUNKED_FIELD)
    fields.append((b"awfproxy-request-id", b"awfproxy-request-id", request_id))
    if connection is not None:
        fields.append((b"connection", b"Connection", connection))
    return ResponseHead(b"1.1", head.status, head.reason, tuple(fields))


def prepare_interim(head: ResponseHead) -> ResponseHead:
    """A 1xx to send to the client: without what is for one hop, and without framing (RFC 9110 8.6)."""
    nominated = head.tokens(b"connection")
    removed = _NOT_IN_INTERIM.union(nominated)
    fields = tuple(item for item in head.fields if item[0] not in removed)
    return ResponseHead(b"1.1", head.status, head.reason, fields)


def prepare_switch(head: ResponseHead, request_id: bytes) -> ResponseHead:
    """The 101 to send to the client: an interim one with our id, and our two fields for one hop."""
    fields = prepare_interim(head).fields
    own = (b"awfproxy-request-id", b"awfproxy-request-id", request_id)
    return ResponseHead(b"1.1", head.status, head.reason, (*fields, own, *_UPGRADE))


def prepare_response_trailers(trailers: Fields) -> Fields:
    """A response's trailers without what must not be there: a client may merge them into the head."""
    return tuple(item for item in trailers if item[0] not in _NOT_IN_TRAILER)
