"""What is measured, and how often: one function per case, each returning plain figures for one candidate."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from bench import load, measure
from bench.peers import Peer

CONNECTIONS = (1, 16, 64)
STREAMS = 200


@dataclass(frozen=True)
class Size:
    """How much of everything: all of it is bounded, in count and in time."""

    rounds: int
    seconds: int
    events: int
    interval: float
    bodies: int
    """Rounds of large bodies, each of `transfer` bytes."""
    transfer: int


FULL = Size(rounds=7, seconds=3, events=16, interval=0.25, bodies=2, transfer=1 << 30)
QUICK = Size(rounds=3, seconds=1, events=10, interval=0.2, bodies=1, transfer=1 << 28)

Figures = dict[str, float]


def requests(wrk: str, directory: Path, peer: Peer, connections: int, seconds: int) -> Figures:
    before = measure.cpu_seconds(peer.pid)
    seen = load.requests(wrk, directory, peer.port, connections, seconds)
    used = measure.cpu_seconds(peer.pid) - before
    peer.check()
    return {
        f"requests/s, {connections}": seen.per_second,
        f"p50 ms, {connections}": seen.p50 * 1e3,
        f"p99 ms, {connections}": seen.p99 * 1e3,
        f"CPU us/request, {connections}": used / seen.count * 1e6,
    }


def started(peer: Peer) -> Figures:
    """Right after its first answer, before any load."""
    return {"first answer s": peer.ready_after, "idle MB": measure.rss(peer.pid) / 1e6}


def streams(peer: Peer, size: Size) -> Figures:
    figures: Figures = {}
    idle = measure.rss(peer.pid)
    opened = cpu = 0.0

    def all_open() -> None:
        nonlocal opened, cpu
        held = measure.rss(peer.pid)
        figures[f"{STREAMS} streams MB"] = held / 1e6
        figures["kB/stream"] = (held - idle) / STREAMS / 1e3
        opened, cpu = time.monotonic(), measure.cpu_seconds(peer.pid)

    seen = asyncio.run(load.streams(peer.port, STREAMS, size.events, size.interval, all_open))
    if seen.lost:
        raise load.LoadFailed(f"{peer.name} lost {seen.lost} events of {seen.lost + seen.received}")
    used = measure.cpu_seconds(peer.pid) - cpu
    figures["CPU us/event"] = used / (seen.received - STREAMS) * 1e6
    return figures


def transfers(peer: Peer, size: Size) -> Figures:
    figures: Figures = {}
    for name, transfer in (("download", load.download), ("upload", load.upload)):
        idle = measure.rss(peer.pid)
        measure.forget_peak(peer.pid)
        seconds = transfer(peer.port, size.transfer)
        peak = measure.peak_rss(peer.pid)
        figures[f"{name} MB/s"] = size.transfer / seconds / 1e6
        figures[f"{name} peak MB"] = peak / 1e6
        figures[f"{name} growth MB"] = (peak - idle) / 1e6
    return figures
