"""`awfproxy doctor` as a process, beside a daemon, through real Squid: the hop that fails is named."""

import contextlib
import json
import os
import pty
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.e2e.conftest import NAME, Stack, options
from tests.kit import canary as canaries
from tests.kit.canary import make_canary
from tests.kit.certificates import Authority
from tests.kit.daemon import Daemon, environment
from tests.kit.origin import Exchange, Origin
from tests.kit.ports import free_port
from tests.kit.squid import Squid
from tests.kit.tools import need

PROGRAM = "import sys; from awfproxy.cli.main import main; sys.exit(main())"


@attrs.frozen
class Done:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def states(self) -> dict[str, str]:
        return {step["step"]: step["state"] for step in self.document["steps"]}


def doctor(key: str | None, *words: str, env: Mapping[str, str] | None = None) -> Done:
    keys = {} if key is None else {"OPENAI_API_KEY": key}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "doctor", *words],
        env=environment({"HOME": "/nonexistent", **keys, **(env or {})}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    canaries.session_watch().add("doctor", done.stdout + done.stderr)
    return Done(done.returncode, done.stdout, done.stderr)


def beside(stack: Stack) -> tuple[str, ...]:
    """The options of the stack's daemon."""
    return ("--port", str(stack.port), *options(stack.authority, stack.origin, stack.squid))


@pytest.fixture
def unprobed(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> Iterator[Stack]:
    """A daemon that serves whatever its key and its way are like."""
    with Daemon(
        *options(authority, own_origin, squid), "--probe", "off", env={"OPENAI_API_KEY": canary}
    ) as daemon:
        yield Stack(authority, own_origin, squid, daemon.ready())


# --- all is well --------------------------------------------------------------------------------------


def test_every_hop_is_walked_and_is_ok(stack: Stack, canary: str) -> None:
    done = doctor(canary, "--json", *beside(stack))
    assert done.code == 0, done
    assert done.states == dict.fromkeys(
        ["configuration", "port", "health", "egress", "connect", "tls", "key", "request", "stream"], "ok"
    )
    document = done.document
    assert (document["ok"], document["exit_code"], document["cause"]) == (True, 0, None)
    said = {step["step"]: step["said"] for step in document["steps"]}
    assert "TLSv1.3, issued by test CA" in said["tls"]
    assert "8 events" in said["stream"]


def test_agents_way_is_taken_the_placeholder_goes_in_and_the_key_goes_out(
    own_stack: Stack, canary: str
) -> None:
    assert doctor(canary, "--model", "some-model", *beside(own_stack)).code == 0
    asked = own_stack.origin.find(b"POST /v1/responses")
    assert [json.loads(seen.body)["stream"] for seen in asked] == [False, True]
    for seen in asked:
        assert json.loads(seen.body)["model"] == "some-model"
        assert json.loads(seen.body)["max_output_tokens"] == 16
        assert seen.values(b"authorization") == [b"Bearer THE-KEY"]
        assert b"placeholder" not in seen.head


def test_lines_for_a_reader(stack: Stack, canary: str) -> None:
    done = doctor(canary, *beside(stack))
    lines = done.out.splitlines()
    assert lines[0].startswith("  ok       configuration ")
    assert lines[1] == "openai"
    assert lines[-1] == "All that was tried works."
    assert "\r" not in done.out
    assert "\x1b" not in done.out
    assert done.err == ""


def test_live_line_on_a_terminal_is_gone_when_its_step_is_over(stack: Stack, canary: str) -> None:
    near, far = pty.openpty()
    with os.fdopen(near, "rb", buffering=0) as terminal:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "doctor", "--no-request", *beside(stack)],
            env=environment({"HOME": "/nonexistent", "OPENAI_API_KEY": canary}),
            stdin=subprocess.DEVNULL,
            stdout=far,
            stderr=far,
        )
        os.close(far)
        said = b""
        try:
            while piece := terminal.read(65536):
                said += piece
        except OSError:
            pass  # the terminal's other end is closed: the process has ended
        assert process.wait(60) == 0
    canaries.session_watch().add("doctor on a terminal", said)
    text = said.decode()
    assert "asking the provider about the key" in text
    # What stays of each row is what was written last from its beginning on.
    rows = [row.split("\r")[-1] for row in text.replace("\r\n", "\n").split("\n") if row]
    assert not [row for row in rows if "…" in row]
    assert [row.split()[0] for row in rows if row.startswith("  ")][:7] == ["ok"] * 7
    assert rows[-1] == "All that was tried works."


