"""Pictures of a result, one for each group of figures: `python -m bench.pictures RESULT.json DIRECTORY`.

Needs matplotlib, which the benchmark's own venv has. The same result gives the same bytes.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.candidates import AWFPROXY, ENVOY
from bench.goals import GOALS

_COLOURS = {ENVOY: "#9aa5b1", AWFPROXY: "#2f6fb0", "litellm": "#c2793a"}
_SETTINGS = {"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"}

# File name -> title, and the figures in it.
_GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "requests": (
        "Requests/s, by connections (more is better)",
        ("requests/s, 1", "requests/s, 16", "requests/s, 64", "requests/s, 256", "requests/s, 1024"),
    ),
    "cpu": (
        "CPU µs a request, by connections (less is better)",
        tuple(f"CPU us/request, {count}" for count in (1, 16, 64, 256, 1024)),
    ),
    "latency": (
        "Milliseconds (less is better)",
        ("added p50 ms", "added p99 ms", "first event added p50 ms", "half load p50 ms", "half load p99 ms"),
    ),
    "tail": (
        "p99 in ms, many connections, warm and from a cold start (less is better)",
        ("p99 ms, 256", "p99 ms, 1024", "cold p99 ms, 256", "cold p99 ms, 1024", "cold first p99 ms, 1024"),
    ),
    "throughput": (
        "MB/s (more is better)",
        (
            "SSE MB/s, 1 stream",
            "SSE MB/s, 32 streams",
            "SSE bulk MB/s, 1 stream",
            "SSE bulk MB/s, 32 streams",
            "upload MB/s",
            "download MB/s",
        ),
    ),
    "websocket": (
        "WebSocket messages/s (more is better)",
        tuple(
            f"{shape} messages/s" for shape in ("ping-pong", "32 connections", "64 in flight", "16 KB")
        ),
    ),
    "memory": (
        "Memory in MB (less is better)",
        ("idle MB", "1,000 streams MB", "upload peak MB", "download peak MB", "slow download peak MB"),
    ),
    "litellm": (
        "16 connections, chat completions: requests/s (more is better)",
        ("completions requests/s",),
    ),
}


def main(result: Path, directory: Path) -> int:
    record = json.loads(result.read_text())
    directory.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(_SETTINGS):
        for name, (title, figures) in _GROUPS.items():
            seen = [figure for figure in figures if figure in record["medians"].get(ENVOY, {})]
            if seen and (name != "litellm" or name in record["medians"]):
                _draw(record, title, seen).savefig(
                    directory / f"{name}.svg", metadata={"Date": None, "Creator": None}
                )
    return 0


def _draw(record: dict[str, Any], title: str, names: list[str]) -> Figure:
    """Bars are ratios to Envoy, so that all fit one scale; each says its own figure, too."""
    medians = record["medians"]
    candidates = [each for each in _COLOURS if all(name in medians.get(each, {}) for name in names)]
    figure = Figure(figsize=(7, 0.8 + 0.26 * len(candidates) * len(names) + 0.14 * len(names)))
    axes: Axes = figure.subplots()
    height = 0.8 / len(candidates)
    for row, candidate in enumerate(candidates):
        for place, name in enumerate(names):
            shown = min(_share(record, name, candidate), _WIDEST)
            at = place + (row + 0.5) * height - 0.4
            label = candidate if place == 0 else None
            axes.barh(at, shown, height * 0.9, color=_COLOURS[candidate], label=label)
            axes.text(shown + 0.02, at, _said(record, name, candidate), va="center", fontsize=8)
    for place, name in enumerate(names):
        goal = GOALS.get(name)
        if goal is not None and goal.kind == "ratio":
            axes.plot([goal.must] * 2, [place - 0.4, place + 0.4], color="#b03030", linewidth=1)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.3 * max(1.1, *(bar.get_width() for bar in axes.patches)))
    axes.set_xlabel("to Envoy; red line: what it must be", loc="left")
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="lower right", frameon=False, fontsize=8, ncols=3)
    figure.tight_layout()
    return figure


_WIDEST = 3.0
"""Longer bars are cut: what they say matters."""


def _share(record: dict[str, Any], name: str, candidate: str) -> float:
    if candidate == ENVOY:
        return 1.0
    return max(record["median_ratios"][candidate][name] or 0.0, 0.0)


def _said(record: dict[str, Any], name: str, candidate: str) -> str:
    value = record["medians"][candidate][name]
    said = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    ratio = record["median_ratios"].get(candidate, {}).get(name)
    return said if ratio is None else f"{said} ({ratio:.2g}x)"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
