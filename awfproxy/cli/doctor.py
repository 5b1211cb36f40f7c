"""`awfproxy doctor`: walks the way hop by hop, as an agent's request would, and names the first that fails.

Where the daemon runs it has the daemon's options, environment and file. With --host it runs on the agent's
side instead, and needs neither key nor configuration.
"""

import os
import signal
import ssl
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any, TextIO

import attrs
from twisted.internet.task import LoopingCall

from awfproxy.agents.agent import Agent, parse_model
from awfproxy.agents.codex import TOKEN_VARIABLE
from awfproxy.agents.place import PORTS, Place, parse_host
from awfproxy.agents.registry import BY_NAME
from awfproxy.callers.token import has_form
from awfproxy.cli.running import Interrupted, run
from awfproxy.credentials.sources import how_to_give, mode_of, read_file
from awfproxy.doctor import judge
from awfproxy.doctor.client import PLACEHOLDER
from awfproxy.doctor.door import Door, doors
from awfproxy.doctor.found import agent_findings
from awfproxy.doctor.show import Lines, as_json
from awfproxy.doctor.step import exit_code, failed, ok, skipped
from awfproxy.doctor.walk import OTHER_SIDE, Listener, Stopped, Walk, Wishes
from awfproxy.errors.configuration import ConfigError
from awfproxy.net.trust import client_context
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.providers.provider import Provider
from awfproxy.service.exit import ExitCode, complain
from awfproxy.settings.commandline import EXIT_CODES, CommandLine, help_text, parse
from awfproxy.settings.given import AllGiven, resolve_all
from awfproxy.settings.load import load
from awfproxy.settings.options import CommandLineError, Option
from awfproxy.settings.provider import ProviderSettings, access_of
from awfproxy.settings.syntax import path, quoted
from awfproxy.settings.values import Settings

LIVE_INTERVAL = 0.25
_GROUP = "Doctor"

AGENT = Option(
    "agent",
    "NAME",
    f"Also judge whether this agent, with the environment and files found here, would reach awfproxy: "
    f"{', '.join(BY_NAME)}. Without PROVIDER, its own is walked.",
    _GROUP,
    None,
    str,
)
HOME = Option("home", "DIR", "With --agent: the home directory whose files count.", _GROUP, None, path)
MODEL = Option(
    "model", "MODEL", "For the tiny request, in place of a small one of the provider's.", _GROUP, None,
    parse_model,
)  # fmt: skip
HOST = Option(
    "host",
    "HOST",
    "Run on the agent's side: awfproxy is at HOST, and its settings are not here. Of the daemon's options "
    "only the ports then count, and --local-pages.",
    _GROUP,
    None,
    parse_host,
)
OWN = (AGENT, HOME, MODEL, HOST)
FLAGS = frozenset(("help", "json", "no-request"))

HELP = """\
awfproxy doctor walks the way hop by hop, as an agent's request goes it, and stops at the first hop that
fails, with the fix. Each step is ok, failed or skipped:

  configuration   it can be read, and there is a key
  port            awfproxy listens
  health          it says that it is ready. If not, the walk goes on, to find the hop that makes it so
  egress          the egress proxy takes connections
  connect         it lets awfproxy's CONNECT through
  tls             the provider's certificate is good
  key             the provider takes the key
  request         a model answers one tiny request, through awfproxy's port and with a placeholder for a key;
                  where callers show tokens, with one of its own, or that in AWFPROXY_TOKEN
  stream          the same, streamed: events, and the one that ends them
  agent           with --agent: what is set up here leads to awfproxy

  awfproxy doctor [PROVIDER] [options]                where awfproxy runs, with its own options
  awfproxy doctor PROVIDER --host 172.30.0.30         on the agent's side
  awfproxy doctor --agent codex --no-request

Without PROVIDER each one that has a key is walked. The steps request and stream cost a few tokens at each
provider.

  --no-request                 Leave those two out.
  --json                       Print one JSON object: ok, exit_code, cause, steps.

It ends with the daemon's own exit codes, and 0 where all that was tried works.

"""


