"""Instructions and allocations per request and per event in plain Python, counted by valgrind.

Instructions are told in those that this very interpreter needs to parse the same request with h11, so that
the figure hardly depends on how Python was built.
"""

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guard.bound import ROOT, about, check, command, environment
from tests.guard.count import MARK, SPANS
from tests.kit.tools import need

# From run to run within 1 % (requests), 6 % (events), 0.2 % (allocations). Two builds of Python 3.11 differ
# by 1.5 %; Python 3.12 and 3.13 need fewer, for requests by up to a tenth.
INSTRUCTIONS = {"request": about(1.41, 0.1), "event": about(0.219, 0.15)}
ALLOCATIONS = {"request": about(272, 0.04), "event": about(40.6, 0.04)}
LOOK = (
    "If calls are as many as before (tests/guard/test_calls.py), look for a copy, a search, a join or a "
    "container that each request makes anew in wire, credentials, proxy and upstream."
)
_ALLOCATE = re.compile(r"(malloc|calloc|realloc)(@|'|$)")


@pytest.fixture(scope="module")
def spans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[float, float]]:
    """(instructions, allocations) of each unit."""
    need("valgrind")
    out = tmp_path_factory.mktemp("callgrind") / "out"
    valgrind = ["valgrind", "--tool=callgrind", f"--dump-before={MARK}", f"--callgrind-out-file={out}"]
    done = subprocess.run(
        [*valgrind, *command("instructions")],
        cwd=ROOT,
        env={**environment(), "PYTHONMALLOC": "malloc"},  # each allocation is a call
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    # Before each span its unit is warmed up, which is a span too.
    parts = {unit: out.with_name(f"out.{2 * number}") for number, unit in enumerate(SPANS, 1)}
    return {unit: _per_unit(part, SPANS[unit]) for unit, part in parts.items()}


def _per_unit(part: Path, times: int) -> tuple[float, float]:
    with part.open() as lines:
        instructions, calls = _read(lines)
    allocations = sum(count for name, count in calls.items() if _ALLOCATE.match(name))
    return instructions / times, allocations / times


def _read(lines: Iterator[str]) -> tuple[int, Counter[str]]:
    """Callgrind's format: all instructions, and how often each function was called; names are told once."""
    names: dict[str, str] = {}
    calls: Counter[str] = Counter()
    called = ""
    total = 0
    for line in lines:
        if (match := re.match(r"(c?)fn=\((\d+)\)(?: (.*))?", line)) is not None:
            names.setdefault(match[2], match[3])
            if match[1]:
                called = match[2]
        elif line.startswith("calls="):
            calls[called] += int(line[6:].split()[0])
        elif line.startswith("totals:"):
            total = int(line.split()[1])
    return total, Counter({names[number]: count for number, count in calls.items()})


def test_instructions(spans: dict[str, tuple[float, float]]) -> None:
    reference = spans["reference"][0]
    found = {unit: round(spans[unit][0] / reference, 3) for unit in INSTRUCTIONS}
    check("instructions, as a multiple of h11's for a request's head and body", found, INSTRUCTIONS, LOOK)


def test_allocations(spans: dict[str, tuple[float, float]]) -> None:
    found = {unit: round(spans[unit][1], 1) for unit in ALLOCATIONS}
    check("allocations", found, ALLOCATIONS, LOOK)
