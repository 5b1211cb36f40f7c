"""In the daemon that is soaked: at SIGUSR1 it writes what it holds into the file that SOAK_COUNTS names.

Python imports this by itself, since the folder is on PYTHONPATH; awfproxy knows nothing of it.
"""

import gc
import json
import os
import signal
import sys


def _write(number: int, frame: object) -> None:
    gc.collect()  # what only waits for the collector is no leak
    reactor = sys.modules["twisted.internet.reactor"]
    counts = {"objects": len(gc.get_objects()), "timers": len(reactor.getDelayedCalls())}  # type: ignore[attr-defined]
    path = os.environ["SOAK_COUNTS"]
    with open(path + ".new", "w") as out:
        json.dump(counts, out)
    os.replace(path + ".new", path)


if "SOAK_COUNTS" in os.environ:
    signal.signal(signal.SIGUSR1, _write)
