"""`awfproxy env AGENT`: what makes that agent use awfproxy, as text to evaluate and as its own file.

It runs where the agent runs: it needs no key and no configuration, asks nothing of the network, and imports
neither Twisted nor the daemon's settings. Standard output is the environment alone, so that it can be
evaluated; what was written, and what is amiss, goes to standard error. With `--write`, what the file says
by then is not printed again.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TextIO, TypeVar

import attrs

from awfproxy.agents import noproxy, warnings
from awfproxy.agents.agent import Agent, Choice, ConfigFile, Setup, merged, parse_model
from awfproxy.agents.files import path_of, read, replace
from awfproxy.agents.formats import FORMATS, Command, Printout
from awfproxy.agents.place import PORTS, Place, parse_host, parse_port
from awfproxy.agents.registry import AGENTS, BY_NAME
from awfproxy.credentials.shape import check_shape
from awfproxy.errors import ConfigError
from awfproxy.providers.openai import OPENAI

T = TypeVar("T")

EX_USAGE = 64
EX_CONFIG = 78
ALL = "all"

HELP = """\
awfproxy env prints what makes an agent use awfproxy. It runs where the agent runs, and needs no key.

Usage: awfproxy env AGENT [options]

Agents:
{agents}

  --host HOST                 Where awfproxy is, as the agent reaches it. [default 127.0.0.1]
{ports}
  --format FORMAT             shell, for eval; json; dotenv; or github, lines for $GITHUB_ENV. [default shell]
  --write                     Also write the agent's own configuration file; what is there stays. It is
                              ~/.codex/config.toml, ~/.claude/settings.json or ~/.gemini/settings.json, or
                              where CODEX_HOME, CLAUDE_CONFIG_DIR or GEMINI_CLI_HOME say. gemini-cli needs it.
  --model MODEL               The model, for codex, claude, gemini or copilot (which needs one).
  --websocket                 Let codex, or copilot, use WebSocket rather than HTTP.
  --copilot-as WAY            provider: as the client of an own model provider, which dials nothing else;
                              github: as GitHub's client, with a placeholder token. [default provider]

Standard output is the environment alone. What was written, and warnings, go to standard error.

Examples:
  eval "$(awfproxy env codex)"                                  then: codex exec 'Say hello'
  eval "$(awfproxy env gemini --write)"                         once; later without --write
  awfproxy env claude --write                                   into ~/.claude/settings.json
  awfproxy env copilot --model gpt-5.4 --format dotenv > .env
  awfproxy env all --host 172.30.0.30 --format github >> "$GITHUB_ENV"
