"""NO_PROXY: an agent that has HTTP_PROXY set would send its requests for us through Squid otherwise.

There is no standard. What is printed is what curl, Go, Python, Node and Rust's reqwest agree on: names and
addresses, separated by commas.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address

from awfproxy.agents.agent import Variable

LOOPBACK = ("127.0.0.1", "localhost")
NAMES = ("NO_PROXY", "no_proxy")
"""Some programs read the one only, some the other."""

PROXIES = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


def entries(environ: Mapping[str, str]) -> tuple[str, ...]:
    """What both variables have, each entry once, in the order found."""
    words = (word for name in NAMES for word in re.split(r"[,\s]+", environ.get(name, "")))
    return tuple(dict.fromkeys(word for word in words if word))


def needed(host: str) -> tuple[str, ...]:
    """Loopback and the host; IPv6 in both forms: undici knows only the one with brackets, Go the other."""
    forms = (host, f"[{host}]") if ":" in host else (host,)
    return tuple(dict.fromkeys((*LOOPBACK, *forms)))


def variables(environ: Mapping[str, str], host: str) -> tuple[Variable, ...]:
    """Both variables, with all that is in either. A `*` alone is not enough: codex does not know it."""
    value = ",".join(dict.fromkeys((*entries(environ), *needed(host))))
    reason = "requests for awfproxy must not go through the egress proxy"
    return tuple(Variable(name, value, reason) for name in NAMES)


def is_covered(environ: Mapping[str, str], host: str) -> bool:
    """Whether requests for the host already stay off a proxy, as the environment is."""
    if not any(environ.get(name) for name in PROXIES):
        return True
    return any(_matches(entry, host) for entry in entries(environ))


def _matches(entry: str, host: str) -> bool:
    """The host itself, or a domain above it; not `*` or a network, which some programs do not know."""
    bare = entry.strip("[]").lower()
    if bare == host:
        return True
    try:
        ip_address(host)
    except ValueError:
        return host.endswith("." + bare.lstrip("."))
    return False
