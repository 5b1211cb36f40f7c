"""The demo: what it prints works as printed, with nothing set up and no key anywhere."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from awfproxy.providers.builtin import BUILT_IN
from tests.kit import canary as canaries
from tests.kit.clients.installed import agent_binary
from tests.kit.daemon import ROOT, Daemon
from tests.kit.tools import need


@pytest.fixture(scope="module")
def demo() -> Iterator[Daemon]:
    """HTTPS_PROXY leads nowhere: it must play no part."""
    daemon = Daemon(env={"HTTPS_PROXY": "http://127.0.0.1:9", "OPENAI_API_TARGET": "evil.test"})
    script = (
        "import sys; from awfproxy.cli.main import main; sys.exit(main())"  # what pip makes of `awfproxy`
    )
    daemon.command = [sys.executable, "-c", script, "demo", "--port", str(daemon.port)]
    with daemon:
        daemon.ready("/readyz")
        daemon.wait_for_output("codex exec")
        yield daemon


def commands(demo: Daemon, program: str) -> list[str]:
    """The printed shell commands that run `program`, continued lines joined."""
    text = textwrap.dedent(demo.stdout.read_text()).replace("\\\n", " ")
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line.startswith(program + " ")]


def as_printed(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    place = os.path.dirname(agent_binary("codex") or "/nonexistent")
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env={"PATH": f"{place}:{os.environ['PATH']}", "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    canaries.session_watch().add("demo command", done.stdout + done.stderr)
    return done


def test_first_line_says_that_this_is_the_demo(demo: Daemon) -> None:
    first = demo.stdout.read_text().splitlines()[0]
    assert "demo" in first
    assert "no key" in first


def test_curl_line_works_as_printed(demo: Daemon, tmp_path: Path) -> None:
    need("curl")
    lines = commands(demo, "curl")
    assert lines
    for line in lines:
        done = as_printed(f"{line} --fail --max-time 20", tmp_path)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert done.stdout.startswith("{") or "event: response.completed" in done.stdout, line


def test_codex_command_works_as_printed(demo: Daemon, tmp_path: Path) -> None:
    need("codex")
    (line,) = commands(demo, "codex")
    done = as_printed(line, tmp_path)
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert done.stdout.strip()


@pytest.mark.parametrize(
    "target", ["/v1/chat/completions", "/chat/completions", "/v1/responses", "/responses"]
)
@pytest.mark.parametrize("stream", ["true", "false"])
def test_demo_answers_as_openai_does(demo: Daemon, target: str, stream: str) -> None:
    body = b'{"model": "gpt-5", "input": "hi", "messages": [], "stream": %b}' % stream.encode()
    answer = demo.ask("POST", target, body=body)
    assert answer.status == 200
    kind = b"text/event-stream" if stream == "true" else b"application/json"
    assert answer.value(b"content-type").startswith(kind)


def test_clients_own_key_is_replaced(demo: Daemon) -> None:
    """The stand-in knows one key, made at its start: the client's would get 401."""
    assert demo.ask("GET", "/v1/models", fields=[(b"Authorization", b"Bearer sk-mine")]).status == 200


def test_make_run_without_a_key_is_the_demo_and_with_an_empty_one_is_not(tmp_path: Path) -> None:
    """The recipe alone, with stand-ins for what would have been installed."""
    stamp = tmp_path / "bin"
    stamp.mkdir()
    for name in ("awfproxy", "twistd"):
        (stamp / name).write_text(f'#!/bin/sh\necho "{name} $*"\n')
        (stamp / name).chmod(0o755)

    def make_run(**env: str) -> str:
        done = subprocess.run(
            ["make", "-s", "-o", ".venv/.installed", "run", f"BIN={stamp}", "ARGS=--port 10001"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    daemon = "twistd -n --pidfile= awfproxy --port 10001"
    assert make_run() == "awfproxy demo --port 10001"
    assert make_run(HTTPS_PROXY="http://127.0.0.1:9") == "awfproxy demo --port 10001"
    assert make_run(CREDENTIALS_DIRECTORY=str(tmp_path)) == "awfproxy demo --port 10001"
    assert make_run(OPENAI_API_KEY="") == daemon
    assert make_run(OPENAI_API_KEY="sk-x") == daemon
    assert make_run(AWFPROXY_KEY_FILE="/f") == daemon
    assert make_run(AWFPROXY_CONFIG="/f") == daemon
    for variable in (
        *(provider.variable for provider in BUILT_IN),
        "COPILOT_PROVIDER_API_KEY",
        "AWFPROXY_GEMINI_KEY_FILE",
        "AWFPROXY_PROFILE",
    ):
        assert make_run(**{variable: "x"}) == daemon, variable
    (tmp_path / "openai_api_key").touch()
    assert make_run(CREDENTIALS_DIRECTORY=str(tmp_path)) == daemon
