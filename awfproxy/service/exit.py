"""Exit codes, and the one way to end with one of them under twistd and twist, daemonised or not.

Both runners return 0 when the reactor is stopped, whatever the reason, and swallow what is
written to `sys.stderr`. So the code and its sentence are kept here until everything else has
ended, pid file included, and an `atexit` hook then writes the sentence to the real standard error and
leaves. A daemon has no standard error: there the sentence becomes the log's last line.
"""

import atexit
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from types import FrameType
from typing import NoReturn, TextIO

from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads
from twisted.logger import ILogObserver, LogEvent, Logger, LogPublisher, globalLogPublisher
from zope.interface import implementer


class ExitCode(IntEnum):
    """The codes of sysexits(3), as far as they are used here, and one of the sidecar's."""

    STRICT = 1
    """`--probe strict`: after the opening the provider rejects a key."""

    USAGE = 64
    """The command line: an unknown option, a value that is not of its type."""

    UNAVAILABLE = 69
    """`--probe require`: no verdict by the startup deadline."""

    INTERNAL = 70
    """awfproxy itself failed while starting."""

    OS_ERROR = 71
    """A port is in use, or may not be bound."""

    PROTOCOL = 76
    """TLS to the provider: untrusted, another name, or no TLS at all."""

    NO_PERMISSION = 77
    """The provider rejects the key."""

    CONFIG = 78
    """A setting or the key's form, or an egress proxy that refuses the origin or wants credentials."""


def one_line(sentence: str) -> str:
    """The sentence with everything escaped that could end or forge a line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in sentence)


def refuse(code: ExitCode, sentence: str, stderr: TextIO | None = None) -> NoReturn:
    """End now, before the reactor runs (options and `makeService`), where `SystemExit` still counts."""
    _write(stderr or sys.__stderr__, sentence)
    raise SystemExit(int(code))


def complain(code: int, sentence: str) -> int:
    """A console verb's end: its sentence on standard error; returns the code."""
    sys.stderr.write(f"awfproxy: {one_line(sentence)}\n")
    return code


def _write(stream: TextIO | None, sentence: str) -> None:
    if stream is not None:
        try:
            stream.write(f"awfproxy: {one_line(sentence)}\n")
            stream.flush()
        except (OSError, ValueError):
            pass  # closed by whoever started us: the code still tells


class ExitStatus:
    """The code that this process is to end with; make one in `makeService`, before it daemonises.

    Without `fail` it does nothing, so that a signal ends the process as the runner does it.
    """

    def __init__(
        self,
        register: Callable[[Callable[[], None]], object] = atexit.register,
        leave: Callable[[int], object] = os._exit,
        publisher: LogPublisher = globalLogPublisher,
        pid: Callable[[], int] = os.getpid,
    ) -> None:
        self.code: ExitCode | None = None
        self.sentence = ""
        self._leave = leave
        self._publisher = publisher
        self._log = Logger(observer=publisher)
        self._pid = pid
        self._made_in = pid()
        register(self._apply)

    def fail(self, code: ExitCode, sentence: str) -> None:
        """Log the sentence, and remember both; the first failure is the one that counts."""
        if self.code is not None:
            return
        self.code = code
        self.sentence = one_line(sentence)
        self._say()
        if self._pid() != self._made_in:
            # Daemonised (twistd forks after makeService), so the log is all there is.
            self._publisher.addObserver(_AfterTheLastLine(self._say))

    def leave_now(self) -> None:
        """End at once, with what is open left to the kernel; 0 where nothing has failed."""
        self._flush()
        self._leave(0 if self.code is None else int(self.code))

    def _say(self) -> None:
        assert self.code is not None
        self._log.critical(
            "awfproxy: {sentence}", sentence=self.sentence, event="startup_failed", exit_code=int(self.code)
        )

    def _apply(self) -> None:
        if self.code is None:
            return
        self._flush()
        _write(sys.__stderr__, self.sentence)
        self._leave(int(self.code))

    def _flush(self) -> None:
        for stream in sys.stdout, sys.stderr:
            with suppress(OSError, ValueError, AttributeError):  # captured, closed or absent
                stream.flush()


class ISignalledReactor(IReactorCore, IReactorFromThreads):
    """What `end_with_0` needs of a reactor."""


def end_with_0(reactor: ISignalledReactor) -> None:
    """From now on SIGTERM and SIGINT stop the reactor without its knowing of a signal.

    The runners send themselves the signal again that a reactor tells them of, which ends them with 143; to
    have it from us alone is the public way to end with 0. Call it once the reactor runs and has set its own.
    """

    def stop() -> None:
        with suppress(ReactorNotRunning):  # a second signal
            reactor.stop()

    def heard(number: int, frame: FrameType | None) -> None:
        reactor.callFromThread(stop)

    for number in signal.SIGTERM, signal.SIGINT:
        signal.signal(number, heard)


@implementer(ILogObserver)
class _AfterTheLastLine:
    """Speaks once, right after the line with which twistd ends its log.

    The runner logs that line and then takes its observer away, so this is the only moment at which a
    line comes last in whatever log was configured. Observers are called in the order of their adding:
    the log's own has already written when this one is called.
    """

    def __init__(self, say: Callable[[], None]) -> None:
        self._say = say
        self._said = False

    def __call__(self, event: LogEvent) -> None:
        if not self._said and event.get("log_format") == "Server Shut Down.":
            self._said = True
            self._say()
