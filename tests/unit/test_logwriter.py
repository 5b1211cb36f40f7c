"""Access lines on their way to the log: when they are written, and in which order."""

import io

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogLevel

from awfproxy.net.deadlines import Sweep
from awfproxy.observe.accesslog import AccessLine, AccessRecord, Outcome
from awfproxy.observe.logs import LogWriter


def line(number: int) -> AccessLine:
    record = AccessRecord(b"id-%d" % number, "127.0.0.1", b"GET", b"/v1/models", 0.0)
    return AccessLine("openai", record, Outcome.COMPLETED, 1.0)


class Log:
    def __init__(self) -> None:
        self.clock = Clock()
        self.stream = io.StringIO()
        self.writer = LogWriter("text")
        self.observer = self.writer.observer(self.stream)
        self.writer.gather(Sweep(self.clock))  # type: ignore[arg-type]

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.fixture
def log() -> Log:
    return Log()


def test_lines_wait_for_others_but_not_for_long(log: Log) -> None:
    log.writer.access(line(1))
    log.writer.access(line(2))
    assert log.lines == []
    log.clock.pump([0.25, 0.25])
    assert ["id-1" in log.lines[0], "id-2" in log.lines[1], len(log.lines)] == [True, True, 2]
    assert log.clock.getDelayedCalls() == [], "nothing ticks while there is nothing to write"


def test_many_lines_wait_for_nothing(log: Log) -> None:
    for number in range(64):
        log.writer.access(line(number))
    assert len(log.lines) == 64


def test_an_event_comes_after_the_lines_before_it(log: Log) -> None:
    log.writer.access(line(1))
    log.observer({"log_format": "an event", "log_level": LogLevel.info, "log_time": 0.0})
    assert ["id-1" in log.lines[0], "an event" in log.lines[1]] == [True, True]


def test_lost_lines_are_counted_and_none_are_where_the_log_is_anothers(log: Log) -> None:
    with open("/dev/full", "w") as full:
        log.writer.observer(full)
        for number in range(64):
            log.writer.access(line(number))
        assert log.writer.lines_lost == 64
    assert LogWriter("text").lines_lost == 0


@pytest.mark.parametrize("problem", [OSError(28, "No space left on device"), ValueError("closed file")])
def test_a_log_that_cannot_be_written_does_not_stop_an_exchange(log: Log, problem: Exception) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise problem

    log.writer.observer(Full())
    for number in range(64):
        log.writer.access(line(number))
    log.writer.observer(log.stream)
    log.writer.access(line(65))
    log.clock.pump([0.25, 0.25])
    assert ["id-65" in each for each in log.lines] == [True]
