"""Caller tokens on the data path: what is forwarded, what is answered, what is logged and counted."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.logger import globalLogPublisher

from awfproxy.callers.store import CallersInForce, CallerStore
from awfproxy.credentials.secret import Secret
from awfproxy.observe.metrics import MOST_CALLERS
from awfproxy.observe.part import PagePart
from awfproxy.observe.prometheus import exposition
from awfproxy.providers.openai import PROVIDER as OPENAI
from awfproxy.providers.provider import Asked
from awfproxy.providers.rules import parse_rules
from awfproxy.settings.profile import GH_AW
from tests.kit.tokens import KEY, token
from tests.memory.peers import SWITCHED, House, answer, get, handshake, post, responses, statuses

NOW = 1_800_000_000.0
AREA = "Who may call"


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr("tests.kit.tokens.time.time", lambda: NOW)
    return Clock()


@pytest.fixture
def callers(clock: Clock) -> CallerStore:
    return CallerStore(CallersInForce((Secret(KEY),), frozenset({"gone"})), clock)


@pytest.fixture
def house(build: Callable[..., House], callers: CallerStore) -> House:
    return build(callers=callers)


@pytest.fixture
def caller_events() -> Iterator[list[dict[str, Any]]]:
    """What was logged of callers that were refused."""
    events: list[dict[str, Any]] = []

    def observe(event: dict[str, Any]) -> None:
        if event.get("event") == "caller_refused":
            events.append(event)

    globalLogPublisher.addObserver(observe)
    yield events
    globalLogPublisher.removeObserver(observe)


def bearer(shown: str) -> bytes:
    return b"Authorization: Bearer " + shown.encode()


def code(data: bytes) -> str:
    ((status, fields, content),) = responses(data)
    assert status == 403
    error = json.loads(content)["error"]
    assert fields[b"awfproxy-error"].decode() == error["code"]
    assert (error["hop"], error["retryable"]) == ("client", False)
    return str(error["code"])


def test_request_with_a_good_token_goes_on_without_it_and_its_label_is_in_the_line(house: House) -> None:
    shown = token("openai", label="job-7")
    client = house.client()
    client.deliver(get(b"/v1/models", bearer(shown)))
    assert b"GET /v1/models HTTP/1.1" in house.origin.received
    assert shown.encode()[12:] not in house.origin.received
    assert b"awfproxy" not in house.origin.received
    house.origin.deliver(answer(b"models"))
    assert responses(client.received)[0][2] == b"models"
    assert house.line["caller"] == "job-7"
    assert house.metrics.callers == {"job-7": 1}


@pytest.mark.parametrize(
    ("kind", "fields", "expected", "label"),
    [
        ("no token", (), "caller_token_missing", None),
        ("a placeholder", (b"x-api-key: sk-awfproxy-placeholder",), "caller_token_missing", None),
        ("a forged one", (bearer("sk-awfproxy-a.b." + "A" * 43),), "caller_token_invalid", None),
        ("an expired one", (bearer(token("openai", seconds=-1)),), "caller_token_expired", "job-123"),
    ],
)
def test_without_a_good_token_nothing_is_sent_and_the_answer_says_why(
    kind: str, fields: tuple[bytes, ...], expected: str, label: str | None, build: Callable[..., House],
    outcome: Callable[[str, str, str], None],
) -> None:  # fmt: skip
    house = build(callers=CallerStore(CallersInForce((Secret(KEY),)), time.time))
    client = house.client()
    client.deliver(get(b"/v1/models", *fields))
    assert code(client.received) == expected
    assert not house.origins
    assert (house.error, house.line["outcome"], house.line.get("caller")) == (expected, "refused", label)
    assert house.metrics.caller_refusals == {expected: 1}
    outcome(AREA, kind, f"403 {expected}; nothing sent")


def test_revoked_and_out_of_scope_are_refused_with_the_label_in_the_line(house: House, clock: Clock) -> None:
    client = house.client()
    client.deliver(get(b"/v1/models", bearer(token("openai", label="gone"))))
    assert code(client.clear()) == "caller_token_revoked"
    client.deliver(get(b"/v1/models", bearer(token("openai", paths=("/v1/responses",)))))
    assert code(client.clear()) == "caller_token_scope"
    client.deliver(get(b"/v1/x/../models", bearer(token("openai", paths=("/v1/models",)))))
    assert code(client.clear()) == "ambiguous_target"
    assert [line["caller"] for line in house.lines] == ["gone", "job-123", "job-123"]
    assert not house.origins


def test_open_connection_does_not_make_a_token_last_longer(
    house: House, clock: Clock, outcome: Callable[[str, str, str], None]
) -> None:
    client = house.client()
    request = get(b"/v1/models", bearer(token("openai", seconds=60)))
    client.deliver(request)
    house.origin.deliver(answer())
    clock.now = NOW + 59
    client.deliver(request)
    house.origin.deliver(answer())
    assert statuses(client.clear()) == [200, 200]
    clock.now = NOW + 60
    client.deliver(request)
    assert code(client.clear()) == "caller_token_expired"
    assert house.origin.received.count(b"GET ") == 2
    outcome(AREA, "token that expires on an open connection", "403 caller_token_expired; nothing sent")


def test_each_of_several_requests_in_one_piece_is_judged_by_itself(house: House) -> None:
    good = get(b"/v1/models", bearer(token("openai")))
    client = house.client()
    client.deliver(good + get(b"/v1/files") + good)
    house.origin.deliver(answer())
    house.origin.deliver(answer())
    assert statuses(client.received) == [200, 403, 200]
    assert b"/v1/files" not in house.origin.received


def test_answer_under_way_outlives_its_token(house: House, clock: Clock) -> None:
    client = house.client()
    client.deliver(get(b"/v1/models", bearer(token("openai", seconds=60))))
    clock.now = NOW + 61
    house.origin.deliver(answer(b"late"))
    assert responses(client.received)[0][2] == b"late"


def test_websocket_is_judged_at_its_handshake(house: House, clock: Clock) -> None:
    client = house.client()
    client.deliver(handshake(b"/v1/responses", bearer(token("openai", seconds=60))))
    house.origin.deliver(SWITCHED)
    clock.now = NOW + 61
    client.deliver(b"frame")
    assert house.origin.received.endswith(b"frame")
    late = house.client()
    late.deliver(handshake(b"/v1/responses", bearer(token("openai", seconds=60)[:-1] + "A")))
    assert code(late.received) == "caller_token_invalid"
    assert house.events == ["start", "start", "rejected"]


def test_refused_upload_is_not_read_on(house: House) -> None:
    client = house.client()
    client.deliver(post(10_000_000, b"x" * 1000))
    assert code(client.received) == "caller_token_missing"
    assert b"Connection: close" in client.received
    assert not house.origins


def test_token_only_narrows_what_path_rules_leave(
    build: Callable[..., House], callers: CallerStore, clock: Clock
) -> None:
    house = build(callers=callers, rules=parse_rules(["deny * /v1/files/**"], "test"))
    client = house.client()
    for paths, target, expected in (
        ((), b"/v1/files/1", "path_denied"),
        (("/v1/files/**",), b"/v1/files/1", "path_denied"),
        (("/v1/models",), b"/v1/files/1", "caller_token_scope"),
        (("/v1/models",), b"/v1/responses", "caller_token_scope"),
    ):
        client.deliver(get(target, bearer(token("openai", paths=paths))))
        assert code(client.clear()) == expected
    assert not house.origins


def test_no_key_of_ours_is_told_to_callers_only(build: Callable[..., House], callers: CallerStore) -> None:
    house = build(key=None, callers=callers)
    client = house.client()
    client.deliver(get(b"/v1/models"))
    assert code(client.received) == "caller_token_missing"


def test_health_takes_no_token_and_metrics_take_one_that_covers_them(house: House, clock: Clock) -> None:
    client = house.client()
    for page in (b"/health", b"/healthz", b"/readyz", b"/reflect"):
        client.deliver(get(page))
        assert statuses(client.clear())[0] in (200, 503)
    client.deliver(get(b"/metrics"))
    assert code(client.clear()) == "caller_token_missing"
    client.deliver(get(b"/metrics", bearer(token("openai", paths=("/v1/responses",)))))
    assert code(client.clear()) == "caller_token_scope"
    for paths in ((), ("/metrics",)):
        client.deliver(get(b"/metrics", bearer(token("openai", paths=paths))))
        assert statuses(client.clear()) == [200]
    client.deliver(get(b"/metrics", bearer(token("openai", paths=("/metrics",)))[:-5]))
    assert code(client.clear()) == "caller_token_invalid"
    assert not house.origins


def test_metrics_count_so_many_labels_and_then_others(
    build: Callable[..., House], callers: CallerStore, clock: Clock
) -> None:
    house = build(callers=callers)
    client = house.client()
    for number in range(MOST_CALLERS + 3):
        client.deliver(get(b"/v1/models", bearer(token("openai", label=f"job-{number}"))))
        house.origin.deliver(answer())
    client.deliver(get(b"/v1/models", bearer(token("openai", label="job-0"))))
    house.origin.deliver(answer())
    assert len(house.metrics.callers) == MOST_CALLERS + 1
    assert (house.metrics.callers["job-0"], house.metrics.callers["other"]) == (2, 3)
    part = PagePart(OPENAI, OPENAI.access(Asked()), house.health, house.metrics, house.pool)
    _, text = exposition((part,), house.process, False)
    assert b'awfproxy_caller_requests_total{caller="job-0",provider="openai"} 2.0' in text
    assert b'awfproxy_caller_requests_total{caller="other",provider="openai"} 3.0' in text


def test_operator_reads_why_and_the_caller_does_not(
    house: House, caller_events: list[dict[str, Any]]
) -> None:
    client = house.client()
    client.deliver(get(b"/v1/models", bearer("sk-awfproxy-a.b." + "A" * 43)))
    (event,) = caller_events
    assert event["detail"] == "DecodeError"
    assert (event["caller"], event["error"]) == (None, "caller_token_invalid")
    assert b"DecodeError" not in client.received


def test_in_the_sidecar_s_style_the_message_is_there_too(
    build: Callable[..., House], callers: CallerStore
) -> None:
    house = build(callers=callers, profile=GH_AW)
    client = house.client()
    client.deliver(get(b"/v1/models"))
    ((status, _, content),) = responses(client.received)
    assert status == 403
    assert "A caller token is wanted here" in json.loads(content)["message"]


def test_without_token_keys_lines_and_metrics_are_as_they_were(build: Callable[..., House]) -> None:
    house = build()
    client = house.client()
    client.deliver(get(b"/v1/models", bearer(token("openai"))))
    house.origin.deliver(answer())
    assert "caller" not in house.line
    assert house.metrics.callers == {}
