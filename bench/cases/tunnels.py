"""Tunnels that Squid saw for 1,000 requests on 16 connections, from a candidate's start to its end."""

import time
from pathlib import Path

from bench import storm
from bench.client import LoadFailed, Way
from bench.run import Figures, Run

REQUESTS, CONNECTIONS = 1000, 16
_ESTABLISHED, _CLOSE_WAIT = "01", "08"
_PATIENCE = 10.0


def run(run: Run) -> None:
    for number in range(run.size.fresh_rounds):
        run.turn(number, "tunnels", lambda name: _seen(run, name))


def _seen(run: Run, name: str) -> Figures:
    _all_closed(run.around.squid_port)
    before = _tunnels(run.around.squid_log)
    with run.fresh(name, run.around.small_port) as peer:
        storm.exactly(Way(peer.port), CONNECTIONS, REQUESTS)
    _all_closed(run.around.squid_port)  # Squid logs a tunnel at its end
    return {"tunnels for 1,000 requests": _tunnels(run.around.squid_log) - before}


def _tunnels(log: Path) -> int:
    return log.read_text().count(" CONNECT ")


def _all_closed(port: int) -> None:
    """Waits until nobody has a connection with Squid."""
    deadline = time.monotonic() + _PATIENCE
    local = f"0100007F:{port:04X}"
    while any(
        local in fields[1:3] and fields[3] in (_ESTABLISHED, _CLOSE_WAIT)
        for fields in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
    ):
        if time.monotonic() > deadline:
            raise LoadFailed("Squid still has connections")
        time.sleep(0.01)  # no event tells of another process's sockets
