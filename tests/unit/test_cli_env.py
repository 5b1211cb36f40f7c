"""`awfproxy env`: its command line, what goes to which stream, and the files that it writes."""

import json
import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import attrs
import pytest

from awfproxy.agents.registry import AGENTS
from awfproxy.cli import env, envline
from awfproxy.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
NAMES = [*(agent.name for agent in AGENTS), "all"]
REAL = "sk-proj-" + "Ab3dEf6hIj" * 4


@attrs.frozen
class Ran:
    code: int
    out: str
    err: str


class Reader:
    """Runs the verb with an environment of nothing but a HOME of its own, and what is put into it."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self.environ = {"HOME": str(home)}
        self._capsys = capsys

    def run(self, *words: str) -> Ran:
        code = env.main(words, self.environ)
        out, err = self._capsys.readouterr()
        return Ran(code, out, err)

    def environment(self, *words: str) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.run(*words, "--format", "json").out)["environment"]
        return found

    def put(self, name: str, text: str, mode: int = 0o600) -> Path:
        path = self.home / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode())
        path.chmod(mode)
        return path


@pytest.fixture
def reader(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Reader:
    (tmp_path / "home").mkdir()
    return Reader(tmp_path / "home", capsys)


# --- the command line -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["shell", "json", "dotenv", "github"])
def test_every_agent_is_printed_in_every_format(reader: Reader, name: str, form: str) -> None:
    ran = reader.run(name, "--format", form)
    assert ran.code == 0
    assert "NO_PROXY" in ran.out
    assert list(reader.home.iterdir()) == [], "written to without --write"


def test_host_and_ports_are_the_readers(reader: Reader) -> None:
    found = reader.environment(
        "all", "--host", "[FD00::2]", "--openai-port=1", "--anthropic-port", "2", "--copilot-port", "3",
        "--gemini-port", "4", "--vertex-port", "5",
    )  # fmt: skip
    assert found["OPENAI_BASE_URL"] == "http://[fd00::2]:1/v1"
    assert found["ANTHROPIC_BASE_URL"] == "http://[fd00::2]:2"
    assert found["COPILOT_PROVIDER_BASE_URL"] == "http://[fd00::2]:3"
    assert found["GOOGLE_GEMINI_BASE_URL"] == "http://[fd00::2]:4"
    assert found["GOOGLE_VERTEX_BASE_URL"] == "http://[fd00::2]:5"
    assert found["NO_PROXY"] == "127.0.0.1,localhost,fd00::2,[fd00::2]"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name an agent: awfproxy env AGENT, with one of codex, claude,"),
        (["cladue"], "Did you mean claude?"),
        (["openai"], "Did you mean openai-sdk?"),
        (["qqq"], "It knows codex,"),
        (["codex", "claude"], "name one agent, or all"),
        (["codex", "--hots", "x"], "--hots is not an option. Did you mean --host?"),
        (["codex", "--host"], "--host needs a value"),
        (["codex", "--host", "a", "--host=b"], "--host is given twice"),
        (["codex", "--host", "a\nb"], "--host: it is not a host name"),
        (["codex", "--host", "http://a"], "--host: it is not a host name or IP address"),
        (["codex", "--host", "a b"], "--host: it is not a host name"),
        (["codex", "--openai-port", "0"], "--openai-port: it is not a port"),
        (["codex", "--format", "shel"], "Did you mean shell?"),
        (["codex", "--format", "xml"], "Give one of shell, json, dotenv, github"),
        (["codex", "--model", ""], "--model: it is empty"),
        (["openai-sdk", "--model", "m"], "--model means nothing to openai-sdk"),
        (["claude", "--websocket"], "--websocket means nothing to claude"),
        (["codex", "--copilot-as", "github"], "--copilot-as means nothing to codex"),
        (["copilot", "--copilot-as", "x"], "give provider or github"),
        (["all", "--model", "m"], "--model is for one agent"),
        (["copilot", "--write"], "copilot has no file for this"),
        (["openai-sdk", "--write"], "openai-sdk has no file for this"),
        (["codex", "--write=yes"], "--write is not an option"),
        (["\x1b[0m\nawfproxy: fine"], "is not an agent that awfproxy knows"),
    ],
)
def test_what_is_not_understood_is_a_usage_error_of_one_line(
    reader: Reader, words: list[str], said: str
) -> None:
    ran = reader.run(*words)
    assert ran.code == 64
    assert ran.out == ""
    assert ran.err.startswith("awfproxy: ")
    assert ran.err.count("\n") == 1
    assert said in ran.err
    assert "\x1b" not in ran.err


def test_help_names_every_agent_and_option(reader: Reader) -> None:
    ran = reader.run("--help")
    assert ran.code == 0
    for name in NAMES:
        assert f"\n  {name} " in ran.out
    for option in (*envline._VALUES, *envline._FLAGS):
        assert option == "help" or f"\n  --{option} " in ran.out
    assert 'eval "$(awfproxy env codex)"' in ran.out


def test_verb_is_in_the_console_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "codex", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["agent"] == "codex"


def test_json_has_arguments_and_the_whole_file_for_who_places_it_by_other_means(reader: Reader) -> None:
    content = json.loads(reader.run("codex", "--format", "json").out)
    (path,) = content["files"]
    assert path == f"{reader.home}/.codex/config.toml"
    assert tomllib.loads(content["files"][path])["model_provider"] == "awfproxy"
    assert content["arguments"]["codex"][0] == "-c"


_LOADED = """
import sys
from awfproxy.cli.main import main
main(["env", "all"])
print([m for m in sys.modules if m.split(".")[0] in ("twisted", "zope", "treq", "OpenSSL", "tomlkit")
       or m.startswith("awfproxy.settings")])