def test_without_requests_no_model_is_asked(own_stack: Stack, canary: str) -> None:
    done = doctor(canary, "--no-request", "--json", *beside(own_stack))
    assert done.code == 0
    assert done.states["request"] == done.states["stream"] == "skipped"
    assert not own_stack.origin.find(b"POST ")


def test_from_the_agents_side_it_needs_neither_key_nor_configuration(stack: Stack) -> None:
    done = doctor(None, "openai", "--host", "127.0.0.1", "--port", str(stack.port), "--json")
    assert done.code == 0, done
    assert [name for name, state in done.states.items() if state == "ok"] == [
        "port", "health", "request", "stream",
    ]  # fmt: skip


# --- the hop that fails -------------------------------------------------------------------------------


def failing(done: Done, step: str, code: int) -> dict[str, Any]:
    """The cause; the walk has stopped there."""
    assert done.code == code, done
    document = done.document
    assert document["exit_code"] == code
    assert document["cause"]["step"] == step == document["steps"][-1]["step"], document
    assert document["cause"]["fix"]
    cause: dict[str, Any] = document["cause"]
    return cause


def test_nothing_listens(authority: Authority, origin: Origin, squid: Squid, canary: str) -> None:
    port = free_port()
    done = doctor(canary, "--json", "--port", str(port), *options(authority, origin, squid))
    assert f"Nothing listens at 127.0.0.1:{port}." in failing(done, "port", 69)["said"]


def test_something_else_listens(stack: Stack, canary: str) -> None:
    """Squid, which answers /health as a proxy does."""
    words = options(stack.authority, stack.origin, stack.squid)
    done = doctor(canary, "--json", "--port", str(stack.squid.port), *words)
    assert "is not awfproxy" in failing(done, "health", 71)["said"]


def test_configuration_that_is_refused(canary: str) -> None:
    assert "No egress proxy is set" in failing(doctor(canary, "--json"), "configuration", 78)["said"]
    cause = failing(doctor("", "--json", "--egress-proxy", "squid:1"), "configuration", 78)
    assert "OPENAI_API_KEY" in cause["said"]
    done = doctor(canary, "--nonsense")
    assert (done.code, done.out) == (64, "")


def test_squid_that_is_stopped(authority: Authority, own_origin: Origin, canary: str) -> None:
    need("squid")
    with Squid([NAME]) as squid:
        words = options(authority, own_origin, squid)
        with Daemon(*words, "--pool-warm", "0", env={"OPENAI_API_KEY": canary}) as daemon:
            daemon.ready("/readyz")
            squid.stop()
            done = doctor(canary, "--json", "--port", str(daemon.port), *words)
    cause = failing(done, "egress", 69)
    assert "The egress proxy cannot be reached" in cause["said"]
    assert "connection refused" in cause["said"]


def test_unready_daemon_is_a_symptom_and_its_cause_is_found(authority: Authority, canary: str) -> None:
    need("squid")
    with Origin(authority.leaf(NAME), canary) as origin, Squid(["api.anthropic.com"]) as squid:
        words = options(authority, origin, squid)
        squid.stop()
        with Daemon(*words, "--startup-grace", "0", env={"OPENAI_API_KEY": canary}) as daemon:
            daemon.ready()
            squid.start()
            done = doctor(canary, "--json", "--port", str(daemon.port), *words)
    cause = failing(done, "connect", 78)
    assert done.states["health"] == "failed"
    assert done.states["egress"] == "ok"
    assert "does not allow the provider's host" in cause["said"]
    assert f"acl allowed_hosts dstdomain {NAME}" in cause["fix"]


