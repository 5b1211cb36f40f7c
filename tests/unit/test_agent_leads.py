"""Where an agent's environment and files, as found, lead it: to awfproxy, or past it."""

import json
from pathlib import Path
from typing import Any

import pytest

from awfproxy.agents.agent import Agent, Choice, Finding
from awfproxy.agents.edit import edit
from awfproxy.agents.leads import elsewhere
from awfproxy.agents.noproxy import variables
from awfproxy.agents.place import PORTS, Place
from awfproxy.agents.registry import AGENTS, BY_NAME
from awfproxy.doctor.found import agent_findings

PLACE = Place("127.0.0.1")


def found(name: str, home: Path, **environ: str) -> list[Finding]:
    return agent_findings(BY_NAME[name], PLACE, environ, str(home))


def fatal(name: str, home: Path, **environ: str) -> str:
    """All that keeps it from awfproxy, in one text; fails where nothing does."""
    said = [finding for finding in found(name, home, **environ) if finding.fatal]
    assert said
    return " ".join(f"{finding.said} {finding.fix}" for finding in said)


def set_up(agent: Agent, home: Path, choice: Choice | None = None) -> dict[str, str]:
    """As `awfproxy env AGENT --write` and `eval` leave it."""
    setup = agent.setup(PLACE, choice or Choice(model="m" if "model" in agent.options else None))
    if setup.file is not None:
        folder = home / setup.file.folder_default
        folder.mkdir(parents=True)
        (folder / setup.file.name).write_text(edit(setup.file.name, "", setup.file.settings).text)
    every = (*setup.variables, *variables({}, PLACE.host))
    return {variable.name: variable.value for variable in every}


def codex(home: Path, text: str) -> None:
    (home / ".codex").mkdir(exist_ok=True)
    (home / ".codex" / "config.toml").write_text(text)


OURS = '[model_providers.awfproxy]\nname = "a"\nbase_url = "http://localhost:10000/v1"\n'


# --- all agents ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_agent_as_env_sets_it_up_comes_here(agent: Agent, tmp_path: Path) -> None:
    assert found(agent.name, tmp_path, **set_up(agent, tmp_path)) == []


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_agent_that_nothing_was_said_to_does_not_and_is_told_how(agent: Agent, tmp_path: Path) -> None:
    assert f"awfproxy env {agent.name}" in fatal(agent.name, tmp_path)


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_http_proxy_would_swallow_what_is_for_loopback(agent: Agent, tmp_path: Path) -> None:
    environ = set_up(agent, tmp_path)
    proxied = {**environ, "HTTP_PROXY": "http://user:word@squid:3128"}
    assert found(agent.name, tmp_path, **proxied) == []
    del proxied["NO_PROXY"], proxied["no_proxy"]
    said = fatal(agent.name, tmp_path, **proxied)
    assert "HTTP_PROXY is set, and NO_PROXY does not name 127.0.0.1" in said
    assert "word" not in said
    star = found(agent.name, tmp_path, **{**proxied, "NO_PROXY": "*"})
    assert bool(star) is (agent.name == "codex")


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_real_key_in_its_environment_is_named_and_not_shown(
    agent: Agent, tmp_path: Path, canary: str
) -> None:
    environ = {**set_up(agent, tmp_path), agent.credentials[0]: canary}
    findings = found(agent.name, tmp_path, **environ)
    notes = [finding for finding in findings if agent.credentials[0] in finding.said]
    assert notes
    assert not any(finding.fatal for finding in notes)
    assert canary not in str(findings)


def test_every_agent_with_a_login_is_told_of_it(tmp_path: Path) -> None:
    for agent in AGENTS:
        if agent.login_file is None:
            continue
        home = tmp_path / agent.name
        environ = set_up(agent, home)
        file = agent.setup(PLACE, Choice()).file
        assert file is not None
        login = home / file.folder_default / agent.login_file
        login.write_text("{}")
        (note,) = found(agent.name, home, **environ)
        assert str(login) in note.said
        assert not note.fatal


def test_file_that_cannot_be_understood_is_named(tmp_path: Path) -> None:
    codex(tmp_path, "model_provider = ")
    assert "config.toml is not TOML." in fatal("codex", tmp_path)
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / "settings.json").write_text('{"env": \n// c\n}')
    assert "settings.json is not JSON, line 2." in fatal("claude", tmp_path)


# --- codex --------------------------------------------------------------------------------------------


