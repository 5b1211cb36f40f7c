"""`python -m bench`: the whole comparison, from installing to the table."""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

from bench import cases, environment, load, peers, report, sampling
from bench.peers import Peer, Stage

_RESULTS = Path(__file__).resolve().parent / "results" / "local"
_LONGEST = 900


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    size = cases.QUICK if options.quick else cases.FULL
    size = replace(size, rounds=options.rounds or size.rounds, seconds=options.seconds or size.seconds)
    output = options.output or _RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    for number in signal.SIGTERM, signal.SIGALRM:
        signal.signal(number, _stop)
    signal.alarm(_LONGEST)
    try:
        with ExitStack() as stack:
            return _run(options, size, output, stack)
    except (environment.Missing, peers.NotStarted, load.LoadFailed) as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace, size: cases.Size, output: Path, stack: ExitStack) -> int:
    _say("installing what is missing, building awfproxy")
    found = environment.prepare(awfproxy="awfproxy" in options.only)
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
    stage = Stage(found, directory, stack)
    _say("starting Squid, the origin and the candidates")
    stage.start_surroundings(size.transfer)
    start = {"envoy": stage.start_envoy, "awfproxy": stage.start_awfproxy}
    candidates = [start[name]() for name in options.only]
    rounds: dict[str, dict[str, list[float]]] = {}

    def note(peer: Peer, figures: cases.Figures) -> None:
        report.gather(rounds, peer.name, figures)

    # Memory first: after the request rounds an allocator's leftovers would be counted with it.
    for peer in candidates:
        note(peer, cases.started(peer))
    for peer in candidates:
        _say(f"{cases.STREAMS} streams, {peer.name}")
        note(peer, cases.streams(peer, size))
    for number in range(size.bodies):
        for peer in _rotated(candidates, number):
            _say(f"{size.transfer >> 20} MiB down and up, {peer.name}")
            note(peer, cases.transfers(peer, size))
    for connections in cases.CONNECTIONS:
        for peer in candidates:
            cases.requests(found.wrk, directory, peer, connections, 1)  # warm: tunnels open, nothing noted
    for number in range(size.rounds):
        _say(f"requests, round {number + 1} of {size.rounds}")
        for connections in cases.CONNECTIONS:
            for peer in _rotated(candidates, number):
                note(peer, cases.requests(found.wrk, directory, peer, connections, size.seconds))

    settings = {"candidates": options.only, **asdict(size)}
    report.write(output, report.record(rounds, found.versions, settings))
    print("  ".join(f"{name} {version}" for name, version in found.versions.items()))
    print(report.table(rounds))
    print(f"\nwritten to {output}")
    if options.profile:
        _profile(found, directory, next(peer for peer in candidates if peer.name == "awfproxy"), output)
    return 0


def _profile(found: environment.Environment, directory: Path, peer: Peer, output: Path) -> None:
    """After the figures, since sampling slows what it looks at."""
    stacks = output.with_suffix(".stacks")
    _say("profile at 16 connections")
    seconds = 5
    with sampling.sample(found.py_spy, peer.pid, seconds, stacks) as sampler:
        cases.requests(found.wrk, directory, peer, 16, seconds + 1)
        said, _ = sampler.communicate(timeout=30)
    if sampler.returncode:
        print(f"bench: no profile: {(said.strip().splitlines() or ['py-spy failed'])[-1]}", file=sys.stderr)
        return
    print(sampling.summary(stacks))
    print(f"\nstacks written to {stacks}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Compare awfproxy with Envoy.")
    parser.add_argument("--quick", action="store_true", help="under a minute: rougher, and 256 MiB bodies")
    parser.add_argument("--rounds", type=int, help="rounds of request cases")
    parser.add_argument("--seconds", type=int, help="seconds for each request case")
    parser.add_argument(
        "--only", nargs="+", choices=("envoy", "awfproxy"), default=["envoy", "awfproxy"], help="candidates"
    )
    parser.add_argument("--output", type=Path, help="the JSON file (default: bench/results/local/DATE.json)")
    parser.add_argument("--profile", action="store_true", help="then sample awfproxy with py-spy")
    return parser


def _rotated(candidates: list[Peer], by: int) -> list[Peer]:
    by %= len(candidates)
    return candidates[by:] + candidates[:by]


def _say(what: str) -> None:
    print(f"bench: {what}", file=sys.stderr, flush=True)


def _stop(number: int, _frame: object) -> None:
    """Leave by an exception, so that every child is ended on the way out."""
    sys.exit(f"bench: ended by {signal.Signals(number).name}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
