"""`/metrics` as JSON: the names and shapes of github/gh-aw-firewall's sidecar, and what it has not."""

from collections.abc import Iterator, Sequence

from awfproxy.observe.metrics import BOUNDS_MS, Histogram, ProcessMetrics, status_class
from awfproxy.observe.part import PagePart

_SHOWN_BOUNDS_MS = range(10, 30001)
"""The sidecar's buckets go from 10 ms to 30 s."""


def snapshot(parts: Sequence[PagePart], process: ProcessMetrics) -> dict[str, object]:
    """`counters`, `histograms` and `gauges`, as they are now."""
    return {
        "counters": dict(_counters(parts, process)),
        "histograms": {
            "request_duration_ms": {part.provider.name: _histogram(part.metrics.total) for part in parts},
            "tunnel_wait_ms": {part.provider.name: _histogram(part.metrics.tunnel_wait) for part in parts},
            "time_to_head_ms": {part.provider.name: _histogram(part.metrics.time_to_head) for part in parts},
        },
        "gauges": {
            "active_requests": {part.provider.name: part.metrics.active_requests for part in parts},
            "uptime_seconds": int(process.uptime),
        },
    }


def _counters(parts: Sequence[PagePart], process: ProcessMetrics) -> Iterator[tuple[str, int]]:
    for part in parts:
        name, metrics, tunnels = part.provider.name, part.metrics, part.pool.stats()
        requests: dict[str, int] = {}
        for (method, digit, outcome), count in metrics.requests.items():
            for label in (
                f"requests_total:{name}:{method}:{status_class(digit)}",
                f"requests_by_outcome_total:{name}:{outcome}",
            ):
                requests[label] = requests.get(label, 0) + count
        yield from requests.items()
        yield f"requests_errors_total:{name}", metrics.total_errors
        yield f"request_bytes_total:{name}", metrics.request_bytes
        yield f"response_bytes_total:{name}", metrics.response_bytes
        yield f"rule_refusals_total:{name}", metrics.rule_refusals
        yield f"leaks_masked_total:{name}", metrics.leaks_masked
        for reason, count in metrics.connections_refused.items():
            yield f"connections_refused_total:{name}:{reason}", count
        for code, count in metrics.caller_refusals.items():
            yield f"caller_refusals_total:{name}:{code}", count
        for caller, count in metrics.callers.items():
            yield f"requests_by_caller_total:{name}:{caller}", count
        yield f"tunnels_opened_total:{name}", tunnels.opened
        yield f"tunnels_reused_total:{name}", tunnels.reused
        for code, count in tunnels.failures.items():
            yield f"tunnels_failed_total:{name}:{code}", count
        yield f"tunnels_not_tried_total:{name}", tunnels.not_tried
    yield "reloads_total:ok", process.reloads_ok
    yield "reloads_total:refused", process.reloads_refused
    yield "log_lines_lost_total", process.log_lines_lost


def _histogram(histogram: Histogram) -> dict[str, object]:
    *bounded, every = histogram.up_to()
    buckets = {
        str(bound): count
        for bound, count in zip(BOUNDS_MS, bounded, strict=True)
        if bound in _SHOWN_BOUNDS_MS
    }  # fmt: skip
    return {
        **{f"p{percent}": round(histogram.quantile(percent / 100), 1) for percent in (50, 90, 99)},
        "count": every,
        "sum": round(histogram.sum_ms, 1),
        "buckets": {**buckets, "+Inf": every},
    }
