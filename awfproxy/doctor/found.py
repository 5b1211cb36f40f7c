"""Gathers what an agent would find: the environment, its own file, its login. It changes nothing."""

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from awfproxy.agents.agent import Agent, Choice, ConfigFile, Finding, Found
from awfproxy.agents.files import path_of, read
from awfproxy.agents.leads import findings
from awfproxy.agents.place import Place
from awfproxy.agents.warnings import held
from awfproxy.credentials.shape import looks_real
from awfproxy.errors.configuration import ConfigError


def agent_findings(
    agent: Agent, place: Place, environ: Mapping[str, str], home: str | None = None
) -> list[Finding]:
    """With `home`, the agent's files are looked for there, whatever its own variable says."""
    setup = agent.setup(place, Choice())
    file = setup.file
    if file is None:
        found = Found(place, environ)
    else:
        if home is not None:
            environ = {name: value for name, value in environ.items() if name != file.folder_variable}
            environ["HOME"] = home
        path = path_of(file, environ) or ""
        try:
            config = _content(path)
        except ConfigError as error:
            text = str(error).removesuffix(" Nothing was changed.")
            return [Finding(text, "Correct it, or move it away.")]
        found = Found(
            place, _with_file(environ, file, config), config, path, _login(agent, file, environ)
        )
    return [*findings(agent, found), *_keys(agent, found)]


def _content(path: str) -> Mapping[str, Any]:
    text = read(path).text if path else ""
    try:
        content = tomllib.loads(text) if path.endswith(".toml") else json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        kind = "TOML" if path.endswith(".toml") else "JSON"
        where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ConfigError(f"{path} is not {kind}{where}.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds something else than a table.")
    return content


def _with_file(
    environ: Mapping[str, str], file: ConfigFile, config: Mapping[str, Any]
) -> Mapping[str, str]:
    """What the file sets as environment variables is stronger, for an agent whose file can."""
    own = config.get("env")
    if not isinstance(own, dict) or not any(setting.path[0] == "env" for setting in file.settings):
        return environ
    return {**environ, **{name: value for name, value in own.items() if isinstance(value, str)}}


def _login(agent: Agent, file: ConfigFile, environ: Mapping[str, str]) -> str:
    if agent.login_file is None:
        return ""
    path = path_of(attrs.evolve(file, name=agent.login_file), environ)
    return path if path is not None and os.path.exists(path) else ""


def _keys(agent: Agent, found: Found) -> Iterator[Finding]:
    for name in agent.credentials:
        if looks_real(os.fsencode(found.environ.get(name, ""))):
            yield Finding(held(agent, name), fatal=False)
