"""`awfproxy check`: what the daemon does before it listens, without listening.

With `--show` the settings are printed, each with the place its value is from, and nothing is connected
to. Without, the validator runs alone, and its exit code is the command's. One case has no code in the
daemon: with `--probe try` it would open its port and not be ready; that is 69 here.
"""

import os
import signal
import ssl
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TextIO

import attrs
from twisted.internet.interfaces import IReactorTime

from awfproxy.cli.running import Interrupted, run
from awfproxy.credentials.sources import mode_of, read_file
from awfproxy.credentials.store import CredentialStore
from awfproxy.credentials.verdict import describe
from awfproxy.errors.configuration import ConfigError
from awfproxy.net.ready import origin_endpoint
from awfproxy.net.trust import client_context
from awfproxy.observe.health import Health
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.service.exit import ExitCode, one_line
from awfproxy.service.probe import KeyProbe
from awfproxy.service.validator import Quit, validator_for
from awfproxy.settings.commandline import CommandLine, help_text, parse
from awfproxy.settings.load import load
from awfproxy.settings.options import CommandLineError
from awfproxy.settings.provider import ProviderSettings
from awfproxy.settings.values import Probe, Settings, in_force

ABOUT = """\
awfproxy check judges settings and key, and tries the way to the provider: the egress proxy, TLS, and one
cheap request with the key. Nothing listens. It ends with the daemon's own exit code: 0 if the daemon
would be ready, 69 if it would have to wait for the egress proxy or the provider.

  --show                      Print each setting, its value and where that is from; connect to nothing.

All other options are the daemon's:

"""


NO_KEY = (
    "No provider has a key: the daemon would open its ports, and each would say so. Set one of "
    f"{', '.join(provider.variable for provider in BUILT_IN)}."
)


@attrs.frozen
class _Terminal:
    out: TextIO
    err: TextIO

    def say(self, text: str) -> None:
        self.out.write(text)

    def complain(self, sentence: str) -> None:
        self.err.write(f"awfproxy: {one_line(sentence)}\n")


@attrs.frozen
class _Finding:
    code: int
    sentence: str


def main(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    terminal = _Terminal(sys.stdout, sys.stderr)
    try:
        line = parse(arguments, frozenset(("help", "show")))
        if "help" in line.flags:
            terminal.say(ABOUT + help_text("awfproxy check"))
            return 0
        return _check(line, os.environ if environ is None else environ, terminal)
    except CommandLineError as error:
        terminal.complain(str(error))
        return ExitCode.USAGE
    except ConfigError as error:
        terminal.complain(str(error))
        return ExitCode.CONFIG


def _check(line: CommandLine, environ: Mapping[str, str], terminal: _Terminal) -> int:
    settings = load(line.values, environ, read_file, mode_of)
    for warning in settings.warnings:
        terminal.complain(f"warning: {warning}")
    if "show" in line.flags:
        terminal.say(table(settings))
        return 0
    if not any(one.configured for one in settings.providers):
        terminal.complain(NO_KEY)
        return ExitCode.UNAVAILABLE
    if settings.probe is Probe.OFF:
        terminal.say("Settings and key are well-formed. Nothing else was tried (--probe off).\n")
        return 0
    finding = _validate(attrs.evolve(settings, probe=_before_opening(settings.probe)))
    if finding.code:
        terminal.complain(finding.sentence)
    else:
        terminal.say(f"{finding.sentence}\n")
    return finding.code


def _before_opening(probe: Probe) -> Probe:
    """Here nothing is opened, so what the daemon asks afterwards is asked now."""
    return Probe.TRY if probe.is_after_opening else probe


def table(settings: Settings) -> str:
    """One line for each setting: name, value, and the place the value is from."""
    width = max(len(entry.name) for entry in settings.entries)
    return "".join(
        f"{entry.name:<{width}}  {one_line(entry.shown)}, from {one_line(entry.source)}\n"
        for entry in settings.entries
    )


def _validate(settings: Settings) -> _Finding:
    """Run the reactor for as long as the validator takes."""
    try:
        return run(lambda reactor: _find(reactor, settings))
    except ConfigError:
        raise
    except Interrupted:
        return _Finding(128 + signal.SIGINT, "Stopped by a signal before the check had ended.")
    except Exception as problem:
        # Only the type: the text of a library's exception is not ours to vouch for.
        return _Finding(ExitCode.INTERNAL, f"The check itself failed: {type(problem).__name__}")


async def _find(reactor: IReactorTime, settings: Settings) -> _Finding:
    """Each provider in turn; the first that would end the daemon, or leave it unready, is the finding."""
    said = []
    context = client_context(settings.roots_file, settings.extra_ca_files)
    for one in [one for one in settings.providers if one.configured]:
        finding = await _find_one(reactor, settings, one, context)
        if finding.code:
            return finding
        said.append(finding.sentence)
    return _Finding(0, f"{' '.join(said)} The daemon would be ready.")


async def _find_one(
    reactor: IReactorTime, settings: Settings, one: ProviderSettings, context: ssl.SSLContext
) -> _Finding:
    provider = one.provider
    if not one.access.probed:
        return _Finding(0, f"No answer would say anything about the {provider.title} key: it is not checked.")
    health = Health(time.time, True)
    endpoint = origin_endpoint(reactor, settings, one.access.origin, context)
    probe = KeyProbe(reactor, endpoint, provider, one.access, CredentialStore(in_force(settings)))
    decision = await validator_for(reactor, settings, one, probe, health).validate()
    if isinstance(decision, Quit):
        return _Finding(decision.code, decision.sentence)
    if not decision.ready or health.verdict is None:
        problem = health.egress_error
        cause = (
            f"{describe(provider, health.verdict)}."
            if problem is None and health.verdict
            else f"{provider.title}: {problem}"
        )
        return _Finding(ExitCode.UNAVAILABLE, f"The daemon would open its port, but not be ready. {cause}")
    return _Finding(0, f"{describe(provider, health.verdict)}.")
