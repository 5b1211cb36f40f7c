"""Each real client with a caller token in place of a key: it is shown, it is judged, it never goes on."""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.e2e.clients.conftest import KINDS, AgentsStack, Client, Run
from tests.kit.certificates import Authority
from tests.kit.clients import commands
from tests.kit.daemon import Daemon
from tests.kit.ports import free_port
from tests.kit.reader import poll
from tests.kit.responses_api import TEXT
from tests.kit.tokens import key_file, token
from tests.kit.tools import need

Outcome = Callable[[str, str, str], None]
AREA = "Who may call"
EXPIRED = "The caller token has expired. Issue another one: awfproxy token new."


@attrs.frozen
class Way:
    """A client as it goes to one provider: how it is set up, its turn, what it says of a refused token."""

    agent: str
    provider: str
    command: Callable[..., list[str]]
    """Given the arguments that `awfproxy env` prints for it."""
    says: str
    """A part of what it shows; our message is another, unless it is `curt`."""
    options: tuple[str, ...] = ()
    curt: bool = False
    tries: int = 1
    """Requests, all refused, before it says so and ends."""


WAYS = {
    "codex": Way(
        "codex", "openai", commands.codex,
        f"ERROR: Reconnecting... 5/5\nERROR: unexpected status 403 Forbidden: {EXPIRED}",
        ("--write",), tries=6,
    ),
    "claude": Way(
        "claude", "anthropic", commands.claude, f"Failed to authenticate. API Error: 403 {EXPIRED}",
    ),
    "gemini": Way(
        "gemini", "gemini", partial(commands.gemini, "-m", "gemini-2.5-flash"),
        '_ApiError: {"error":{"code":403,', ("--write",),
    ),
    "copilot": Way(
        "copilot", "copilot", commands.copilot,
        "Authentication failed with provider at http://127.0.0.1:{port} (HTTP 403).",
        ("--model", "gpt-4.1"), curt=True,
    ),
    "copilot-as-github": Way(
        "copilot", "copilot", commands.copilot, "Error: Access denied by policy settings",
        ("--copilot-as", "github"), curt=True,
    ),
    "openai-sdk": Way(
        "openai-sdk", "openai", partial(commands.sdk, "openai_sdk", "responses"),
        f"openai.PermissionDeniedError: Error code: 403 - {EXPIRED}",
    ),
    "anthropic-sdk": Way(
        "anthropic-sdk", "anthropic", partial(commands.sdk, "anthropic_sdk"),
        "anthropic.PermissionDeniedError: Error code: 403 - {'type': 'error',",
    ),
    "google-sdk": Way(
        "google-sdk", "gemini", partial(commands.sdk, "google_sdk"),
        "google.genai.errors.ClientError: 403 PERMISSION_DENIED.",
    ),
    "google-sdk-at-vertex": Way(
        "google-sdk", "vertex", partial(commands.sdk, "google_sdk", "vertex"),
        "google.genai.errors.ClientError: 403 PERMISSION_DENIED.",
    ),
}  # fmt: skip


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


def run(stack: AgentsStack, folder: Path, way: Way, shown: str) -> Run:
    need("sdks" if way.agent.endswith("-sdk") else way.agent)
    client = Client(stack, folder)
    client.environment["AWFPROXY_TOKEN"] = shown
    try:
        client.configure(way.agent, *way.options)
        return client.run(way.command(*client.arguments.get(way.agent, ())))
    finally:
        # Copilot CLI unpacks 235 MB of itself into each new home.
        shutil.rmtree(client.box.home)


def access_lines(stack: AgentsStack, label: str, count: int) -> list[dict[str, Any]]:
    """Of the access log those of this caller, once there are so many; more fail."""

    def lines() -> list[dict[str, Any]]:
        events = [json.loads(line) for line in stack.daemon.output().splitlines() if line[:1] == "{"]
        return [each for each in events if each["event"] == "request_complete" and each["caller"] == label]

    poll(lambda: len(lines()) >= count)
    found = lines()
    assert len(found) == count, found
    return found


@pytest.mark.parametrize("name", WAYS)
def test_a_turn_completes_with_a_token_that_reaches_neither_origin_nor_log(
    name: str, token_stack: AgentsStack, tmp_path: Path, outcome: Outcome
) -> None:
    way, label = WAYS[name], f"turn-{name}"
    shown = token(way.provider, label=label)
    made = run(token_stack, tmp_path, way, shown)
    assert made.turn.code == 0, made.report
    assert TEXT in made.turn.stdout, made.report
    assert set(made.requests) == {way.provider}
    signature = shown.rpartition(".")[2].encode()
    for seen in made.requests[way.provider]:
        assert signature not in seen.head + seen.body
        assert b"awfproxy" not in seen.head.lower()
    assert signature.decode() not in token_stack.daemon.output()
    lines = access_lines(token_stack, label, len(made.requests[way.provider]))
    assert {(line["provider"], line["status"]) for line in lines} == {(way.provider, 200)}
    outcome(AREA, f"token of {name}", "turn completed; neither origin nor log saw the token")


@pytest.mark.parametrize("name", WAYS)
def test_client_ends_with_an_expired_token_and_says_what_it_can(
    name: str, token_stack: AgentsStack, tmp_path: Path, outcome: Outcome
) -> None:
    """What each shows is in docs/callers.md."""
    way, label = WAYS[name], f"expired-{name}"
    made = run(token_stack, tmp_path, way, token(way.provider, seconds=-5, label=label))
    assert made.turn.code != 0, made.report
    shows = made.turn.stdout + made.turn.stderr
    assert way.says.replace("{port}", str(token_stack.ports[way.provider])) in shows, made.report
    assert (EXPIRED in shows) is not way.curt, made.report
    assert not made.requests
    lines = access_lines(token_stack, label, way.tries)
    assert {(line["status"], line["error"]) for line in lines} == {(403, "caller_token_expired")}
    outcome(AREA, "expired token", "403 caller_token_expired, and the client ends; nothing sent")
