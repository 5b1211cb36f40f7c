"""Names and values of fields that an operator may choose."""

import pytest

from awfproxy.credentials.injector import HOP_BY_HOP, STRIPPED
from awfproxy.settings.syntax import auth_field
from awfproxy.wire.fieldname import RESERVED, alike, field_name, field_value

CREDENTIALS = {b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"chatgpt-account-id"}


@pytest.mark.parametrize(
    "text",
    ["authorization", "api-key", "X-Api-Key", "x_own_key", "Ocp-Apim-Subscription-Key", "!#$%&'*+.^`|~",
     "x" * 64],
)  # fmt: skip
def test_any_other_token_is_a_name_in_its_own_casing(text):
    assert auth_field(text) == text.encode()
    assert field_name(text) == text.encode()


@pytest.mark.parametrize(
    "text",
    ["", " api-key", "api-key ", "api key", "api-key:", "Bearer: x", "a\r\nb", "a\0", "ä", "x" * 65, "a(b)",
     '"a"', "a@b"],
)  # fmt: skip
def test_what_is_no_token_is_refused_with_the_fix(text):
    with pytest.raises(ValueError, match="not the name of a field"):
        auth_field(text)


@pytest.mark.parametrize(
    "text",
    ["Host", "content-length", "Content_Length", "Transfer-Encoding", "transfer_encoding", "Connection",
     "Cookie", "cookie2", "Upgrade", "TE", "Trailer", "Expect", "Via", "Forwarded", "X-Forwarded-For",
     "x_forwarded_host", "Proxy-Authorization", "Keep-Alive", "Content-Type", "Sec-WebSocket-Protocol",
     "Awfproxy-Request-Id", "HTTP2-Settings"],
)  # fmt: skip
def test_fields_that_frame_route_or_describe_are_refused(text):
    with pytest.raises(ValueError, match="needs that field for itself"):
        auth_field(text)


def test_nothing_that_the_injector_removes_can_be_named_but_fields_for_keys():
    assert {*STRIPPED, *HOP_BY_HOP} - RESERVED == CREDENTIALS


def test_refusals_never_quote():
    for text in "sk-proj-secret secret", "Cookie: secret":
        with pytest.raises(ValueError, match="field") as caught:
            field_name(text)
        assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="field") as caught:
        field_value("secret\n")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["a", "a b", "https://a.example/?b", '{"a": "~"}'])
def test_plain_text_is_a_value(text):
    assert field_value(text) == text.encode()


@pytest.mark.parametrize("text", ["", " ", " a", "a ", "a\nb", "a\r\nb: c", "a\tb", "a\0", "ä", "\x7f"])
def test_anything_else_is_no_value(text):
    with pytest.raises(ValueError, match="not the value of a field"):
        field_value(text)


def test_names_are_compared_without_case_and_with_hyphens():
    assert alike(b"X_Api-KEY") == b"x-api-key"
