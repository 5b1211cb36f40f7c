"""`/metrics` in Prometheus's text formats: reads the integers when it is asked, and keeps none of its own.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest as generate_text
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from awfproxy import __version__
from awfproxy.credentials.verdict import KEY_STATES
from awfproxy.observe.metrics import BOUNDS_MS, Histogram, ProcessMetrics, status_class
from awfproxy.observe.part import PagePart

TEXT = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = b"application/openmetrics-text; version=1.0.0; charset=utf-8"


def exposition(parts: Sequence[PagePart], process: ProcessMetrics, openmetrics: bool) -> tuple[bytes, bytes]:
    """Content type and content, with everything as it is now."""
    registry = CollectorRegistry()
    registry.register(AwfproxyCollector(parts, process))
    if openmetrics:
        return OPENMETRICS, generate_openmetrics(registry)
    return TEXT, generate_text(registry)


class AwfproxyCollector(Collector):
    """All metrics of the process. Only names of ours and of the operator's are labels."""

    def __init__(self, parts: Sequence[PagePart], process: ProcessMetrics) -> None:
        self._parts = parts
        self._process = process

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("awfproxy_build", "The running version.", value={"version": __version__})
        yield GaugeMetricFamily("awfproxy_uptime_seconds", "Time since the start.", self._process.uptime)
        yield from self._requests()
        yield from self._tunnels()
        yield from self._state()
        reloads = CounterMetricFamily("awfproxy_reloads", "Reloads, taken or refused.", labels=["result"])
        reloads.add_metric(["ok"], self._process.reloads_ok)
        reloads.add_metric(["refused"], self._process.reloads_refused)
        yield reloads
        yield CounterMetricFamily(
            "awfproxy_log_lines_lost",
            "Lines of the log that could not be written.",
            self._process.log_lines_lost,
        )

    def _requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "awfproxy_requests",
            "Ended exchanges, by the status that the client saw and what became of them.",
            labels=["provider", "status_class", "outcome"],
        )
        phases = HistogramMetricFamily(
            "awfproxy_phase_seconds",
            "From a request's head to its tunnel, to the response's head, and to the end.",
            labels=["provider", "phase"],
        )
        received = _counter("awfproxy_request_bytes", "Octets of content received from clients.")
        sent = _counter("awfproxy_response_bytes", "Octets of content sent to clients.")
        refused = _counter("awfproxy_rule_refusals", "Requests that the path rules did not let through.")
        leaks = _counter("awfproxy_leaks_masked", "Keys in the provider's answers that were masked.")
        by_caller = CounterMetricFamily(
            "awfproxy_caller_requests",
            "Ended exchanges, by the label of the caller's token.",
            labels=["provider", "caller"],
        )
        refused_callers = CounterMetricFamily(
            "awfproxy_caller_refusals",
            "Requests refused because of their caller's token, by the code of the error.",
            labels=["provider", "code"],
        )
        refused_connections = CounterMetricFamily(
            "awfproxy_connections_refused",
            "Clients' connections refused when they were accepted, by the reason.",
            labels=["provider", "reason"],
        )
        active = _gauge("awfproxy_active_requests", "Exchanges that have begun and not ended.")
        for part in self._parts:
            name, metrics = part.provider.name, part.metrics
            by_labels: dict[tuple[str, str], int] = {}
            for (_, digit, outcome), count in metrics.requests.items():
                key = (status_class(digit), outcome)
                by_labels[key] = by_labels.get(key, 0) + count
            for labels, count in by_labels.items():
                requests.add_metric([name, *labels], count)
            for phase, histogram in (
                ("tunnel_wait", metrics.tunnel_wait),
                ("time_to_head", metrics.time_to_head),
                ("total", metrics.total),
            ):
                phases.add_metric([name, phase], _buckets(histogram), histogram.sum_ms / 1000)
            received.add_metric([name], metrics.request_bytes)
            sent.add_metric([name], metrics.response_bytes)
            refused.add_metric([name], metrics.rule_refusals)
            leaks.add_metric([name], metrics.leaks_masked)
            for caller, count in metrics.callers.items():
                by_caller.add_metric([name, caller], count)
            for code, count in metrics.caller_refusals.items():
                refused_callers.add_metric([name, code], count)
            for reason, count in metrics.connections_refused.items():
                refused_connections.add_metric([name, reason], count)
            active.add_metric([name], metrics.active_requests)
        yield from (requests, phases, received, sent, refused, leaks, by_caller, refused_callers)
        yield from (refused_connections, active)

    def _tunnels(self) -> Iterator[Metric]:
        opened = _counter("awfproxy_tunnels_opened", "Tunnels to the origin that were opened.")
        reused = _counter("awfproxy_tunnels_reused", "Requests that got a tunnel with a request before them.")
        failed = CounterMetricFamily(
            "awfproxy_tunnels_failed",
            "Tunnels that could not be opened, by the code of the error.",
            labels=["provider", "code"],
        )
        not_tried = _counter(
            "awfproxy_tunnels_not_tried",
            "Requests told the last error, after several tunnels in a row failed.",
        )
        tunnels = _gauge("awfproxy_tunnels", "Tunnels to the origin.", "state")
        waiting = _gauge("awfproxy_waiting_requests", "Requests that wait for a tunnel.")
        for part in self._parts:
            name, stats = part.provider.name, part.pool.stats()
            opened.add_metric([name], stats.opened)
            reused.add_metric([name], stats.reused)
            for code, count in stats.failures.items():
                failed.add_metric([name, code], count)
            not_tried.add_metric([name], stats.not_tried)
            for state, count in (("idle", stats.idle), ("busy", stats.busy), ("opening", stats.opening)):
                tunnels.add_metric([name, state], count)
            waiting.add_metric([name], stats.waiting)
        yield from (opened, reused, failed, not_tried, tunnels, waiting)

    def _state(self) -> Iterator[Metric]:
        key = _gauge("awfproxy_key_state", "1 for the state that the key is in.", "state")
        egress = _gauge("awfproxy_egress_up", "Whether the last tunnel could be opened; nothing before one.")
        for part in self._parts:
            name, health = part.provider.name, part.health
            for state in KEY_STATES:
                key.add_metric([name, state], health.key_state == state)
            if health.egress_state != "unknown":
                egress.add_metric([name], health.egress_state == "ok")
        yield from (key, egress)


def _counter(name: str, documentation: str) -> CounterMetricFamily:
    return CounterMetricFamily(name, documentation, labels=["provider"])


def _gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, labels=["provider", *labels])


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    bounds = [*(str(bound / 1000) for bound in BOUNDS_MS), "+Inf"]
    return list(zip(bounds, histogram.up_to(), strict=True))
