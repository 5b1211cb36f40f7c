"""What is left of a thousand units of work of each kind: nothing, and the collector finds nothing to do."""

from typing import Any

import pytest

from tests.guard.bound import Bound, check, counted, exactly
from tests.guard.datapath import UNITS

BOUNDS = {
    "memory blocks": Bound(12, 50),  # 12 are counters and caches that have grown past what Python shares
    "objects in cycles": exactly(0),
}


@pytest.fixture(scope="module")
def kept() -> dict[str, dict[str, Any]]:
    return counted("kept")


@pytest.mark.parametrize("unit", UNITS)
def test_nothing_is_kept_of(unit: str, kept: dict[str, dict[str, Any]]) -> None:
    figures = kept[unit]
    look = (
        f"Blocks are held by: {figures.get('lines', 'nobody in particular')}. In cycles: {figures['kinds']}. "
        "What has ended is to be freed at once: look for a list or dict that only grows, and for two objects "
        "that know each other at the end (channel, request, exchange, connection, tunnel)."
    )
    found = {"memory blocks": figures["blocks"], "objects in cycles": figures["garbage"]}
    bounds = BOUNDS if unit == "request" else {**BOUNDS, "memory blocks": Bound(0, 50)}
    check(f"left of a thousand times {unit}", found, bounds, look)
