"""/health as github/gh-aw-firewall's sidecar has it, on which container health checks and tests rely.

On the management port (the first provider's) always 200, with the sidecar's keys and values; the truth of
readiness is in further keys. No further key has a provider's name with a truth value in it: tests look for
the text `"openai":false`.
"""

from collections.abc import Callable, Sequence

import attrs

from awfproxy.credentials.verdict import describe, sidecar_state
from awfproxy.observe.models import ModelLists
from awfproxy.observe.part import PagePart
from awfproxy.providers.provider import Provider
from awfproxy.providers.sidecar import not_configured
from awfproxy.proxy.page import shown_time

SERVICE = "awf-api-proxy"


@attrs.frozen
class SidecarHealth:
    """The page of each port, from what is known now."""

    egress: str | None
    """The egress proxy, without credentials; None where it is direct."""

    has_key: Callable[[str], bool]
    """By provider's name."""

    models: ModelLists
    checks_complete: Callable[[], bool]
    not_honoured: Sequence[str]
    """Variables that are set and mean nothing here yet."""

    def page(self, parts: Sequence[PagePart], provider: Provider) -> tuple[int, object]:
        """Status and content on the port of that provider."""
        if provider.name == parts[0].provider.name:
            return 200, self._management(parts)
        (part,) = [part for part in parts if part.provider.name == provider.name]
        service = f"{SERVICE}-{provider.name}"
        if not self.has_key(provider.name):
            error = not_configured(provider)
            return 503, {"status": "not_configured", "service": service, "error": error}
        content: dict[str, object] = {"status": "healthy", "service": service}
        reason = part.health.reason()
        return 200, {**content, "ready": reason is None, **_reason(reason)}

    def _management(self, parts: Sequence[PagePart]) -> dict[str, object]:
        served = [part for part in parts if self.has_key(part.provider.name)]
        reasons = {part.provider.name: part.health.reason() for part in served}
        not_ready = {name: reason for name, reason in reasons.items() if reason is not None}
        return {
            "status": "healthy",
            "service": SERVICE,
            "squid_proxy": self.egress or "not configured",
            "providers": {part.provider.name: part in served for part in parts},
            "key_validation": {
                "complete": self.checks_complete(),
                "results": {part.provider.name: _result(part) for part in served},
            },
            "models_fetch_complete": self.models.complete,
            "metrics_summary": _summary(parts),
            "rate_limits": {},
            "ready": bool(served) and not not_ready,
            **_reason(_why(not_ready) if served else "No provider has a key."),
            "egress": {
                "direct": self.egress is None,
                "note": "DIRECT EGRESS: no proxy and no allowlist" if self.egress is None else "",
                "states": {part.provider.name: part.health.egress_state for part in served},
            },
            "last_success": {part.provider.name: shown_time(part.health.last_success) for part in served},
            "not_honoured": list(self.not_honoured),
        }


def _result(part: PagePart) -> dict[str, str]:
    health, provider = part.health, part.provider
    if not health.is_probed:
        return {"status": "skipped", "message": "The key is not checked here"}
    if health.verdict is None and health.egress_error is not None:
        return {"status": "network_error", "message": health.egress_error.sentence}
    status = sidecar_state(provider, health.verdict)
    if health.verdict is None:
        return {"status": status, "message": "The key has not been checked yet"}
    return {"status": status, "message": describe(provider, health.verdict)}


def _summary(parts: Sequence[PagePart]) -> dict[str, float]:
    counts = [part.metrics for part in parts]
    completed = sum(one.total.count for one in counts)
    return {
        "total_requests": sum(one.requests_seen for one in counts),
        "total_errors": sum(one.total_errors for one in counts),
        "active_requests": sum(one.active_requests for one in counts),
        "avg_latency_ms": round(sum(one.total.sum_ms for one in counts) / (completed or 1), 1),
    }


def _why(not_ready: dict[str, str]) -> str | None:
    return " ".join(f"{name}: {reason}" for name, reason in not_ready.items()) or None


def _reason(reason: str | None) -> dict[str, str]:
    return {} if reason is None else {"reason": reason}