def test_certificate_of_another_authority(
    unprobed: Stack, canary: str, tmp_path: Path
) -> None:
    words = list(beside(unprobed))
    words[words.index("--ca-file") + 1] = str(Authority(tmp_path, "another CA").file)
    cause = failing(doctor(canary, "--json", *words), "tls", 76)
    assert "certificate is not trusted" in cause["said"]
    assert "--ca-file" in cause["fix"]


def test_certificate_for_another_name(authority: Authority, squid: Squid, canary: str) -> None:
    with Origin(authority.leaf("elsewhere.test"), canary) as origin:
        words = options(authority, origin, squid)
        with Daemon(*words, "--probe", "off", env={"OPENAI_API_KEY": canary}) as daemon:
            daemon.ready()
            done = doctor(canary, "--json", "--port", str(daemon.port), *words)
    assert "is for another name" in failing(done, "tls", 76)["said"]


def test_key_that_is_rejected(unprobed: Stack) -> None:
    cause = failing(doctor(make_canary(), "--json", *beside(unprobed)), "key", 77)
    assert "OpenAI rejects the key (401 invalid_api_key)" in cause["said"]
    assert "OPENAI_API_KEY" in cause["fix"]


def test_daemon_that_holds_another_key_than_is_found_here(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    words = options(authority, own_origin, squid)
    with Daemon(*words, "--probe", "off", env={"OPENAI_API_KEY": make_canary()}) as daemon:
        daemon.ready()
        done = doctor(canary, "--json", "--port", str(daemon.port), *words)
    assert "(401 invalid_api_key)" in failing(done, "request", 77)["said"]


def test_model_that_is_not_there(unprobed: Stack, canary: str) -> None:
    def unknown(exchange: Exchange) -> None:
        exchange.error(404, "model_not_found", "The model `x` does not exist. FORGED\x1b[31m")

    unprobed.origin.model_answer = unknown
    done = doctor(canary, "--json", *beside(unprobed))
    cause = failing(done, "request", 69)
    assert "(404 model_not_found)" in cause["said"]
    assert "--model" in cause["fix"]
    assert "FORGED" not in done.out


def test_rule_that_closes_the_path(own_origin: Origin, squid: Squid, authority: Authority, canary: str,
                                   tmp_path: Path) -> None:  # fmt: skip
    file = tmp_path / "a.toml"
    file.write_text('[providers.openai]\nrules = ["deny * /v1/responses"]\n')
    words = (*options(authority, own_origin, squid), "--config", str(file))
    with Daemon(*words, env={"OPENAI_API_KEY": canary}) as daemon:
        daemon.ready("/readyz")
        done = doctor(canary, "--json", "--port", str(daemon.port), *words)
    assert "path rule" in failing(done, "request", 78)["said"]


def streamed(*pieces: bytes, end: bool) -> Any:
    """Answers as usual, but a stream with these events."""

    def answer(exchange: Exchange) -> None:
        exchange.read_body()
        if not json.loads(exchange.seen.body)["stream"]:
            exchange.answer(200, {"object": "response"})
            return
        exchange.head(200, "OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked")
        for piece in pieces:
            exchange.chunk(piece)
        if end:
            exchange.send(b"0\r\n\r\n")
        else:
            exchange.close_orderly()

    return answer


CREATED = b'event: response.created\ndata: {"type":"response.created"}\n\n'


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (streamed(CREATED, end=False), "The stream was cut short."),
        (streamed(CREATED, CREATED, end=True), "stopped after 2 events, before the one that ends it"),
        (streamed(end=True), "no stream of events"),
        (
            streamed(CREATED, b'event: error\ndata: {"error":{"code":"insufficient_quota"}}\n\n', end=True),
            "(200 insufficient_quota)",
        ),
    ],
    ids=["cut", "no-end", "empty", "error-event"],
)
def test_stream_that_does_not_come_to_its_end(
    unprobed: Stack, canary: str, answer: Any, said: str
) -> None:
    unprobed.origin.model_answer = answer
    done = doctor(canary, "--json", *beside(unprobed))
    assert said in failing(done, "stream", 69)["said"]
    assert done.states["request"] == "ok"


