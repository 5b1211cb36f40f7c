"""One daemon for five providers before a Squid that gives tunnels to awfproxy alone, and agents before it."""

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import pytest

from tests.kit import canary as canaries
from tests.kit.anthropic_origin import AnthropicExchange
from tests.kit.certificates import Authority
from tests.kit.clients.installed import search_path
from tests.kit.copilot_origin import CopilotExchange
from tests.kit.daemon import PACKAGES, Daemon
from tests.kit.gemini_origin import GeminiExchange
from tests.kit.origin import Exchange, Origin, Seen
from tests.kit.ports import free_port
from tests.kit.sandbox import AGENT_SOURCE, Relay, Sandbox, Turn
from tests.kit.squid import Squid
from tests.kit.tools import need_sandbox

_NOTHING_ASKED = " NONE_NONE/000 0 - error:transaction-end-before-headers "
"""What Squid writes of a connection that ended before a request: codex has one now and then."""

_AWFPROXY = "import sys; from awfproxy.cli.main import main; sys.exit(main())"


@attrs.frozen
class Kind:
    """A provider as these tests need it: where it is, which key it takes, and how it answers."""

    host: str
    variable: str
    prefix: str
    length: int
    exchange: type[Exchange]

    def key(self, canary: str) -> str:
        """In the provider's own shape and of the canary's characters, so that the search finds each."""
        return self.prefix + canary.removeprefix(canaries.PREFIX)[: self.length]


KINDS = {
    "openai": Kind("api.openai.com", "OPENAI_API_KEY", canaries.PREFIX, 48, Exchange),
    "anthropic": Kind("api.anthropic.com", "ANTHROPIC_API_KEY", "sk-ant-api03-", 48, AnthropicExchange),
    "copilot": Kind("api.githubcopilot.com", "COPILOT_GITHUB_TOKEN", "gho_", 36, CopilotExchange),
    "gemini": Kind("generativelanguage.googleapis.com", "GEMINI_API_KEY", "AIza", 35, GeminiExchange),
    "vertex": Kind("aiplatform.googleapis.com", "GOOGLE_API_KEY", "AQ.", 40, GeminiExchange),
}


@attrs.frozen
class Run:
    """One run of a client: what it came to, and what was seen of it outside."""

    turn: Turn
    requests: dict[str, list[Seen]]
    """Those that reached each provider's origin, if any did."""
    denied: list[str]
    """Squid's lines on the client's own dials; all were refused."""
    placeholders: frozenset[bytes]
    """What the client was given in place of a key; none of it reached an origin."""

    @property
    def report(self) -> str:
        """For a failed test: the requests as they arrived, and what the client said."""
        lines = [
            f"{name}: {seen.head!r} {seen.length} octets {seen.ended} {seen.body[-300:]!r}"
            for name, found in self.requests.items()
            for seen in found
        ]
        return "\n".join([*lines, *self.denied, self.turn.report])

    def targets(self, provider: str) -> list[bytes]:
        """Method and target without the query, in order; and nothing reached another provider."""
        assert set(self.requests) <= {provider}, self.report
        found = self.requests.get(provider, [])
        return [seen.method + b" " + seen.target.partition(b"?")[0] for seen in found]


class Client:
    """A sandbox with a fresh home, set up by what `awfproxy env AGENT` prints there, and by nothing else."""

    def __init__(self, stack: "AgentsStack", folder: Path) -> None:
        self.stack = stack
        relays = [*map(Relay, stack.ports.values()), Relay(stack.squid.port, AGENT_SOURCE)]
        self.box = Sandbox(folder / "box", relays, search_path())
        proxy = stack.squid.url
        names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
        self.environment: dict[str, str] = dict.fromkeys(names, proxy)
        """At first what surrounds the client: a proxy that would swallow what is meant for awfproxy."""
        self.arguments: dict[str, list[str]] = {}
        self.placeholders: frozenset[bytes] = frozenset()

    def configure(self, agent: str, *options: str) -> "Client":
        ports = [f"--{name}-port={port}" for name, port in self.stack.ports.items()]
        command = [sys.executable, "-c", _AWFPROXY, "env", agent, "--format", "json", "--host", "127.0.0.1"]
        given = {"PYTHONPATH": str(PACKAGES), **self.environment}
        printed = self.box.run([*command, *ports, *options], given)
        assert printed.code == 0, printed.report
        said = json.loads(printed.stdout)
        self.environment |= said["environment"]
        self.arguments = said["arguments"]
        texts = [printed.stdout, *(path.read_text() for path in self.box.home.rglob("*") if path.is_file())]
        words = {word for text in texts for word in text.split('"')}
        self.placeholders = frozenset(word.encode() for word in words if "placeholder" in word)
        return self

    def run(self, command: Sequence[str], deadline: float = 90.0) -> Run:
        """One turn; whatever comes of it, no placeholder reaches an origin, and its own dials are refused."""
        before = {name: len(origin.requests) for name, origin in self.stack.origins.items()}
        lines = len(self.stack.squid.access_log())
        turn = self.box.run(command, self.environment, deadline)
        requests = {
            name: found
            for name, origin in self.stack.origins.items()
            if (found := origin.requests[before[name] :])
        }
        denied = [line for line in self.stack.squid.access_log()[lines:] if f" {AGENT_SOURCE} " in line]
        for seen in (seen for found in requests.values() for seen in found):
            assert not [each for each in self.placeholders if each in seen.head + seen.body]
        asked = [line for line in denied if _NOTHING_ASKED not in line]
        assert all("/403 " in line for line in asked), denied
        return Run(turn, requests, denied, self.placeholders)


@attrs.frozen
class AgentsStack:
    """One daemon with five providers, its Squid, and an origin for each."""

    origins: dict[str, Origin]
    squid: Squid
    daemon: Daemon
    ports: dict[str, int]


@pytest.fixture(scope="package")
def agents_stack(authority: Authority, canary: str) -> Iterator[AgentsStack]:
    need_sandbox("squid")
    with contextlib.ExitStack() as stack:
        origins = {
            name: stack.enter_context(
                Origin(authority.leaf(kind.host), kind.key(canary), exchange=kind.exchange)
            )
            for name, kind in KINDS.items()
        }
        squid = stack.enter_context(Squid([kind.host for kind in KINDS.values()]))
        ports = {name: free_port() for name in KINDS}
        options = ["--egress-proxy", squid.url, "--ca-file", str(authority.file), "--log-format", "json"]
        for name, kind in KINDS.items():
            prefix = "" if name == "openai" else f"{name}-"
            options += [f"--{prefix}target", f"{kind.host}:{origins[name].port}"]
            options += [f"--{prefix}port", str(ports[name])]
        keys = {kind.variable: kind.key(canary) for kind in KINDS.values()}
        daemon = stack.enter_context(Daemon(*options, env=keys, port=ports["openai"]))
        daemon.ready("/readyz")
        yield AgentsStack(origins, squid, daemon, ports)


@pytest.fixture
def client(agents_stack: AgentsStack, tmp_path: Path) -> Iterator[Client]:
    client = Client(agents_stack, tmp_path)
    yield client
    # Copilot CLI unpacks 235 MB of itself into each new home.
    shutil.rmtree(client.box.home)
