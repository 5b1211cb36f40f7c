"""Where awfproxy is, seen from the agent."""

import re
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address

import attrs

PORTS: Mapping[str, int] = {
    "openai": 10000,
    "anthropic": 10001,
    "copilot": 10002,
    "gemini": 10003,
    "vertex": 10004,
}
"""The port of each provider, where nothing else is set."""

_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
    r"(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*"
)


@attrs.frozen
class Place:
    """A host, as `parse_host` gives it, so that it can stand in a URL; and its ports."""

    host: str = "127.0.0.1"
    """An IPv6 address without its brackets."""

    ports: Mapping[str, int] = PORTS

    def url(self, provider: str) -> str:
        """The base URL of a provider, without a path or a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.ports[provider]}"


def parse_host(text: str) -> str:
    """A name, or an IP address in its usual form; `ValueError` with what to write instead."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if re.fullmatch(r"[0-9.]+|[0-9A-Fa-f.]*:[0-9A-Fa-f.:]*(%.*)?", bare):
        try:
            address = ip_address(bare)
        except ValueError:
            raise ValueError(
                "it looks like an IP address, but is none. Give the host alone; ports have their own options."
            ) from None
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            raise ValueError("an address with a zone cannot stand in a URL. Give one without.")
        if address.is_unspecified:
            raise ValueError(
                "0.0.0.0 and :: are what a server binds to. Give the address that agents connect to."
            )
        return str(address)
    if bare != text or not _NAME.fullmatch(text):
        raise ValueError("it is not a host name or IP address. Give the host alone, without scheme or port.")
    return text.lower()


def parse_port(text: str) -> int:
    """1 to 65535; `ValueError` else."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError("it is not a port. Give a whole number from 1 to 65535.")
    return int(text)
