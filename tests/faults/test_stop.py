"""Stopping: what SIGTERM does to each kind of connection, what the deadline and a second signal do."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import options
from tests.kit.certificates import Authority
from tests.kit.client import Client
from tests.kit.daemon import BIN, RUNNERS, Daemon
from tests.kit.origin import Exchange, Origin
from tests.kit.ports import free_port
from tests.kit.reader import poll
from tests.kit.squid import Squid
from tests.kit.tools import need_pid_namespace

Outcome = Callable[[str, str, str], None]

AREA = "The process"
ENDLESS = "/v1/kit/drip?events=100000&interval=0.05"
STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130}


@pytest.fixture(params=RUNNERS)
def runner(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(
    runner: str, authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> Callable[..., Daemon]:
    def made(*more: str) -> Daemon:
        arguments = (*options(authority, own_origin, squid), *more)
        return Daemon(*arguments, env={"OPENAI_API_KEY": canary}, runner=runner)

    return made


def test_each_connection_ends_in_its_own_way(
    start: Callable[..., Daemon], own_origin: Origin, outcome: Outcome
) -> None:
    gate = own_origin.gate("answer")
    with (
        start() as daemon,
        Client(daemon.ready("/readyz").port) as idle,
        Client(daemon.port) as answered,
        Client(daemon.port) as streaming,
    ):
        assert idle.request("GET", "/v1/kit/length").body == b"12345"
        answered.send_head("GET", "/v1/kit/upload?gate=answer")
        own_origin.wait_for(b"/v1/kit/upload?gate=answer")
        streaming.send_head("GET", "/v1/kit/drip?events=1&gate=answer")
        pieces = streaming.pieces(streaming.final_head())
        with Client(daemon.port) as in_use:
            assert in_use.request("GET", "/readyz").status == 200
            daemon.running.terminate()
            daemon.wait_for_output("Stopping")
            not_ready = in_use.request("GET", "/readyz")
            assert (not_ready.status, not_ready.value(b"connection")) == (503, b"close")
            assert in_use.closed()
        assert not daemon.listening()
        assert idle.closed(3)
        assert daemon.running.poll() is None
        gate.release(10)
        answer = answered.answer()
        assert (answer.status, answer.value(b"connection")) == (200, b"close")
        assert answered.closed(3)
        assert b"".join(pieces).endswith(b"data: [DONE]\n\n")
        assert streaming.closed(3)
        assert daemon.exit_code() == 143
        assert "Traceback" not in daemon.output()
    outcome(AREA, "SIGTERM: readiness", "503 at once, and the connection closes after it")
    outcome(AREA, "SIGTERM: port", "refused at once")
    outcome(AREA, "SIGTERM: idle connection", "closed within about a second of its last use")
    outcome(AREA, "SIGTERM: answer under way", "complete, with Connection: close")
    outcome(AREA, "SIGTERM: stream under way", "complete, then closed")


def test_what_outlasts_the_deadline_is_cut_and_the_exit_is_the_usual_one(
    start: Callable[..., Daemon], own_origin: Origin, outcome: Outcome
) -> None:
    with (
        start("--drain-deadline", "1") as daemon,
        Client(daemon.ready("/readyz").port) as stalled,
        Client(daemon.port) as streaming,
    ):
        stalled.send_head("GET", "/v1/kit/stall")
        own_origin.wait_for(b"/v1/kit/stall")
        streaming.send_head("GET", ENDLESS)
        assert streaming.final_head().status == 200
        begun = time.monotonic()
        daemon.running.terminate()
        answer = stalled.answer()
        assert (answer.status, answer.error_code) == (503, "shutting_down")
        assert streaming.was_reset()
        assert daemon.exit_code(10) == 143
        assert 0.9 < time.monotonic() - begun < 6
        assert daemon.output().count("outcome=drained error=shutting_down") == 2
    outcome(AREA, "SIGTERM: answer that outlasts the deadline", "503 shutting_down")
    outcome(AREA, "SIGTERM: stream that outlasts the deadline", "reset; outcome drained, shutting_down")


@pytest.mark.parametrize("second", STATUS, ids=lambda number: number.name)
@pytest.mark.parametrize("first", STATUS, ids=lambda number: number.name)
def test_a_second_signal_ends_it_at_once_with_the_status_of_the_first(
    start: Callable[..., Daemon],
    own_origin: Origin,
    first: signal.Signals,
    second: signal.Signals,
    outcome: Outcome,
) -> None:
    with (
        start() as daemon,
        Client(daemon.ready("/readyz").port) as stalled,
        Client(daemon.port) as streaming,
    ):
        stalled.send_head("GET", "/v1/kit/stall")
        own_origin.wait_for(b"/v1/kit/stall")
        streaming.send_head("GET", ENDLESS)
        assert streaming.final_head().status == 200
        daemon.running.send_signal(first)
        daemon.wait_for_output("Stopping")
        begun = time.monotonic()
        daemon.running.send_signal(second)
        assert daemon.exit_code(10) == STATUS[first]
        assert time.monotonic() - begun < 2
        assert streaming.was_reset()
        assert stalled.answer().error_code == "shutting_down"
        output = daemon.output()
        assert "Ended at once: a second signal" in output
        assert output.count("outcome=drained error=shutting_down") == 2
        assert "Traceback" not in output
        assert "ReactorNotRunning" not in output
    outcome(AREA, "second signal", "ends at once, with the status of the first; streams reset, answers 503")


def test_a_second_signal_while_the_key_is_checked_is_no_error(
    start: Callable[..., Daemon], own_origin: Origin
) -> None:
    own_origin.models_answer = lambda exchange: exchange.wait_until_left()
    with start() as daemon:
        own_origin.wait_for(b"/v1/models")
        for _ in range(3):
            daemon.running.terminate()
        assert daemon.exit_code(10) == 143
        assert "Traceback" not in daemon.output()


def test_a_second_signal_is_0_where_the_first_is(
    runner: str, authority: Authority, own_origin: Origin, squid: Squid, canary: str, outcome: Outcome
) -> None:
    ports = {f"AWFPROXY_{name}_PORT": "0" for name in ("ANTHROPIC", "COPILOT", "GEMINI", "VERTEX")}
    with (
        Daemon(
            "--profile", "gh-aw", *options(authority, own_origin, squid),
            env={"OPENAI_API_KEY": canary, **ports}, runner=runner,
        ) as daemon,
        Client(daemon.ready("/healthz").port) as streaming,
    ):  # fmt: skip
        streaming.send_head("GET", ENDLESS)
        assert streaming.final_head().status == 200
        daemon.running.terminate()
        poll(lambda: not daemon.listening())
        daemon.running.terminate()
        assert daemon.exit_code(3) == 0
        assert streaming.was_reset()
        assert "shutdown_at_once" in daemon.output()
        assert "Traceback" not in daemon.output()
    outcome(AREA, "second signal with --profile gh-aw", "ends at once with 0")


def test_a_second_signal_is_0_as_pid_1(
    runner: str, authority: Authority, own_origin: Origin, squid: Squid, canary: str, outcome: Outcome
) -> None:
    need_pid_namespace()
    port = free_port()
    before = ["-n", "--pidfile="] if runner == "twistd" else []
    with (
        Daemon(
            env={"OPENAI_API_KEY": canary}, port=port,
            command=[
                "unshare", "--pid", "--fork", "--kill-child", str(BIN / runner), *before, "awfproxy",
                "--port", str(port), *options(authority, own_origin, squid),
            ],
        ) as daemon,
        Client(daemon.ready("/readyz").port) as streaming,
    ):  # fmt: skip
        streaming.send_head("GET", ENDLESS)
        assert streaming.final_head().status == 200
        task = Path(f"/proc/{daemon.running.pid}/task/{daemon.running.pid}/children")
        (child,) = map(int, task.read_text().split())
        os.kill(child, signal.SIGTERM)
        daemon.wait_for_output("Stopping")
        os.kill(child, signal.SIGTERM)
        assert daemon.exit_code(3) == 0
        assert streaming.was_reset()
    outcome(AREA, "second signal as PID 1", "ends at once with 0")


def test_a_second_signal_leaves_no_pid_file(
    tmp_path: Path, authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    pid_file = tmp_path / "awfproxy.pid"
    port = free_port()
    with (
        Daemon(
            env={"OPENAI_API_KEY": canary}, port=port,
            command=[
                str(BIN / "twistd"), "-n", f"--pidfile={pid_file}", "awfproxy",
                "--port", str(port), *options(authority, own_origin, squid),
            ],
        ) as daemon,
        Client(daemon.ready("/readyz").port) as streaming,
    ):  # fmt: skip
        assert pid_file.exists()
        streaming.send_head("GET", ENDLESS)
        assert streaming.final_head().status == 200
        daemon.running.terminate()
        daemon.wait_for_output("Stopping")
        daemon.running.terminate()
        assert daemon.exit_code(3) == 143
        assert not pid_file.exists()


def test_a_signal_while_it_ends_by_itself_ends_it_at_once_with_its_own_code(
    start: Callable[..., Daemon], own_origin: Origin
) -> None:
    """`--probe strict`: the key is rejected while a client is served already."""
    held = own_origin.gate("verdict")

    def rejects(exchange: Exchange) -> None:
        held.acquire()
        exchange.error(401, "invalid_api_key", "Incorrect API key provided", "invalid_request_error")

    own_origin.models_answer = rejects
    with start("--probe", "strict") as daemon, Client(daemon.ready().port) as streaming:
        streaming.send_head("GET", ENDLESS)
        assert streaming.final_head().status == 200
        held.release(10)
        daemon.wait_for_output("Stopping")
        assert daemon.running.poll() is None
        daemon.running.terminate()
        assert daemon.exit_code(3) == 1
        assert "Traceback" not in daemon.output()
