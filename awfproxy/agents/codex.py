"""codex: https://developers.openai.com/codex/config-reference

No variable gives codex a base URL: since about 0.119 it ignores OPENAI_BASE_URL, dials api.openai.com and
"waits for network" for ever. So a model provider of our own is defined, on the command line (-c, before the
subcommand) or in config.toml. It names no `env_key` and does not ask for OpenAI's login, so codex sends no
credential at all, whatever its environment and auth.json hold.
"""

import json

from awfproxy.agents.agent import Agent, Choice, ConfigFile, Setting, Setup
from awfproxy.agents.place import Place

NAME = "awfproxy"
"""Of the model provider. `openai` is reserved."""


def setup(place: Place, choice: Choice) -> Setup:
    provider: dict[str, str | bool] = {
        "name": NAME,
        "base_url": place.url("openai") + "/v1",
        "wire_api": "responses",
    }
    if choice.websocket:
        provider["supports_websockets"] = True
    inline = ", ".join(f"{key}={_toml(value)}" for key, value in provider.items())
    arguments = ["-c", f"model_provider={_toml(NAME)}", "-c", f"model_providers.{NAME}={{{inline}}}"]
    settings = [Setting(("model_provider",), NAME)]
    if choice.model is not None:
        arguments += ["-c", f"model={_toml(choice.model)}"]
        settings.append(Setting(("model",), choice.model))
    table = ("model_providers", NAME)
    settings += [Setting((*table, key), value) for key, value in provider.items()]
    absent = ["env_key", "experimental_bearer_token", "requires_openai_auth"]
    if not choice.websocket:
        absent.append("supports_websockets")
    settings += [Setting((*table, key), None, shown=False) for key in absent]
    return Setup(
        arguments=tuple(arguments),
        arguments_reason="codex ignores OPENAI_BASE_URL: only a model provider of its own leads it here",
        file=ConfigFile(
            "CODEX_HOME", "", ".codex", "config.toml", tuple(settings), instead_of_arguments=True
        ),
    )


def _toml(value: str | bool) -> str:
    """JSON's form is TOML's too, for booleans and for text of printable ASCII."""
    return json.dumps(value)


CODEX = Agent(
    name="codex",
    title="Codex CLI",
    command="codex",
    providers=("openai",),
    setup=setup,
    credentials=("OPENAI_API_KEY", "CODEX_API_KEY"),
    login_file="auth.json",
    options=frozenset({"model", "websocket"}),
)
