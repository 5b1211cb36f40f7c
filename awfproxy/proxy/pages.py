"""The local pages: where they are, and those on health. From memory alone, so they answer whatever hangs.

/health has the keys of github/gh-aw-firewall's sidecar, which health checks and tests read, and more.
"""

from collections.abc import Callable, Mapping
from functools import partial

import attrs

from awfproxy.callers.store import CallerStore
from awfproxy.credentials.store import CredentialStore
from awfproxy.observe.health import Health
from awfproxy.observe.metrics import ProcessMetrics
from awfproxy.observe.models import ModelLists
from awfproxy.observe.part import PagePart
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.providers.provider import Provider
from awfproxy.proxy.metricspage import metrics_page
from awfproxy.proxy.page import Page, for_callers, json_page, shown_time
from awfproxy.proxy.reflect import Place, Reflect


@attrs.frozen
class LocalPages:
    """Where the pages are, and what they are made from."""

    prefix: str | None
    """Path before each page's name; None: there are none, and every path is the provider's."""
    egress: str
    parts: tuple[PagePart, ...]
    """In the order of the ports; the first one's have the pages on the process as a whole too."""
    credentials: CredentialStore
    process: ProcessMetrics
    models: ModelLists
    place: Callable[[str], Place | None]
    """By provider's name: where it listens now; None where it does not, or has no such address."""
    host: str | None = None
    """What agents know this machine as, where that is a contract; None: the address listened on."""
    health: Callable[[tuple[PagePart, ...], Provider], tuple[int, object]] | None = None
    """In place of the usual /health, where the profile has another."""
    callers: CallerStore | None = None
    """Who may see what has been counted; None for everyone."""

    def by_path(self, provider: Provider) -> Mapping[bytes, Page]:
        """The exact paths and their pages, on the ports of that provider."""
        if self.prefix is None:
            return {}
        (part,) = [part for part in self.parts if part.provider is provider]
        health = partial(self._health, part)
        if self.health is not None:
            health = partial(self.health, self.parts, provider)
        pages: dict[str, Page] = {
            "health": json_page(health),
            "healthz": json_page(self._alive),
            "readyz": json_page(partial(self._ready, part)),
            "reflect": json_page(self._reflect),
        }
        if part is self.parts[0]:
            metrics = metrics_page(self.parts, self.process)
            if self.callers is not None:
                metrics = for_callers(metrics, self.callers, provider, part.access)
            pages["metrics"] = metrics
        return {f"{self.prefix}/{name}".encode("ascii"): page for name, page in pages.items()}

    def _health(self, part: PagePart) -> tuple[int, object]:
        health, reason = part.health, part.health.reason()
        served = {part.provider.name for part in self.parts if self._has_key(part.provider.name)}
        names = dict.fromkeys([*(provider.name for provider in BUILT_IN), *sorted(served)])
        content: dict[str, object] = {
            "status": "healthy" if reason is None else "unhealthy",
            "service": "awf-api-proxy",
            "squid_proxy": self.egress,
            "providers": {name: self._has_key(name) for name in names},
            "key_validation": {
                "complete": all(part.health.verdict is not None for part in self.parts),
                "results": {part.provider.name: _key(part.health) for part in self.parts},
            },
            "models_fetch_complete": self.models.complete,
            "metrics_summary": part.metrics.summary(),
            "rate_limits": {},
            "egress": {
                "state": health.egress_state,
                "error": None if health.egress_error is None else health.egress_error.code,
            },
            "tunnels": attrs.asdict(part.pool.stats()),
            "last_success": shown_time(health.last_success),
            "refused_reload": health.refused_reload,
            "requests_seen": part.metrics.requests_seen,
        }
        if reason is not None:
            content["reason"] = reason
        return (200 if reason is None else 503), content

    def _alive(self) -> tuple[int, object]:
        return 200, {"status": "alive"}

    def _ready(self, part: PagePart) -> tuple[int, object]:
        has_key = self._has_key(part.provider.name)
        reason = part.health.reason() if has_key else "There is no key for this provider."
        if reason is None:
            return 200, {"status": "ready"}
        return 503, {"status": "not ready", "reason": reason}

    def _reflect(self) -> tuple[int, object]:
        reflect = Reflect(self.parts, self._has_key, self.place, self.models, self.host)
        return 200, reflect.content()

    def _has_key(self, name: str) -> bool:
        return self.credentials.current(name) is not None


def _key(health: Health) -> dict[str, object]:
    return {
        "status": health.key_state,
        "message": health.reason() or "",
        "checked_at": shown_time(health.checked_at),
    }
