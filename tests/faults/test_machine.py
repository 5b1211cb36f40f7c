"""The machine's faults: a full disk or a stopped reader under the log, no descriptor left, no such name."""

import os
import re
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.kit.client import Client
from tests.kit.daemon import Daemon
from tests.kit.reader import poll
from tests.kit.squid import Squid
from tests.kit.tools import need
from tests.kit.ways import Way, way

AREA = "Squid's faults and the machine's"
Outcome = Callable[[str, str, str], None]
_SHELL = ("sh", "-c", 'exec "$@" > "$LOG"', "sh")
"""In front of a daemon: its log goes where LOG says, a pipe or a device."""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    need("squid")
    with ExitStack() as stack:
        yield stack


NOTICE = "lines of the log are lost"
STARTED = {"text": "Started: ", "json": '"event":"startup_complete"'}
LINE = {"text": re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z \[[^{]+"), "json": re.compile(r"\{[^{]*\}")}
"""With nothing of another in front of it or behind it."""


def serves(made: Way, requests: int) -> None:
    with Client(made.port, timeout=5.0) as client:
        for _ in range(requests):
            assert client.request("GET", "/v1/kit/length").status == 200


def lines_lost(made: Way) -> int:
    return int(made.ask("/metrics").json()["counters"]["log_lines_lost_total"])


# --- the log -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("to", ["stdout", "logfile"])
def test_disk_full_for_the_log(
    stack: ExitStack, tmp_path: Path, canary: str, to: str, log_format: str, outcome: Outcome
) -> None:
    file = tmp_path / "log" if to == "logfile" else None
    made = stack.enter_context(way(tmp_path, canary, log_file=file, log_format=log_format))
    pid, log = made.daemon.running.pid, made.log_file
    poll(lambda: STARTED[log_format] in log.read_text())
    full = log.stat().st_size + 100  # in the midst of a line
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
    serves(made, 300)
    assert made.ask("/readyz").status == 200
    assert log.stat().st_size == full

    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
    serves(made, 1)
    text = poll(lambda: (text := log.read_text()).count(NOTICE) and text.endswith("\n") and text)
    torn, behind = text[:full], text[full:]
    assert behind.startswith("\n"), "the line in whose midst the disk was full has an end"
    notice, *after = behind[1:].splitlines()
    count = lines_lost(made)
    assert f"{count} {NOTICE}" in notice, "it comes first"
    assert all(LINE[log_format].fullmatch(line) for line in (notice, *after)), "each on a line of its own"
    there = [*torn.splitlines()[:-1], *after]
    assert sum("/v1/kit/length" in line for line in there) + count == 301, "each is there, or counted"
    if log_format == "json":
        (lost,) = made.log("log_lines_lost")
        assert (lost["level"], lost["lines"]) == ("warn", count)
    outcome(AREA, "disk full for the log", "requests served; lost lines are counted once there is room")


def test_log_on_a_device_that_is_always_full(
    stack: ExitStack, tmp_path: Path, canary: str, outcome: Outcome
) -> None:
    made = stack.enter_context(way(tmp_path, canary, command=_SHELL, env={"LOG": "/dev/full"}))
    serves(made, 200)
    assert made.ask("/readyz").status == 200
    assert lines_lost(made) > 100
    assert made.daemon.terminate() == 143
    outcome(AREA, "log on /dev/full", "requests served, stops as ever")


@pytest.mark.parametrize("runner", ["twistd", "twist"])
def test_log_reader_that_stops_reading(
    stack: ExitStack, tmp_path: Path, canary: str, runner: str, outcome: Outcome
) -> None:
    pipe = tmp_path / "log"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    stack.callback(os.close, reader)
    made = stack.enter_context(
        way(tmp_path, canary, runner=runner, command=_SHELL, env={"LOG": str(pipe)})
    )
    serves(made, 1000)  # 300 KB of lines, into a pipe of 64
    assert made.ask("/readyz").status == 200

    text = _read(reader)
    assert text.endswith("\n"), "whole lines"
    serves(made, 1)
    later = poll(lambda: _read(reader))
    assert '"event":"log_lines_lost"' in later.splitlines()[0]
    assert made.daemon.terminate() == 143
    outcome(AREA, "log reader that stops", "requests served; lines lost are counted in one when it reads on")


def _read(pipe: int) -> str:
    data = b""
    try:
        while more := os.read(pipe, 65536):
            data += more
    except BlockingIOError:
        pass
    return data.decode()


# --- descriptors -------------------------------------------------------------------------------------


def descriptors(made: Way) -> list[int]:
    return sorted(int(name) for name in os.listdir(f"/proc/{made.daemon.running.pid}/fd"))


def leave_none(stack: ExitStack, made: Way) -> None:
    """Limits the daemon to the descriptors that it has, without a gap among them."""
    while gaps := (has := descriptors(made))[-1] + 1 - len(has):
        for _ in range(gaps):
            stack.enter_context(Client(made.port))
        poll(lambda has=has, gaps=gaps: len(descriptors(made)) >= len(has) + gaps)
    _, hard = resource.prlimit(made.daemon.running.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(made.daemon.running.pid, resource.RLIMIT_NOFILE, (len(has), hard))


def leave_many(made: Way) -> None:
    _, hard = resource.prlimit(made.daemon.running.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(made.daemon.running.pid, resource.RLIMIT_NOFILE, (hard, hard))


def cpu_seconds(made: Way) -> float:
    fields = Path(f"/proc/{made.daemon.running.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_no_descriptor_left_for_clients(
    stack: ExitStack, tmp_path: Path, canary: str, outcome: Outcome
) -> None:
    made = stack.enter_context(way(tmp_path, canary))
    going = stack.enter_context(made.begin("/v1/kit/drip?events=2&gate=going"))
    head = going.final_head()
    kept = stack.enter_context(Client(made.port))
    assert kept.request("GET", "/v1/kit/length").status == 200
    leave_none(stack, made)

    before, began = cpu_seconds(made), time.monotonic()
    new = [stack.enter_context(made.begin("/v1/kit/length")) for _ in range(6)]
    for answer in (new[0].answer(), new[1].answer()):
        assert (answer.status, answer.error_code) == (503, "out_of_descriptors")
        assert answer.values(b"retry-after")
        assert "LimitNOFILE" in answer.json()["error"]["message"]
    assert time.monotonic() - began < 4.0, "one is told each second"
    assert cpu_seconds(made) - before < 0.5, "it does not spin meanwhile"
    (line,) = made.log("descriptors_exhausted")
    assert "LimitNOFILE" in line["message"]
    outcome(AREA, "no descriptor left: new clients", "503 out_of_descriptors, one a second; the others wait")
    counters = kept.request("GET", "/metrics").json()["counters"]
    assert counters["connections_refused_total:openai:out_of_descriptors"] in (2, 3)
    assert kept.request("GET", "/v1/kit/length").status == 200
    made.origin.gate("going").release(3)
    assert b"".join(going.pieces(head)).endswith(b"[DONE]\n\n")
    outcome(AREA, "no descriptor left: under way", "goes on to its end; kept connections serve on")

    leave_many(made)
    began = time.monotonic()
    assert [client.answer().status for client in new[-3:]] == [200, 200, 200]
    assert time.monotonic() - began < 3.0
    assert made.ask("/v1/kit/length").status == 200
    assert len(made.log("descriptors_exhausted")) == 1, "said once a minute"
    outcome(AREA, "descriptors free again", "who waited is served within 3 s, no restart")
    poll(lambda: not made.under_way())


def test_no_descriptor_left_for_tunnels(
    stack: ExitStack, tmp_path: Path, canary: str, outcome: Outcome
) -> None:
    made = stack.enter_context(way(tmp_path, canary))
    clients = [stack.enter_context(Client(made.port)) for _ in range(4)]
    assert [client.request("GET", "/readyz").status for client in clients] == [200] * 4
    leave_none(stack, made)
    first, second, third, page = clients
    first.send_head("GET", "/v1/kit/upload?gate=first")  # on the idle tunnel
    made.origin.wait_for(b"gate=first")
    for client in (second, third):
        answer = client.request("GET", "/v1/kit/length")
        assert (answer.status, answer.error_code) == (503, "out_of_descriptors")
    for _ in range(30):
        assert second.request("GET", "/v1/kit/length").error_code == "out_of_descriptors"
    answer = page.request("GET", "/readyz")
    assert (answer.status, "file descriptor" in answer.json()["reason"]) == (503, True)
    (line, *_) = poll(lambda: made.log("request_error", error="out_of_descriptors"))
    assert line["hop"] == "awfproxy"
    assert "LimitNOFILE" in line["fix"]
    metrics = page.request("GET", "/metrics").json()["counters"]
    assert metrics["tunnels_failed_total:openai:out_of_descriptors"] >= 2
    assert metrics["tunnels_not_tried_total:openai"] == 0
    outcome(AREA, "no descriptor left: tunnels", "503 out_of_descriptors; /readyz is 503 and says why")

    leave_many(made)
    assert second.request("GET", "/v1/kit/length").status == 200, "at once, on a tunnel of its own"
    made.origin.gate("first").release()
    assert [first.answer().status, third.request("GET", "/v1/kit/length").status] == [200, 200]
    poll(lambda: page.request("GET", "/readyz").status == 200, 5)
    outcome(AREA, "descriptors free again: tunnels", "ready and serving, no restart")


class _Named(Squid):
    """Found by name, as most are."""

    @property
    def url(self) -> str:
        return super().url.replace("127.0.0.1", "localhost")


def test_no_descriptor_left_for_the_name_of_the_egress_proxy(
    stack: ExitStack, tmp_path: Path, canary: str, outcome: Outcome
) -> None:
    made = stack.enter_context(way(tmp_path, canary, squid=_Named(["api.openai.com"])))
    first, second = (stack.enter_context(Client(made.port)) for _ in range(2))
    assert [client.request("GET", "/readyz").status for client in (first, second)] == [200, 200]
    leave_none(stack, made)
    first.send_head("GET", "/v1/kit/upload?gate=first")  # on the idle tunnel
    made.origin.wait_for(b"gate=first")
    for _ in range(10):
        answer = second.request("GET", "/v1/kit/length")
        assert (answer.status, answer.error_code) == (503, "out_of_descriptors"), "it is not Squid's fault"
    leave_many(made)
    assert second.request("GET", "/v1/kit/length").status == 200
    made.origin.gate("first").release()
    assert first.answer().status == 200
    outcome(AREA, "no descriptor left: Squid's name", "503 out_of_descriptors at once")


# --- names -------------------------------------------------------------------------------------------


def test_squids_name_that_does_not_resolve(stack: ExitStack, canary: str, outcome: Outcome) -> None:
    daemon = stack.enter_context(
        Daemon(
            "--egress-proxy", "http://squid.invalid:3128", "--probe", "off", "--pool-warm", "0",
            env={"OPENAI_API_KEY": canary},
        )
    ).ready()  # fmt: skip
    answer = daemon.ask("GET", "/v1/models")
    assert (answer.status, answer.error_code) == (502, "egress_unreachable")
    assert daemon.ask("GET", "/readyz").status == 503
    assert "its name does not resolve" in daemon.wait_for_output("egress failed")
    outcome(AREA, "Squid's name does not resolve", "502 egress_unreachable; /readyz is 503; the log says why")
