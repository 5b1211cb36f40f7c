"""What in the reader's own environment would lead an agent past us, or leave a key in its hands."""

from collections.abc import Iterator, Mapping

from awfproxy.agents import noproxy
from awfproxy.agents.agent import Agent

_OFF = frozenset({"", "0", "false"})


def diversions(agent: Agent, environ: Mapping[str, str]) -> Iterator[str]:
    for name, what in agent.diverting:
        if environ.get(name, "").lower() not in _OFF:
            yield f"{name} is set, which makes {agent.title} {what}. Unset it."


def proxy(environ: Mapping[str, str], host: str) -> Iterator[str]:
    if not noproxy.is_covered(environ, host):
        yield (
            f"HTTP_PROXY is set here, and NO_PROXY does not name {host}: without the NO_PROXY that is "
            "printed, agents send their requests for awfproxy to that proxy."
        )
    if "*" in noproxy.entries(environ):
        yield (
            "NO_PROXY has a * in it, which codex does not know, so awfproxy's address is added. Programs "
            "that know * only where it stands alone will use HTTP_PROXY for everything else."
        )


def held(agent: Agent, name: str) -> str:
    """For a variable that holds what looks like a real key, and that nothing printed replaces."""
    return (
        f"{name} is set, to what looks like a real key. {agent.title} would hold it, and needs none: unset "
        "it where the agent runs."
    )


def logged_in(agent: Agent, path: str) -> str:
    """For a login file that is there: nothing of it gets past awfproxy, but it has no business there."""
    return (
        f"{path} is there: {agent.title} holds a login of its own, and needs none. Remove it where the agent "
        "runs."
    )
