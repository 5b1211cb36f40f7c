"""A second SIGTERM or SIGINT while the process stops: it ends at once.

The reactor takes every signal for the first one. While it is stopping it raises `ReactorNotRunning` into the
log for the next, and goes on waiting.
"""

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.logger import Logger

from awfproxy.service.exit import ExitStatus, ISignalledReactor

_log = Logger()


def end_at_second_signal(
    reactor: ISignalledReactor,
    exit_status: ExitStatus,
    *,
    cut: Callable[[], None],
    with_0: bool,
) -> None:
    """From now on a signal that comes while the reactor stops ends the process with the status of the first.

    `cut` ends what is under way: connections are to be seen to break off, and have their lines. Call this
    once the reactor runs and the handlers of the first signal are set.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    stopping = False

    def begun() -> None:
        nonlocal stopping
        stopping = True

    def end() -> None:
        _log.warn("Ended at once: a second signal", event="shutdown_at_once")
        try:
            cut()
        finally:
            if with_0 or os.getpid() == 1 or exit_status.code is not None:
                # No signal would end it (where it stops by itself none has come before), and nobody has ended
                # the reactor's threads.
                exit_status.leave_now()
            else:
                reactor.crash()  # the runner removes its pid file and takes the first signal's status

    def heard(number: int, frame: FrameType | None) -> None:
        first: Any = handlers[signal.Signals(number)]
        if stopping:
            signal.signal(number, signal.SIG_DFL)  # the third ends even a process that hangs
            reactor.callFromThread(end)
        else:
            begun()
            first(number, frame)

    reactor.addSystemEventTrigger("before", "shutdown", begun)  # it may stop by itself
    for number, handler in handlers.items():
        if callable(handler):  # else it is ignored, as nohup has it
            signal.signal(number, heard)
