"""What the daemon holds, looked at again and again, and whether it grew."""

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import attrs

from tests.kit.daemon import Daemon
from tests.kit.reader import poll

SETTLED = 0.2
"""Share of the work before which things may still grow: pools, caches and the allocator's arenas fill."""


@attrs.frozen
class Sample:
    """The state at `progress`, a share of all work."""

    progress: float
    memory: int
    """Resident bytes."""
    descriptors: int
    objects: int
    """That the collector sees, after a collection."""
    timers: int


@attrs.frozen
class Bounds:
    """By how much each may grow from `SETTLED` to the end, along the straight line through all samples."""

    memory: float
    descriptors: float = 16.0
    objects: float = 1000.0
    timers: float = 16.0
    """A sample catches what is being opened and ended just then: some 3 up or down, so a line through
    20 samples that do not grow can rise by 5."""


class Watch:
    """Asks a daemon that has tests/soak/inside on its path."""

    def __init__(self, daemon: Daemon, counts: Path) -> None:
        self._daemon = daemon
        self._counts = counts
        self.samples: list[Sample] = []
        """Before any load, and under it; what is left when all has ended is `rest`."""
        self.rest: Sample | None = None

    def look_at_rest(self) -> Sample:
        """The last sample, once nothing is under way."""
        self.rest = self._look(1.0)
        return self.rest

    def look(self, progress: float = 0.0) -> Sample:
        """Takes a sample, within the daemon too."""
        self.samples.append(self._look(progress))
        return self.samples[-1]

    def _look(self, progress: float) -> Sample:
        self._counts.unlink(missing_ok=True)
        os.kill(self._daemon.running.pid, signal.SIGUSR1)
        poll(self._counts.exists, 20)
        counts = json.loads(self._counts.read_text())
        descriptors = len(os.listdir(f"/proc/{self._daemon.running.pid}/fd"))
        return Sample(progress, self._daemon.memory(), descriptors, counts["objects"], counts["timers"])

    def growth(self, name: str) -> float:
        """Of one figure, from `SETTLED` to the end, by least squares."""
        settled = [each for each in self.samples if each.progress >= SETTLED]
        return slope([each.progress for each in settled], [getattr(each, name) for each in settled]) * (
            1 - SETTLED
        )

    def grown(self, bounds: Bounds) -> list[str]:
        """What grew by more than it may, one sentence each."""
        return [
            f"{name} grew by {growth:,.0f} (at most {bound:,.0f})"
            for name, bound in attrs.asdict(bounds).items()
            if (growth := self.growth(name)) > bound
        ]


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Of the straight line with the least squares."""
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((each - x) ** 2 for each in xs)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / spread
