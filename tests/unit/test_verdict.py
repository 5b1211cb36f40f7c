"""What each answer to the probe says about the key."""

import json

import pytest

from awfproxy.credentials.verdict import (
    Accepted,
    CannotTell,
    Rejected,
    Unverified,
    describe,
    key_state,
    read_error,
    verdict,
)
from awfproxy.providers.openai import OPENAI

SCOPES = "You have insufficient permissions for this operation. Missing scopes: api.model.read."


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_success_is_accepted_without_a_note(status):
    assert verdict(OPENAI, status, None) == Accepted("")


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("code", "text"),
    [
        (None, SCOPES),
        ("invalid_request_error", SCOPES),
        ("invalid_request_error", SCOPES.upper()),
        ("missing_scope", ""),
        ("insufficient_permissions", ""),
        (None, "You have insufficient permissions for this operation."),
    ],
)
def test_refusal_that_names_scopes_is_accepted_with_a_warning(status, code, text):
    answer = verdict(OPENAI, status, code, text)
    assert isinstance(answer, Accepted)
    assert "restricts it" in answer.note
    assert str(status) in answer.note
    assert "api.model.read" not in answer.note


@pytest.mark.parametrize("code", ["invalid_api_key", "account_deactivated", "invalid_organization"])
def test_any_other_401_is_rejected(code):
    assert verdict(OPENAI, 401, code, "Incorrect API key provided.") == Rejected(code)


def test_401_without_a_code_is_rejected():
    assert verdict(OPENAI, 401, None) == Rejected("")


@pytest.mark.parametrize(
    "status", [300, 301, 302, 304, 307, 400, 402, 403, 404, 405, 408, 410, 418, 451, 499]
)
def test_other_3xx_and_4xx_are_unverified(status):
    assert verdict(OPENAI, status, "some_code") == Unverified(status, "some_code")


@pytest.mark.parametrize("status", [400, 404, 429, 500])
def test_scopes_named_in_another_status_change_nothing(status):
    assert not isinstance(verdict(OPENAI, status, None, SCOPES), Accepted)


@pytest.mark.parametrize("status", [100, 101, 103, 199, 429, 500, 502, 503, 504, 529, 599, 600, 999, 0])
def test_1xx_429_and_5xx_cannot_tell(status):
    answer = verdict(OPENAI, status, "server_error")
    assert isinstance(answer, CannotTell)
    assert f"{status} server_error" in answer.reason


@pytest.mark.parametrize(
    "code", ["with space", "line\nend", "", "x" * 65, "ümlaut", "a/b", "Incorrect key: sk-proj-abcdef", "{x}"]
)
def test_what_does_not_look_like_a_code_is_not_shown(code):
    assert verdict(OPENAI, 401, code) == Rejected("")
    assert read_error(json.dumps({"error": {"code": code}}).encode()).code == ""


def test_error_is_read_from_openais_object():
    body = json.dumps({"error": {"message": SCOPES, "type": "t", "param": None, "code": "c.1-x_Y"}}).encode()
    error = read_error(body)
    assert (error.code, error.text) == ("c.1-x_Y", SCOPES)


def test_type_stands_in_for_a_code_of_null():
    assert (
        read_error(b'{"error": {"type": "invalid_request_error", "code": null}}').code
        == "invalid_request_error"
    )


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"null", b"[]", b'"x"', b"{}", b'{"error": "text"}', b'{"error": []}', b'{"error": {}}',
     b"\xff", b'{"error": {"code": 7, "type": ["x"], "message": {}}}', b"[" * 100_000],
)  # fmt: skip
def test_body_without_an_error_object_reads_as_none(body):
    error = read_error(body)
    assert (error.code, error.text) == ("", "")


def test_provider_text_is_in_no_repr(canary):
    error = read_error(json.dumps({"error": {"message": f"Incorrect API key: {canary}"}}).encode())
    assert canary in error.text
    assert canary not in repr(error)


@pytest.mark.parametrize(
    ("value", "state", "part"),
    [
        (Accepted(), "accepted", "OpenAI accepts the key"),
        (Accepted("a note"), "accepted", "a note"),
        (Rejected("invalid_api_key"), "rejected", "OpenAI rejects the key (401 invalid_api_key)"),
        (Rejected(), "rejected", "OpenAI rejects the key (401)"),
        (Unverified(404, "x"), "unverified", "404 x"),
        (CannotTell("why"), "cannot_tell", "could not be checked: why"),
    ],
)
def test_each_verdict_has_a_state_and_a_sentence(value, state, part):
    assert key_state(value) == state
    assert part in describe(OPENAI, value)


def test_no_verdict_is_unchecked():
    assert key_state(None) == "unchecked"
