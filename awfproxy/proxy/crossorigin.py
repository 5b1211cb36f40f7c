"""Whether a request was made by a web page that has no business here: any page may send to any address.

A browser says where the page is from: in `Origin` (Fetch 3.2), with all that could change something and with
each WebSocket handshake (RFC 6455 10.2), and in `Sec-Fetch-Site` (W3C Fetch Metadata). Programs send neither.
Pure.
"""

from ipaddress import IPv4Address, IPv6Address

import attrs

from awfproxy.errors.client import ForeignOrigin
from awfproxy.wire.message import RequestHead

_OWN_SITE: tuple[list[bytes], ...] = ([], [b"same-origin"], [b"none"])
"""Values of Sec-Fetch-Site with which no other page asks; `none` is what a person asks for by hand."""


@attrs.frozen
class TrustedOrigins:
    """The pages that may call, beside what awfproxy itself serves."""

    allowed: frozenset[bytes] = frozenset()
    """As the operator gave them, in lower case: `http://localhost:3000`, `null`, `vscode-webview://*`."""

    names: frozenset[bytes] = frozenset()
    """What agents know awfproxy's machine as, beside localhost and addresses."""

    def allows(self, origin: bytes) -> bool:
        """Whether the operator lets pages of that origin call."""
        return origin in self.allowed or origin.partition(b"://")[0] + b"://*" in self.allowed

    def is_own(self, origin: bytes, host: bytes) -> bool:
        """Whether it is the address at which the request was sent to us, as some WebSocket libraries put it.

        That it equals the Host field is not enough: a page's name may first lead to its author's server and
        then to 127.0.0.1 (DNS rebinding). So it has to be an address, or a name that no DNS hands out.
        """
        if origin not in (b"http://" + host, b"https://" + host):
            return False
        name = _without_port(host)
        return name == b"localhost" or name in self.names or _is_address(name)


NO_OTHERS = TrustedOrigins()


def refuse_foreign(head: RequestHead, trusted: TrustedOrigins) -> None:
    """Raises `ForeignOrigin` where a page asks that is neither ours nor allowed, or does not say.

    `head` has at most one Host field.
    """
    origins = head.values(b"origin")
    if len(origins) > 1:
        raise ForeignOrigin("several Origin fields")
    if origins:
        origin = origins[0].lower()
        if trusted.allows(origin):
            return
        hosts = head.values(b"host")
        if not hosts or not trusted.is_own(origin, hosts[0].lower()):
            raise ForeignOrigin("Origin")
    if head.values(b"sec-fetch-site") not in _OWN_SITE:
        raise ForeignOrigin("Sec-Fetch-Site")


def _without_port(host: bytes) -> bytes:
    name, colon, port = host.rpartition(b":")
    return name if colon and (not port or port.isdigit()) else host


def _is_address(name: bytes) -> bool:
    try:
        text = name.decode("ascii")
        if text.startswith("[") and text.endswith("]"):
            IPv6Address(text[1:-1])
        else:
            IPv4Address(text)
    except ValueError:
        return False
    return True
