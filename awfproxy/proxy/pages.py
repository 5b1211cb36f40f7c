"""The local pages: /health, /healthz, /readyz. From memory alone, so they answer whatever hangs.

/health has the keys of github/gh-aw-firewall's sidecar, which health checks and tests read, and more.
"""

import json
import time
from collections.abc import Callable, Mapping
from functools import partial

import attrs

from awfproxy.observe.health import Health
from awfproxy.observe.metrics import Metrics
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.providers.provider import Provider
from awfproxy.upstream.pool import Pool
from awfproxy.wire.message import Fields, field

Page = Callable[[], tuple[int, bytes]]
"""Status and content, as they are now."""

JSON_FIELDS: Fields = (field(b"Content-Type", b"application/json"), field(b"Cache-Control", b"no-store"))


@attrs.frozen
class PagePart:
    """What the pages tell of one provider."""

    provider: Provider
    health: Health
    metrics: Metrics
    pool: Pool


@attrs.frozen
class LocalPages:
    """Where the pages are, and what they are made from."""

    prefix: str | None
    """Path before each page's name; None: there are none, and every path is the provider's."""
    egress: str
    parts: tuple[PagePart, ...]

    def by_path(self, provider: Provider) -> Mapping[bytes, Page]:
        """The exact paths and their pages, on the ports of that provider."""
        if self.prefix is None:
            return {}
        (part,) = [part for part in self.parts if part.provider is provider]
        pages: dict[str, Page] = {
            "health": partial(self._health, part),
            "healthz": self._alive,
            "readyz": partial(self._ready, part),
        }
        return {f"{self.prefix}/{name}".encode("ascii"): page for name, page in pages.items()}

    def _health(self, part: PagePart) -> tuple[int, bytes]:
        health, reason = part.health, part.health.reason()
        served = {part.provider.name for part in self.parts}
        names = dict.fromkeys([*(provider.name for provider in BUILT_IN), *served])
        content: dict[str, object] = {
            "status": "healthy" if reason is None else "unhealthy",
            "service": "awf-api-proxy",
            "squid_proxy": self.egress,
            "providers": {name: name in served for name in names},
            "key_validation": {
                "complete": all(part.health.verdict is not None for part in self.parts),
                "results": {part.provider.name: _key(part.health) for part in self.parts},
            },
            "models_fetch_complete": False,
            "metrics_summary": part.metrics.summary(),
            "rate_limits": {},
            "egress": {
                "state": health.egress_state,
                "error": None if health.egress_error is None else health.egress_error.code,
            },
            "tunnels": attrs.asdict(part.pool.stats()),
            "last_success": _time(health.last_success),
            "refused_reload": health.refused_reload,
            "requests_seen": part.metrics.requests_seen,
        }
        if reason is not None:
            content["reason"] = reason
        return (200 if reason is None else 503), _compact(content)

    def _alive(self) -> tuple[int, bytes]:
        return 200, _compact({"status": "alive"})

    def _ready(self, part: PagePart) -> tuple[int, bytes]:
        reason = part.health.reason()
        if reason is None:
            return 200, _compact({"status": "ready"})
        return 503, _compact({"status": "not ready", "reason": reason})


def _key(health: Health) -> dict[str, object]:
    return {
        "status": health.key_state,
        "message": health.reason() or "",
        "checked_at": _time(health.checked_at),
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _compact(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode("ascii")
