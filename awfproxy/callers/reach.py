"""Who can reach what is listened on: this machine alone, or others. Pure."""

from enum import Enum
from ipaddress import IPv6Address, ip_address

from awfproxy.callers.endpoint import EndpointDescription

_DEFAULT_INTERFACE = {"tcp": "0.0.0.0", "tcp6": "::", "ssl": "0.0.0.0"}


class Reach(Enum):
    LOCAL = "local"
    ELSEWHERE = "elsewhere"
    UNKNOWN = "unknown"
    """Only the open socket's address will tell."""


def reach(description: EndpointDescription) -> Reach:
    """Of what is listened on there."""
    kind = description.kind
    if kind == "unix":
        return Reach.LOCAL
    if kind not in _DEFAULT_INTERFACE:
        return Reach.UNKNOWN
    interface = description.arguments.get("interface") or _DEFAULT_INTERFACE[kind]
    try:
        ip_address(interface)
    except ValueError:
        return Reach.UNKNOWN  # a name
    return Reach.LOCAL if is_loopback(interface) else Reach.ELSEWHERE


def is_loopback(host: str) -> bool:
    """Whether the address is one that only this machine reaches; what is no address is not."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback
