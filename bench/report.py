"""From figures of each round to medians, ratios, a table and a JSON record."""

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.candidates import AWFPROXY, ENVOY
from bench.goals import GOALS

_WIDTH = 32

# Near zero on both sides, or a count of what should not be: a ratio would say nothing.
_NO_RATIO = ("growth MB", "lost", "tunnels")

# candidate -> name of a figure -> one value per round
Rounds = Mapping[str, Mapping[str, Sequence[float]]]


def ratio(rounds: Rounds, candidate: str, name: str) -> float | None:
    """The median of the rounds' ratios: noise that hits a whole round hits both sides of it."""
    if name.endswith(_NO_RATIO) or "errors" in name:
        return None
    # An added time is a difference, and noise may make it nothing, or less: then a ratio says nothing.
    pairs = zip(rounds[candidate][name], rounds.get(ENVOY, {}).get(name, ()), strict=False)
    ratios = [mine / base for mine, base in pairs if base > 0]
    return statistics.median(ratios) if ratios else None


def reached(rounds: Rounds, name: str) -> dict[str, Any] | None:
    """What awfproxy has of the goal for this figure, or None where there is no goal or no figure."""
    goal = GOALS.get(name)
    if goal is None or name not in rounds.get(AWFPROXY, {}):
        return None
    seen = ratio(rounds, AWFPROXY, name) if goal.kind == "ratio" else _median(rounds, AWFPROXY, name)
    if seen is None:
        return None
    return {
        "kind": goal.kind,
        "direction": goal.direction,
        "seen": round(seen, 4),
        "must": goal.must,
        "must_reached": goal.reached(seen, goal.must),
        "aim": goal.aim,
        "aim_reached": goal.reached(seen, goal.aim),
    }


def table(rounds: Rounds) -> str:
    columns = [name for name in (ENVOY, AWFPROXY) if name in rounds]
    lines = []
    if columns:
        lines.append(f"{'':<{_WIDTH}}" + "".join(f"{each:>11}" for each in [*columns, "ratio"]))
        lines += [_line(rounds, columns, name) for name in rounds[columns[0]]]
    for other in rounds:
        if other not in columns:
            lines += ["", f"{'':<{_WIDTH}}{other:>11}" + (f"{'ratio':>11}" if ENVOY in rounds else "")]
            lines += [_line(rounds, [other], name) for name in rounds[other]]
    return "\n".join(lines)


def _line(rounds: Rounds, columns: Sequence[str], name: str) -> str:
    line = f"{name:<{_WIDTH}}"
    for candidate in columns:
        line += f"{_median(rounds, candidate, name):>11,.2f}"
    against = None if columns == [ENVOY] else ratio(rounds, columns[-1], name)
    line += f"{'-':>11}" if against is None else f"{against:>11.2f}"
    goal = reached(rounds, name) if AWFPROXY in columns else None
    if goal is not None:
        sign = ">=" if goal["direction"] == "min" else "<="
        for which in "must", "aim":
            verdict = "reached" if goal[f"{which}_reached"] else "MISSED"
            line += f"   {which} {sign} {goal[which]:g} {verdict}"
    return line.rstrip()


def record(
    rounds: Rounds,
    faults: Sequence[str],
    absences: Mapping[str, str],
    versions: Mapping[str, str],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    goals = {name: reached(rounds, name) for name in GOALS}
    return {
        "versions": dict(versions),
        "machine": {"cpus": os.cpu_count(), "load_after": os.getloadavg()[0]},
        "settings": dict(settings),
        "faults": list(faults),
        "absent": dict(absences),
        "medians": {
            candidate: {name: round(_median(rounds, candidate, name), 4) for name in figures}
            for candidate, figures in rounds.items()
        },
        "median_ratios": {
            candidate: {name: _rounded(ratio(rounds, candidate, name)) for name in figures}
            for candidate, figures in rounds.items()
            if candidate != ENVOY
        },
        "goals": {name: goal for name, goal in goals.items() if goal is not None},
        "rounds": rounds,
    }


def write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


def _median(rounds: Rounds, candidate: str, name: str) -> float:
    return statistics.median(rounds[candidate][name])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
