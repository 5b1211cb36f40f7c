"""Several providers in one process: whose ports open, whose keys go where, and what the rules close."""

from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.kit.anthropic_origin import AnthropicExchange
from tests.kit.certificates import Authority
from tests.kit.client import Client, ask
from tests.kit.copilot_origin import CopilotExchange
from tests.kit.daemon import Daemon, never_listens_until_end
from tests.kit.gemini_origin import GeminiExchange
from tests.kit.origin import Exchange, Origin
from tests.kit.ports import free_port
from tests.kit.squid import Squid
from tests.kit.tools import need

KINDS: dict[str, tuple[str, str, type[Exchange]]] = {
    "openai": ("api.openai.com", "OPENAI_API_KEY", Exchange),
    "anthropic": ("api.anthropic.com", "ANTHROPIC_API_KEY", AnthropicExchange),
    "copilot": ("api.githubcopilot.com", "COPILOT_GITHUB_TOKEN", CopilotExchange),
    "gemini": ("generativelanguage.googleapis.com", "GEMINI_API_KEY", GeminiExchange),
}
JSON = (b"Content-Type", b"application/json")


@attrs.frozen
class Far:
    """The origins and the Squid between, for daemons of the tests' own."""

    authority: Authority
    origins: dict[str, Origin]
    squid: Squid
    ports: dict[str, int]

    def daemon(self, *options: str, keys: dict[str, str]) -> Daemon:
        """With the keys given, by provider, and only those."""
        words = ["--egress-proxy", self.squid.url, "--ca-file", str(self.authority.file)]
        words += ["--log-format", "json"]
        for name, (host, _, _) in KINDS.items():
            prefix = "" if name == "openai" else f"{name}-"
            words += [f"--{prefix}target", f"{host}:{self.origins[name].port}"]
            words += [f"--{prefix}port", str(self.ports[name])]
        env = {KINDS[name][1]: key for name, key in keys.items()}
        return Daemon(*words, *options, env=env, port=self.ports["openai"])


@pytest.fixture
def far(authority: Authority, canary: str) -> Iterator[Far]:
    need("squid")
    origins = {
        name: Origin(authority.leaf(host), canary, exchange=exchange).start()
        for name, (host, _, exchange) in KINDS.items()
    }
    with Squid([host for host, _, _ in KINDS.values()]) as squid:
        yield Far(authority, origins, squid, {name: free_port() for name in KINDS})
    for origin in origins.values():
        origin.close()


def listening(port: int) -> bool:
    try:
        Client(port).close()
    except ConnectionRefusedError:
        return False
    return True


def test_only_configured_providers_have_a_port_and_the_line_says_so_for_each(far: Far, canary: str) -> None:
    with far.daemon(keys={"openai": canary, "anthropic": canary}) as daemon:
        daemon.ready("/readyz")
        line = daemon.wait_for_output("startup_complete")
        for said in (
            f"openai: serving on http://127.0.0.1:{far.ports['openai']}",
            f"anthropic: serving on http://127.0.0.1:{far.ports['anthropic']}",
            "copilot: not configured",
            "gemini: not configured",
            "vertex: not configured",
        ):
            assert said in line
        assert [name for name, port in far.ports.items() if listening(port)] == ["openai", "anthropic"]
        assert daemon.health()["providers"] == {
            "openai": True, "anthropic": True, "copilot": False, "gemini": False, "vertex": False,
        }  # fmt: skip


def test_each_port_has_its_own_key_field_and_origin(far: Far, canary: str) -> None:
    keys = dict.fromkeys(KINDS, canary)
    with far.daemon(keys=keys) as daemon:
        daemon.ready("/readyz")
        placeholder = [(b"Authorization", b"Bearer placeholder"), (b"X-Api-Key", b"placeholder"), JSON]
        wanted = {
            "openai": ("/v1/models", b"authorization", b"Bearer THE-KEY"),
            "anthropic": ("/v1/models", b"x-api-key", b"THE-KEY"),
            "copilot": ("/models", b"authorization", b"Bearer THE-KEY"),
            "gemini": ("/v1beta/models?key=placeholder&a=b", b"x-goog-api-key", b"THE-KEY"),
        }
        for name, (target, field, value) in wanted.items():
            marker = f"mark-{name}".encode()
            ask(far.ports[name], "GET", target, fields=[*placeholder, (b"x-mark", marker)])
            seen = far.origins[name].wait_for(marker)
            assert seen.values(field) == [value]
            assert b"placeholder" not in seen.head
            others = [other for other in far.origins if other != name]
            assert not any(far.origins[other].find(marker) for other in others)
        assert far.origins["gemini"].find(b"/v1beta/models?a=b ")


