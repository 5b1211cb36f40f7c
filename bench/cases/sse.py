"""Event streams as fast as they go: one small TLS record per event, as models send them, and full records."""

from functools import partial

from bench import measure
from bench.client import Way
from bench.events import RECORD, SMALL
from bench.run import Figures, Run
from bench.streams import Streams

_COUNTS = {1: "1 stream", 32: "32 streams"}


def run(run: Run) -> None:
    kinds = (("SSE", SMALL, run.size.stream_bytes), ("SSE bulk", RECORD, run.size.bulk_bytes))
    with run.all(run.around.large_port) as peers:

        def seen_by(kind: str, size: int, volume: int, count: int, name: str) -> Figures:
            peer = peers[name]
            before = measure.cpu_seconds(peer.pid)
            seen = Streams(Way(peer.port), count, volume // size // count, size).run()
            used = measure.cpu_seconds(peer.pid) - before
            which = _COUNTS[count]
            if seen.lost:
                run.fault(f"{name}, {kind}, {which}: {seen.lost} events lost")
            return {
                f"{kind} MB/s, {which}": seen.received * size / seen.seconds / 1e6,
                f"{kind} CPU us/event, {which}": used / max(seen.received, 1) * 1e6,
            }

        for number in range(run.size.rounds):
            for kind, size, volume in kinds:
                for count, which in _COUNTS.items():
                    run.turn(number, f"{kind}, {which}", partial(seen_by, kind, size, volume, count))
