"""Which requests are let in, and in what form: all checks on a request head, before anything is forwarded.

Pure: from a head as received to an `Admitted` value, or one `ClientError`.
"""

import re

import attrs

from awfproxy.errors.client import BadHost, BadWebSocketHandshake, MethodNotAllowed, WebSocketUnsupported
from awfproxy.proxy.crossorigin import NO_OTHERS, TrustedOrigins, refuse_foreign
from awfproxy.wire.framing import Framing, request_framing
from awfproxy.wire.message import RequestHead
from awfproxy.wire.target import Origin, origin_form

_REFUSED_METHODS = frozenset({b"CONNECT", b"TRACE"})
_REQUEST_ID = re.compile(rb"[\w.-]{1,128}")
# RFC 9110 7.2: uri-host [":" port]; checked for form only, since the origin comes from configuration.
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+(%[0-9A-Za-z._~-]+)?\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(:[0-9]*)?")


@attrs.frozen
class Admitted:
    """A request that may be forwarded; its head's target is in origin-form."""

    head: RequestHead
    framing: Framing
    websocket: bool = False
    """It asks to become a WebSocket."""


def admit(
    head: RequestHead,
    origin: Origin,
    own_port: int | None,
    websocket: bool = True,
    trusted: TrustedOrigins = NO_OTHERS,
) -> Admitted:
    """The request in the form in which it is forwarded; raises the `ClientError` that refuses it.

    `websocket`: whether that upgrade is allowed here. All others are ignored (RFC 9110 7.8). `trusted`: the
    web pages that may call.
    """
    framing = request_framing(head)
    if head.method in _REFUSED_METHODS:
        raise MethodNotAllowed(head.method.decode("ascii"))
    _check_host(head)
    names = head.names
    if names is None or b"origin" in names or b"sec-fetch-site" in names:  # programs send neither
        refuse_foreign(head, trusted)
    target = origin_form(head.target, origin, own_port)
    asks = b"websocket" in head.tokens(b"upgrade")
    if asks:
        if not websocket:
            raise WebSocketUnsupported()
        _check_handshake(head)
    if target is not head.target:
        head = attrs.evolve(head, target=target)
    return Admitted(head, framing, asks)


def _check_handshake(head: RequestHead) -> None:
    """RFC 6455 4.2.1, but for what is between client and origin; and no body, not even an empty one."""
    if head.method != b"GET" or head.version != b"1.1":
        raise BadWebSocketHandshake("not GET over HTTP/1.1")
    if head.values(b"content-length") or head.values(b"transfer-encoding"):
        raise BadWebSocketHandshake("a body")
    if b"upgrade" not in head.tokens(b"connection"):
        raise BadWebSocketHandshake("Connection does not name Upgrade")
    keys = head.values(b"sec-websocket-key")
    if len(keys) != 1 or not keys[0]:
        raise BadWebSocketHandshake(f"{len(keys)} Sec-WebSocket-Key fields" if len(keys) != 1 else "no key")
    if not head.values(b"sec-websocket-version"):
        raise BadWebSocketHandshake("no Sec-WebSocket-Version")


def _check_host(head: RequestHead) -> None:
    hosts = head.values(b"host")
    if len(hosts) > 1 or (not hosts and head.version == b"1.1"):
        raise BadHost(f"{len(hosts)} Host fields")
    if hosts and _HOST.fullmatch(hosts[0]) is None:
        raise BadHost("malformed")


def given_request_id(head: RequestHead) -> bytes | None:
    """The client's own id for the request, where it is one that may go into answers and logs."""
    given = head.values(b"x-request-id")
    return given[0] if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]) else None


def persistent(head: RequestHead) -> bool:
    """Whether the client wants to keep its connection (RFC 9112 9.3)."""
    options = head.tokens(b"connection")
    if b"close" in options:
        return False
    return head.version == b"1.1" or b"keep-alive" in options
