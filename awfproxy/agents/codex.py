"""codex: https://developers.openai.com/codex/config-reference

No variable gives codex a base URL: since about 0.119 it ignores OPENAI_BASE_URL, dials api.openai.com and
"waits for network" for ever. So a model provider of our own is defined, on the command line (-c, before the
subcommand) or in config.toml. It does not ask for OpenAI's login and, without a caller token, names no
`env_key`, so codex sends no credential at all, whatever its environment and auth.json hold.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from awfproxy.agents.agent import Agent, Choice, ConfigFile, Finding, Found, Setting, Setup, Variable
from awfproxy.agents.leads import elsewhere, env_command
from awfproxy.agents.place import Place

NAME = "awfproxy"
"""Of the model provider. `openai` is reserved."""

TOKEN_VARIABLE = "AWFPROXY_TOKEN"
"""Where codex is told to look for a caller token, which it sends as it would a key."""


def setup(place: Place, choice: Choice) -> Setup:
    provider: dict[str, str | bool] = {
        "name": NAME,
        "base_url": place.url("openai") + "/v1",
        "wire_api": "responses",
    }
    variables = []
    if choice.websocket:
        provider["supports_websockets"] = True
    if choice.token is not None:
        provider["env_key"] = TOKEN_VARIABLE
        variables.append(Variable(TOKEN_VARIABLE, choice.token, "codex sends it in place of a key"))
    inline = ", ".join(f"{key}={_toml(value)}" for key, value in provider.items())
    arguments = ["-c", f"model_provider={_toml(NAME)}", "-c", f"model_providers.{NAME}={{{inline}}}"]
    settings = [Setting(("model_provider",), NAME)]
    if choice.model is not None:
        arguments += ["-c", f"model={_toml(choice.model)}"]
        settings.append(Setting(("model",), choice.model))
    table = ("model_providers", NAME)
    settings += [Setting((*table, key), value) for key, value in provider.items()]
    others = ("env_key", "experimental_bearer_token", "requires_openai_auth", "supports_websockets")
    settings += [Setting((*table, key), None, shown=False) for key in others if key not in provider]
    return Setup(
        tuple(variables),
        arguments=tuple(arguments),
        arguments_reason="codex ignores OPENAI_BASE_URL: only a model provider of its own leads it here",
        file=ConfigFile(
            "CODEX_HOME", "", ".codex", "config.toml", tuple(settings), instead_of_arguments=True
        ),
    )


def _toml(value: str | bool) -> str:
    """JSON's form is TOML's too, for booleans and for text of printable ASCII."""
    return json.dumps(value)


def reaches(found: Found) -> Iterator[Finding]:
    """What its config.toml, and that alone, makes of where it goes."""
    fix = f"Run: {env_command('codex', ['openai'], found.place)} --write"
    ignored = bool(found.environ.get("OPENAI_BASE_URL"))
    name, table = _model_provider(found.config)
    url = table.get("base_url", found.config.get("openai_base_url") if name == "openai" else None)
    away = elsewhere(url, found.place, "openai")
    if away is not None:
        variable = " OPENAI_BASE_URL is set, but codex ignores it." if ignored else ""
        login = f" The login in {found.login_path} wins there." if found.login_path else ""
        yield Finding(f"{_where(found, name, url, away)}.{variable}{login}", fix)
        return
    if table.get("wire_api", "responses") != "responses":
        yield Finding(f"The model provider {name} has another wire_api than responses.", fix)
    key = table.get("env_key")
    if isinstance(key, str) and not found.environ.get(key):
        yield Finding(f"The model provider {name} has env_key = {key}, and {key} is not set.", fix)
    if table.get("requires_openai_auth") is True and not found.login_path:
        yield Finding(f"The model provider {name} has requires_openai_auth, and codex has no login.", fix)
    if ignored:
        yield Finding("OPENAI_BASE_URL is set: codex ignores it, its config.toml counts.", fatal=False)


def _model_provider(config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Name and table of the one in use, that of a profile before the general one."""
    profile = _table(_table(config.get("profiles")).get(str(config.get("profile"))))
    name = str(profile.get("model_provider", config.get("model_provider", "openai")))
    return name, _table(_table(config.get("model_providers")).get(name))


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _where(found: Found, name: str, url: object, away: str) -> str:
    place = found.config_path or "config.toml"
    if url is not None:
        return f"{place}: the model provider {name} leads to {away}, not to {found.place.url('openai')}"
    return (
        f"{place} has no model provider that leads to {found.place.url('openai')}, so codex dials "
        'api.openai.com itself (unless the shell function of eval "$(awfproxy env codex)" starts it)'
    )


CODEX = Agent(
    name="codex",
    title="Codex CLI",
    command="codex",
    providers=("openai",),
    setup=setup,
    credentials=("OPENAI_API_KEY", "CODEX_API_KEY"),
    login_file="auth.json",
    options=frozenset({"model", "websocket"}),
    reaches=reaches,
)