class Impostor:
    """Has the port, says that it is awfproxy, and keeps what it is sent."""

    def __init__(self) -> None:
        self.received = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> "Impostor":
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        content = b'{"service":"awf-api-proxy"}'
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with sock, contextlib.suppress(OSError):
                sock.settimeout(20)
                while piece := sock.recv(65536):
                    self.received += piece
                    if b"\r\n\r\n" in piece:
                        sock.sendall(answer)


def test_key_is_not_shown_to_whatever_has_the_port(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    with Impostor() as impostor:
        words = ("--port", str(impostor.port), *options(authority, own_origin, squid))
        done = doctor(canary, "--json", *words)
    assert done.states["request"] == "ok"
    assert b"Authorization: Bearer awfproxy-placeholder\r\n" in impostor.received
    assert canary.encode() not in impostor.received
    failing(done, "stream", 69)


# --- the agent ----------------------------------------------------------------------------------------


def written(stack: Stack, home: Path) -> None:
    """What `awfproxy env codex --write` puts there."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "env", "codex", "--write", "--openai-port", str(stack.port)],
        env=environment({"HOME": str(home)}),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def judged(stack: Stack, canary: str, home: Path, **env: str) -> Done:
    words = ("--agent", "codex", "--home", str(home), "--no-request", "--json")
    return doctor(canary, *words, *beside(stack), env=env)


def test_codex_with_the_file_that_env_wrote_comes_here(stack: Stack, canary: str, tmp_path: Path) -> None:
    written(stack, tmp_path)
    done = judged(stack, canary, tmp_path)
    assert done.code == 0, done
    assert done.states["agent"] == "ok"


def test_codex_with_openai_base_url_alone_does_not(stack: Stack, canary: str, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{stack.port}/v1"
    cause = failing(judged(stack, canary, tmp_path, OPENAI_BASE_URL=url), "agent", 78)
    assert "OPENAI_BASE_URL is set, but codex ignores it." in cause["said"]
    assert cause["fix"] == f"Run: awfproxy env codex --openai-port {stack.port} --write"


def test_http_proxy_that_would_swallow_loopback(stack: Stack, canary: str, tmp_path: Path) -> None:
    written(stack, tmp_path)
    cause = failing(judged(stack, canary, tmp_path, HTTP_PROXY="http://u:secret@squid:3128"), "agent", 78)
    assert "HTTP_PROXY is set, and NO_PROXY does not name 127.0.0.1" in cause["said"]
    assert "secret" not in cause["said"]
    covered = {"HTTP_PROXY": "http://squid:3128", "NO_PROXY": "127.0.0.1"}
    assert judged(stack, canary, tmp_path, **covered).code == 0


def test_login_of_codex_is_named(stack: Stack, canary: str, tmp_path: Path) -> None:
    written(stack, tmp_path)
    (tmp_path / ".codex" / "auth.json").write_text('{"OPENAI_API_KEY": "sk-of-the-user-1234567890"}')
    done = judged(stack, canary, tmp_path)
    assert done.code == 0
    assert "auth.json is there" in done.document["steps"][-1]["said"]
    (tmp_path / ".codex" / "config.toml").write_text("")
    cause = failing(judged(stack, canary, tmp_path), "agent", 78)
    assert "auth.json wins there" in cause["said"]
    assert "sk-of-the-user" not in done.out


def test_gh_aw_without_any_key_is_a_failed_configuration() -> None:
    done = doctor(None, "--profile", "gh-aw", "--json")
    assert done.code == 78
    assert done.states == {"configuration": "failed"}
    assert "OPENAI_API_KEY" in done.document["cause"]["fix"]
