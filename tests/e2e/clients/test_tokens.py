"""Each real client with a caller token in place of a key: it is shown, it is judged, it never goes on."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.clients.conftest import KINDS, AgentsStack, Client, Run
from tests.kit.certificates import Authority
from tests.kit.clients import commands
from tests.kit.daemon import Daemon
from tests.kit.responses_api import TEXT
from tests.kit.squid import free_port
from tests.kit.tokens import key_file, token
from tests.kit.tools import need

TURNS = {
    "codex": ("codex", "openai", ("--write",), commands.codex),
    "claude": ("claude", "anthropic", (), commands.claude),
    "gemini": ("gemini", "gemini", ("--write",), lambda: commands.gemini("-m", "gemini-2.5-flash")),
}


@pytest.fixture(scope="module")
def token_stack(
    agents_stack: AgentsStack, authority: Authority, canary: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentsStack]:
    """The same origins and the same Squid behind a daemon that wants tokens."""
    with contextlib.ExitStack() as stack:
        ports = {name: free_port() for name in KINDS}
        options = ["--egress-proxy", agents_stack.squid.url, "--ca-file", str(authority.file)]
        options += ["--log-format", "json"]
        options += ["--token-key-file", str(key_file(tmp_path_factory.mktemp("tokens")))]
        for name, kind in KINDS.items():
            prefix = "" if name == "openai" else f"{name}-"
            options += [f"--{prefix}target", f"{kind.host}:{agents_stack.origins[name].port}"]
            options += [f"--{prefix}port", str(ports[name])]
        keys = {kind.variable: kind.key(canary) for kind in KINDS.values()}
        daemon = stack.enter_context(Daemon(*options, env=keys, port=ports["openai"]))
        daemon.ready("/readyz")
        yield AgentsStack(agents_stack.origins, agents_stack.squid, daemon, ports)


def run(stack: AgentsStack, folder: Path, name: str, shown: str) -> Run:
    agent, _, options, command = TURNS[name]
    need(agent)
    client = Client(stack, folder)
    client.environment["AWFPROXY_TOKEN"] = shown
    client.configure(agent, *options)
    return client.run(command())


@pytest.mark.parametrize("name", TURNS)
def test_a_turn_completes_with_a_token_that_reaches_neither_origin_nor_log(
    name: str, token_stack: AgentsStack, tmp_path: Path, outcome: Callable[[str, str, str], None]
) -> None:
    _, provider, *_ = TURNS[name]
    shown = token(provider, label=f"turn-{list(TURNS).index(name)}")
    made = run(token_stack, tmp_path, name, shown)
    assert made.turn.code == 0, made.report
    assert TEXT in made.turn.stdout, made.report
    assert set(made.requests) == {provider}
    signature = shown.rpartition(".")[2].encode()
    for seen in made.requests[provider]:
        assert signature not in seen.head + seen.body
        assert b"awfproxy" not in seen.head.lower()
    assert signature.decode() not in token_stack.daemon.output()
    token_stack.daemon.wait_for_output(f'"caller":"turn-{list(TURNS).index(name)}"')
    outcome("Who may call", f"token of {name}", "turn completed; neither origin nor log saw the token")


def test_client_shows_what_is_wrong_with_an_expired_token(
    token_stack: AgentsStack, tmp_path: Path, outcome: Callable[[str, str, str], None]
) -> None:
    made = run(token_stack, tmp_path, "claude", token("anthropic", seconds=-5))
    assert made.turn.code != 0, made.report
    assert "The caller token has expired." in made.turn.stdout + made.turn.stderr, made.report
    assert not made.requests
    outcome("Who may call", "expired token", "403 caller_token_expired, which the client shows; nothing sent")
