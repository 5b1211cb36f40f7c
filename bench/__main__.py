"""`python -m bench`: the whole comparison, from installing to the table."""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

from bench import candidates, environment, processes, report, sampling
from bench.cases import CASES, NOT_QUICK
from bench.client import LoadFailed
from bench.run import FULL, QUICK, Run, Size, say
from bench.surroundings import Surroundings

_RESULTS = Path(__file__).resolve().parent / "results" / "local"
_LONGEST = 1500


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    size = QUICK if options.quick else FULL
    size = replace(size, rounds=options.rounds or size.rounds, seconds=options.seconds or size.seconds)
    output = options.output or _RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    for number in signal.SIGTERM, signal.SIGALRM:
        signal.signal(number, _stop)
    signal.alarm(_LONGEST)
    try:
        with ExitStack() as stack:
            return _run(options, size, output, stack)
    except (environment.Missing, processes.NotStarted, LoadFailed) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace, size: Size, output: Path, stack: ExitStack) -> int:
    say("installing what is missing, building awfproxy")
    found = environment.prepare(awfproxy=candidates.AWFPROXY in options.only)
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
    around = Surroundings(found, directory)
    say("starting Squid and the origins")
    around.start(stack)
    cases = options.cases or [name for name in CASES if not (options.quick and name in NOT_QUICK)]
    run = Run(around, size, options.only, envoy_log=options.envoy_log)
    began = time.monotonic()
    for name in cases:
        say(f"{name} ({time.monotonic() - began:.0f} s so far)")
        CASES[name](run)

    settings = {"candidates": options.only, "cases": cases, "envoy_log": options.envoy_log}
    settings |= run.settings | asdict(size)
    record = report.record(run.rounds, run.faults, run.absences, found.versions, settings)
    report.write(output, record)
    print("  ".join(f"{name} {version}" for name, version in found.versions.items()))
    print(report.table(run.rounds))
    for name, why in run.absences.items():
        print(f"\n{name}: not measured: {why}")
    for fault in run.faults:
        print(f"\nFAILED: {fault}")
    print(f"\n{time.monotonic() - began:.0f} s; written to {output}")
    if options.pictures:
        drawing = [found.python, "-m", "bench.pictures", str(output), str(options.pictures)]
        subprocess.run(drawing, cwd=environment.REPOSITORY, check=True, timeout=120)
        print(f"pictures in {options.pictures}")
    if options.profile:
        _profile(run, output)
    return 1 if run.faults else 0


def _profile(run: Run, output: Path) -> None:
    """After the figures, since sampling slows what it looks at."""
    stacks = output.with_suffix(".stacks")
    say("profile at 16 connections")
    seconds = 5
    with run.fresh(candidates.AWFPROXY, run.around.small_port) as peer:
        run.wrk.run(peer.port, 16, 1)
        with sampling.sample(run.around.environment.py_spy, peer.pid, seconds, stacks) as sampler:
            run.wrk.run(peer.port, 16, seconds + 1)
            said, _ = sampler.communicate(timeout=30)
    if sampler.returncode:
        print(f"bench: no profile: {(said.strip().splitlines() or ['py-spy failed'])[-1]}", file=sys.stderr)
        return
    print(sampling.summary(stacks))
    print(f"\nstacks written to {stacks}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Compare awfproxy with Envoy.")
    parser.add_argument("--quick", action="store_true", help="a minute: one round, smaller bodies")
    parser.add_argument("--cases", nargs="+", choices=CASES, help="groups of cases (default: all)")
    parser.add_argument("--rounds", type=int, help="rounds of the cases that are cheap to repeat")
    parser.add_argument("--seconds", type=int, help="seconds for each run of wrk")
    parser.add_argument(
        "--only", nargs="+", choices=candidates.NAMES, default=list(candidates.NAMES), help="candidates"
    )
    parser.add_argument("--envoy-log", action="store_true", help="let Envoy write an access log, too")
    parser.add_argument("--output", type=_absolute, help="the JSON (default: bench/results/local/DATE.json)")
    parser.add_argument("--pictures", type=_absolute, help="a directory for pictures of the result")
    parser.add_argument("--profile", action="store_true", help="then sample awfproxy with py-spy")
    return parser


def _absolute(path: str) -> Path:
    return Path(path).absolute()


def _stop(number: int, _frame: object) -> None:
    """Leave by an exception, so that every child is ended on the way out."""
    sys.exit(f"bench: ended by {signal.Signals(number).name}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
