"""`awfproxy rules test`: what would happen to a request, and which line decides."""

from collections.abc import Callable
from pathlib import Path

import pytest

from awfproxy.cli import rules as verb

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Exit code, standard output and standard error, with no key anywhere."""

    def run(*words: str, **environ: str) -> tuple[int, str, str]:
        code = verb.main(words, environ)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "a.toml"
    path.write_text(
        '[providers.openai]\nrules = ["deny * /v1/files/**", "deny DELETE /**"]\n'
        '[providers.mine]\norigin = "llm.test"\nport = 10005\nrules = ["allow POST /chat/completions"]\n'
    )
    return str(path)


def test_without_rules_everything_is_forwarded(ask: Ask) -> None:
    code, out, _ = ask("test", "--provider", "openai", "DELETE", "/v1/files/1")
    assert (code, out) == (0, "openai: forwarded, DELETE /v1/files/1. There are no path rules.\n")


def test_rule_that_decides_is_named_with_its_number_and_place(ask: Ask, file: str) -> None:
    code, out, _ = ask("test", "--config", file, "--provider=openai", "DELETE", "/files/1")
    assert code == 1
    assert out == (
        "openai: refused, 403 path_denied, DELETE /v1/files/1. Rules: [providers.openai] in awfproxy's "
        "configuration; number 1 decides: deny * /v1/files/**\n"
    )


def test_default_decides_where_no_rule_matches(ask: Ask, file: str) -> None:
    code, out, _ = ask("test", "GET", "/v1/models", "--provider", "openai,mine", "--config", file)
    assert code == 1
    first, second = out.splitlines()
    assert first.startswith("openai: forwarded, GET /v1/models.")
    assert "there is no allow rule" in first
    assert second.startswith("mine: refused, 403 path_denied, GET /v1/models.")
    assert "there are allow rules" in second


def test_copilot_has_rules_by_default(ask: Ask) -> None:
    code, out, _ = ask("test", "--provider", "copilot", "POST", "/mcp/readonly")
    assert code == 1
    assert "Copilot's default" in out
    code, _, _ = ask("test", "--provider", "copilot", "POST", "/chat/completions")
    assert code == 0


@pytest.mark.parametrize("path", ["/v1/files%2f1", "/v1//files", "/v1/x/../files", "//v1/files", "v1/files"])
def test_what_could_be_read_in_two_ways_is_said_to_be_refused(ask: Ask, file: str, path: str) -> None:
    code, out, _ = ask("test", "--config", file, "--provider", "openai", "GET", path)
    assert code == 1
    assert out.startswith("openai: refused, ")


def test_every_provider_is_asked_unless_one_is_named(ask: Ask, file: str) -> None:
    _, out, _ = ask("test", "--config", file, "POST", "/chat/completions")
    assert [line.partition(":")[0] for line in out.splitlines()] == [
        "openai", "anthropic", "copilot", "gemini", "vertex", "mine",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 64, "rules test METHOD PATH"),
        (("test", "GET"), 64, "rules test METHOD PATH"),
        (("try", "GET", "/"), 64, "rules test METHOD PATH"),
        (("test", "GET", "/", "--provider", "opena"), 64, "--provider names opena, but there are openai,"),
        (("test", "G T", "/"), 64, "The method is not one"),
        (("test", "GET", "/", "--config", "/no"), 78, "/no cannot be read"),
    ],
)
def test_refusal_is_one_line(ask: Ask, words: tuple[str, ...], code: int, said: str) -> None:
    found, out, err = ask(*words)
    assert (found, out) == (code, "")
    assert err.startswith("awfproxy: ")
    assert err.count("\n") == 1
    assert said in err


def test_help_shows_examples(ask: Ask) -> None:
    code, out, _ = ask("--help")
    assert code == 0
    assert "awfproxy rules test --provider copilot POST /mcp/readonly" in out


def test_path_cannot_forge_a_line(ask: Ask) -> None:
    _, out, _ = ask("test", "--provider", "openai", "GET", "/a\nopenai: refused\x1b[0m")
    assert out.count("\n") == 1
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("TRACE", "405 method_not_allowed"),
        ("CONNECT", "405 method_not_allowed"),
        ("get", "501 method_not_implemented"),
        ("BREW", "501 method_not_implemented"),
    ],
)
def test_method_that_is_not_forwarded_is_refused_as_the_daemon_does(ask: Ask, method: str, said: str) -> None:
    code, out, _ = ask("test", "--provider", "openai", method, "/v1/models")
    assert code == 1
    assert out.startswith(f"openai: refused, {said}: ")
