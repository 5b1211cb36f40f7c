"""Where an agent's environment and files, as found, lead it: to us, or elsewhere. Pure.

The environment that a shell function or a wrapper sets for one command cannot be seen.
"""

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from awfproxy.agents import noproxy
from awfproxy.agents.agent import Agent, Choice, ConfigFile, Finding, Found, Setting, Variable
from awfproxy.agents.changes import CannotEdit, changed
from awfproxy.agents.place import PORTS, Place
from awfproxy.agents.warnings import diversions

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def findings(agent: Agent, found: Found) -> Iterator[Finding]:
    """All that keeps the agent from us, and what is amiss besides."""
    if agent.reaches is not None:
        yield from agent.reaches(found)
    else:
        yield from by_variables(agent, found)
    yield from (Finding(sentence) for sentence in diversions(agent, found.environ))
    yield from _proxy(agent, found)
    if found.login_path:
        yield Finding(
            f"{found.login_path} is there: {agent.title} holds a login of its own, and needs none.",
            "Remove it where the agent runs.",
            fatal=False,
        )


def by_variables(agent: Agent, found: Found) -> Iterator[Finding]:
    """For an agent that takes the base URL from a variable, and wants one for a key."""
    choice = _choice(agent, found)
    setup = agent.setup(found.place, choice)
    fix = _fix(agent, choice, found.place)
    for variable in setup.variables:
        provider = _provider(agent, found.place, variable)
        value = found.environ.get(variable.name)
        if provider is not None:
            if value is None and provider != agent.providers[0]:
                continue  # one that it uses only if it is there
            away = elsewhere(value, found.place, provider)
            if away is not None:
                leads = "is not set" if value is None else f"leads to {away}"
                yield Finding(f"{variable.name} {leads}: {agent.title} does not come here.", fix)
        elif variable.name in agent.credentials and not value:
            yield Finding(f"{variable.name} is not set: {variable.reason}.", fix)
        elif variable.name == "COPILOT_OFFLINE" and value != variable.value:
            yield Finding(f"{variable.name} is not {variable.value}: it asks for a login.", fix)
    for name, sentence in setup.missing:
        if not found.environ.get(name):
            yield Finding(f"{name} is not set. {sentence}", fatal=False)
    if setup.file is not None and setup.file.needed:
        yield from _file(setup.file, found, fix)


def elsewhere(url: object, place: Place, provider: str) -> str | None:
    """None for a URL of ours, else where it leads: never the whole URL, which may hold a password."""
    if not isinstance(url, str) or not url:
        return "nowhere: it is empty" if url == "" else "the provider itself"
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "what is no URL"
    host = (parts.hostname or "").lower()
    if parts.scheme not in ("http", "https") or not host:
        return "what is no URL"
    if port != place.ports.get(provider) or not _same_host(host, place.host):
        return f"{host}:{port}"
    return None if parts.scheme == "http" else f"{host}:{port} by https, where plain HTTP is spoken"


def _same_host(one: str, other: str) -> bool:
    return one == other.lower() or (one in _LOOPBACK and other in _LOOPBACK)


def _choice(agent: Agent, found: Found) -> Choice:
    """Copilot CLI has two ways; that of GitHub's client is the one where only its variable is set."""
    if "github_token" not in agent.options or found.environ.get("COPILOT_PROVIDER_BASE_URL"):
        return Choice()
    return Choice(github_token=bool(found.environ.get("COPILOT_API_URL")))


def env_command(name: str, providers: Sequence[str], place: Place) -> str:
    """The `awfproxy env` that is for that place."""
    words = [] if place.host == Place().host else [f"--host {place.host}"]
    for provider in providers:
        if place.ports[provider] != PORTS[provider]:
            words.append(f"--{provider}-port {place.ports[provider]}")
    return " ".join(["awfproxy env", name, *words])


def _fix(agent: Agent, choice: Choice, place: Place) -> str:
    command = env_command(agent.name, agent.providers, place)
    if agent.setup(place, choice).file is not None:
        return f"Run: {command} --write"
    way = " --copilot-as github" if choice.github_token else ""
    return f'Run: eval "$({command}{way})"'


def _provider(agent: Agent, place: Place, variable: Variable) -> str | None:
    """Whose base URL the variable has; None where it has none."""
    for provider in agent.providers:
        if variable.value.startswith(place.url(provider)):
            return provider
    return None


def _file(file: ConfigFile, found: Found, fix: str) -> Iterator[Finding]:
    """The settings without which the agent does not start; the others are a matter of taste."""
    wanted = [setting for setting in file.settings if isinstance(setting.value, str)]
    for setting in wanted:
        if not _is_so(found, setting):
            name = ".".join(setting.path)
            yield Finding(f"{found.config_path or file.name} does not set {name} to {setting.value}.", fix)


def _is_so(found: Found, setting: Setting) -> bool:
    try:
        return not changed(dict(found.config), [setting])[1]
    except CannotEdit:
        return False


def _proxy(agent: Agent, found: Found) -> Iterator[Finding]:
    host = found.place.host
    if noproxy.is_covered(found.environ, host):
        return
    if "*" in noproxy.entries(found.environ) and agent.name != "codex":
        return  # of all agents codex alone does not know it
    name = next(name for name in noproxy.PROXIES if found.environ.get(name))
    yield Finding(
        f"{name} is set, and NO_PROXY does not name {host}: {agent.title} sends its requests for awfproxy to "
        "that proxy.",
        f"Set NO_PROXY and no_proxy as {env_command(agent.name, agent.providers, found.place)} prints them.",
    )
