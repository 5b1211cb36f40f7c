"""From figures of each round to medians, ratios, a table and a JSON record."""

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.cases import Figures

BASELINE = "envoy"

# Name of a figure -> (what is compared: "ratio" to Envoy or the "value" itself, "min" or "max", bound).
GOALS = {
    "requests/s, 16": ("ratio", "min", 0.8),
    "idle MB": ("value", "max", 60.0),
    "200 streams MB": ("value", "max", 100.0),
    "download peak MB": ("value", "max", 100.0),
    "upload peak MB": ("value", "max", 100.0),
}

# Near zero on both sides: a ratio would say nothing.
NO_RATIO = "growth MB"

# candidate -> name of a figure -> one value per round
Rounds = Mapping[str, Mapping[str, Sequence[float]]]


def gather(into: dict[str, dict[str, list[float]]], candidate: str, figures: Figures) -> None:
    for name, value in figures.items():
        into.setdefault(candidate, {}).setdefault(name, []).append(value)


def ratio(rounds: Rounds, candidate: str, name: str) -> float | None:
    """The median of the rounds' ratios: noise that hits a whole round hits both sides of it."""
    if name.endswith(NO_RATIO):
        return None
    pairs = zip(rounds[candidate][name], rounds.get(BASELINE, {}).get(name, ()), strict=False)
    ratios = [mine / base for mine, base in pairs if base]
    return statistics.median(ratios) if ratios else None


def met(rounds: Rounds, candidate: str, name: str) -> bool | None:
    if name not in GOALS or candidate == BASELINE:
        return None
    kind, direction, bound = GOALS[name]
    seen = ratio(rounds, candidate, name) if kind == "ratio" else statistics.median(rounds[candidate][name])
    if seen is None:
        return None
    return seen >= bound if direction == "min" else seen <= bound


def table(rounds: Rounds) -> str:
    others = [name for name in rounds if name != BASELINE]
    columns = [*(name for name in (BASELINE,) if name in rounds), *others]
    heading = "".join(f"{name:>12}" for name in [*columns, *("ratio" for _ in others)])
    lines = [f"{'':<24}{heading}"]
    for name in rounds[columns[0]]:
        line = f"{name:<24}"
        for candidate in columns:
            line += f"{statistics.median(rounds[candidate][name]):>12,.2f}"
        for candidate in others:
            against = ratio(rounds, candidate, name)
            line += f"{against:>12.2f}" if against is not None else f"{'-':>12}"
            if (verdict := met(rounds, candidate, name)) is not None:
                kind, direction, bound = GOALS[name]
                sign = ">=" if direction == "min" else "<="
                line += f"   {kind} {sign} {bound:g}: {'reached' if verdict else 'MISSED'}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def record(rounds: Rounds, versions: Mapping[str, str], settings: Mapping[str, Any]) -> dict[str, Any]:
    names = [name for name in rounds if name != BASELINE]
    return {
        "versions": dict(versions),
        "machine": {"cpus": os.cpu_count(), "load_after": os.getloadavg()[0]},
        "settings": dict(settings),
        "medians": {
            candidate: {name: round(statistics.median(values), 4) for name, values in figures.items()}
            for candidate, figures in rounds.items()
        },
        "median_ratios": {
            candidate: {name: _rounded(ratio(rounds, candidate, name)) for name in rounds[candidate]}
            for candidate in names
        },
        "goals_met": {
            candidate: {name: met(rounds, candidate, name) for name in GOALS if name in rounds[candidate]}
            for candidate in names
        },
        "rounds": rounds,
    }


def write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