@pytest.mark.parametrize("name", ["anthropic", "copilot", "gemini"])
def test_one_rejected_key_ends_the_process_before_any_port_opens(far: Far, canary: str, name: str) -> None:
    with far.daemon(keys={"openai": canary, name: canary[:-1] + "?"}) as daemon:
        assert never_listens_until_end(daemon)
        assert daemon.exit_code() == 77, daemon.last_line
        assert KINDS[name][1] in daemon.last_line
        assert f"--{name}-key-file" in daemon.last_line


def test_required_provider_without_a_key_is_78(far: Far, canary: str) -> None:
    with far.daemon("--require", "openai,gemini", keys={"openai": canary}) as daemon:
        assert daemon.exit_code() == 78
        assert "no Gemini key, which --require (command line) asks for" in daemon.last_line
        assert "GEMINI_API_KEY" in daemon.last_line


def test_no_provider_at_all_is_78(far: Far) -> None:
    with far.daemon(keys={}) as daemon:
        assert daemon.exit_code() == 78
        for way in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "awfproxy demo"):
            assert way in daemon.last_line


def test_two_providers_at_one_port_are_78(far: Far, canary: str) -> None:
    port = str(far.ports["openai"])
    with far.daemon("--vertex-port", port, keys={"openai": canary}) as daemon:
        daemon.ready("/readyz")
    far.ports["anthropic"] = far.ports["openai"]
    with far.daemon(keys={"openai": canary, "anthropic": canary}) as daemon:
        assert daemon.exit_code() == 78
        assert "openai and anthropic have the same port" in daemon.last_line


def test_provider_of_the_files_own_on_a_unix_socket(far: Far, canary: str, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    with Origin(far.authority.leaf("api.openai.com"), canary) as origin:
        file.write_text(
            f'[providers.local]\nlisten = "unix:{tmp_path}/l.sock"\norigin = "api.openai.com:{origin.port}"\n'
            'base-path = "/v1"\nkey-variable = "THEIR_KEY"\n'
        )
        words = ["--config", str(file), "--egress-proxy", far.squid.url, "--ca-file", str(far.authority.file)]
        with Daemon(*words, env={"THEIR_KEY": canary}) as daemon:
            daemon.wait_for_output(f"local: serving on unix:{tmp_path}/l.sock")
            with Client(path=f"{tmp_path}/l.sock") as client:
                assert client.request("GET", "/models").status == 200
            assert origin.wait_for(b"GET /v1/models ").values(b"authorization") == [b"Bearer THE-KEY"]
            assert not daemon.listening()


def test_rules_close_paths_and_nothing_of_it_reaches_the_provider(
    far: Far, canary: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.toml"
    file.write_text('[providers.openai]\nrules = ["deny * /v1/files/**"]\n')
    with far.daemon("--config", str(file), keys={"openai": canary}) as daemon:
        daemon.ready("/readyz")
        assert daemon.ask("GET", "/v1/models").status == 200
        for target in "/v1/files", "/files/1", "/v1/Files", "/v1/files/?a=b":
            refused = daemon.ask("GET", target)
            assert (refused.status, refused.error_code) == (403, "path_denied")
            assert "number 1 decides: deny * /v1/files/**" in refused.json()["error"]["message"]
            assert str(tmp_path) not in refused.body.decode()
        for target in "/v1/%66iles%2f1", "/v1/./files", "/v1//files", "/v1/x%2e%2e/files":
            refused = daemon.ask("GET", target)
            assert (refused.status, refused.error_code) == (403, "ambiguous_target")
        upgrade = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"), (b"Sec-WebSocket-Version", b"13")]
        key = (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==")
        assert daemon.ask("GET", "/v1/files", fields=[*upgrade, key]).error_code == "path_denied"
        assert not far.origins["openai"].find(b"iles")


def test_copilots_defaults_keep_the_agent_from_the_mcp_server_until_they_are_opened(
    far: Far, canary: str, tmp_path: Path
) -> None:
    with far.daemon(keys={"copilot": canary}) as daemon:
        daemon.wait_for_output("startup_complete")
        port = far.ports["copilot"]
        refused = ask(port, "POST", "/mcp/readonly", fields=[JSON], body=b"{}")
        assert (refused.status, refused.error_code) == (403, "path_denied")
        assert "Copilot's default" in refused.json()["error"]["message"]
        assert ask(port, "GET", "/models").status == 200
    assert not far.origins["copilot"].find(b"/mcp")
    file = tmp_path / "a.toml"
    file.write_text('[providers.copilot]\nrules = ["allow * /mcp/**", "allow GET /models"]\n')
    with far.daemon("--config", str(file), keys={"copilot": canary}) as daemon:
        daemon.wait_for_output("startup_complete")
        assert ask(far.ports["copilot"], "POST", "/mcp/readonly", fields=[JSON], body=b"{}").status == 200
