"""`awfproxy` and `awfproxy check`, as far as nothing is connected to."""

import sys
from pathlib import Path

import pytest

from awfproxy import __version__
from awfproxy.cli import check
from awfproxy.cli.main import VERBS, main


@pytest.fixture
def environ(canary: str) -> dict[str, str]:
    return {"OPENAI_API_KEY": canary, "HTTPS_PROXY": "http://user:pass%40word@squid:3128"}


def test_show_prints_each_setting_with_its_source(
    environ: dict[str, str], canary: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "a.toml"
    file.write_text("max-connections = 9")
    assert check.main(["--show", "--port", "10001", "--config", str(file)], environ) == 0
    out, err = capsys.readouterr()
    lines = {line.split("  ")[0]: line.split("  ")[-1].strip() for line in out.splitlines()}
    assert lines["port"] == "10001, from command line"
    assert lines["max-connections"] == f"9, from {file}: max-connections"
    assert lines["probe"] == "try, from default"
    assert lines["egress-proxy"] == (
        "http://squid:3128, with user and password, from environment variable HTTPS_PROXY"
    )
    assert lines["OpenAI key"] == "set, 56 characters, from environment variable OPENAI_API_KEY"
    assert "pass" not in out.replace("with user and password", "")
    assert err == ""


def test_show_prints_warnings_on_stderr(
    environ: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text(environ.pop("OPENAI_API_KEY") + "\n")
    key.chmod(0o644)
    assert check.main(["--show", "--key-file", str(key), "--egress-proxy", "direct"], environ) == 0
    err = capsys.readouterr().err.splitlines()
    assert err[0].startswith("awfproxy: warning: DIRECT EGRESS")
    assert err[1].startswith("awfproxy: warning: The OpenAI key's file, ")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--prot", "1"], 64, "--prot is not an option. Did you mean --port?"),
        (["--port", "x"], 64, "is not a whole number"),
        (["x"], 64, "no option"),
        (["--port", "70000"], 78, "is out of range"),
        (["--key-file", "/no/key"], 78, "/no/key (--key-file), cannot be read"),
    ],
)
def test_refusal_is_one_line_on_stderr_and_its_code(
    environ: dict[str, str], capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert check.main(words, environ) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("awfproxy: ")
    assert err.count("\n") == 1
    assert said in err


def test_without_any_key_gh_aw_would_open_its_ports_and_not_be_ready(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert check.main(["--profile", "gh-aw"], {}) == 69
    out, err = capsys.readouterr()
    assert out == ""
    assert "No provider has a key" in err
    assert "OPENAI_API_KEY" in err


def test_empty_key_is_a_configuration_error(
    environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main(["--show"], environ | {"OPENAI_API_KEY": ""}) == 78
    assert "Settings → Secrets" in capsys.readouterr().err


def test_text_of_the_operator_cannot_forge_a_line(
    environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main(["--key-file", "/no/\nawfproxy: ready\x1b[0m"], environ) == 78
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "\x1b" not in err


def test_with_probe_off_nothing_is_tried_and_that_is_said(
    environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main(["--probe", "off"], environ) == 0
    assert "Nothing else was tried" in capsys.readouterr().out


def test_help_of_check_teaches_all_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["--help"], {}) == 0
    out = capsys.readouterr().out
    assert "--show" in out
    assert "--egress-proxy URL" in out


# --- the console script -----------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help_names_each_verb_and_the_daemon(capsys: pytest.CaptureFixture[str], word: str) -> None:
    assert main([word]) == 0
    out = capsys.readouterr().out
    for verb in VERBS:
        assert f"\n  {verb} " in out
    assert "twistd -n --pidfile= awfproxy --egress-proxy" in out


def test_no_verb_prints_help_as_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 64
    out, err = capsys.readouterr()
    assert out == ""
    assert "Usage: awfproxy VERB" in err


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("chekc", "Did you mean check?"),
        ("run", "twistd -n --pidfile= awfproxy"),
        ("--port", "options come after the verb"),
        ("zzz", "there is no such verb. See awfproxy --help"),
    ],
)
def test_unknown_verb_is_a_usage_error(capsys: pytest.CaptureFixture[str], word: str, said: str) -> None:
    assert main([word]) == 64
    assert said in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"awfproxy {__version__}\n"


def test_verb_gets_the_rest_and_its_code_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def verb(arguments: list[str]) -> int:
        seen.append(arguments)
        return 78

    monkeypatch.setattr(check, "main", verb)
    assert main(["check", "--show", "--help"]) == 78
    monkeypatch.setattr(sys, "argv", ["awfproxy", "check", "--port", "1"])
    assert main() == 78
    assert seen == [["--show", "--help"], ["--port", "1"]]
