"""The events that github/gh-aw-firewall's sidecar logs for a request beside its access line."""

from collections.abc import Callable

from twisted.logger import LogLevel

from awfproxy.observe.accesslog import (
    AccessLog,
    AccessRecord,
    EventLine,
    Line,
    Outcome,
    emit,
    printable,
    shown_path,
)
from awfproxy.observe.metrics import Metrics

_AUTH_STATUSES = (401, 403)


class RequestEvents(AccessLog):
    """An `AccessLog` that also says when a request begins, when its client leaves, and when the provider
    refuses the key."""

    def __init__(
        self, provider: str, upstream_host: str, metrics: Metrics, write: Callable[[Line], None] = emit
    ) -> None:
        super().__init__(provider, metrics, write, upstream_host)

    def begun(self, record: AccessRecord) -> None:
        super().begun(record)
        self._write(EventLine("request_start", LogLevel.info, self._values(record)))

    def ended(self, record: AccessRecord, outcome: Outcome, now: float, detail: str = "") -> None:
        if outcome is Outcome.CLIENT_LEFT:
            duration = round((now - record.started) * 1000, 2)
            values = {**self._values(record), "duration_ms": duration}
            self._write(EventLine("request_aborted", LogLevel.warn, values))
        elif record.error is None and record.status in _AUTH_STATUSES:
            message = f"The provider answered {record.status}: it may not take the key."
            values = {**self._values(record), "status": record.status, "message": message}
            self._write(EventLine("upstream_auth_error", LogLevel.warn, values))
        super().ended(record, outcome, now, detail)

    def _values(self, record: AccessRecord) -> dict[str, str | int | float | None]:
        return {
            "request_id": printable(record.request_id),
            "provider": self._provider,
            "method": printable(record.method),
            "path": shown_path(record.target),
            "upstream_host": self._upstream_host,
        }
