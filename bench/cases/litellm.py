"""LiteLLM's proxy beside the candidates on 16 connections: another way to keep a key from an agent."""

from bench import environment, litellm, measure
from bench.processes import NotStarted, Peer
from bench.run import Figures, Run
from bench.wrk import COMPLETIONS

CONNECTIONS = 16
_ROUNDS = 2


def run(run: Run) -> None:
    """Where it can't be installed or started, the report says so, and the run goes on."""
    try:
        program = environment.prepare_litellm(run.around.environment)
        with litellm.start(program, run.around) as other, run.all(run.around.small_port) as peers:
            idle = measure.rss(other.pid) / 1e6
            run.note(litellm.NAME, {"first answer s": other.ready_after, "idle MB": idle})
            _compare(run, {**peers, litellm.NAME: other})
    except (environment.Missing, NotStarted) as error:
        run.absent(litellm.NAME, str(error))


def _compare(run: Run, peers: dict[str, Peer]) -> None:
    def seen_by(name: str) -> Figures:
        peer = peers[name]
        before = measure.cpu_seconds(peer.pid)
        seen = run.wrk.run(peer.port, CONNECTIONS, run.size.seconds, path=COMPLETIONS)
        used = measure.cpu_seconds(peer.pid) - before
        return {
            "completions requests/s": seen.per_second,
            "completions p50 ms": seen.p50 * 1e3,
            "completions p99 ms": seen.p99 * 1e3,
            "completions CPU us/request": used / seen.count * 1e6,
            "completions errors": seen.errors,
            "completions MB": measure.rss(peer.pid) / 1e6,
        }

    for number in range(_ROUNDS):
        run.turn(number, "completions", seen_by, [*run.names, litellm.NAME])
