"""One run of the benchmark: its size, its candidates, and the figures and faults it gathers."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from bench import candidates
from bench.client import LoadFailed, StraightWay
from bench.processes import NotStarted, Peer
from bench.surroundings import HOST, Surroundings
from bench.wrk import Wrk

Figures = dict[str, float]


@dataclass(frozen=True)
class Size:
    """How much of everything: all of it is bounded, in count and in time."""

    rounds: int
    """Of each case that is cheap to repeat."""
    seconds: int
    """Of each run of wrk."""
    fresh_rounds: int
    """Of cases that start their candidates anew."""
    cold_seconds: float
    """Long enough to see what a client waits for that is not accepted at once: 1 s, then 2 more."""
    samples: int
    """Requests one after another, for a latency."""
    paced_seconds: float
    stream_bytes: int
    """Of event streams as fast as they go, in all, with one record per event."""
    bulk_bytes: int
    slow_events: int
    slow_interval: float
    upload: int
    download: int
    large: int
    """The body that memory must not grow with."""
    growth_rounds: int
    slow_seconds: float
    messages: float
    """Seconds of WebSocket messages."""


MIB, MB, GB = 1 << 20, 10**6, 10**9
FULL = Size(
    rounds=5,
    seconds=2,
    fresh_rounds=3,
    cold_seconds=2.5,
    samples=1000,
    paced_seconds=2.0,
    stream_bytes=64 * MB,
    bulk_bytes=400 * MB,
    slow_events=20,
    slow_interval=0.5,
    upload=100 * MIB,
    download=200 * MB,
    large=GB,
    growth_rounds=2,
    slow_seconds=3.0,
    messages=1.5,
)
QUICK = Size(
    rounds=1,
    seconds=1,
    fresh_rounds=1,
    cold_seconds=2.0,
    samples=200,
    paced_seconds=0.7,
    stream_bytes=32 * MB,
    bulk_bytes=200 * MB,
    slow_events=7,
    slow_interval=0.4,
    upload=100 * MIB,
    download=200 * MB,
    large=256 * MIB,
    growth_rounds=1,
    slow_seconds=0.7,
    messages=0.35,
)


@dataclass
class Run:
    around: Surroundings
    size: Size
    names: list[str]
    """The candidates that take turns."""
    envoy_log: bool = False
    rounds: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Candidate -> name of a figure -> one value per round."""
    settings: dict[str, object] = field(default_factory=dict)
    """What a case found out and measured with."""
    absences: dict[str, str] = field(default_factory=dict)
    """Who could not take part, and why."""
    faults: list[str] = field(default_factory=list)
    """What went wrong, in words; a case that fails gives no figures for that round to anyone."""

    @property
    def wrk(self) -> Wrk:
        return Wrk(self.around.environment.wrk, self.around.directory)

    def straight(self, origin_port: int) -> StraightWay:
        around = self.around
        return StraightWay(around.squid_port, HOST, origin_port, around.ca, around.key)

    @contextmanager
    def fresh(self, name: str, origin_port: int) -> Iterator[Peer]:
        """One candidate from its exec on; only its first answer has been asked for."""
        log = self.around.directory / "envoy-access.log" if self.envoy_log else None
        with candidates.start(name, self.around, origin_port, envoy_log=log) as peer:
            yield peer
            peer.check()

    @contextmanager
    def all(self, origin_port: int) -> Iterator[dict[str, Peer]]:
        with ExitStack() as stack:
            yield {name: stack.enter_context(self.fresh(name, origin_port)) for name in self.names}

    def turn(
        self,
        number: int,
        case: str,
        measure: Callable[[str], Figures],
        names: Sequence[str] = (),
    ) -> None:
        """One round of a case: each candidate once, in an order that rotates with `number`."""
        names = list(names) or self.names
        by = number % len(names)
        seen: dict[str, Figures] = {}
        for name in names[by:] + names[:by]:
            try:
                seen[name] = measure(name)
            except (LoadFailed, NotStarted, OSError) as error:
                self.fault(f"{name}, {case}: {error}")
        if len(seen) == len(names):
            for name in names:
                self.note(name, seen[name])

    def note(self, name: str, figures: Figures) -> None:
        for figure, value in figures.items():
            self.rounds.setdefault(name, {}).setdefault(figure, []).append(value)

    def absent(self, name: str, why: str) -> None:
        self.absences[name] = why
        say(f"without {name}: {why}")

    def fault(self, what: str) -> None:
        self.faults.append(what)
        say(what)


def say(what: str) -> None:
    print(f"bench: {what}", file=sys.stderr, flush=True)
