"""`awfproxy env AGENT`: what makes that agent use awfproxy, as text to evaluate and as its own file.

It runs where the agent runs: it needs no key and no configuration, asks nothing of the network, and imports
neither Twisted nor the daemon's settings. Standard output is the environment alone, so that it can be
evaluated; what was written, and what is amiss, goes to standard error. With `--write`, what the file says
by then is not printed again.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

import attrs

from awfproxy.agents import noproxy, warnings
from awfproxy.agents.agent import Agent, ConfigFile, Setup, merged
from awfproxy.agents.changes import CannotEdit
from awfproxy.agents.codex import TOKEN_VARIABLE
from awfproxy.agents.edit import edit
from awfproxy.agents.files import path_of, read, replace
from awfproxy.agents.formats import FORMATS, Command, Printout
from awfproxy.agents.place import PORTS
from awfproxy.callers.token import LONGEST, said_providers
from awfproxy.cli.envline import ALL, Asked, UsageError, help_text, parse
from awfproxy.credentials.shape import looks_real
from awfproxy.credentials.sources import read_file
from awfproxy.errors.configuration import ConfigError

EX_USAGE = 64
EX_CONFIG = 78


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
        seen = dict(os.environ if environ is None else environ)
        token = _token(asked, seen, terminal)
        _run(attrs.evolve(asked, choice=attrs.evolve(asked.choice, token=token)), seen, terminal)
        return 0
    except UsageError as error:
        terminal.complain(str(error))
        return EX_USAGE
    except ConfigError as error:
        terminal.complain(str(error))
        return EX_CONFIG


def _token(asked: Asked, environ: Mapping[str, str], terminal: _Terminal) -> str | None:
    """The caller token itself; `ConfigError` for what is none, which is never shown, or is for others."""
    said, place = asked.choice.token, "--token"
    if said is None:
        said, place = environ.get(TOKEN_VARIABLE), TOKEN_VARIABLE
        if not said:
            return None
    elif said == "-":
        said, place = sys.stdin.read(LONGEST + 2), "--token -"
    elif said.startswith("@"):
        said, place = _content(said[1:]), "--token @FILE"
    token = said.removesuffix("\n")
    try:
        providers = said_providers(os.fsencode(token))
    except ValueError:
        raise ConfigError(
            f"{place}: that is no caller token (not shown). Give what awfproxy token new has printed, alone "
            "and whole."
        ) from None
    _judge_providers(asked, providers, place, terminal)
    github = any("github_token" in agent.options for agent in asked.agents) and asked.choice.github_token
    if github and not token.startswith("gho_"):
        raise ConfigError(
            f"{place}: as GitHub's client Copilot CLI takes only what begins with gho_. Issue one with "
            "--provider copilot, or leave --copilot-as github out."
        )
    return token


def _judge_providers(asked: Asked, providers: Sequence[str], place: str, terminal: _Terminal) -> None:
    """Whether awfproxy would take the token at the agent's port, as far as can be told without its key."""
    if not PORTS.keys() >= set(providers):
        return  # one of awfproxy's --config file, which can have any port
    for agent in asked.agents:
        if set(agent.providers).isdisjoint(providers):
            sentence = (
                f"{place}: it is for {', '.join(providers)}, as it says of itself, but {agent.title} goes to "
                f"{' or '.join(agent.providers)}, where awfproxy refuses it. Give one that is for that: "
                f"awfproxy token new --provider {agent.providers[0]} ..."
            )
            if asked.name != ALL:
                raise ConfigError(sentence)
            terminal.warn(sentence)


def _content(path: str) -> str:
    try:
        return read_file(path).decode("utf-8", "replace")
    except OSError as error:
        raise ConfigError(
            f"--token @FILE: the file cannot be read: {error.strerror or 'no reason given'}."
        ) from None


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
    planned = []
    for file in files:
        path = path_of(file, environ)
        if path is None:
            raise ConfigError(f"Neither HOME nor {file.folder_variable} is set: no place to write to.")
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
            if name not in set_by_us and looks_real(os.fsencode(environ.get(name, ""))):
                yield warnings.held(agent, name)
        login = _login(agent, asked, environ)
        if login is not None and os.path.exists(login):
            yield warnings.logged_in(agent, login)
        in_file = setup.file is not None and _is_set(setup.file, environ)
        if setup.file is not None and setup.file.needed and not in_file:
            yield (
                f"{agent.title} reads a part of this from its settings.json alone, and does not start "
                f"without it: run awfproxy env {agent.name} --write once."
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
