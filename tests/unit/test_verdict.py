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
from awfproxy.providers.anthropic import PROVIDER as ANTHROPIC
from awfproxy.providers.gemini import PROVIDER as GEMINI
from awfproxy.providers.openai import PROVIDER as OPENAI
from awfproxy.providers.vertex import PROVIDER as VERTEX

INVALID_KEY = {
    "error": {
        "code": 400,
        "message": "API key not valid. Please pass a valid API key.",
        "status": "INVALID_ARGUMENT",
        "details": [
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID",
             "domain": "googleapis.com", "metadata": {"service": "generativelanguage.googleapis.com"}},
            {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": "API"},
        ],
    }
}  # fmt: skip
"""Gemini's answer to a key that is none."""

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
    ("error", "code"),
    [
        (INVALID_KEY["error"], "API_KEY_INVALID"),
        ({"code": 403, "status": "PERMISSION_DENIED", "details": []}, "PERMISSION_DENIED"),
        ({"code": 403, "status": "PERMISSION_DENIED"}, "PERMISSION_DENIED"),
        ({"details": [7, {}, {"reason": 7}, {"reason": "a b"}, {"reason": "R"}, {"reason": "S"}]}, "R"),
        ({"code": "c", "type": "t", "details": [{"reason": "R"}]}, "R"),
        ({"code": "c", "type": "t", "status": "S", "details": {"reason": "R"}}, "c"),
        ({"type": "authentication_error", "message": "invalid x-api-key"}, "authentication_error"),
    ],
)
def test_reason_in_the_details_wins_over_code_status_and_type(error, code):
    assert read_error(json.dumps({"error": error}).encode()).code == code


def test_anthropics_error_is_read_from_beside_its_own_type():
    body = b'{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}'
    assert read_error(body).code == "authentication_error"


@pytest.mark.parametrize(
    ("provider", "status", "code", "expected"),
    [
        (ANTHROPIC, 400, "invalid_request_error", Accepted()),
        (ANTHROPIC, 401, "authentication_error", Rejected("authentication_error")),
        (ANTHROPIC, 403, "permission_error", Unverified(403, "permission_error")),
        (ANTHROPIC, 404, "not_found_error", Unverified(404, "not_found_error")),
        (OPENAI, 400, "invalid_request_error", Unverified(400, "invalid_request_error")),
        (GEMINI, 400, "API_KEY_INVALID", Rejected("API_KEY_INVALID", 400)),
        (GEMINI, 400, "INVALID_ARGUMENT", Unverified(400, "INVALID_ARGUMENT")),
        (GEMINI, 403, "API_KEY_SERVICE_BLOCKED", Unverified(403, "API_KEY_SERVICE_BLOCKED")),
        (GEMINI, 401, "UNAUTHENTICATED", Rejected("UNAUTHENTICATED")),
        (GEMINI, 200, "API_KEY_INVALID", Accepted()),
        (OPENAI, 400, "API_KEY_INVALID", Unverified(400, "API_KEY_INVALID")),
        (VERTEX, 400, "API_KEY_INVALID", Rejected("API_KEY_INVALID", 400)),
        (VERTEX, 401, "CREDENTIALS_MISSING", Unverified(401, "CREDENTIALS_MISSING")),
        (VERTEX, 401, "UNAUTHENTICATED", Rejected("UNAUTHENTICATED")),
        (VERTEX, 404, None, Unverified(404)),
    ],
)
def test_each_provider_has_rows_of_its_own(provider, status, code, expected):
    assert verdict(provider, status, code) == expected


def test_google_key_that_is_none_is_rejected_and_shown_with_its_own_status():
    found = read_error(json.dumps(INVALID_KEY).encode())
    answer = verdict(GEMINI, 400, found.code, found.text)
    assert describe(GEMINI, answer) == "Gemini rejects the key (400 API_KEY_INVALID)"


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"null", b"[]", b'"x"', b"{}", b'{"error": "text"}', b'{"error": []}', b'{"error": {}}',
     b"\xff", b'{"error": {"code": 7, "type": ["x"], "message": {}, "details": 7}}', b"[" * 100_000],
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