def test_codex_ignores_openai_base_url(tmp_path: Path) -> None:
    said = fatal("codex", tmp_path, OPENAI_BASE_URL="http://127.0.0.1:10000/v1")
    assert "OPENAI_BASE_URL is set, but codex ignores it." in said
    codex(tmp_path, f'model_provider = "awfproxy"\n{OURS}')
    (note,) = found("codex", tmp_path, OPENAI_BASE_URL="http://127.0.0.1:10000/v1")
    assert not note.fatal


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no model provider that leads to http://127.0.0.1:10000"),
        (OURS, "has no model provider that leads to"),
        ('model_provider = "x"', "has no model provider that leads to"),
        (
            f'model_provider = "awfproxy"\n{OURS}'.replace("10000", "9999"),
            "the model provider awfproxy leads to localhost:9999",
        ),
        (f'model_provider = "awfproxy"\n{OURS}wire_api = "chat"', "wire_api"),
        (f'model_provider = "awfproxy"\n{OURS}env_key = "NO_SUCH"', "NO_SUCH is not set"),
        (f'model_provider = "awfproxy"\n{OURS}requires_openai_auth = true', "requires_openai_auth"),
        ('openai_base_url = "https://api.openai.com/v1"', "openai leads to api.openai.com:443"),
        ('profile = "p"\nmodel_provider = "awfproxy"\n[profiles.p]\nmodel_provider = "openai"\n' + OURS,
         "has no model provider that leads to"),
    ],
)  # fmt: skip
def test_codex_does_not_come_here(tmp_path: Path, text: str, said: str) -> None:
    codex(tmp_path, text)
    assert said in fatal("codex", tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        f'model_provider = "awfproxy"\n{OURS}',
        f'profile = "p"\n[profiles.p]\nmodel_provider = "awfproxy"\n{OURS}',
        'openai_base_url = "http://127.0.0.1:10000/v1"',
    ],
)
def test_codex_comes_here_by_each_of_its_ways(tmp_path: Path, text: str) -> None:
    codex(tmp_path, text)
    assert found("codex", tmp_path) == []


def test_codex_own_login_wins_where_nothing_leads_here(tmp_path: Path) -> None:
    codex(tmp_path, "")
    (tmp_path / ".codex" / "auth.json").write_text("{}")
    assert "auth.json wins there." in fatal("codex", tmp_path)


def test_fix_is_for_the_place_that_awfproxy_is_at(tmp_path: Path) -> None:
    place = Place("172.30.0.30", {**PORTS, "openai": 10080})
    codex_fix = {one.fix for one in agent_findings(BY_NAME["codex"], place, {}, str(tmp_path))}
    assert codex_fix == {"Run: awfproxy env codex --host 172.30.0.30 --openai-port 10080 --write"}
    copilot = agent_findings(BY_NAME["copilot"], place, {}, str(tmp_path))
    assert copilot[0].fix == 'Run: eval "$(awfproxy env copilot --host 172.30.0.30)"'


# --- the others ---------------------------------------------------------------------------------------


def test_claudes_settings_are_stronger_than_the_environment(tmp_path: Path) -> None:
    environ = set_up(BY_NAME["claude"], tmp_path)
    file = tmp_path / ".claude" / "settings.json"
    content: dict[str, Any] = json.loads(file.read_text())
    content["env"]["ANTHROPIC_BASE_URL"] = "https://api.anthropic.com"
    file.write_text(json.dumps(content))
    assert "ANTHROPIC_BASE_URL leads to api.anthropic.com:443" in fatal("claude", tmp_path, **environ)


def test_gemini_wants_its_kind_of_credential_in_its_file(tmp_path: Path) -> None:
    environ = set_up(BY_NAME["gemini"], tmp_path)
    (tmp_path / ".gemini" / "settings.json").write_text("{}")
    assert "does not set security.auth.selectedType to gemini-api-key" in fatal("gemini", tmp_path, **environ)


def test_variable_that_leads_elsewhere_is_fatal(tmp_path: Path) -> None:
    environ = set_up(BY_NAME["claude"], tmp_path)
    assert "CLAUDE_CODE_USE_BEDROCK" in fatal("claude", tmp_path, **environ, CLAUDE_CODE_USE_BEDROCK="1")


def test_copilot_comes_by_either_way(tmp_path: Path) -> None:
    environ = set_up(BY_NAME["copilot"], tmp_path, Choice(model="m", github_token=True))
    assert found("copilot", tmp_path, **environ) == []
    del environ["COPILOT_GITHUB_TOKEN"]
    assert "COPILOT_GITHUB_TOKEN is not set" in fatal("copilot", tmp_path, **environ)


@pytest.mark.parametrize(
    ("url", "away"),
    [
        ("http://127.0.0.1:10000", None),
        ("http://localhost:10000/v1", None),
        ("http://[::1]:10000/v1", None),
        ("http://127.0.0.1:10001", "127.0.0.1:10001"),
        ("http://u:word@elsewhere:10000/v1", "elsewhere:10000"),
        ("https://127.0.0.1:10000", "127.0.0.1:10000 by https, where plain HTTP is spoken"),
        ("http://127.0.0.1:port", "what is no URL"),
        ("127.0.0.1:10000", "what is no URL"),
        ("", "nowhere: it is empty"),
        (None, "the provider itself"),
    ],
)
def test_where_a_url_leads_is_told_without_the_rest_of_it(url: str | None, away: str | None) -> None:
    assert elsewhere(url, PLACE, "openai") == away
