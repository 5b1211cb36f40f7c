"""The local pages: /health, /healthz, /readyz. From memory alone, so they answer whatever hangs.

/health has the keys of github/gh-aw-firewall's sidecar, which health checks and tests read, and more.
"""

import json
import time
from collections.abc import Callable, Mapping

import attrs

from awfproxy.observe.health import Health
from awfproxy.observe.metrics import Metrics
from awfproxy.upstream.pool import Pool
from awfproxy.wire.message import Fields, field

Page = Callable[[], tuple[int, bytes]]
"""Status and content, as they are now."""

JSON_FIELDS: Fields = (field(b"Content-Type", b"application/json"), field(b"Cache-Control", b"no-store"))
_PROVIDERS = ("openai", "anthropic", "copilot", "gemini", "vertex")


@attrs.frozen
class LocalPages:
    """Where the pages are, and what they are made from."""

    prefix: str | None
    """Path before each page's name; None: there are none, and every path is the provider's."""
    provider: str
    egress: str
    health: Health
    metrics: Metrics
    pool: Pool

    def by_path(self) -> Mapping[bytes, Page]:
        """The exact paths and their pages."""
        if self.prefix is None:
            return {}
        pages = {"health": self._health, "healthz": self._alive, "readyz": self._ready}
        return {f"{self.prefix}/{name}".encode("ascii"): page for name, page in pages.items()}

    def _health(self) -> tuple[int, bytes]:
        health, reason = self.health, self.health.reason()
        content: dict[str, object] = {
            "status": "healthy" if reason is None else "unhealthy",
            "service": "awf-api-proxy",
            "squid_proxy": self.egress,
            "providers": {name: name == self.provider for name in _PROVIDERS},
            "key_validation": {
                "complete": health.verdict is not None,
                "results": {
                    self.provider: {
                        "status": health.key_state,
                        "message": reason or "",
                        "checked_at": _time(health.checked_at),
                    }
                },
            },
            "models_fetch_complete": False,
            "metrics_summary": self.metrics.summary(),
            "rate_limits": {},
            "egress": {
                "state": health.egress_state,
                "error": None if health.egress_error is None else health.egress_error.code,
            },
            "tunnels": attrs.asdict(self.pool.stats()),
            "last_success": _time(health.last_success),
            "requests_seen": self.metrics.requests_seen,
        }
        if reason is not None:
            content["reason"] = reason
        return (200 if reason is None else 503), _compact(content)

    def _alive(self) -> tuple[int, bytes]:
        return 200, _compact({"status": "alive"})

    def _ready(self) -> tuple[int, bytes]:
        reason = self.health.reason()
        if reason is None:
            return 200, _compact({"status": "ready"})
        return 503, _compact({"status": "not ready", "reason": reason})


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _compact(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode("ascii")
