"""`awfproxy token`, and what `awfproxy env` does with the token that it is given."""

import io
import json
import tomllib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from awfproxy.agents.registry import AGENTS, BY_NAME
from awfproxy.callers.token import has_form, read, said_providers
from awfproxy.cli import env
from awfproxy.cli import token as verb
from awfproxy.cli.main import main as console
from awfproxy.credentials.secret import Secret
from tests.kit.tokens import KEY, key_file, signed, token

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Exit code, standard output and standard error of `awfproxy token`."""

    def run(*words: str, **environ: str) -> tuple[int, str, str]:
        code = verb.main(words, environ)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def set_up(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Ask:
    """The same of `awfproxy env`."""

    def run(*words: str, **environ: str) -> tuple[int, str, str]:
        code = env.main(words, {"HOME": str(tmp_path), **environ})
        return code, *capsys.readouterr()

    return run


NEEDED = ("--provider", "openai", "--expires", "2h", "--label", "job-1")


# --- making one -------------------------------------------------------------------------------------


def test_new_prints_the_token_alone_and_says_beside_it_what_it_is_for(ask: Ask, tmp_path: Path) -> None:
    words = ("--methods", "GET,POST", "--paths", "/v1/responses,/v1/models", "--paths", "/v1/files/**")
    code, out, err = ask("new", *NEEDED, *words, "--token-key-file", str(key_file(tmp_path)))
    assert code == 0
    claims = read(out.removesuffix("\n").encode(), (Secret(KEY),), "openai")
    assert (claims.label, claims.providers, claims.methods) == ("job-1", ("openai",), ("GET", "POST"))
    assert claims.paths == ("/v1/responses", "/v1/models", "/v1/files/**")
    assert claims.expires - claims.issued == 7200
    assert err.startswith("awfproxy: job-1: GET,POST /v1/responses, GET,POST /v1/models, GET,POST /v1/")
    assert out.strip() not in err


def test_key_is_the_first_line_of_the_file_that_the_daemon_s_option_names(ask: Ask, tmp_path: Path) -> None:
    file = tmp_path / "two"
    file.write_bytes(b"new-" + KEY + b"\n" + KEY + b"\n")
    config = tmp_path / "a.toml"
    config.write_text(f'token-key-file = "{file}"\n[providers.mine]\norigin = "llm.test"\nport = 10005\n')
    for words, environ in (
        (("--config", str(config)), {}),
        ((), {"AWFPROXY_TOKEN_KEY_FILE": str(file)}),
    ):
        code, out, _ = ask("new", *NEEDED, *words, **environ)
        assert code == 0
        assert read(out.strip().encode(), (Secret(b"new-" + KEY),), "openai").label == "job-1"
    own = ("--provider", "mine", "--expires", "1d", "--label", "x")
    assert ask("new", *own, "--config", str(config))[0] == 0


def test_key_prints_one_that_the_option_takes(ask: Ask, tmp_path: Path) -> None:
    code, out, err = ask("key")
    assert (code, err) == (0, "")
    (tmp_path / "key").write_text(out)
    assert ask("new", *NEEDED, "--token-key-file", str(tmp_path / "key"))[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        ((), 64, "Write: awfproxy token new"),
        (("make",), 64, "Write: awfproxy token new"),
        (("new", "--expires", "2h", "--label", "a"), 64, "--provider is missing"),
        (("new", "--provider", "openai", "--label", "a"), 64, "--expires is missing"),
        (("new", "--provider", "openai", "--expires", "2h"), 64, "--label is missing"),
        (("new", *NEEDED[:3], "2", "--label", "a"), 64, "a whole number with s, m, h or d"),
        (("new", *NEEDED[:3], "0s", "--label", "a"), 64, "a whole number with s, m, h or d"),
        (("new", *NEEDED[:3], "367d", "--label", "a"), 64, "up to 366d"),
        (("new", *NEEDED[:3], "-1h", "--label", "a"), 64, "a whole number"),
        (("new", "--provider", "opnai", *NEEDED[2:]), 64, "--provider names opnai, but there are openai"),
        (("new", *NEEDED[:5], "a b"), 64, "awfproxy: --label: a label has letters"),
        (("new", *NEEDED, "--methods", "GET,get"), 64, "awfproxy: --methods: 'get' is not one of"),
        (("new", *NEEDED, "--methods", "GET, POST"), 64, "awfproxy: --methods: ' POST' is not one of"),
        (("new", *NEEDED, "--methods", "GET,*"), 64, "OPTIONS, PATCH, POST, PUT, QUERY, with commas and"),
        (("new", *NEEDED, "--methods", ""), 64, "awfproxy: --methods: '' is not one of the methods"),
        (("new", *NEEDED, "--methods", "sk-a-key"), 64, "awfproxy: --methods: the value is not one of"),
        (("new", *NEEDED, "--paths", "v1"), 64, "awfproxy: --paths: 'v1' does not begin with a"),
        (("new", *NEEDED, "--paths", "/a,"), 64, "awfproxy: --paths: '' does not begin with a"),
        (("new", *NEEDED, "--paths", "/a b"), 64, "awfproxy: --paths: '/a b' has ' ' in it, which no path"),
        (("new", *NEEDED, "--paths", "/a", "--paths", "/b/"), 64, "--paths: '/b/' ends with a slash."),
        (("new", *NEEDED, "--paths", "/" + "long/" * 20), 64, "--paths: the value ends with a slash"),
        (("new", *NEEDED), 78, "There is no key to sign with"),
        (("new", *NEEDED, "--token-key-file", "/nowhere"), 78, "/nowhere cannot be read"),
        (("new", *NEEDED, "--lable", "x"), 64, "Did you mean --label?"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line_and_prints_nothing(
    words: tuple[str, ...], code: int, part: str, ask: Ask
) -> None:
    found, out, err = ask(*words)
    assert (found, out) == (code, "")
    assert part in err
    assert err.count("\n") == 1


def test_console_script_has_the_verb_and_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert console(["token", "--help"]) == 0
    out = capsys.readouterr().out
    for option in verb.OWN:
        assert f"  {option.usage}" in out


# --- giving it to an agent --------------------------------------------------------------------------

TOKEN = token("openai", "anthropic", "copilot", "gemini")


def test_token_is_in_place_of_every_placeholder_and_codex_is_told_where(set_up: Ask) -> None:
    code, out, _ = set_up("all", "--copilot-as", "github", "--format", "json", "--token", TOKEN)
    assert code == 0
    printed = json.loads(out)
    assert "placeholder" not in out
    names = {name for name, value in printed["environment"].items() if value == TOKEN}
    assert names == {
        "AWFPROXY_TOKEN", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY",
        "COPILOT_GITHUB_TOKEN",
    }  # fmt: skip
    assert 'env_key="AWFPROXY_TOKEN"' in " ".join(printed["arguments"]["codex"])
    assert TOKEN not in " ".join(printed["arguments"]["codex"])
    (codex,) = [text for name, text in printed["files"].items() if name.endswith("config.toml")]
    assert tomllib.loads(codex)["model_providers"]["awfproxy"]["env_key"] == "AWFPROXY_TOKEN"


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_each_agent_gets_it_in_a_variable_that_counts_as_its_key(agent, set_up: Ask) -> None:
    _, out, _ = set_up(agent.name, "--format", "json", "--token", TOKEN)
    found = {name for name, value in json.loads(out)["environment"].items() if value == TOKEN}
    assert found & {*BY_NAME[agent.name].credentials, "AWFPROXY_TOKEN"}


def test_it_is_read_from_a_file_from_standard_input_or_from_the_environment(
    set_up: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    line = f"export OPENAI_API_KEY={TOKEN}\n"
    assert line in set_up("openai-sdk", "--token", f"@{file}")[1]
    monkeypatch.setattr("sys.stdin", io.StringIO(TOKEN + "\n"))
    assert line in set_up("openai-sdk", "--token", "-")[1]
    assert line in set_up("openai-sdk", AWFPROXY_TOKEN=TOKEN)[1]
    assert "placeholder" in set_up("openai-sdk", AWFPROXY_TOKEN="")[1]


@pytest.mark.parametrize(
    ("words", "environ", "part"),
    [
        (("--token", "sk-real-key"), {}, "--token: that is no caller token"),
        (("--token", TOKEN[:-1]), {}, "no caller token"),
        (("--token", TOKEN + "\n\n"), {}, "no caller token"),
        (("--token", ""), {}, "no caller token"),
        (("--token", "@/nowhere"), {}, "cannot be read"),
        ((), {"AWFPROXY_TOKEN": "sk-real-key"}, "AWFPROXY_TOKEN: that is no caller token"),
    ],
)
def test_what_is_no_token_is_refused_and_never_shown(
    words: tuple[str, ...], environ: dict[str, str], part: str, set_up: Ask
) -> None:
    code, out, err = set_up("codex", *words, **environ)
    assert (code, out) == (78, "")
    assert part in err
    assert "sk-real" not in err
    assert TOKEN[20:40] not in err


def test_as_githubs_client_copilot_wants_one_of_its_own_beginning(set_up: Ask) -> None:
    code, _, err = set_up("copilot", "--copilot-as", "github", "--token", token("openai"))
    assert code == 78
    assert "--provider copilot" in err
    assert set_up("copilot", "--token", token("copilot", "openai"))[0] == 0
    code, out, err = set_up("all", "--copilot-as", "github", "--token", token("openai"))
    assert (code, out) == (78, "")
    assert "gho_" in err


@pytest.mark.parametrize(
    ("name", "providers", "parts"),
    [
        ("codex", ("anthropic",), ("Codex CLI", "openai", "for anthropic")),
        ("claude", ("openai", "gemini"), ("Claude Code", "anthropic", "for openai, gemini")),
        ("copilot", ("openai",), ("Copilot CLI", "copilot", "for openai")),
        ("google-sdk", ("openai",), ("gemini or vertex", "for openai", "--provider gemini")),
        ("all", ("nobody",), ()),
    ],
)
def test_token_for_another_provider_is_refused_and_nothing_printed_or_written(
    name: str, providers: tuple[str, ...], parts: tuple[str, ...], set_up: Ask, tmp_path: Path
) -> None:
    """What a port would answer with 403 later; `nobody` may be a provider of the file's own, at any port."""
    given = token(*providers)
    for words, environ in (("--token", given), {}), ((), {"AWFPROXY_TOKEN": given}):
        code, out, err = set_up(name, *words, **environ)
        if not parts:
            assert code == 0
            continue
        assert (code, out) == (78, "")
        assert "token new --provider" in err
        assert err.startswith(f"awfproxy: {words[0] if words else 'AWFPROXY_TOKEN'}: ")
        assert [part for part in parts if part not in err] == []
        assert given[20:60] not in err
        assert err.count("\n") == 1
    if name in ("codex", "claude"):
        assert set_up(name, "--write", "--token", given)[0] == 78
        assert list(tmp_path.iterdir()) == []


