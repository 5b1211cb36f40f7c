"""`make soak` in small: what goes through leaves nothing behind; and the measure of that can fail."""

from collections import Counter
from collections.abc import Callable

import attrs
import pytest

from tests.kit.tools import need
from tests.soak.load import BREAKINGS
from tests.soak.run import soak
from tests.soak.watch import Bounds, Sample, Watch

AREA = "Squid's faults and the machine's"
BOUNDS = Bounds(memory=3 << 20, objects=1000)
"""1.3 KB for each stream, or a tenth of an object for each request, would be too much."""


def test_nothing_grows_with_requests_and_streams_that_break_off(
    canary: str, outcome: Callable[[str, str, str], None]
) -> None:
    need("squid")
    soaked = soak(canary, 12_000, 3_000, 24, lambda load, sample, seconds: None)
    assert soaked.load.errors == Counter()
    assert soaked.load.answers == 12_000
    assert soaked.load.breakings == {each.name: 250 for each in BREAKINGS}
    assert soaked.watch.grown(BOUNDS) == []
    assert {what: count for what, count in soaked.left.items() if count} == {}
    outcome(AREA, "12,000 requests, 3,000 streams broken off", "no error; memory, descriptors, objects flat")


@pytest.mark.parametrize("name", ["memory", "descriptors", "objects", "timers"])
def test_growth_is_seen_whatever_noise_is_on_it(name: str) -> None:
    watch = Watch(None, None)  # type: ignore[arg-type]
    bounds = Bounds(memory=1000.0, descriptors=1000.0, objects=1000.0, timers=1000.0)
    for number in range(21):
        progress, noise = number / 20, 200 * (-1) ** number
        values = {each: 5000 + noise for each in ("memory", "descriptors", "objects", "timers")}
        watch.samples.append(Sample(progress, **values))
    assert watch.grown(bounds) == []
    watch.samples = [
        attrs.evolve(each, **{name: getattr(each, name) + round(1400 * each.progress)})
        for each in watch.samples
    ]
    (only,) = watch.grown(bounds)
    assert only.startswith(f"{name} grew by 1,1")


def test_what_grows_only_until_things_have_settled_is_no_growth() -> None:
    watch = Watch(None, None)  # type: ignore[arg-type]
    for number in range(21):
        watch.samples.append(Sample(number / 20, min(number, 4) * 10_000, 5, 5, 5))
    assert watch.grown(Bounds(memory=1.0)) == []

