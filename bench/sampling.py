"""Where a candidate's Python spends its time under load: py-spy samples it from outside, unchanged."""

import subprocess
from collections import Counter
from pathlib import Path

_ROWS = 25


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
    lines = [f"{'self %':>7} {'total %':>8}  function"]
    for frame, samples in own.most_common(_ROWS):
        lines.append(f"{100 * samples / total:7.1f} {100 * whole[frame] / total:8.1f}  {frame}")
    return "\n".join(lines)
