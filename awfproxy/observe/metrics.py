"""Counts of what has passed: plain integers, increased on the hot path and read by the local pages.

No label has anything of a peer's: a method that is none of the usual ones is counted as `other`.
"""

from bisect import bisect_left
from collections.abc import Callable
from typing import Protocol as Interface

from awfproxy.errors.own import OutOfDescriptors, TooManyConnections

BOUNDS_MS = (1, 5, 10, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 900000)
"""Upper bounds of the histograms' buckets, in milliseconds; above the last one is a bucket without."""

_METHODS = {
    method.encode("ascii"): method
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
}  # fmt: skip
OTHER = "other"
PEER_NOT_ALLOWED = "peer_not_allowed"
REFUSALS = (OutOfDescriptors.code, TooManyConnections.code, PEER_NOT_ALLOWED)
"""Why a client's connection is refused when it is accepted."""
MOST_CALLERS = 200
"""Labels of caller tokens that are counted by themselves; whoever signs tokens may make up any number."""


class Ended(Interface):
    """What is counted of an ended exchange; times are the reactor's seconds."""

    method: bytes
    status: int
    request_bytes: int
    response_bytes: int
    started: float
    acquired: float | None
    head_at: float | None
    caller: str


class Histogram:
    """How often a duration fell into each bucket, and the sum of all."""

    __slots__ = ("counts", "sum_ms")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_MS) + 1)
        self.sum_ms = 0.0

    def observe(self, milliseconds: float) -> None:
        self.counts[bisect_left(BOUNDS_MS, milliseconds)] += 1
        self.sum_ms += milliseconds

    @property
    def count(self) -> int:
        return sum(self.counts)

    def up_to(self) -> list[int]:
        """For each bound, and for none: how many durations did not exceed it."""
        total, cumulative = 0, []
        for count in self.counts:
            total += count
            cumulative.append(total)
        return cumulative

    def quantile(self, share: float) -> float:
        """Milliseconds that so great a share did not exceed, as if even within each bucket; 0 without any.

        In the bucket without a bound it is that bucket's lower end.
        """
        rank, below, lower = share * self.count, 0, 0
        for bound, count in zip(BOUNDS_MS, self.counts, strict=False):
            if count and below + count >= rank:
                return lower + (bound - lower) * max(rank - below, 0) / count
            below, lower = below + count, bound
        return float(lower) if self.counts[-1] else 0.0


class Metrics:
    """One provider's counters since the start."""

    def __init__(self) -> None:
        self.requests_seen = 0
        """Exchanges begun, whatever became of them; local pages are not counted."""
        self.active_requests = 0
        self.total_errors = 0
        """Exchanges that ended with an error of ours, or with a 5xx of the provider's."""
        self.rule_refusals = 0
        """Exchanges that the path rules did not let through."""
        self.leaks_masked = 0
        """Keys in answers, in ended exchanges, that reached no client."""
        self.callers: dict[str, int] = {}
        """Ended exchanges by the label of the caller's token; `other` for those beyond `MOST_CALLERS`."""
        self.caller_refusals: dict[str, int] = {}
        """Exchanges that were refused because of the caller's token, by the error's code."""
        self.connections_refused = dict.fromkeys(REFUSALS, 0)
        """Clients' connections by the reason why they were refused when they were accepted."""
        self.request_bytes = 0
        """Octets of content received from clients, in ended exchanges."""
        self.response_bytes = 0
        """Octets of content sent to clients, in ended exchanges."""
        self.requests: dict[tuple[str, int, str], int] = {}
        """Ended exchanges by method, first digit of the status that the client saw (0: none), and outcome."""
        self.tunnel_wait = Histogram()
        """From the request's head to a tunnel for it."""
        self.time_to_head = Histogram()
        """From the request's head to the response's."""
        self.total = Histogram()
        """From the request's head to the exchange's end."""

    def begun(self) -> None:
        self.requests_seen += 1
        self.active_requests += 1

    def ended(self, record: Ended, outcome: str, failed: bool, duration_ms: float) -> None:
        self.active_requests -= 1
        self.total_errors += failed
        self.request_bytes += record.request_bytes
        self.response_bytes += record.response_bytes
        key = (_METHODS.get(record.method, OTHER), record.status // 100, outcome)
        self.requests[key] = self.requests.get(key, 0) + 1
        if record.caller:
            known = record.caller in self.callers or len(self.callers) < MOST_CALLERS
            caller = record.caller if known else OTHER
            self.callers[caller] = self.callers.get(caller, 0) + 1
        if record.acquired is not None:
            self.tunnel_wait.observe((record.acquired - record.started) * 1000)
        if record.head_at is not None:
            self.time_to_head.observe((record.head_at - record.started) * 1000)
        self.total.observe(duration_ms)

    def connection_refused(self, reason: str) -> None:
        """For one of `REFUSALS`."""
        self.connections_refused[reason] += 1

    def summary(self) -> dict[str, float]:
        """`metrics_summary` of /health."""
        completed = self.total.count
        return {
            "total_requests": self.requests_seen,
            "total_errors": self.total_errors,
            "active_requests": self.active_requests,
            "avg_latency_ms": round(self.total.sum_ms / completed, 1) if completed else 0.0,
        }


def status_class(digit: int) -> str:
    """`2xx`; `none` where the client saw no status."""
    return f"{digit}xx" if digit else "none"


class ProcessMetrics:
    """What is counted once for the whole process."""

    def __init__(self, seconds: Callable[[], float], log_lines_lost: Callable[[], int]) -> None:
        """`seconds` is the reactor's; `log_lines_lost` counts, since the start, what could not be written."""
        self._seconds = seconds
        self._log_lines_lost = log_lines_lost
        self.reloads_ok = 0
        self.reloads_refused = 0
        """Reloads of which something new was not taken."""
        self.started = seconds()

    def reloaded(self, taken: bool) -> None:
        """One reload has ended; `taken`: all that was new is in force."""
        if taken:
            self.reloads_ok += 1
        else:
            self.reloads_refused += 1

    @property
    def log_lines_lost(self) -> int:
        """Lines of the log that could not be written."""
        return self._log_lines_lost()

    @property
    def uptime(self) -> float:
        """Seconds since the start."""
        return self._seconds() - self.started
