"""`Door`: where a provider's port is, seen from this machine; from the endpoint that it listens on. Pure."""

import re
from collections.abc import Iterable

import attrs

_COLON = re.compile(r"(?<!\\):")
_ESCAPED = re.compile(r"\\(.)")
_REACHABLE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


@attrs.frozen
class Door:
    """A host and a port, or a unix socket's path."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else self.authority

    @property
    def authority(self) -> str:
        """For the URL and its Host field."""
        if self.path:
            return "localhost"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def door(endpoint: str) -> Door | None:
    """None for an endpoint whose address stands somewhere else: systemd's, or port 0."""
    kind, *parts = [_ESCAPED.sub(r"\1", part) for part in _COLON.split(endpoint)]
    named = dict(part.split("=", 1) for part in parts if "=" in part)
    plain = [part for part in parts if "=" not in part]
    if kind == "unix":
        path = named.get("address", plain[0] if plain else "")
        return Door(path=path) if path else None
    port = named.get("port", plain[0] if plain else "")
    if kind not in ("tcp", "tcp6") or not port.isdecimal() or int(port) == 0:
        return None
    host = named.get("interface", "" if kind == "tcp" else "::")
    return Door(_REACHABLE.get(host, host), int(port))


def doors(endpoints: Iterable[str]) -> tuple[Door, ...]:
    """Those that are known."""
    return tuple(found for found in map(door, endpoints) if found is not None)
