"""The counters: what each exchange adds, and that no label can come from a peer."""

from collections.abc import Callable

import pytest

from awfproxy.observe.accesslog import AccessLog, AccessRecord, Outcome
from awfproxy.observe.metrics import BOUNDS_MS, Histogram, Metrics, ProcessMetrics, status_class


def ended(metrics: Metrics, outcome: Outcome = Outcome.COMPLETED, **values: object) -> None:
    """One exchange that began at 100 s and ended at 101 s."""
    given = {
        "request_id": b"i", "client": "c", "method": b"POST", "target": b"/", "started": 100.0, "status": 200
    }  # fmt: skip
    log = AccessLog("openai", metrics, lambda line: None)
    record = AccessRecord(**{**given, **values})  # type: ignore[arg-type]
    log.begun(record)
    log.ended(record, outcome, 101.0)


# --- requests -----------------------------------------------------------------------------------------


def test_exchange_counts_under_its_method_status_and_outcome() -> None:
    metrics = Metrics()
    ended(metrics)
    ended(metrics)
    ended(metrics, method=b"GET", status=404)
    ended(metrics, Outcome.CLIENT_LEFT, status=0)
    assert metrics.requests == {
        ("POST", 2, "completed"): 2,
        ("GET", 4, "completed"): 1,
        ("POST", 0, "client_left"): 1,
    }


@pytest.mark.parametrize(
    "method", [b"BREW", b"-", b"get", b"GET ", b'X",provider="y', b"X\n1", b"\xff" * 3, b"CONNECT"]
)
def test_method_that_is_not_a_usual_one_is_just_another(method: bytes) -> None:
    """However many a client invents, they are one label."""
    metrics = Metrics()
    ended(metrics, method=method)
    assert list(metrics.requests) == [("other", 2, "completed")]


def test_octets_of_content_add_up() -> None:
    metrics = Metrics()
    ended(metrics, request_bytes=3, response_bytes=40)
    ended(metrics, request_bytes=0, response_bytes=2)
    assert (metrics.request_bytes, metrics.response_bytes) == (3, 42)


def test_exchange_is_active_until_it_ends() -> None:
    metrics = Metrics()
    metrics.begun()
    assert metrics.active_requests == 1
    ended(metrics)
    assert metrics.active_requests == 1
    assert metrics.requests_seen == 2


@pytest.mark.parametrize(("digit", "word"), [(2, "2xx"), (5, "5xx"), (9, "9xx"), (0, "none")])
def test_status_class(digit: int, word: str) -> None:
    assert status_class(digit) == word


# --- phases -------------------------------------------------------------------------------------------


def test_each_phase_is_counted_from_the_requests_head() -> None:
    metrics = Metrics()
    ended(metrics, acquired=100.25, head_at=100.5)
    phases = (metrics.tunnel_wait, metrics.time_to_head, metrics.total)
    assert [(phase.count, phase.sum_ms) for phase in phases] == [(1, 250.0), (1, 500.0), (1, 1000.0)]


def test_phase_that_was_not_reached_is_not_counted() -> None:
    metrics = Metrics()
    ended(metrics, Outcome.REFUSED, status=403)
    assert (metrics.tunnel_wait.count, metrics.time_to_head.count, metrics.total.count) == (0, 0, 1)


@pytest.mark.parametrize("bound", BOUNDS_MS)
def test_bucket_holds_its_upper_bound_and_not_more(bound: int) -> None:
    histogram = Histogram()
    histogram.observe(bound)
    histogram.observe(bound + 0.001)
    place = BOUNDS_MS.index(bound)
    assert histogram.counts[place : place + 2] == [1, 1]
    assert histogram.up_to()[place] == 1
    assert histogram.up_to()[-1] == histogram.count == 2


def test_bounds_have_those_of_the_sidecar() -> None:
    assert {10, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000} < set(BOUNDS_MS)
    assert list(BOUNDS_MS) == sorted(BOUNDS_MS)


@pytest.mark.parametrize(
    ("observed", "share", "expected"),
    [
        ([], 0.5, 0.0),
        ([30.0], 0.5, 30.0),  # in the middle of 10 to 50
        ([30.0] * 4, 1.0, 50.0),
        ([0.5] * 50 + [75.0] * 50, 0.5, 1.0),
        ([0.5] * 50 + [75.0] * 50, 0.75, 75.0),
        ([0.5] * 99 + [20000.0], 0.99, 1.0),
        ([1e9] * 3, 0.5, 900000.0),
        ([0.5, 1e9], 0.99, 900000.0),
    ],
)
def test_quantile_is_taken_as_if_each_bucket_were_even(
    observed: list[float], share: float, expected: float
) -> None:
    histogram = Histogram()
    for value in observed:
        histogram.observe(value)
    assert histogram.quantile(share) == pytest.approx(expected)


# --- the process --------------------------------------------------------------------------------------


def test_process_counts_reloads_and_time_since_its_start() -> None:
    now = [50.0]
    seconds: Callable[[], float] = lambda: now[0]  # noqa: E731
    process = ProcessMetrics(seconds, lambda: 0)
    now[0] = 62.5
    for taken in True, False, True:
        process.reloaded(taken)
    assert (process.started, process.uptime) == (50.0, 12.5)
    assert (process.reloads_ok, process.reloads_refused) == (2, 1)
