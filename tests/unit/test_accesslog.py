"""One line per exchange: its values, its counters, and that no byte of a peer can forge or leak in it."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.logger import LogEvent, globalLogPublisher

from awfproxy.errors.client import MalformedMessage
from awfproxy.errors.egress import EgressFailed
from awfproxy.errors.origin import IncompleteMessage, OriginClosed
from awfproxy.observe.accesslog import AccessLog, AccessRecord, Outcome, printable
from awfproxy.observe.logs import json_lines, text_lines
from awfproxy.observe.metrics import Metrics

FORGERIES = (
    b"\n", b"\r", b"\r\n", b"\0", b"\x1b[2K", b"\x7f", b"\x85", b"\xa0", b"\xff", b"\t", b" ", b"\x0b",
    "\u2028".encode(), b'\n{"event":"request_complete","status":200}\n',
)  # fmt: skip


@pytest.fixture
def events() -> Iterator[list[LogEvent]]:
    seen: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_namespace") == "awfproxy.access":
            seen.append(event)

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


def record(**values: Any) -> AccessRecord:
    given: dict[str, Any] = {
        "request_id": b"the-id",
        "client": "172.30.0.20",
        "method": b"POST",
        "target": b"/v1/responses?key=secret",
        "started": 100.0,
    }
    return AccessRecord(**{**given, **values})


def as_json(event: LogEvent) -> dict[str, Any]:
    text = json_lines()(event)
    assert text.count("\n") == 1
    assert text.endswith("\n")
    return json.loads(text)  # type: ignore[no-any-return]


def as_text(event: LogEvent) -> str:
    text = text_lines()(event)
    assert text is not None
    return text


FORMS: dict[str, Callable[[LogEvent], str]] = {"json": json_lines(), "text": as_text}


def test_line_has_all_its_values(events: list[LogEvent]) -> None:
    complete = record(
        request_bytes=30000,
        response_bytes=5,
        status=200,
        acquired=100.25,
        head_at=100.5,
        reused=True,
        provider_request_id=b"req_1",
    )
    AccessLog("openai", Metrics()).ended(complete, Outcome.COMPLETED, 101.0)
    assert len(events) == 1
    line = as_json(events[0])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line == {
        "level": "info",
        "event": "request_complete",
        "request_id": "the-id",
        "provider": "openai",
        "client": "172.30.0.20",
        "method": "POST",
        "path": "/v1/responses",
        "status": 200,
        "outcome": "completed",
        "error": None,
        "request_bytes": 30000,
        "response_bytes": 5,
        "duration_ms": 1000.0,
        "tunnel": "reused",
        "tunnel_ms": 250.0,
        "head_ms": 500.0,
        "provider_request_id": "req_1",
    }


def test_text_line_has_the_same_values(events: list[LogEvent]) -> None:
    AccessLog("openai", Metrics()).ended(record(status=200, reused=False), Outcome.COMPLETED, 101.0)
    words = as_text(events[0]).split()
    for word in ("method=POST", "path=/v1/responses", "status=200", "tunnel=new", "request_id=the-id"):
        assert word in words


@pytest.mark.parametrize("form", FORMS)
def test_keys_masked_in_the_answer_are_on_the_line_counted_and_warned_of(
    form: str, events: list[LogEvent]
) -> None:
    metrics, leaking, clean = Metrics(), record(status=200), record(status=200)
    leaking.leaks_masked = 2
    log = AccessLog("openai", metrics)
    log.ended(leaking, Outcome.COMPLETED, 101.0)
    log.ended(clean, Outcome.COMPLETED, 101.0)
    line, warning, other = (FORMS[form](event) for event in events)
    assert line.endswith({"text": " leaks_masked=2\n", "json": ',"leaks_masked":2}\n'}[form])
    assert "leaks_masked" not in other
    assert "the-id: the provider's answer had the key in it, 2 times" in warning
    assert (events[1]["event"], events[1]["log_level"].name) == ("leak_masked", "warn")
    assert "secret" not in warning
    assert metrics.leaks_masked == 2


def test_what_is_not_known_is_said_to_be_so(events: list[LogEvent]) -> None:
    AccessLog("openai", Metrics()).ended(record(), Outcome.CLIENT_LEFT, 100.0)
    line = as_json(events[0])
    assert (line["status"], line["tunnel"], line["tunnel_ms"], line["head_ms"]) == (0, None, None, None)
    assert (line["provider_request_id"], line["outcome"]) == (None, "client_left")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("forged", FORGERIES)
@pytest.mark.parametrize("name", ["request_id", "method", "target", "provider_request_id"])
def test_no_byte_of_a_peer_forges_a_line_or_a_column(
    name: str, forged: bytes, form: str, events: list[LogEvent]
) -> None:
    values = {"request_id": b"i", "method": b"GET", "target": b"/", "provider_request_id": b"p"}
    plain, odd = record(**values), record(**{**values, name: values[name] + forged + b"z"})
    log = AccessLog("openai", Metrics())
    log.ended(plain, Outcome.COMPLETED, 101.0)
    log.ended(odd, Outcome.COMPLETED, 101.0)
    usual, text = (FORMS[form](event) for event in events)
    assert text.count("\n") == usual.count("\n") == 1
    assert len(text.splitlines()) == 1
    assert all(" " <= character <= "~" for character in text[:-1])
    assert text.count(" ") == usual.count(" ")
    if form == "json":
        assert json.loads(text).keys() == json.loads(usual).keys()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "target",
    [
        b"/a?key=@",
        b"/a?b#@",
        b"/a#@",
        b"http://user:@@evil/a",
        b"http://evil/?@",
        b"user:@@evil:443",
        b"/a?\n@",
    ],
)
def test_no_query_and_no_password_is_written(
    target: bytes, form: str, canary: str, events: list[LogEvent]
) -> None:
    target = target.replace(b"@", canary.encode(), 1)
    AccessLog("openai", Metrics()).ended(record(target=target), Outcome.REFUSED, 101.0)
    text = FORMS[form](events[0])
    assert ("/a" in text or "/" in text or "evil" in text) is True
    assert (canary[8:16] in text) is False


def test_long_path_is_cut(events: list[LogEvent]) -> None:
    AccessLog("openai", Metrics()).ended(record(target=b"/" + b"\xff" * 5000), Outcome.COMPLETED, 101.0)
    assert len(as_json(events[0])["path"]) == 200


def test_braces_in_a_path_are_just_braces(events: list[LogEvent]) -> None:
    AccessLog("openai", Metrics()).ended(record(target=b"/{client}{0}{}%s"), Outcome.COMPLETED, 101.0)
    assert as_json(events[0])["path"] == "/{client}{0}{}%s"
    assert "path=/{client}{0}{}%s " in as_text(events[0])


def test_error_of_ours_is_explained_in_a_second_line(events: list[LogEvent]) -> None:
    failed = record(status=503, error=EgressFailed)
    AccessLog("openai", Metrics()).ended(failed, Outcome.UPSTREAM_FAILED, 101.0, "CONNECT answered 503")
    line, explained = map(as_json, events)
    assert line["error"] == explained["error"] == "egress_failed"
    assert (explained["level"], explained["event"], explained["hop"]) == ("warn", "request_error", "egress")
    assert explained["request_id"] == "the-id"
    for part in (EgressFailed.sentence, EgressFailed.fix, "CONNECT answered 503"):
        assert part in explained["message"]


def test_the_clients_own_fault_is_one_line(events: list[LogEvent]) -> None:
    AccessLog("openai", Metrics()).ended(record(status=400, error=MalformedMessage), Outcome.REFUSED, 101.0)
    assert [as_json(event)["error"] for event in events] == ["malformed_request"]


@pytest.mark.parametrize("data", FORGERIES)
def test_printable_is_one_word_of_visible_ascii(data: bytes) -> None:
    assert re.fullmatch(r"[\x21-\x7e]*", printable(b"a" + data + b"b"))


def test_printable_leaves_visible_ascii_alone() -> None:
    every = bytes(range(0x21, 0x7F))
    assert printable(every) == every.decode("ascii")
    assert printable(b"") == ""


# --- the counters -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "outcome", "failed"),
    [
        ({"status": 200}, Outcome.COMPLETED, 0),
        ({"status": 404}, Outcome.COMPLETED, 0),
        ({"status": 500}, Outcome.COMPLETED, 1),
        ({"status": 503, "error": OriginClosed}, Outcome.UPSTREAM_FAILED, 1),
        ({"status": 200, "error": IncompleteMessage}, Outcome.UPSTREAM_TRUNCATED, 1),
        ({"status": 400, "error": MalformedMessage}, Outcome.REFUSED, 0),
        ({"status": 200}, Outcome.CLIENT_LEFT, 0),
    ],
)
def test_exchange_is_counted_once(values: dict[str, Any], outcome: Outcome, failed: int) -> None:
    metrics = Metrics()
    log = AccessLog("openai", metrics)
    log.begun(record())
    assert metrics.summary() == {
        "total_requests": 1,
        "total_errors": 0,
        "active_requests": 1,
        "avg_latency_ms": 0.0,
    }
    log.ended(record(**values), outcome, 100.5)
    assert metrics.summary() == {
        "total_requests": 1,
        "total_errors": failed,
        "active_requests": 0,
        "avg_latency_ms": 500.0,
    }


def test_what_is_not_known_is_a_dash_in_text(events: list[LogEvent]) -> None:
    AccessLog("openai", Metrics()).ended(record(), Outcome.CLIENT_LEFT, 100.0)
    words = as_text(events[0]).split()
    for word in ("error=-", "tunnel=-", "head_ms=-", "provider_request_id=-"):
        assert word in words
