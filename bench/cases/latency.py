"""What a candidate adds to the time of a request: beside the same client straight through Squid and TLS."""

import statistics
from collections.abc import Callable
from functools import partial

from bench import latency, measure
from bench.client import Way
from bench.processes import Peer
from bench.run import Figures, Run

CONNECTIONS = 16

# Seconds of single requests, by way.
_Measure = Callable[[Way], list[float]]


def run(run: Run) -> None:
    size = run.size
    small = run.around.small_port
    single = partial(latency.one_by_one, count=size.samples)
    with run.all(small) as peers:
        for number in range(size.rounds):
            _added(run, number, "", peers, small, single)
        rate = _half_load(run, peers)
        half = partial(latency.paced, connections=CONNECTIONS, rate=rate, seconds=size.paced_seconds)
        for number in range(size.rounds):
            _added(run, number, "half load ", peers, small, half)
    with run.all(run.around.large_port) as peers:
        first = partial(latency.first_events, count=size.samples // 2)
        for number in range(size.rounds):
            _added(run, number, "first event ", peers, run.around.large_port, first)


def _half_load(run: Run, peers: dict[str, Peer]) -> float:
    """Half of what the first candidate, as a rule Envoy, serves at most on as many connections."""
    seen = run.wrk.run(peers[run.names[0]].port, CONNECTIONS, max(2, run.size.seconds))
    rate = seen.per_second / 2
    run.settings["half load requests/s"] = round(rate)
    return rate


def _added(
    run: Run, number: int, what: str, peers: dict[str, Peer], origin_port: int, times: _Measure
) -> None:
    straight = times(run.straight(origin_port))
    p50, p99 = _percentiles(straight)
    run.note("straight", {f"{what}p50 ms": p50, f"{what}p99 ms": p99})

    def seen_by(name: str) -> Figures:
        peer = peers[name]
        before = measure.cpu_seconds(peer.pid)
        seen = times(Way(peer.port))
        used = measure.cpu_seconds(peer.pid) - before
        own50, own99 = _percentiles(seen)
        return {
            f"{what}added p50 ms": own50 - p50,
            f"{what}added p99 ms": own99 - p99,
            f"{what}p50 ms": own50,
            f"{what}p99 ms": own99,
            f"{what}CPU us/request": used / len(seen) * 1e6,
        }

    run.turn(number, f"{what}latency", seen_by)


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    return statistics.median(seconds) * 1e3, sorted(seconds)[len(seconds) * 99 // 100] * 1e3
