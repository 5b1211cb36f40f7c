"""Large bodies: how fast, and what memory grows by, with fast and slow readers."""

from collections.abc import Callable
from functools import partial

from bench import bodies, measure
from bench.client import Way
from bench.run import Figures, Run


def run(run: Run) -> None:
    size = run.size
    with run.all(run.around.large_port) as peers:

        def speed(kind: str, transfer: Callable[[Way, int], float], length: int, name: str) -> Figures:
            peer = peers[name]
            before = measure.cpu_seconds(peer.pid)
            seconds = transfer(Way(peer.port), length)
            used = measure.cpu_seconds(peer.pid) - before
            return {f"{kind} MB/s": length / seconds / 1e6, f"{kind} CPU us/MB": used / length * 1e12}

        for number in range(size.rounds):
            run.turn(number, "upload", partial(speed, "upload", bodies.upload, size.upload))
            run.turn(number, "download", partial(speed, "download", bodies.download, size.download))

    slow = size.slow_seconds
    growths: dict[str, Callable[[Way], object]] = {
        "upload": lambda way: bodies.upload(way, size.large),
        "download": lambda way: bodies.download(way, size.large),
        "slow upload": lambda way: bodies.push(way, size.large, slow),
        "slow download": lambda way: bodies.sip(way, size.large, slow),
    }
    for number in range(size.growth_rounds):
        for kind, load in growths.items():
            run.turn(number, f"memory, {kind}", partial(_growth, run, kind, load))


def _growth(run: Run, kind: str, load: Callable[[Way], object], name: str) -> Figures:
    """From idle to the highest, of a candidate that has served nothing but its first answer."""
    with run.fresh(name, run.around.large_port) as peer:
        measure.forget_peak(peer.pid)
        idle = measure.rss(peer.pid)
        load(Way(peer.port))
        peak = measure.peak_rss(peer.pid)
    return {f"{kind} peak MB": peak / 1e6, f"{kind} growth MB": (peak - idle) / 1e6}