"""


def test_printing_loads_neither_twisted_nor_the_daemons_settings(tmp_path: Path) -> None:
    environ = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", _LOADED], env=environ, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_shells_environment_after_eval_is_what_json_says(reader: Reader) -> None:
    for name in NAMES:
        text = reader.run(name, "--host", "sidecar").out
        script = f"eval \"$TEXT\"; {sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
        done = subprocess.run(
            ["sh", "-euc", script], env={"TEXT": text}, capture_output=True, text=True, check=True
        )
        assert reader.environment(name, "--host", "sidecar").items() <= json.loads(done.stdout).items()


def test_codex_is_started_with_its_provider_after_eval(reader: Reader, tmp_path: Path) -> None:
    fake = tmp_path / "codex"
    fake.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    fake.chmod(0o755)
    text = reader.run("codex").out
    done = subprocess.run(
        ["sh", "-euc", 'eval "$TEXT"; codex exec "Say hello"'],
        env={"TEXT": text, "PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    words = done.stdout.splitlines()
    assert words[-2:] == ["exec", "Say hello"]
    assert tomllib.loads("\n".join(words[1:-2:2]))["model_provider"] == "awfproxy"


# --- warnings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "environ", "said"),
    [
        ("codex", {"OPENAI_API_KEY": REAL}, "OPENAI_API_KEY is set, to what looks like a real key"),
        ("claude", {"ANTHROPIC_API_KEY": REAL}, "ANTHROPIC_API_KEY is set, to what looks like a real key"),
        ("google-sdk", {"GOOGLE_API_KEY": REAL}, "GOOGLE_API_KEY is set"),
        ("copilot --model m", {"GH_TOKEN": REAL}, "GH_TOKEN is set"),
        ("codex", {"HTTP_PROXY": "http://squid:3128"}, "NO_PROXY does not name 127.0.0.1"),
        ("codex", {"NO_PROXY": "*"}, "NO_PROXY has a * in it"),
        ("claude", {"CLAUDE_CODE_USE_BEDROCK": "1"}, "CLAUDE_CODE_USE_BEDROCK is set"),
        ("copilot", {}, "Copilot CLI needs a model"),
        ("gemini", {}, "run awfproxy env gemini --write once"),
        ("codex --format github", {}, "needs more than variables. Start it with: codex -c"),
        ("copilot --copilot-as github --format dotenv", {}, "copilot --disable-builtin-mcps"),
    ],
)
def test_what_is_amiss_is_said_on_stderr(
    reader: Reader, words: str, environ: dict[str, str], said: str
) -> None:
    reader.environ |= environ
    ran = reader.run(*words.split())
    assert ran.code == 0
    assert said in ran.err
    assert REAL not in ran.err + ran.out
    assert all(line.startswith("awfproxy: warning: ") for line in ran.err.splitlines())


@pytest.mark.parametrize(
    ("words", "environ"),
    [
        ("codex", {"OPENAI_API_KEY": "sk-placeholder-for-api-proxy"}),
        ("openai-sdk", {"OPENAI_API_KEY": REAL}),
        ("codex", {"HTTP_PROXY": "http://squid:3128", "NO_PROXY": "127.0.0.1"}),
        ("claude", {"CLAUDE_CODE_USE_BEDROCK": "0"}),
        ("copilot", {"COPILOT_MODEL": "m"}),
        ("codex --format json", {}),
    ],
)
def test_nothing_is_said_where_all_is_well(reader: Reader, words: str, environ: dict[str, str]) -> None:
    reader.environ |= environ
    assert reader.run(*words.split()).err == ""


def test_login_of_its_own_is_named(reader: Reader) -> None:
    reader.put(".codex/auth.json", "{}")
    assert ".codex/auth.json is there: Codex CLI holds a login of its own" in reader.run("codex").err


def test_what_the_file_says_already_is_not_asked_for(reader: Reader) -> None:
    reader.run("all", "--write")
    for name in ("gemini", "codex"):
        assert reader.run(name, "--format", "github").err == ""


# --- --write ----------------------------------------------------------------------------------------


def test_new_files_are_for_the_reader_alone(reader: Reader) -> None:
    old = os.umask(0)
    try:
        assert reader.run("all", "--write").code == 0
    finally:
        os.umask(old)
    for name in (".codex/config.toml", ".claude/settings.json", ".gemini/settings.json"):
        path = reader.home / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert [each.name for each in path.parent.iterdir()] == [path.name], "something was left beside it"


def test_each_agents_own_variable_says_where_its_file_is(reader: Reader, tmp_path: Path) -> None:
    del reader.environ["HOME"]
    reader.environ |= {
        "CODEX_HOME": str(tmp_path / "a" / "b"), "CLAUDE_CONFIG_DIR": str(tmp_path / "c"),
        "GEMINI_CLI_HOME": str(tmp_path / "d"),
    }  # fmt: skip
    assert reader.run("all", "--write").code == 0
    assert (tmp_path / "a/b/config.toml").exists()
    assert (tmp_path / "c/settings.json").exists()
    assert (tmp_path / "d/.gemini/settings.json").exists()


def test_without_home_nothing_is_guessed(reader: Reader) -> None:
    del reader.environ["HOME"]
    ran = reader.run("codex", "--write")
    assert ran.code == 78
    assert "Neither HOME nor CODEX_HOME is set" in ran.err


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_existing_file_keeps_comments_mode_and_what_is_not_ours(reader: Reader, mode: int) -> None:
    path = reader.put(".codex/config.toml", '# mine\nmodel_provider = "openai" # why\n[a]\nb = 1 # c\n', mode)
    ran = reader.run("codex", "--write")
    assert ran.code == 0
    text = path.read_text()
    assert text.startswith('# mine\nmodel_provider = "awfproxy" # why\n[a]\nb = 1 # c\n')
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert f'awfproxy: {path}: model_provider = "awfproxy" (in place of "openai")' in ran.err.splitlines()


@pytest.mark.parametrize("name", ["codex", "claude", "gemini", "all"])
def test_second_run_changes_nothing_and_says_so(reader: Reader, name: str) -> None:
    reader.run(name, "--write")
    files = [path for path in reader.home.rglob("*.*") if path.is_file()]
    before = [(path.read_bytes(), path.stat().st_ino) for path in files]
    assert before
    ran = reader.run(name, "--write")
    assert [(path.read_bytes(), path.stat().st_ino) for path in files] == before
    assert ran.err.count("is as it should be; nothing was changed") == len(before)


def test_another_port_is_written_over_the_first(reader: Reader) -> None:
    reader.run("codex", "--write", "--websocket")
    reader.run("codex", "--write", "--openai-port", "9")
    provider = tomllib.loads((reader.home / ".codex/config.toml").read_text())["model_providers"]["awfproxy"]
    assert provider["base_url"] == "http://127.0.0.1:9/v1"
    assert "supports_websockets" not in provider


def test_symbolic_link_stays_one_and_what_it_names_is_replaced(reader: Reader, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles.json"
    target.write_text('{"a": 1}')
    link = reader.home / ".claude" / "settings.json"
    link.parent.mkdir()
    link.symlink_to(target)
    assert reader.run("claude", "--write").code == 0
    assert link.is_symlink()
    assert json.loads(target.read_text())["a"] == 1
    assert "env" in json.loads(target.read_text())


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (".codex/config.toml", "a = ", "is not valid TOML"),
        (".claude/settings.json", "{", "is not valid JSON"),
        (".gemini/settings.json", '{"a": 1} // why', "has comments in it, which would be lost"),
        (".gemini/settings.json", '{"security": 1}', "something else than a table"),
    ],
)
def test_one_file_that_cannot_be_edited_stops_all(reader: Reader, name: str, text: str, said: str) -> None:
    path = reader.put(name, text)
    ran = reader.run("all", "--write")
    assert ran.code == 78
    assert ran.out == ""
    assert said in ran.err
    assert ran.err.endswith("Nothing was changed.\n")
    assert path.read_text() == text
    assert [each for each in reader.home.rglob("*.*") if each.is_file()] == [path]


def test_what_is_no_text_file_is_refused(reader: Reader) -> None:
    path = reader.put(".codex/config.toml", "")
    path.write_bytes(b"\xff")
    assert "is not UTF-8. Nothing was changed." in reader.run("codex", "--write").err
    path.unlink()
    path.mkdir()
    assert "cannot be read: Is a directory. Nothing was changed." in reader.run("codex", "--write").err


def test_failed_write_leaves_the_old_file_and_nothing_beside_it(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = reader.put(".codex/config.toml", "# mine\n")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    ran = reader.run("codex", "--write")
    assert ran.code == 78
    assert "cannot be written: No space left on device. Nothing was changed." in ran.err
    assert path.read_text() == "# mine\n"
    assert list(path.parent.iterdir()) == [path]


def test_what_the_file_says_is_not_printed_again(reader: Reader) -> None:
    assert set(reader.environment("claude", "--write")) == {"NO_PROXY", "no_proxy"}
    assert "codex()" not in reader.run("codex", "--write").out
    assert "GOOGLE_GEMINI_BASE_URL" in reader.environment("gemini", "--write")


def test_text_of_a_path_cannot_forge_a_line(reader: Reader) -> None:
    reader.environ["CODEX_HOME"] = f"{reader.home}/a\nawfproxy: \x1b[0m"
    ran = reader.run("codex", "--write")
    assert "\x1b" not in ran.err
    assert "a\\nawfproxy: \\x1b[0m/config.toml: model_provider" in ran.err
