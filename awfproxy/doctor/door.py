"""`Door`: where a provider's port is, seen from this machine; from the endpoint that it listens on. Pure."""

from collections.abc import Iterable

import attrs

from awfproxy.callers.endpoint import EndpointDescription

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


def door(endpoint: EndpointDescription) -> Door | None:
    """None for an endpoint whose address stands somewhere else: systemd's, or port 0."""
    if endpoint.path is not None:
        return Door(path=endpoint.path)
    if endpoint.kind not in ("tcp", "tcp6") or not endpoint.port:
        return None
    host = endpoint.arguments.get("interface", "" if endpoint.kind == "tcp" else "::")
    return Door(_REACHABLE.get(host, host), endpoint.port)


def doors(endpoints: Iterable[EndpointDescription]) -> tuple[Door, ...]:
    """Those that are known."""
    return tuple(found for found in map(door, endpoints) if found is not None)
