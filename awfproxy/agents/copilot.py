"""Copilot CLI: `copilot help environment` and `copilot help providers`.

Two ways. By default as a client of an own model provider: it wants no login and dials nothing else. With a
GitHub token (a placeholder) it asks for models and sessions as it would at GitHub, and would also use
GitHub's MCP server through us, for which awfproxy lends it no token: so that is switched off.
"""

import re

from awfproxy.agents.agent import Agent, Choice, Setup, Variable
from awfproxy.agents.place import Place

PLACEHOLDER = "gho_awfproxy_placeholder"
"""`ghp_` is refused, and what has no prefix of GitHub's counts as not logged in."""

_NO_MODEL = "Copilot CLI needs a model: add --model NAME here, or give copilot --model NAME each time."

_RESPONSES_ONLY = re.compile(r"(?i)gpt-5|o3")


def setup(place: Place, choice: Choice) -> Setup:
    return _as_github(place, choice) if choice.github_token else _own_provider(place, choice)


def _own_provider(place: Place, choice: Choice) -> Setup:
    variables = [
        Variable("COPILOT_OFFLINE", "true", "no login, no telemetry, nothing dialled but the model provider"),
        Variable("COPILOT_PROVIDER_BASE_URL", place.url("copilot"), "where the model provider is"),
    ]
    if choice.token is not None:
        variables.append(Variable("COPILOT_PROVIDER_API_KEY", choice.token, "sent to it in place of a key"))
    if choice.model is not None:
        variables.append(Variable("COPILOT_MODEL", choice.model, "without one it does not start"))
    if choice.websocket or _RESPONSES_ONLY.match(choice.model or ""):
        variables.append(Variable("COPILOT_PROVIDER_WIRE_API", "responses", "the API that this goes by"))
    if choice.websocket:
        variables.append(Variable("COPILOT_PROVIDER_TRANSPORT", "websockets", "WebSocket rather than HTTP"))
    missing = () if choice.model else (("COPILOT_MODEL", _NO_MODEL),)
    return Setup(tuple(variables), missing=missing)


def _as_github(place: Place, choice: Choice) -> Setup:
    token = choice.token or PLACEHOLDER
    variables = [
        Variable("COPILOT_API_URL", place.url("copilot"), "where Copilot's API is"),
        Variable("COPILOT_GITHUB_TOKEN", token, "it wants one; awfproxy puts in the real one"),
    ]
    if choice.model is not None:
        variables.append(Variable("COPILOT_MODEL", choice.model, "the model"))
    return Setup(
        tuple(variables),
        arguments=("--disable-builtin-mcps",),
        arguments_reason="or it calls GitHub's MCP server through awfproxy, which refuses that",
    )


COPILOT = Agent(
    name="copilot",
    title="Copilot CLI",
    command="copilot",
    providers=("copilot",),
    setup=setup,
    credentials=(
        "COPILOT_GITHUB_TOKEN",
        "GH_TOKEN",
        "GITHUB_TOKEN",
        "COPILOT_PROVIDER_API_KEY",
        "COPILOT_PROVIDER_BEARER_TOKEN",
    ),
    options=frozenset({"model", "websocket", "github_token"}),
)
