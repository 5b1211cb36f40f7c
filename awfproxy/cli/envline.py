"""The command line of `awfproxy env`, and its help."""

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import TypeVar

import attrs

from awfproxy.agents.agent import Agent, Choice, parse_model
from awfproxy.agents.formats import FORMATS
from awfproxy.agents.place import PORTS, Place, parse_host, parse_port
from awfproxy.agents.registry import AGENTS, BY_NAME
from awfproxy.errors.configuration import ConfigError

T = TypeVar("T")

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
  --token TOKEN               A caller token, in place of each placeholder; @FILE, or - for standard input,
                              keeps it off the command line. [default AWFPROXY_TOKEN, if set]
  --copilot-as WAY            provider: as the client of an own model provider, which dials nothing else;
                              github: as GitHub's client, with a placeholder token. [default provider]

Standard output is the environment alone. What was written, and warnings, go to standard error.

Examples:
  eval "$(awfproxy env codex)"                                  then: codex exec 'Say hello'
  eval "$(awfproxy env gemini --write)"                         once; later without --write
  awfproxy env claude --write                                   into ~/.claude/settings.json
  awfproxy env copilot --model gpt-5.4 --format dotenv > .env
  eval "$(awfproxy env claude --token @/run/job/token)"         where awfproxy wants callers to show tokens
  awfproxy env all --host 172.30.0.30 --format github >> "$GITHUB_ENV"
"""

_PORT_OPTIONS = {f"{provider}-port": provider for provider in PORTS}
_VALUES = ("host", *_PORT_OPTIONS, "format", "model", "token", "copilot-as")
_FLAGS = ("write", "websocket", "help")
_COPILOT_WAYS = ("provider", "github")


class UsageError(ConfigError):
    """The command line cannot be understood: 64."""


@attrs.frozen
class Asked:
    """The command line, understood; the token in `choice` as it was written."""

    name: str
    agents: tuple[Agent, ...]
    place: Place
    choice: Choice
    format: str
    write: bool


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
    choice = Choice(model, "websocket" in flags, way == "github", values.get("token"))
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
