"""Heads as values: lists of tokens, and bytes out that cannot be split in two."""

import attrs
import pytest

from awfproxy.errors.own import InternalError
from awfproxy.wire.message import (
    RequestHead,
    ResponseHead,
    field,
    serialise_request,
    serialise_response,
    tokens,
    values,
)
from tests.kit.canary import Watch

FIELDS = (
    field(b"Host", b"a"),
    field(b"X-Twice", b"1"),
    field(b"connection", b"close, TE"),
    field(b"x-twice", b"2"),
    field(b"CONNECTION", b" ,Upgrade,, "),
)


def test_values_come_in_order_whatever_the_case_of_the_names() -> None:
    assert values(FIELDS, b"x-twice") == [b"1", b"2"]
    assert values(FIELDS, b"absent") == []


def test_tokens_are_one_list_over_all_lines_without_case_and_empty_members() -> None:
    assert tokens(FIELDS, b"connection") == [b"close", b"te", b"upgrade"]


def test_request_is_written_as_http_1_1_with_names_order_and_duplicates_kept() -> None:
    head = RequestHead(b"GET", b"/a?", b"1.0", FIELDS[:4])
    assert serialise_request(head) == (
        b"GET /a? HTTP/1.1\r\nHost: a\r\nX-Twice: 1\r\nconnection: close, TE\r\nx-twice: 2\r\n\r\n"
    )


def test_response_is_written_as_http_1_1_with_its_own_reason() -> None:
    head = ResponseHead(b"1.0", 299, b"Gut \xfc", (field(b"X", b"\xff \t!"),))
    assert serialise_response(head) == b"HTTP/1.1 299 Gut \xfc\r\nX: \xff \t!\r\n\r\n"
    assert serialise_response(ResponseHead(b"1.1", 200, b"", ())) == b"HTTP/1.1 200 \r\n\r\n"


@pytest.mark.parametrize("bad", [b"\r", b"\n", b"\r\n", b"\0", b"\r\nInjected: 1"])
@pytest.mark.parametrize("place", ["method", "target", "name", "value"])
def test_request_with_a_line_break_or_nul_anywhere_is_never_written(place: str, bad: bytes) -> None:
    parts = {"method": b"GET", "target": b"/", "name": b"X", "value": b"v"}
    parts[place] += bad
    head = RequestHead(parts["method"], parts["target"], b"1.1", (field(parts["name"], parts["value"]),))
    with pytest.raises(InternalError):
        serialise_request(head)


@pytest.mark.parametrize("bad", [b"\r", b"\n", b"\r\nInjected: 1", b"\0"])
def test_response_with_a_line_break_in_its_reason_is_never_written(bad: bytes) -> None:
    with pytest.raises(InternalError):
        serialise_response(ResponseHead(b"1.1", 200, b"OK" + bad, ()))


def test_the_refusal_to_write_does_not_show_the_value(canary: str) -> None:
    head = RequestHead(b"GET", b"/", b"1.1", (field(b"Authorization", canary.encode() + b"\n"),))
    with pytest.raises(InternalError) as caught:
        serialise_request(head)
    watch = Watch(canary)
    watch.add("text", str(caught.value) + repr(caught.value))
    assert watch.findings() == []


@pytest.mark.parametrize(("status", "interim"), [(100, True), (103, True), (199, True), (200, False)])
def test_responses_below_200_are_interim(status: int, interim: bool) -> None:
    assert ResponseHead(b"1.1", status, b"", ()).interim is interim


def test_heads_cannot_be_changed() -> None:
    head = RequestHead(b"GET", b"/", b"1.1", ())
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        head.target = b"/other"  # type: ignore[misc]
