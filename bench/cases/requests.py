"""Requests on kept connections: how many, how fast, at what cost. By wrk, or for very many by the storm."""

from functools import partial

from bench import measure, storm
from bench.client import Way
from bench.processes import Peer
from bench.run import Figures, Run

CONNECTIONS = (1, 16, 64, 256, 1024)
_MANY = 256


def run(run: Run) -> None:
    with run.all(run.around.small_port) as peers:
        for name in run.names:
            storm.run(Way(peers[name].port), CONNECTIONS[-1], 1.0)  # warm: tunnels open, nothing noted
        for number in range(run.size.rounds):
            for connections in CONNECTIONS:
                run.turn(number, f"{connections} connections", partial(_seen, run, peers, connections))


def _seen(run: Run, peers: dict[str, Peer], connections: int, name: str) -> Figures:
    peer = peers[name]
    before = measure.cpu_seconds(peer.pid)
    if connections < _MANY:
        seen = run.wrk.run(peer.port, connections, run.size.seconds)
    else:
        seen = storm.run(Way(peer.port), connections, run.size.seconds)
    used = measure.cpu_seconds(peer.pid) - before
    return {
        f"requests/s, {connections}": seen.per_second,
        f"p50 ms, {connections}": seen.p50 * 1e3,
        f"p99 ms, {connections}": seen.p99 * 1e3,
        f"CPU us/request, {connections}": used / seen.count * 1e6,
        f"errors, {connections}": seen.errors,
    }
