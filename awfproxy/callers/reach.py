"""Who can reach what is listened on: this machine alone, or others. Pure."""

import re
from enum import Enum
from ipaddress import IPv6Address, ip_address

_ARGUMENTS = re.compile(r"((?:[^:\\]|\\.)*)(?::|\Z)", re.DOTALL)
_DEFAULT_INTERFACE = {"tcp": "0.0.0.0", "tcp6": "::", "ssl": "0.0.0.0"}


class Reach(Enum):
    LOCAL = "local"
    ELSEWHERE = "elsewhere"
    UNKNOWN = "unknown"
    """Only the open socket's address will tell."""


def reach(description: str) -> Reach:
    """Of a Twisted server endpoint's description."""
    kind, *arguments = (re.sub(r"\\(.)", r"\1", each) for each in _ARGUMENTS.findall(description)[:-1])
    if kind == "unix":
        return Reach.LOCAL
    if kind not in _DEFAULT_INTERFACE or any("=" not in each for each in arguments[1:]):
        return Reach.UNKNOWN
    given = dict(each.split("=", 1) for each in arguments[1:])
    interface = given.get("interface") or _DEFAULT_INTERFACE[kind]
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
