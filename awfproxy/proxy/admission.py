"""Which requests are let in, and in what form: all checks on a request head, before anything is forwarded.

Pure: from a head as received to an `Admitted` value, or one `ClientError`.
"""

import re

import attrs

from awfproxy.errors import BadHost, MethodNotAllowed, WebSocketUnsupported
from awfproxy.wire.framing import Framing, request_framing
from awfproxy.wire.message import RequestHead
from awfproxy.wire.target import Origin, origin_form

_REFUSED_METHODS = frozenset({b"CONNECT", b"TRACE"})
# RFC 9110 7.2: uri-host [":" port]; checked for form only, since the origin comes from configuration.
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+(%[0-9A-Za-z._~-]+)?\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(:[0-9]*)?")


@attrs.frozen
class Admitted:
    """A request that may be forwarded; its head's target is in origin-form."""

    head: RequestHead
    framing: Framing


def admit(head: RequestHead, origin: Origin, own_port: int | None) -> Admitted:
    """The request in the form in which it is forwarded; raises the `ClientError` that refuses it."""
    framing = request_framing(head)
    if head.method in _REFUSED_METHODS:
        raise MethodNotAllowed(head.method.decode("ascii"))
    _check_host(head)
    target = origin_form(head.target, origin, own_port)
    if b"websocket" in head.tokens(b"upgrade"):
        raise WebSocketUnsupported()
    if target is not head.target:
        head = attrs.evolve(head, target=target)
    return Admitted(head, framing)


def _check_host(head: RequestHead) -> None:
    hosts = head.values(b"host")
    if len(hosts) > 1 or (not hosts and head.version == b"1.1"):
        raise BadHost(f"{len(hosts)} Host fields")
    if hosts and _HOST.fullmatch(hosts[0]) is None:
        raise BadHost("malformed")


def persistent(head: RequestHead) -> bool:
    """Whether the client wants to keep its connection (RFC 9112 9.3)."""
    options = head.tokens(b"connection")
    if b"close" in options:
        return False
    return head.version == b"1.1" or b"keep-alive" in options
