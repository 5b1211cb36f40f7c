"""`Agent`: what one coding agent or SDK needs, and `Setup`: that, worked out for one place and one choice."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from awfproxy.agents.place import Place

_MODEL = re.compile(r"[!-~]{1,200}")


@attrs.frozen
class Choice:
    """What the reader decides for the agent."""

    model: str | None = None
    websocket: bool = False
    github_token: bool = False
    """Copilot CLI: go as a GitHub client, where the default is as a client of an own model provider."""

    token: str | None = attrs.field(default=None, repr=False)
    """A caller token, which stands wherever the client wants a key."""


@attrs.frozen
class Variable:
    name: str
    value: str
    reason: str
    """One line, for a comment."""


@attrs.frozen
class Setting:
    """One key of a configuration file."""

    path: tuple[str, ...]
    value: str | bool | None
    """None where the key must not be there."""

    shown: bool = True
    """Whether its value, and the one that it replaces, may be named: not where people keep keys."""


@attrs.frozen
class ConfigFile:
    """The agent's own file. Its kind follows from its name: .toml or .json."""

    folder_variable: str
    """Names the folder; empty counts as unset."""

    folder_below: str
    """Below the folder that the variable names, `` for itself."""

    folder_default: str
    """Below the home directory, without the variable."""

    name: str
    settings: tuple[Setting, ...]
    instead_of: frozenset[str] = frozenset()
    """Names of variables that need not be set once the file is written."""

    instead_of_arguments: bool = False
    needed: bool = False
    """Whether nothing but the file can say it."""


@attrs.frozen
class Setup:
    variables: tuple[Variable, ...] = ()
    arguments: tuple[str, ...] = ()
    """What has to stand first on the agent's command line, each time."""

    arguments_reason: str = ""
    file: ConfigFile | None = None
    missing: tuple[tuple[str, str], ...] = ()
    """(variable, sentence) for what the choice leaves undone, unless the variable is set already."""


@attrs.frozen
class Found:
    """What an agent finds when it starts."""

    place: Place
    environ: Mapping[str, str] = attrs.field(repr=False)
    config: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """Its own file's content; empty where there is none."""

    config_path: str = ""
    login_path: str = ""
    """Where its login is; empty where it has none."""


@attrs.frozen
class Finding:
    """One thing that leads an agent past awfproxy, or that is amiss."""

    said: str
    fix: str = ""
    fatal: bool = True
    """Whether it does not reach us so."""


@attrs.frozen
class Agent:
    name: str
    """As it is written after `awfproxy env`."""

    title: str
    command: str | None
    """The program's name; None for a library."""

    providers: tuple[str, ...]
    """Whose ports it uses."""

    setup: Callable[[Place, Choice], Setup]
    credentials: tuple[str, ...]
    """Variables in which it would look for a key, or holds one for others."""

    diverting: tuple[tuple[str, str], ...] = ()
    """(variable, what it makes the agent do) for each that would lead it past us."""

    login_file: str | None = None
    """Beside its configuration file: where it keeps a login of its own."""

    options: frozenset[str] = frozenset()
    """Which of `Choice` it has a use for, by attribute."""

    reaches: Callable[[Found], Iterable[Finding]] | None = None
    """What keeps it from us, where that does not follow from the variables of its setup."""


def parse_model(text: str) -> str:
    """Any printable ASCII without spaces, so that it can be quoted for a shell and for TOML alike."""
    if not _MODEL.fullmatch(text):
        raise ValueError(
            "it is empty, or has a space, control or non-ASCII character in it. Give a model's name."
        )
    return text


def merged(setups: Sequence[Setup]) -> tuple[Variable, ...]:
    """The variables of several agents, each name once; two that differ would be a mistake in this package."""
    found: dict[str, Variable] = {}
    for variable in (each for setup in setups for each in setup.variables):
        first = found.setdefault(variable.name, variable)
        assert first.value == variable.value, f"{variable.name} is wanted with two values"
    return tuple(found.values())
