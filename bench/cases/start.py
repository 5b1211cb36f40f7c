"""From exec to the first right answer, and the memory right after it."""

from bench import measure
from bench.run import Figures, Run


def run(run: Run) -> None:
    def started(name: str) -> Figures:
        with run.fresh(name, run.around.small_port) as peer:
            return {"first answer s": peer.ready_after, "idle MB": measure.rss(peer.pid) / 1e6}

    for number in range(run.size.rounds):
        run.turn(number, "start", started)
