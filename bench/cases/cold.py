"""A storm of connections at a candidate that has only just started: no tunnels but the first answer's."""

from functools import partial

from bench import measure, storm
from bench.client import Way
from bench.run import Figures, Run

CONNECTIONS = (256, 1024)


def run(run: Run) -> None:
    for number in range(run.size.fresh_rounds):
        for connections in CONNECTIONS:
            run.turn(number, f"cold start, {connections} connections", partial(_seen, run, connections))


def _seen(run: Run, connections: int, name: str) -> Figures:
    with run.fresh(name, run.around.small_port) as peer:
        before = measure.cpu_seconds(peer.pid)
        seen = storm.run(Way(peer.port), connections, run.size.cold_seconds)
        used = measure.cpu_seconds(peer.pid) - before
    return {
        f"cold requests/s, {connections}": seen.per_second,
        f"cold p50 ms, {connections}": seen.p50 * 1e3,
        f"cold p99 ms, {connections}": seen.p99 * 1e3,
        f"cold first p99 ms, {connections}": seen.first_p99 * 1e3,
        f"cold CPU us/request, {connections}": used / seen.count * 1e6,
        f"cold errors, {connections}": seen.errors,
    }
