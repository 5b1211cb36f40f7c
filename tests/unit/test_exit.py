"""The exit code and its sentence: who hears them, and when."""

import io
import signal
import sys

import pytest
from twisted.internet.error import ReactorNotRunning
from twisted.logger import LogPublisher

from awfproxy.service.exit import ExitCode, ExitStatus, end_with_0, one_line, refuse


class Process:
    """Stands in for the process: its exit hook, its id, its log and its end."""

    def __init__(self):
        self.hooks, self.left, self.id = [], [], 100
        self.events = []
        self.publisher = LogPublisher()
        self.log = self.events.append
        self.publisher.addObserver(self.log)
        self.status = ExitStatus(self.hooks.append, self.left.append, self.publisher, lambda: self.id)

    def lines(self):
        return [event.get("sentence", event["log_format"]) for event in self.events]

    def end(self):
        """What twistd does at its end."""
        self.publisher({"log_format": "Main loop terminated."})
        self.publisher({"log_format": "Server Shut Down."})
        self.publisher.removeObserver(self.log)
        for hook in self.hooks:
            hook()


@pytest.fixture
def process():
    return Process()


@pytest.fixture
def stderr(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", stream)
    return stream


@pytest.mark.parametrize(
    ("name", "code"),
    [("STRICT", 1), ("USAGE", 64), ("UNAVAILABLE", 69), ("INTERNAL", 70), ("OS_ERROR", 71), ("PROTOCOL", 76),
     ("NO_PERMISSION", 77), ("CONFIG", 78)],
)  # fmt: skip
def test_codes(name, code):
    assert ExitCode[name] == code


def test_without_failure_the_runner_ends_the_process(process, stderr):
    process.end()
    assert process.left == []
    assert stderr.getvalue() == ""


def test_code_and_sentence_come_last(process, stderr):
    process.status.fail(ExitCode.NO_PERMISSION, "OpenAI rejects the key. Give a valid one.")
    assert process.left == []
    assert stderr.getvalue() == ""
    process.end()
    assert stderr.getvalue() == "awfproxy: OpenAI rejects the key. Give a valid one.\n"
    assert process.left == [77]


def test_failure_is_logged_at_once_with_its_code(process, stderr):
    process.status.fail(ExitCode.CONFIG, "No.")
    (event,) = process.events
    assert (event["event"], event["exit_code"], event["log_level"].name) == ("startup_failed", 78, "critical")


def test_in_the_foreground_the_log_gets_it_once(process, stderr):
    process.status.fail(ExitCode.CONFIG, "No.")
    process.end()
    assert process.lines() == ["No.", "Main loop terminated.", "Server Shut Down."]


def test_daemonised_it_is_the_logs_last_line(process, stderr):
    process.id = 200
    process.status.fail(ExitCode.OS_ERROR, "Port 10000 is in use.")
    process.end()
    assert process.lines()[-1] == "Port 10000 is in use."
    assert process.lines()[0] == "Port 10000 is in use."
    assert len(process.lines()) == 4


def test_first_failure_counts(process, stderr):
    process.status.fail(ExitCode.CONFIG, "First.")
    process.status.fail(ExitCode.OS_ERROR, "Second.")
    process.end()
    assert process.left == [78]
    assert stderr.getvalue() == "awfproxy: First.\n"


def test_sentence_stays_one_line(process, stderr):
    process.status.fail(ExitCode.CONFIG, "a\nb\x1b[31m\rc\u2028é")
    process.end()
    assert stderr.getvalue() == "awfproxy: a\\nb\\x1b[31m\\rc\\u2028é\n"


@pytest.mark.parametrize("stream", ["closed", None])
def test_standard_error_that_is_gone_keeps_the_code(process, monkeypatch, stream):
    if stream == "closed":
        stream = io.StringIO()
        stream.close()
    monkeypatch.setattr(sys, "__stderr__", stream)
    process.status.fail(ExitCode.CONFIG, "No.")
    process.end()
    assert process.left == [78]


def test_refusal_before_the_reactor_is_a_system_exit(stderr):
    with pytest.raises(SystemExit) as left:
        refuse(ExitCode.USAGE, "Unknown option --prot.\nSee --help.")
    assert left.value.code == 64
    assert type(left.value.code) is int
    assert stderr.getvalue() == "awfproxy: Unknown option --prot.\\nSee --help.\n"


def test_one_line_leaves_plain_text_alone():
    assert one_line("port 10000: in use — choose another") == "port 10000: in use — choose another"


def test_leaving_now_is_0_where_nothing_failed_and_the_code_where_something_did(process):
    process.status.leave_now()
    assert process.left == [0]
    process.status.fail(ExitCode.STRICT, "A key is rejected.")
    process.status.leave_now()
    assert process.left == [0, 1]


class Reactor:
    """Stops once, and says so when it is asked again."""

    def __init__(self):
        self.stops = 0

    def callFromThread(self, function):
        function()

    def stop(self):
        if self.stops:
            raise ReactorNotRunning
        self.stops += 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_can_be_made_a_plain_stop(number):
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    reactor = Reactor()
    try:
        end_with_0(reactor)
        signal.raise_signal(number)
        signal.raise_signal(number)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert reactor.stops == 1