def test_of_all_agents_those_whom_the_token_is_not_for_are_named(set_up: Ask) -> None:
    code, out, err = set_up("all", "--token", token("openai", "anthropic"))
    assert code == 0
    assert "OPENAI_API_KEY" in out
    for title in "Gemini CLI", "Copilot CLI":
        assert f"warning: --token: it is for openai, anthropic, as it says of itself, but {title}" in err
    assert "Codex" not in err
    code, out, err = set_up("all", "--token", token("vertex"))
    assert (code, err.count("warning: --token")) == (0, 6)


@pytest.mark.parametrize(
    "claims", [{}, {"aud": []}, {"aud": [7]}, {"aud": 7}, {"aud": ["a b"]}, {"aud": ["x" * 200]}, []]
)
def test_token_that_does_not_say_whom_it_is_for_is_none(claims: object, set_up: Ask) -> None:
    """Nothing of it is shown, since nobody has signed for it."""
    said = b64encode(json.dumps(claims).encode()).decode().rstrip("=").replace("+", "-").replace("/", "_")
    code, out, err = set_up("codex", "--token", f"sk-awfproxy-e30.{said}.{'A' * 43}")
    assert (code, out) == (78, "")
    assert "that is no caller token" in err


def test_token_whose_content_is_no_text_is_none(set_up: Ask) -> None:
    for said in ("A", "AA", "_w", "W" * 2000):
        code, _, err = set_up("codex", "--token", f"sk-awfproxy-e30.{said}.{'A' * 43}")
        assert code == 78
        assert "that is no caller token" in err


def test_for_whom_it_says_to_be_is_read_as_it_was_signed() -> None:
    assert said_providers(token("openai", "mistral-2").encode()) == ("openai", "mistral-2")
    assert said_providers(signed({"aud": "gemini"})) == ("gemini",)


def test_it_is_written_where_the_agent_looks_and_never_said(set_up: Ask, tmp_path: Path) -> None:
    code, out, err = set_up("claude", "--write", "--token", TOKEN)
    assert code == 0
    written = json.loads((tmp_path / ".claude" / "settings.json").read_text())
    assert written["env"]["ANTHROPIC_AUTH_TOKEN"] == TOKEN
    assert TOKEN not in out + err
    code, out, err = set_up("codex", "--write", "--token", TOKEN)
    assert f"AWFPROXY_TOKEN={TOKEN}" in out
    assert TOKEN not in err
    assert TOKEN not in (tmp_path / ".codex" / "config.toml").read_text()


def test_token_of_an_agent_s_is_no_real_key_to_the_warnings(set_up: Ask) -> None:
    assert has_form(TOKEN.encode())
    _, _, err = set_up("codex", OPENAI_API_KEY=TOKEN)
    assert "looks like a real key" not in err
