"""Counts of what has passed: plain integers, increased on the hot path and read by the local pages."""

import attrs


@attrs.define
class Metrics:
    """One provider's counters since the start."""

    requests_seen: int = 0
    """Exchanges begun, whatever became of them; local pages are not counted."""
    active_requests: int = 0
    total_errors: int = 0
    """Exchanges that ended with an error of ours, or with a 5xx of the provider's."""
    completed: int = 0
    duration_ms: float = 0.0
    """Sum over the completed ones."""

    def begun(self) -> None:
        self.requests_seen += 1
        self.active_requests += 1

    def ended(self, failed: bool, duration_ms: float) -> None:
        self.active_requests -= 1
        self.completed += 1
        self.total_errors += failed
        self.duration_ms += duration_ms

    def summary(self) -> dict[str, float]:
        """`metrics_summary` of /health."""
        average = self.duration_ms / self.completed if self.completed else 0.0
        return {
            "total_requests": self.requests_seen,
            "total_errors": self.total_errors,
            "active_requests": self.active_requests,
            "avg_latency_ms": round(average, 1),
        }