@attrs.frozen
class _Asked:
    line: CommandLine
    environ: Mapping[str, str] = attrs.field(repr=False)
    wishes: Wishes
    provider: str | None
    agent: Agent | None
    host: str | None
    home: str | None


def main(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    try:
        line = parse(arguments, FLAGS, OWN, most_words=1)
        if "help" in line.flags:
            sys.stdout.write(HELP + help_text("awfproxy doctor [PROVIDER]", OWN, ending=(EXIT_CODES,)))
            return 0
        asked = _asked(line, os.environ if environ is None else environ)
    except CommandLineError as error:
        return complain(ExitCode.USAGE, str(error))
    return _show(asked, sys.stdout)


def _show(asked: _Asked, out: TextIO) -> int:
    json_only = "json" in asked.line.flags
    lines = Lines(out, time.monotonic if out.isatty() else None)
    listener: Listener = Listener() if json_only else lines
    walks: list[Walk] = []

    async def work(reactor: Any) -> None:
        walks.append(Walk(reactor, asked.wishes, listener))
        live = LoopingCall(listener.waiting)
        live.start(LIVE_INTERVAL, now=False)
        try:
            with suppress(Stopped):
                await walk(walks[0], asked)
        finally:
            live.stop()

    try:
        run(work)
    except Interrupted:
        return complain(128 + signal.SIGINT, "stopped by a signal before the walk had ended.")
    except CommandLineError as error:
        return complain(ExitCode.USAGE, str(error))
    except Exception as problem:
        # Only the type: the text of a library's exception is not ours to vouch for.
        return complain(ExitCode.INTERNAL, f"the walk itself failed: {type(problem).__name__}")
    steps = walks[0].steps
    if json_only:
        out.write(as_json(steps) + "\n")
    else:
        lines.end(steps)
    return exit_code(steps)


async def walk(walk: Walk, asked: _Asked) -> None:
    """All steps; raises `Stopped` at the first cause."""
    if asked.host is not None:
        await _from_outside(walk, asked, asked.host)
        return
    settings, context = _configuration(walk, asked)
    chosen = _chosen(settings, asked)
    for one in chosen:
        await walk.through(settings, context, one, doors(one.listen))
    if asked.agent is not None:
        open_at = {one.provider.name: doors(one.listen) for one in settings.providers}
        _agent(walk, asked, asked.agent, open_at)


def _configuration(walk: Walk, asked: _Asked) -> tuple[Settings, ssl.SSLContext]:
    walk.begin("configuration", "")
    try:
        settings = load(asked.line.values, asked.environ, read_file, mode_of)
        context = client_context(settings.roots_file, settings.extra_ca_files)
    except CommandLineError:
        raise
    except ConfigError as error:
        walk.timed("configuration", "", judge.configuration(error, ExitCode.CONFIG))
        raise AssertionError from error  # a failed step is the end
    known = {provider.name: provider for provider in _providers(asked)}
    name = asked.provider or _agents_own(asked.agent, [one.provider.name for one in _keyed(settings)])
    if name is not None and name not in [one.provider.name for one in _keyed(settings)]:
        provider = known.get(name)
        if provider is None:
            raise CommandLineError(_unknown(name, known, "provider"))
        said = f"There is no {provider.title} key, so its port forwards nothing."
        fix = f"Give it in one of these ways: {how_to_give(provider)}."
        walk.timed("configuration", "", failed(said, fix, ExitCode.CONFIG))
    found = [f"{one.provider.title}, key from {one.key_sources[0]}" for one in _keyed(settings)]
    if not found:  # where a profile opens the ports all the same
        said = "No provider has a key: each port says so, and forwards nothing."
        fix = f"Give OpenAI's in one of these ways: {how_to_give(BUILT_IN[0])}; another provider's alike."
        walk.timed("configuration", "", failed(said, fix, ExitCode.CONFIG))
    notes = "".join(f" Note: {warning}" for warning in settings.warnings)
    walk.timed("configuration", "", ok(f"{', '.join(found)}.{notes}"))
    return settings, context


def _chosen(settings: Settings, asked: _Asked) -> list[ProviderSettings]:
    keyed = _keyed(settings)
    name = asked.provider or _agents_own(asked.agent, [one.provider.name for one in keyed])
    return [one for one in keyed if name in (None, one.provider.name)]


def _keyed(settings: Settings) -> list[ProviderSettings]:
    return [one for one in settings.providers if one.configured]


def _agents_own(agent: Agent | None, there: Sequence[str]) -> str | None:
    """The provider of an agent that is walked for it: the first that is there, or its first."""
    if agent is None:
        return None
    return next((name for name in agent.providers if name in there), agent.providers[0])


async def _from_outside(walk: Walk, asked: _Asked, host: str) -> None:
    name = asked.provider or _agents_own(asked.agent, ())
    try:
        given = resolve_all(asked.line.values, asked.environ, read_file)
        known = {provider.name: provider for provider in given.providers}
        if name not in known:
            raise CommandLineError(
                "With --host, name a provider or an --agent." if name is None
                else _unknown(name, known, "provider")
            )  # fmt: skip
        access = access_of(known[name], given, asked.environ, read_file)
        one = ProviderSettings(known[name], access, (), ())
    except CommandLineError:
        raise
    except ConfigError as error:
        walk.note("configuration", "", judge.configuration(error, ExitCode.CONFIG))
        raise AssertionError from error
    walk.note("configuration", "", skipped(OTHER_SIDE))
    door = Door(host, _port(given, known[name]))
    await walk.from_outside(one, door, given["local-pages"].value)
    if asked.agent is not None:
        ports = {each: Door(host, _port(given, known[each])) for each in asked.agent.providers}
        _agent(walk, asked, asked.agent, {each: (door,) for each, door in ports.items()})


def _port(given: AllGiven, provider: Provider) -> int:
    port: int = given.of(provider, "port").value
    return port


def _agent(walk: Walk, asked: _Asked, agent: Agent, open_at: Mapping[str, Sequence[Door]]) -> None:
    by_tcp = {
        name: next((door for door in found if door.port), None) for name, found in open_at.items()
    }
    first = by_tcp.get(agent.providers[0]) or next(
        (by_tcp[name] for name in agent.providers if by_tcp.get(name)), None
    )
    walk.begin("agent", "")
    if first is None:
        walk.note("agent", "", skipped("awfproxy has no TCP port here for it; with another address: --host."))
        return
    ports = {**PORTS, **{name: door.port for name, door in by_tcp.items() if door is not None}}
    found = agent_findings(agent, Place(first.host, ports), asked.environ, asked.home)
    walk.timed("agent", "", judge.agent(agent.title, found))


# --- the command line -------------------------------------------------------------------------------


def _asked(line: CommandLine, environ: Mapping[str, str]) -> _Asked:
    agent = line.values["agent"]
    if agent is not None and agent not in BY_NAME:
        raise CommandLineError(_unknown(str(agent), BY_NAME, "agent"))
    if line.values["home"] is not None and agent is None:
        raise CommandLineError("--home is the agent's: give --agent as well.")
    return _Asked(
        line,
        environ,
        Wishes(_own(line, MODEL), "no-request" not in line.flags, _token(environ)),
        line.words[0] if line.words else None,
        None if agent is None else BY_NAME[str(agent)],
        _own(line, HOST),
        _own(line, HOME),
    )


def _token(environ: Mapping[str, str]) -> bytes:
    """The caller token that the agent's environment has."""
    token = os.fsencode(environ.get(TOKEN_VARIABLE, ""))
    return token if has_form(token) else PLACEHOLDER


def _own(line: CommandLine, option: Option) -> str | None:
    text = line.values[option.name]
    if text is None:
        return None
    try:
        value: str = option.parse(str(text))
    except ValueError as error:
        raise CommandLineError(f"{option.flag}: {error}") from None
    return value


def _providers(asked: _Asked) -> tuple[Provider, ...]:
    return resolve_all(asked.line.values, asked.environ, read_file).providers


def _unknown(name: str, known: Mapping[str, object], what: str) -> str:
    close = get_close_matches(name.lower(), list(known), n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]}?" if close else f"There are {', '.join(known)}."
    return f"{quoted(name)} is no {what} that is known here. {hint}"