"""

_PORT_OPTIONS = {f"{provider}-port": provider for provider in PORTS}
_VALUES = ("host", *_PORT_OPTIONS, "format", "model", "copilot-as")
_FLAGS = ("write", "websocket", "help")
_COPILOT_WAYS = ("provider", "github")


class UsageError(ConfigError):
    """The command line cannot be understood: 64."""


@attrs.frozen
class Asked:
    """The command line, understood."""

    name: str
    agents: tuple[Agent, ...]
    place: Place
    choice: Choice
    format: str
    write: bool


@attrs.frozen
class _Terminal:
    out: TextIO
    err: TextIO

    def complain(self, sentence: str) -> None:
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in sentence)
        self.err.write(f"awfproxy: {text}\n")

    def warn(self, sentence: str) -> None:
        self.complain(f"warning: {sentence}")


def main(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    terminal = _Terminal(sys.stdout, sys.stderr)
    try:
        asked = parse(arguments)
        if asked is None:
            terminal.out.write(help_text())
            return 0
        _run(asked, dict(os.environ if environ is None else environ), terminal)
        return 0
    except UsageError as error:
        terminal.complain(str(error))
        return EX_USAGE
    except ConfigError as error:
        terminal.complain(str(error))
        return EX_CONFIG


def _run(asked: Asked, environ: Mapping[str, str], terminal: _Terminal) -> None:
    before = [(agent, agent.setup(asked.place, asked.choice)) for agent in asked.agents]
    if asked.write:
        files = [setup.file for _, setup in before if setup.file is not None]
        _write(files, environ, terminal)
    remaining = [(agent, _remaining(setup) if asked.write else setup) for agent, setup in before]
    printout = _printout(asked, remaining, environ)
    printed = {variable.name for variable in printout.variables}
    # What the file sets is stronger than what the environment has.
    set_by_us = printed | {variable.name for _, setup in before for variable in setup.variables}
    for sentence in dict.fromkeys(_warnings(asked, remaining, environ, set_by_us)):
        terminal.warn(sentence)
    terminal.out.write(FORMATS[asked.format](printout))


def _remaining(setup: Setup) -> Setup:
    """What is left to say in the environment once the file is written."""
    file = setup.file
    if file is None:
        return setup
    return attrs.evolve(
        setup,
        variables=tuple(each for each in setup.variables if each.name not in file.instead_of),
        arguments=() if file.instead_of_arguments else setup.arguments,
        file=None,
    )


def _printout(asked: Asked, setups: Sequence[tuple[Agent, Setup]], environ: Mapping[str, str]) -> Printout:
    commands = tuple(
        Command(agent.command, setup.arguments, setup.arguments_reason)
        for agent, setup in setups
        if agent.command is not None and setup.arguments
    )
    named = "every agent" if asked.name == ALL else asked.agents[0].title
    variables = merged([setup for _, setup in setups])
    return Printout(
        asked.name,
        f"makes {named} use awfproxy at {asked.place.host}",
        (*variables, *noproxy.variables(environ, asked.place.host)),
        commands,
        _new_files(asked, environ) if asked.format == "json" else {},
    )


def _new_files(asked: Asked, environ: Mapping[str, str]) -> dict[str, str]:
    from awfproxy.agents.edit import edit

    found = {}
    for agent in asked.agents:
        file = agent.setup(asked.place, asked.choice).file
        if file is not None:
            path = path_of(file, environ) or f"~/{file.folder_default}/{file.name}"
            found[path] = edit(file.name, "", file.settings).text
    return found


# --- the agents' own files --------------------------------------------------------------------------


def _write(files: Sequence[ConfigFile], environ: Mapping[str, str], terminal: _Terminal) -> None:
    """Every file is read and edited before the first is written, so that a malformed one stops all."""
    # Not at the top: tomlkit alone would double the time that printing takes.
    from awfproxy.agents.edit import CannotEdit, edit

    planned = []
    for file in files:
        path = path_of(file, environ)
        if path is None:
            raise ConfigError(f"Neither HOME nor {file.folder_variable} is set, so there is nowhere to write.")
        found = read(path)
        try:
            planned.append((path, found, edit(file.name, found.text, file.settings)))
        except CannotEdit as error:
            raise ConfigError(f"{path} {error} Nothing was changed.") from None
    for path, found, edited in planned:
        if not edited.changes:
            terminal.complain(f"{path} is as it should be; nothing was changed")
            continue
        replace(path, edited.text, found.status)
        for change in edited.changes:
            terminal.complain(f"{path}: {change}")


def _is_set(file: ConfigFile, environ: Mapping[str, str]) -> bool:
    """Whether the file already says what it has to; one that cannot be read does not."""
    from awfproxy.agents.edit import CannotEdit, edit

    path = path_of(file, environ)
    try:
        return path is not None and not edit(file.name, read(path).text, file.settings).changes
    except (CannotEdit, ConfigError):
        return False


# --- warnings ---------------------------------------------------------------------------------------


def _warnings(
    asked: Asked,
    setups: Sequence[tuple[Agent, Setup]],
    environ: Mapping[str, str],
    set_by_us: set[str],
) -> Iterator[str]:
    for agent, setup in setups:
        yield from warnings.diversions(agent, environ)
        yield from (sentence for name, sentence in setup.missing if not environ.get(name))
        for name in agent.credentials:
            if name not in set_by_us and _looks_real(environ.get(name, "")):
                yield warnings.held(agent, name)
        login = _login(agent, asked, environ)
        if login is not None and os.path.exists(login):
            yield warnings.logged_in(agent, login)
        in_file = setup.file is not None and _is_set(setup.file, environ)
        if setup.file is not None and setup.file.needed and not in_file:
            yield (
                f"{agent.title} reads a part of this from its settings.json alone, and does not start without "
                f"it: run awfproxy env {agent.name} --write once."
            )
        if setup.arguments and asked.format in ("dotenv", "github") and not in_file:
            line = Command(agent.command or "", setup.arguments, "").line()
            yield f"{agent.title} needs more than variables. Start it with: {line}" + (
                f" (or run awfproxy env {agent.name} --write once)" if setup.file is not None else ""
            )
    yield from warnings.proxy(environ, asked.place.host)


def _login(agent: Agent, asked: Asked, environ: Mapping[str, str]) -> str | None:
    file = agent.setup(asked.place, asked.choice).file
    if file is None or agent.login_file is None:
        return None
    return path_of(attrs.evolve(file, name=agent.login_file), environ)


def _looks_real(value: str) -> bool:
    """As the daemon would judge it: what it takes for a placeholder is none of our business."""
    try:
        check_shape(os.fsencode(value), "", OPENAI)
    except ConfigError:
        return False
    return True


# --- the command line -------------------------------------------------------------------------------


def parse(arguments: Sequence[str]) -> Asked | None:
    """None for --help. `UsageError` says what to write instead."""
    names, values, flags = _split(arguments)
    if "help" in flags:
        return None
    name, agents = _agents(names)
    write = "write" in flags
    way = values.get("copilot-as", "provider")
    if way not in _COPILOT_WAYS:
        raise UsageError("--copilot-as: give provider or github.")
    form = values.get("format", "shell")
    if form not in FORMATS:
        close = get_close_matches(form, FORMATS, n=1)
        raise UsageError(
            f"--format: {_quoted(form)} is not a format. "
            + (f"Did you mean {close[0]}?" if close else f"Give one of {', '.join(FORMATS)}.")
        )
    model = _parsed("model", values, parse_model, None)
    choice = Choice(model, "websocket" in flags, way == "github")
    place = Place(
        _parsed("host", values, parse_host, "127.0.0.1"),
        {
            provider: _parsed(option, values, parse_port, PORTS[provider])
            for option, provider in _PORT_OPTIONS.items()
        },
    )
    given = {
        attribute: option
        for attribute, option in (
            ("model", "model"),
            ("websocket", "websocket"),
            ("github_token", "copilot-as"),
        )
        if option in values or option in flags
    }
    _judge_fit(name, agents, given, write)
    return Asked(name, agents, place, choice, form, write)


def _agents(names: Sequence[str]) -> tuple[str, tuple[Agent, ...]]:
    known = (*BY_NAME, ALL)
    if not names:
        raise UsageError(f"name an agent: awfproxy env AGENT, with one of {', '.join(known)}. See --help")
    if len(names) > 1:
        raise UsageError("name one agent, or all. Options begin with two dashes; see --help")
    (name,) = names
    if name not in known:
        close = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
        raise UsageError(
            f"{_quoted(name)} is not an agent that awfproxy knows. "
            + (f"Did you mean {close[0]}?" if close else f"It knows {', '.join(known)}.")
        )
    return name, AGENTS if name == ALL else (BY_NAME[name],)


def _judge_fit(name: str, agents: Sequence[Agent], given: Mapping[str, str], write: bool) -> None:
    """An option that the agent has no use for is an error: silence would look like success."""
    if name == ALL and "model" in given:
        raise UsageError("--model is for one agent: their models differ. Name the agent in place of all.")
    for attribute, option in given.items():
        if not any(attribute in agent.options for agent in agents):
            raise UsageError(f"--{option} means nothing to {name}. See awfproxy env --help")
    if write and all(agent.setup(Place(), Choice()).file is None for agent in agents):
        raise UsageError(
            f"{name} has no file for this, so there is nothing to --write: its environment is all it needs."
        )


def _split(arguments: Sequence[str]) -> tuple[list[str], dict[str, str], set[str]]:
    """Names, `--name value` or `--name=value`, and flags."""
    names: list[str] = []
    values: dict[str, str] = {}
    flags: set[str] = set()
    rest = iter(arguments)
    for argument in rest:
        if argument == "-h":
            argument = "--help"
        if not argument.startswith("--"):
            names.append(argument)
            continue
        name, equals, value = argument[2:].partition("=")
        if name in _FLAGS and not equals:
            flags.add(name)
            continue
        if name not in _VALUES:
            close = get_close_matches(name, (*_VALUES, *_FLAGS), n=1)
            hint = f" Did you mean --{close[0]}?" if close else ""
            raise UsageError(f"--{_quoted(name)[1:-1]} is not an option.{hint} See awfproxy env --help")
        if not equals:
            following = next(rest, None)
            if following is None:
                raise UsageError(f"--{name} needs a value.")
            value = following
        if name in values:
            raise UsageError(f"--{name} is given twice. Give it once.")
        values[name] = value
    return names, values, flags


def _parsed(name: str, values: Mapping[str, str], parser: Callable[[str], T], default: T) -> T:
    if name not in values:
        return default
    try:
        return parser(values[name])
    except ValueError as error:
        raise UsageError(f"--{name}: {error}") from None


def _quoted(text: str) -> str:
    return ascii(text if len(text) <= 40 else text[:40] + "…")


def help_text() -> str:
    """All agents, options and defaults, from the tables, and examples."""
    agents = "".join(f"  {agent.name:<15}{agent.title}\n" for agent in AGENTS)
    ports = "".join(
        f"  {f'--{option} N':<27} Where it listens for {provider}. [default {PORTS[provider]}]\n"
        for option, provider in _PORT_OPTIONS.items()
    )
    return HELP.format(agents=f"{agents}  {ALL:<15}all of them", ports=ports.removesuffix("\n"))
