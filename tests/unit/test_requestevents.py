"""The sidecar's events for a request, and where names and hosts in the log come from."""

import io
import json
from typing import Any

import pytest
from twisted.logger import LogLevel

from awfproxy.errors.egress import EgressDenied
from awfproxy.errors.origin import OriginClosed
from awfproxy.observe.accesslog import AccessRecord, Line, Outcome
from awfproxy.observe.logs import LogWriter
from awfproxy.observe.metrics import Metrics
from awfproxy.observe.requestevents import RequestEvents

COMMON = {"request_id": "id-1", "provider": "openai", "method": "POST", "path": "/v1/responses",
          "upstream_host": "api.openai.com"}  # fmt: skip


def record(**values: Any) -> AccessRecord:
    made = AccessRecord(b"id-1", "127.0.0.1", b"POST", b"/v1/responses?key=secret", 100.0)
    for name, value in values.items():
        setattr(made, name, value)
    return made


class Log:
    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.metrics = Metrics()
        self.log = RequestEvents("openai", "api.openai.com", self.metrics, self.lines.append)

    def ended(self, outcome: Outcome = Outcome.COMPLETED, **values: Any) -> list[tuple[str, dict[str, Any]]]:
        self.log.begun(record())
        self.log.ended(record(**values), outcome, 100.5)
        return [(line.event, dict(line.values)) for line in self.lines]


def test_request_that_completes_has_its_start_and_its_end_without_the_query() -> None:
    start, complete = Log().ended(status=200, request_bytes=5, response_bytes=7)
    assert start == ("request_start", COMMON)
    assert complete[0] == "request_complete"
    assert complete[1] == complete[1] | COMMON | {
        "status": 200, "duration_ms": 500.0, "request_bytes": 5, "response_bytes": 7
    }  # fmt: skip


def test_client_that_leaves_is_request_aborted() -> None:
    names = [name for name, _ in Log().ended(Outcome.CLIENT_LEFT)]
    assert names == ["request_start", "request_aborted", "request_complete"]


@pytest.mark.parametrize("status", [401, 403])
def test_providers_refusal_is_upstream_auth_error(status: int) -> None:
    found = dict(Log().ended(status=status))
    assert found["upstream_auth_error"] == found["upstream_auth_error"] | COMMON | {"status": status}
    assert found["upstream_auth_error"]["message"]


@pytest.mark.parametrize(
    "values",
    [{"status": 400}, {"status": 200}, {"status": 500}, {"status": 403, "error": EgressDenied},
     {"status": 502, "error": OriginClosed}],
)  # fmt: skip
def test_nothing_else_is(values: dict[str, Any]) -> None:
    assert "upstream_auth_error" not in dict(Log().ended(**values))


def test_exchange_is_counted_as_in_every_profile() -> None:
    log = Log()
    log.ended(status=200)
    assert log.metrics.summary()["total_requests"] == 1
    assert log.metrics.summary()["active_requests"] == 0


def written(writer: LogWriter, stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_events_have_the_profiles_names_and_the_lines_their_own() -> None:
    stream = io.StringIO()
    writer = LogWriter("json", {"serving": "server_start"})
    observer = writer.observer(stream)
    log = RequestEvents("openai", "api.openai.com", Metrics(), writer.access)
    log.begun(record())
    log.ended(record(status=401), Outcome.COMPLETED, 100.5)
    observer({"log_format": "x", "log_level": LogLevel.info, "log_time": 0.0, "event": "serving"})
    lines = written(writer, stream)
    assert [line["event"] for line in lines] == [
        "request_start", "upstream_auth_error", "request_complete", "server_start"
    ]  # fmt: skip
    assert [line["level"] for line in lines] == ["info", "warn", "info", "info"]
    assert all(line["timestamp"].endswith("Z") for line in lines)


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_host_that_is_not_to_be_shown_is_in_no_line_in_whatever_case(log_format: str) -> None:
    stream = io.StringIO()
    writer = LogWriter(log_format, hidden="LLM.internal.example")
    observer = writer.observer(stream)
    log = RequestEvents("openai", "llm.internal.example", Metrics(), writer.access)
    log.begun(record())
    log.ended(record(status=200), Outcome.COMPLETED, 100.5)
    observer(
        {"log_format": "to {origin}", "origin": "llm.INTERNAL.example:443", "log_level": LogLevel.info,
         "log_time": 0.0, "event": "key_validation"}
    )  # fmt: skip
    assert "internal" not in stream.getvalue().lower()
    assert stream.getvalue().count("[REDACTED]") >= 2
