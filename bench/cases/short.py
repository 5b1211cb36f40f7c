"""Clients that open a connection for each request."""

from bench import measure
from bench.run import Figures, Run

CONNECTIONS = 16


def run(run: Run) -> None:
    with run.all(run.around.small_port) as peers:

        def seen_by(name: str) -> Figures:
            peer = peers[name]
            before = measure.cpu_seconds(peer.pid)
            seen = run.wrk.run(peer.port, CONNECTIONS, run.size.seconds, close=True)
            used = measure.cpu_seconds(peer.pid) - before
            return {
                "short requests/s": seen.per_second,
                "short p99 ms": seen.p99 * 1e3,
                "short CPU us/request": used / seen.count * 1e6,
                "short errors": seen.errors,
            }

        for name in run.names:
            run.wrk.run(peers[name].port, CONNECTIONS, 1)  # warm: tunnels open
        for number in range(run.size.rounds):
            run.turn(number, "short-lived connections", seen_by)
