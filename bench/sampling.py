"""Where a candidate's Python spends its time under load: py-spy samples it from outside, unchanged."""

import subprocess
from collections import Counter
from pathlib import Path

_ROWS = 30
_OUTER = 0.98
"""Frames with a larger share, as of the reactor's own loop, say nothing."""


def sample(py_spy: str, pid: int, seconds: float, output: Path) -> subprocess.Popen[str]:
    """Starts sampling; raw collapsed stacks go to `output`, which flame graph tools read too."""
    output.parent.mkdir(parents=True, exist_ok=True)
    command = [py_spy, "record", "--pid", str(pid), "--duration", f"{seconds:.0f}", "--rate", "500"]
    command += ["--function", "--format", "raw", "--output", str(output)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def summary(output: Path) -> str:
    """Shares by function: within itself, and with all that it calls."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for line in output.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        own[frames[-1]] += int(count)
        for frame in set(frames):
            whole[frame] += int(count)
    total = sum(own.values()) or 1
    lines = []
    for title, ranking in (("by own time", own), ("by time with all that it calls", whole)):
        lines += [f"\n{title}", f"{'self %':>7} {'total %':>8}  function"]
        inner = [frame for frame, _ in ranking.most_common() if whole[frame] < _OUTER * total]
        for frame in inner[:_ROWS]:
            lines.append(f"{100 * own[frame] / total:7.1f} {100 * whole[frame] / total:8.1f}  {frame}")
    return "\n".join(lines)
