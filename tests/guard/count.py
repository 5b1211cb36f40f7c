"""Counts what the data path does: `python -m tests.guard.count WHAT` prints figures as JSON.

Each kind is counted in an interpreter of its own, so that nothing but the data path is in it.
"""

import gc
import json
import os
import re
import sys
import sysconfig
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import h11

from tests.guard.datapath import END, REQUEST, UNITS, DataPath
from tests.guard.socketpath import SocketPath

ROOT = Path(__file__).resolve().parents[2]
LINES = 64
"""Access lines are written so many at once: over a multiple of it, each request has its share."""
MARK = "sched_yield"
"""The C function that parts one span of instructions from the next; nothing else calls it."""


def repeat(unit: Callable[[], None], times: int) -> None:
    for _ in range(times):
        unit()


# --- calls ---------------------------------------------------------------------------------------------


def calls() -> dict[str, dict[str, float]]:
    """Calls of Python and C functions per unit, by the module that is called (of C functions: that calls)."""
    path = DataPath()
    found = {}
    for name, times in (("request", 10 * LINES), ("event", 100), ("connection", 10 * LINES)):
        if name == "event":
            path.begin_stream()
        unit = getattr(path, name)
        repeat(unit, 2 * LINES)
        counts = _profiled(lambda unit=unit, times=times: repeat(unit, times))
        if name == "event":
            path.event(END)
        found[name] = {module: round(count / times, 2) for module, count in sorted(counts.items())}
    return found


def _profiled(work: Callable[[], None]) -> Counter[str]:
    by_file: Counter[tuple[str, str]] = Counter()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event in ("call", "c_call"):
            by_file[frame.f_code.co_filename, event] += 1

    sys.setprofile(note)
    work()
    sys.setprofile(None)
    counts: Counter[str] = Counter()
    for (file, event), count in by_file.items():
        module = _module(file)
        if module != "tests" or event == "call":
            counts["transports" if module == "tests" else module] += count
    return counts


def _module(file: str) -> str:
    if made_for := re.fullmatch(r"<attrs generated methods (.*)\.\w+>", file):
        return made_for[1].removeprefix("awfproxy.").replace(".", "/")
    path = Path(file)
    if path.is_relative_to(ROOT / "awfproxy"):
        return str(path.relative_to(ROOT / "awfproxy").with_suffix(""))
    if path.is_relative_to(ROOT / "tests"):
        return "tests"
    for base in (sysconfig.get_path("purelib"), sysconfig.get_path("stdlib")):
        if path.is_relative_to(base):
            return path.relative_to(base).parts[0].removesuffix(".py")
    return path.name


# --- what stays ----------------------------------------------------------------------------------------


def kept() -> dict[str, dict[str, Any]]:
    """Of a thousand of each unit: blocks of memory still held, and objects only the collector frees."""
    path = DataPath()
    found: dict[str, dict[str, Any]] = {}
    gc.disable()
    for name in UNITS:
        unit = getattr(path, name)
        _repeat_and_collect(path, unit, 2 * LINES)
        before = sys.getallocatedblocks()
        garbage = _repeat_and_collect(path, unit, 1000)
        blocks = sys.getallocatedblocks() - before
        found[name] = {"blocks": blocks, "garbage": sum(garbage.values()), "kinds": garbage.most_common(6)}
        if blocks > 100:
            found[name]["lines"] = _growing(path, unit)
    return found


def _repeat_and_collect(path: DataPath, unit: Callable[[], None], times: int) -> Counter[str]:
    """The kinds of what only the collector frees; it also empties the lists of spare objects."""
    gc.collect()
    repeat(unit, times)
    path.write_lines()
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    kinds = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage)
    gc.garbage.clear()
    gc.collect()
    return kinds


def _growing(path: DataPath, unit: Callable[[], None]) -> list[str]:
    """The lines that hold on to most."""
    tracemalloc.start()
    _repeat_and_collect(path, unit, 2 * LINES)
    before = tracemalloc.take_snapshot()
    _repeat_and_collect(path, unit, 1000)
    grown = tracemalloc.take_snapshot().compare_to(before, "lineno")
    tracemalloc.stop()
    grown.sort(key=lambda each: -each.count_diff)
    return [f"{_shown(each.traceback[0])}: {each.count_diff:+}" for each in grown[:4]]


def _shown(frame: tracemalloc.Frame) -> str:
    return f"{_module(frame.filename)}:{frame.lineno}"


# --- bytes held ----------------------------------------------------------------------------------------


HELD = 100


def held() -> dict[str, float]:
    """Bytes per idle connection and per open stream, on our own transports; and what is left in the end.

    TLS is left out: OpenSSL's memory is not Python's, and depends on its version.
    """
    path = SocketPath()
    found = {}
    for name, hold in (("idle connection", path.idle), ("stream", path.streaming)):
        tracemalloc.start()
        for _ in range(3):
            _held(path, hold)  # sets and dicts keep the room they once had
        found[name], found[f"left of each {name}"] = _held(path, hold)
        tracemalloc.stop()
    return found


def _held(path: SocketPath, hold: Callable[[int], None]) -> tuple[float, float]:
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    hold(HELD)
    path.write_lines()
    gc.collect()
    during = tracemalloc.get_traced_memory()[0]
    path.part()
    path.write_lines()
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    return round((during - before) / HELD), round((after - before) / HELD)


# --- instructions --------------------------------------------------------------------------------------


SPANS = {"request": 5 * LINES, "event": 10 * LINES, "reference": 100}
"""How many of each unit are in a span; after the first mark, in this order."""


def instructions() -> dict[str, int]:
    """Runs the spans; who counts is valgrind."""
    gc.disable()
    path = DataPath()
    repeat(path.request, 2 * LINES)
    os.sched_yield()
    repeat(path.request, SPANS["request"])
    os.sched_yield()
    path.begin_stream()
    repeat(path.event, LINES)
    os.sched_yield()
    repeat(path.event, SPANS["event"])
    os.sched_yield()
    repeat(reference, 20)
    os.sched_yield()
    repeat(reference, SPANS["reference"])
    os.sched_yield()
    return SPANS


def reference() -> None:
    """Pure Python that is no part of awfproxy: what one instruction is worth in this interpreter."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(REQUEST)
    while not isinstance(connection.next_event(), h11.EndOfMessage):
        pass


COUNTS = {"calls": calls, "kept": kept, "held": held, "instructions": instructions}

if __name__ == "__main__":
    print(json.dumps(COUNTS[sys.argv[1]](), indent=2))
