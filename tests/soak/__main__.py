"""`make soak`: a million requests and a hundred thousand streams that break off, some ten minutes."""

import argparse
import platform
import re
import sys
from pathlib import Path

# Last, so that the awfproxy is the installed one where there is one.
sys.path.append(str(Path(__file__).resolve().parents[2]))

import awfproxy
from awfproxy.wire import parser as data_path
from tests.kit.canary import make_canary
from tests.soak.load import Failed, Load
from tests.soak.run import Soaked, soak
from tests.soak.watch import SETTLED, Bounds, Sample

_MIB = 1 << 20
BOUNDS = Bounds(memory=4 * _MIB)
_SAMPLES = 100


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    try:
        soaked = soak(make_canary(), options.requests, options.streams, _SAMPLES, _say)
    except Failed as failed:
        print(f"soak: {failed}", file=sys.stderr)
        return 1
    table = _table(soaked)
    print(table)
    if options.write is not None:
        _write(options.write, table)
    faults = soaked.watch.grown(BOUNDS)
    faults += [f"{count} {what} left at the end" for what, count in soaked.left.items() if count]
    faults += [f"{count} times: {what}" for what, count in soaked.load.errors.items()]
    for fault in faults:
        print(f"soak: {fault}", file=sys.stderr)
    return 1 if faults else 0


def _say(load: Load, sample: Sample, seconds: float) -> None:
    print(
        f"{seconds:6.0f} s  {load.answers:9,} requests  {load.broken_off:8,} streams broken off  "
        f"{sample.memory / _MIB:6.1f} MiB  {sample.descriptors:4} descriptors  {sample.objects:7,} objects  "
        f"{sample.timers} timers  {load.errors.total()} errors",
        flush=True,
    )


def _table(soaked: Soaked) -> str:
    load, watch = soaked.load, soaked.watch
    settled = next(each for each in watch.samples if each.progress >= SETTLED)
    compiled = "compiled" if not data_path.__file__.endswith(".py") else "plain Python"
    rows = [
        ("resident memory, MiB", "memory", _MIB, "z.1f", BOUNDS.memory),
        ("descriptors", "descriptors", 1, "z,.0f", BOUNDS.descriptors),
        ("objects that the collector sees", "objects", 1, "z,.0f", BOUNDS.objects),
        ("timers of the reactor", "timers", 1, "z,.0f", BOUNDS.timers),
    ]
    seconds = soaked.seconds
    lines = [
        f"{load.answers:,} requests and {load.broken_off:,} streams broken off in {seconds:,.0f} s "
        f"({load.answers / seconds:,.0f} and {load.broken_off / seconds:,.0f} a second, beside each other), "
        f"{load.errors.total()} errors; awfproxy {awfproxy.__version__}, {compiled}, "
        f"Python {platform.python_version()}.",
        "",
        "| | start | at 20 % | highest | last under load | at rest afterwards | grown from 20 % on | may |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for title, name, unit, form, bound in rows:
        values = [getattr(each, name) for each in (watch.samples[0], settled)]
        values += [max(getattr(each, name) for each in watch.samples)]
        values += [getattr(each, name) for each in (watch.samples[-1], watch.rest)]
        cells = [format(value / unit, form) for value in (*values, watch.growth(name), bound)]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    lines += ["", "| broken off | streams |", "|---|---|"]
    lines += [f"| {name} | {count:,} |" for name, count in load.breakings.items()]
    return "\n".join(lines) + "\n"


def _write(page: Path, table: str) -> None:
    text = page.read_text()
    after, found = re.subn(
        r"(<!-- soak -->\n).*?(<!-- end -->)",
        lambda marks: marks[1] + table + marks[2],
        text,
        count=1,
        flags=re.DOTALL,
    )
    if not found:
        raise SystemExit(f"soak: {page} has no <!-- soak --> ... <!-- end -->")
    page.write_text(after)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--streams", type=int, default=100_000)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the figures into this page, too")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
