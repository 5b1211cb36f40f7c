"""Log lines: each is one line, JSON holds plain values alone, and nothing brings its insides along."""

import json
from io import StringIO
from typing import Any

import attrs
import pytest
from twisted.logger import LogEvent, Logger, LogLevel
from twisted.python.failure import Failure

from awfproxy.credentials.secret import Secret
from awfproxy.observe.logs import LogWriter, json_lines
from tests.kit.canary import Watch


def event_of(log_format: str, **values: Any) -> LogEvent:
    events: list[LogEvent] = []
    Logger(namespace="test", observer=events.append).emit(LogLevel.info, log_format, **values)
    return events[0]


def line_of(event: LogEvent) -> dict[str, Any]:
    text = json_lines()(event)
    assert text.endswith("\n")
    assert text.count("\n") == 1
    assert text.isascii()
    return json.loads(text)  # type: ignore[no-any-return]


def test_line_has_time_level_event_message_and_the_values() -> None:
    event = event_of("{count} things", event="counted", count=3, ratio=0.5, name="x", yes=True, none=None)
    event["log_time"] = 1234567890.25
    assert line_of(event) == {
        "timestamp": "2009-02-13T23:31:30.250Z",
        "level": "info",
        "event": "counted",
        "message": "3 things",
        "count": 3,
        "ratio": 0.5,
        "name": "x",
        "yes": True,
        "none": None,
    }


@pytest.mark.parametrize("value", [object(), b"bytes", ["x"], ("x",), {"x": "y"}, {"x"}, LogLevel.info, len])
def test_only_plain_values_are_written(value: object) -> None:
    assert "held" not in line_of(event_of("text", held=value))


@attrs.frozen
class Holder:
    key: bytes


def test_an_object_brings_nothing_along(canary: str) -> None:
    watch = Watch(canary)
    secret = Secret(canary.encode())
    event = event_of(
        "about {secret}",
        secret=secret,
        holder=Holder(canary.encode()),
        raw=canary.encode(),
        nested=[canary.encode()],
    )
    watch.add("line", json_lines()(event))
    assert watch.findings() == []


@pytest.mark.parametrize("name", [object(), b"bytes", None, 5, ["x"]])
def test_event_that_is_no_text_is_not_an_error(name: object) -> None:
    assert line_of(event_of("text", event=name))["event"] == "log"


@pytest.mark.parametrize("name", ["timestamp", "level", "event", "message"])
def test_a_value_does_not_take_the_place_of_our_own(name: str) -> None:
    usual = line_of(event_of("text"))
    forged = line_of({**event_of("text"), name: "forged"})
    if name == "event":
        assert forged["event"] == "forged"  # this is how an event gets its name
    else:
        assert forged.keys() == usual.keys()
        assert forged[name] != "forged"


@pytest.mark.parametrize(
    "bad", ["\n", "\r", "\r\n", "\0", "\x1b[2K", "\x85", "\u2028", "\ud800", '"', "\\", '"}\n{"a":"']
)
def test_text_cannot_end_its_line(bad: str) -> None:
    line = line_of(event_of("{value}", value=f"a{bad}b"))
    assert line["value"] == line["message"] == f"a{bad}b"


@pytest.mark.parametrize("bad", ["{", "}", "{x", "{missing}", "{0}", "{}"])
def test_broken_format_is_still_one_line(bad: str) -> None:
    assert line_of(event_of(bad))["event"] == "log"


def test_object_that_cannot_be_shown_is_still_one_line() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert line_of(event_of("{value}", value=Broken()))["event"] == "log"


def test_event_without_anything_is_still_one_line() -> None:
    assert line_of({})["event"] == "log"


def fail_with(key: str) -> Failure:
    held = {"key": key.encode()}  # bytes: the canary as text does not show itself
    try:
        raise ValueError(f"{len(held)} held")
    except ValueError:
        return Failure(captureVars=True)


def test_failure_is_written_without_its_locals(canary: str) -> None:
    line = line_of(event_of("it failed", log_failure=fail_with(canary)))
    assert line["error_type"] == "ValueError"
    assert "test_logs.py" in line["stack"]
    watch = Watch(canary)
    watch.add("line", json.dumps(line))
    assert watch.findings() == []


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_failure_shows_no_local_in_either_form(log_format: str, canary: str) -> None:
    stream = StringIO()
    LogWriter(log_format).observer(stream)(event_of("it failed", log_failure=fail_with(canary)))
    assert "it failed" in stream.getvalue()
    watch = Watch(canary)
    watch.add("line", stream.getvalue())
    assert watch.findings() == []


@pytest.mark.parametrize("bad", ["\n", "\r\n", '\n{"event":"x"}'])
def test_text_form_never_begins_a_line_with_what_it_was_given(bad: str) -> None:
    stream = StringIO()
    event = event_of("{value}", value=f"a{bad}2026-11-23T18:00:00.000Z [access] forged")
    LogWriter("text").observer(stream)(event)
    first, *others = stream.getvalue().splitlines()
    assert "[test#info] a" in first
    assert all(line.startswith("\t") for line in others)


def test_stamps_follow_the_clock() -> None:
    line = json_lines()
    stamps = [
        json.loads(line({"log_time": moment}))["timestamp"] for moment in (0.999, 1.0, 1.0014, 61.5, 2.0)
    ]
    assert stamps == [
        "1970-01-01T00:00:00.999Z",
        "1970-01-01T00:00:01.000Z",
        "1970-01-01T00:00:01.001Z",
        "1970-01-01T00:01:01.500Z",
        "1970-01-01T00:00:02.000Z",
    ]
