"""1,000 slow streams at once: what each costs while all of them are open."""

from functools import partial

from bench import measure
from bench.client import LoadFailed, Way
from bench.events import SMALL
from bench.run import Figures, Run
from bench.streams import Streams

COUNT = 1000


def run(run: Run) -> None:
    for number in range(run.size.fresh_rounds):
        run.turn(number, "1,000 streams", lambda name: _seen(run, name))


def _seen(run: Run, name: str) -> Figures:
    """CPU from the moment that all are open until the first ends; memory at that end."""
    with run.fresh(name, run.around.large_port) as peer:
        idle = measure.rss(peer.pid)
        streams = Streams(Way(peer.port), COUNT, run.size.slow_events, SMALL, run.size.slow_interval)
        marks: dict[str, tuple[float, int, int]] = {}

        def mark(moment: str) -> None:
            marks[moment] = measure.cpu_seconds(peer.pid), streams.received, measure.rss(peer.pid)

        seen = streams.run(partial(mark, "all open"), partial(mark, "first end"))
    if list(marks) != ["all open", "first end"]:
        raise LoadFailed(f"never all open at once: {seen}")
    cpu_before, events_before, _ = marks["all open"]
    cpu_after, events_after, held = marks["first end"]
    return {
        "1,000 streams CPU us/event": (cpu_after - cpu_before) / (events_after - events_before) * 1e6,
        "1,000 streams kB each": (held - idle) / COUNT / 1e3,
        "1,000 streams MB": held / 1e6,
        "1,000 streams events lost": seen.lost,
    }
