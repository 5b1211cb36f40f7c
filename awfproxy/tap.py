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
from typing import Any
from uuid import uuid4

from twisted.application.service import MultiService
from twisted.python import usage

import awfproxy
from awfproxy.credentials.sources import mode_of, read_file, read_file_at_once
from awfproxy.errors.configuration import ConfigError
from awfproxy.hardening.environ import Environment, credentials, forget
from awfproxy.hardening.needs import Surroundings, code, policy
from awfproxy.hardening.process import close_to_others, no_core_file
from awfproxy.observe.logs import LogWriter
from awfproxy.observe.logstream import Stream, TurnedLogFile
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.service.confinement import Before, Confinement
from awfproxy.service.exit import ExitCode, refuse
from awfproxy.settings import commandline
from awfproxy.settings.load import load
from awfproxy.settings.options import CommandLineError
from awfproxy.settings.readings import hidden_host
from awfproxy.settings.values import Settings


class Options(usage.Options):
    """The options of `twistd awfproxy`; `settings` is what they came to, with environment and file."""

    settings: Settings
    load: Callable[[], Settings]
    """Reads the settings again, from the same places, and waits for none of them."""

    writer: LogWriter
    environ: Environment
    """As it was at the start: `os.environ` has no credentials any more."""

    before: Before

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Ends the process with 64 or 78 and one line where the settings cannot be used."""
        problem = close_to_others()  # before there is a key in it
        self.environ = environ = Environment(os.environ)
        try:
            line = commandline.parse(sys.argv[1:] if options is None else options)
            if "help" in line.flags:
                sys.stdout.write(commandline.help_text())
                raise SystemExit(0)
            instance = str(uuid4())
            self.settings = load(line.values, environ, read_file, mode_of, instance)
            read_again = _read_again if self.settings.confine else read_file_at_once
            self.load = partial(load, line.values, environ, read_again, mode_of, instance)
        except CommandLineError as error:
            refuse(ExitCode.USAGE, str(error))
        except ConfigError as error:
            refuse(ExitCode.CONFIG, str(error))
        if self.settings.dumpable:
            close_to_others(dumpable=True)
        else:
            no_core_file()
        forgotten = forget(os.environ, credentials(environ, _key_variables(self.settings)))
        self.before = Before(forgotten, problem)
        profile = self.settings.profile
        self.writer = LogWriter(
            self.settings.log_format,
            profile.event_names,
            hidden_host(environ) if profile.request_events else None,
        )
        runner = getattr(self, "parent", None)
        if runner is not None and "fileLogObserverFactory" in runner:
            # twist; left alone it writes JSON whenever it has no terminal.
            runner["fileLogObserverFactory"] = self.writer.observer


def _key_variables(settings: Settings) -> set[str]:
    """Of all providers, whether they have a port or not."""
    providers = {provider.name: provider for provider in BUILT_IN}
    providers |= {one.provider.name: one.provider for one in settings.providers}
    found = {use.variable for one in settings.providers for use in one.access.keys}
    return found.union(*((each.variable, *each.further_variables) for each in providers.values()))


def _read_again(path: str) -> bytes:
    """For a reload, at which a file out of reach may be one that was not known of at the start."""
    try:
        return read_file_at_once(path)
    except PermissionError as error:
        raise PermissionError(
            error.errno,
            f"{error.strerror} (a running awfproxy reaches only the folders that it began with: for a file "
            "in another, restart it)",
        ) from None


def _twistd_stream(runner: Any) -> Stream | None:
    """The log file that twistd's own options name; None leaves the log to twistd."""
    if runner is None or "nodaemon" not in runner or runner.get("syslog") or runner.get("logger"):
        return None
    name, foreground = runner.get("logfile"), runner.get("nodaemon")
    if foreground and name in (None, "", "-"):
        return sys.stdout
    if name == "-":
        return None  # which twistd refuses for a daemon
    path = os.path.abspath(name or "twistd.log")
    return TurnedLogFile(os.path.basename(path), os.path.dirname(path))  # type: ignore[no-untyped-call]


def makeService(options: Options) -> MultiService:
    """What the runner starts and stops."""
    with _without_openssl(options.settings):
        from twisted.internet import reactor

        from awfproxy.daemon import make_services

    # Deadlines follow a clock that nobody sets back; before the first timer is made.
    reactor.seconds = time.monotonic  # type: ignore[method-assign]
    _raise_descriptor_limit()
    runner = getattr(options, "parent", None)
    stream = _twistd_stream(runner)
    first = [_confinement(options, _surroundings(runner, stream))]
    try:
        daemon = make_services(
            reactor, options.settings, options.environ, options.writer, options.load, first
        )
    except ConfigError as error:
        refuse(ExitCode.CONFIG, str(error))
    if stream is not None:
        daemon.log_observer = options.writer.observer(stream)
    _spare_the_collector()
    return daemon


def _confinement(options: Options, surroundings: Surroundings) -> Confinement:
    settings = options.settings
    return Confinement(
        options.before,
        confine=settings.confine,
        dumpable=settings.dumpable,
        policy=lambda: policy(settings, options.environ, surroundings),
    )


def _surroundings(runner: Any, stream: Stream | None) -> Surroundings:
    """What the runner itself goes on to need, by its own options."""
    asked: Callable[[str], Any] = (lambda name: None) if runner is None else runner.get
    kept = [stream.directory] if isinstance(stream, TurnedLogFile) else []
    kept += [os.path.dirname(os.path.abspath(asked("profile")))] if asked("profile") else []
    # twistd removes it by this name from the folder that it has changed to by then.
    removed = [asked("pidfile")] if asked("pidfile") else []
    return Surroundings(tuple(kept), tuple(removed), code(sys.path, os.getcwd(), awfproxy.__file__))


@contextmanager
def _without_openssl(settings: Settings) -> Iterator[None]:
    """Lets Twisted believe that pyOpenSSL is not installed, which it then does without.

    Twisted imports it wherever it is, with cryptography and a second OpenSSL: 13 MB and 40 ms. TLS is the
    standard library's here; only an `ssl:` listener, or one of a plugin, could ask Twisted for it.
    """
    plain = all(each.is_plain_socket for one in settings.providers for each in one.listen)
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
