"""How the environment is printed: for a shell, as JSON, for a .env file, for GitHub Actions' env file.

Each takes a `Printout` and returns the whole text. Values may be anything without a NUL byte: what is
inherited (NO_PROXY) was written by others.
"""

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence

import attrs

from awfproxy.agents.agent import Variable

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,*\[\]-]+")
_COMMAND = re.compile(r"[a-z][a-z0-9-]*")


@attrs.frozen
class Command:
    """A program, and what has to stand first on its command line, each time."""

    name: str
    arguments: tuple[str, ...]
    reason: str

    def line(self) -> str:
        """The beginning of a command, for a shell."""
        return shlex.join((self.name, *self.arguments))


@attrs.frozen
class Printout:
    name: str
    """The agent's name, or `all`."""

    title: str
    """What the first comment says it is for."""

    variables: Sequence[Variable]
    commands: Sequence[Command] = ()
    files: Mapping[str, str] = {}
    """Path and a new file's content, of each file that the agent could have instead, or needs."""


def shell(printout: Printout) -> str:
    """For `eval` in sh, bash or zsh.

    Where an agent takes nothing from the environment, a function of its name puts the arguments first, so
    that `eval` is enough there too. A function, unlike an alias, works in scripts; but programs that the
    shell starts do not see it. An alias of that name would break the function's definition, and goes first.
    """
    lines = [f"# {printout.title}"]
    for variable in printout.variables:
        lines += [f"# {variable.reason}", f"export {variable.name}={shlex.quote(variable.value)}"]
    for command in printout.commands:
        assert _COMMAND.fullmatch(command.name)
        lines += [
            f"# {command.reason}",
            f"unalias {command.name} 2>/dev/null || :",
            f'{command.name}() {{ command {command.line()} "$@"; }}',
        ]
    return _text(lines)


def json_text(printout: Printout) -> str:
    """One object: agent, environment, arguments by program, files by path."""
    content = {
        "agent": printout.name,
        "environment": {variable.name: variable.value for variable in printout.variables},
        "arguments": {command.name: list(command.arguments) for command in printout.commands},
        "files": dict(printout.files),
    }
    return json.dumps(content, indent=2) + "\n"


def dotenv(printout: Printout) -> str:
    """For a .env file. Plain values are not quoted, so that `docker run --env-file` reads it too."""
    lines = [f"# {printout.title}"]
    lines += [f"# not in here, since {each.reason}: {each.line()}" for each in printout.commands]
    for variable in printout.variables:
        lines += [f"# {variable.reason}", f"{variable.name}={_dotenv_value(variable.value)}"]
    return _text(lines)


def _dotenv_value(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    if "'" not in value and value.isprintable():
        return f"'{value}'"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r") + '"'


def github(printout: Printout) -> str:
    """For $GITHUB_ENV: NAME=VALUE, and a value of several lines between two marks that are not in it."""
    lines = []
    for variable in printout.variables:
        value = variable.value
        if not re.search(r"[\r\n]", value):
            lines.append(f"{variable.name}={value}")
            continue
        mark = "AWFPROXY_END"
        while mark in value:
            mark += "_"
        lines += [f"{variable.name}<<{mark}", value, mark]
    return _text(lines)


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


FORMATS: Mapping[str, Callable[[Printout], str]] = {
    "shell": shell,
    "json": json_text,
    "dotenv": dotenv,
    "github": github,
}
