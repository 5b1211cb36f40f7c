"""What twistd and twist ask for: options in, one MultiService out. The only reader of the environment.

twistd and twist call `Options` and `makeService`. Everything that can be judged without I/O is judged
here, before a daemon leaves its terminal, so that the command itself returns the code.
"""

import gc
import os
import resource as limits
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TextIO
from uuid import uuid4

from twisted.application.service import MultiService
from twisted.python import usage
from twisted.python.logfile import LogFile

from awfproxy import commandline
from awfproxy.credentials.sources import mode_of, read_file, read_file_at_once
from awfproxy.errors import ConfigError
from awfproxy.observe.logs import LogWriter
from awfproxy.options import CommandLineError
from awfproxy.provider_settings import is_plain_socket
from awfproxy.readings import hidden_host
from awfproxy.service.exit import ExitCode, refuse
from awfproxy.settings import Settings, load


class Options(usage.Options):
    """The options of `twistd awfproxy`; `settings` is what they came to, with environment and file."""

    settings: Settings
    load: Callable[[], Settings]
    """Reads the settings again, from the same places, and waits for none of them."""

    writer: LogWriter

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Ends the process with 64 or 78 and one line where the settings cannot be used."""
        try:
            line = commandline.parse(sys.argv[1:] if options is None else options)
            if "help" in line.flags:
                sys.stdout.write(commandline.help_text())
                raise SystemExit(0)
            instance = str(uuid4())
            self.settings = load(line.values, os.environ, read_file, mode_of, instance)
            self.load = partial(load, line.values, os.environ, read_file_at_once, mode_of, instance)
        except CommandLineError as error:
            refuse(ExitCode.USAGE, str(error))
        except ConfigError as error:
            refuse(ExitCode.CONFIG, str(error))
        profile = self.settings.profile
        self.writer = LogWriter(
            self.settings.log_format,
            profile.event_names,
            hidden_host(os.environ) if profile.request_events else None,
        )
        runner = getattr(self, "parent", None)
        if runner is not None and "fileLogObserverFactory" in runner:
            # twist; left alone it writes JSON whenever it has no terminal.
            runner["fileLogObserverFactory"] = self.writer.observer


def _twistd_stream(runner: Any) -> TextIO | None:
    """The log file that twistd's own options name; None leaves the log to twistd."""
    if runner is None or "nodaemon" not in runner or runner.get("syslog") or runner.get("logger"):
        return None
    name, foreground = runner.get("logfile"), runner.get("nodaemon")
    if foreground and name in (None, "", "-"):
        return sys.stdout
    if name == "-":
        return None  # which twistd refuses for a daemon
    stream: TextIO = LogFile.fromFullPath(name or "twistd.log")
    return stream


def makeService(options: Options) -> MultiService:
    """What the runner starts and stops."""
    with _without_openssl(options.settings):
        from twisted.internet import reactor

        from awfproxy.daemon import make_services

    # Deadlines follow a clock that nobody sets back; before the first timer is made.
    reactor.seconds = time.monotonic  # type: ignore[method-assign]
    _raise_descriptor_limit()
    try:
        daemon = make_services(reactor, options.settings, os.environ, options.writer, options.load)
    except ConfigError as error:
        refuse(ExitCode.CONFIG, str(error))
    stream = _twistd_stream(getattr(options, "parent", None))
    if stream is not None:
        daemon.log_observer = options.writer.observer(stream)
    _spare_the_collector()
    return daemon


@contextmanager
def _without_openssl(settings: Settings) -> Iterator[None]:
    """Lets Twisted believe that pyOpenSSL is not installed, which it then does without.

    Twisted imports it wherever it is, with cryptography and a second OpenSSL: 13 MB and 40 ms. TLS is the
    standard library's here; only an `ssl:` listener, or one of a plugin, could ask Twisted for it.
    """
    plain = all(is_plain_socket(each) for one in settings.providers for each in one.listen)
    if not plain or "OpenSSL" in sys.modules:
        yield
        return
    sys.modules["OpenSSL"] = None  # type: ignore[assignment]  # so the import system is told
    try:
        yield
    finally:
        del sys.modules["OpenSSL"]


def _spare_the_collector() -> None:
    """What stands by now stays, and exchanges leave no cycles: fewer and shorter collections."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def _raise_descriptor_limit() -> None:
    """Each exchange holds two descriptors; the soft limit of many systems is 1,024."""
    soft, hard = limits.getrlimit(limits.RLIMIT_NOFILE)
    if soft != hard:
        limits.setrlimit(limits.RLIMIT_NOFILE, (hard, hard))
