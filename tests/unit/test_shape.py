"""The key's form: each way of being broken has its own sentence, and none shows the key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awfproxy.credentials.shape import LONGEST, check_shape
from awfproxy.errors.configuration import ConfigError
from awfproxy.providers.openai import PROVIDER as OPENAI

SOURCE = "environment variable OPENAI_API_KEY"


def refusal(value: bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        check_shape(value, SOURCE, OPENAI)
    return str(caught.value)


def test_a_key_as_the_provider_issues_it_is_taken_as_it_is(canary: str) -> None:
    assert check_shape(canary.encode(), SOURCE, OPENAI).reveal() == canary.encode()


@pytest.mark.parametrize("value", [b"EMPTY", b"sk-1234", b"abc.DEF+/=~-_:0", b"sk-no-key-required", b"x" * 2])
def test_keys_of_other_servers_are_taken(value: bytes) -> None:
    assert check_shape(value, SOURCE, OPENAI).reveal() == value


# `@` stands for the canary key.
BROKEN = {
    "blank": (b" \t ", "is blank"),
    "leading space": (b" @", "white space before or after"),
    "trailing space": (b"@ ", "white space before or after"),
    "second newline": (b"@\n", "white space before or after"),
    "Windows line end": (b"@\r", "carriage return"),
    "inner newline": (b"@\n@", "newline in its middle"),
    "inner carriage return": (b"@\r@", "newline in its middle"),
    "NUL": (b"@\0@", "control byte"),
    "tab": (b"@\t@", "control byte"),
    "DEL": (b"@\x7f", "control byte"),
    "non-breaking space": ("@\u00a0@".encode(), "not ASCII"),
    "Latin-1": (b"@\xe9", "not ASCII"),
    "typographic quotes": ("\u201c@\u201d".encode(), "not ASCII"),
    "byte order mark": (b"\xef\xbb\xbf@", "byte order mark"),
    "double quotes": (b'"@"', "in quotes"),
    "single quotes": (b"'@'", "in quotes"),
    "quote at one end": (b'@"', "in quotes"),
    "Bearer": (b"Bearer @", "without `Bearer `"),
    "bearer": (b"bearer @", "without `Bearer `"),
    "field": (b"Authorization: Bearer @", "without `Bearer `"),
    "assignment": (b"OPENAI_API_KEY=@", "NAME=value"),
    "export": (b"export OPENAI_API_KEY=@", "NAME=value"),
    "two words": (b"@ @", "space in its middle"),
    "elided": (b"@...@", "is masked"),
    "starred": (b"@***@", "is masked"),
    "template": (b"<@>", "placeholder"),
    "too long": (b"@" + b"9x" * (LONGEST // 2), "is longer than"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_key_is_refused_by_its_own_sentence(name: str, canary: str) -> None:
    value, sentence = BROKEN[name]
    text = refusal(value.replace(b"@", canary.encode()))
    assert sentence in text
    assert text.startswith(f"The OpenAI key ({SOURCE}) ")
    random = canary.removeprefix("sk-proj-")
    assert not any(random[at : at + 8] in text for at in range(len(random) - 7))


def test_empty_key_is_refused_with_the_sentence_on_github_actions() -> None:
    text = refusal(b"")
    assert "in GitHub Actions an unset secret expands to an empty string" in text
    assert "Settings → Secrets" in text


@pytest.mark.parametrize(
    "value",
    [
        b"${OPENAI_API_KEY}",
        b"$OPENAI_API_KEY",
        b"${{ secrets.OPENAI_API_KEY }}",
        b"$(cat key)",
        b"%OPENAI_API_KEY%",
    ],
)
def test_unexpanded_variable_is_refused(value: bytes) -> None:
    text = refusal(value)
    assert "never expanded" in text
    assert value.decode() not in text


@pytest.mark.parametrize("value", [b"***", b"sk-***", b"sk-...", b"****************"])
def test_masked_key_is_refused(value: bytes) -> None:
    assert "is masked" in refusal(value)


PLACEHOLDERS = (
    b"sk-xxx",
    b"sk-xxxxxxxxxxxxxxxxxxxxxxxx",
    b"sk-proj-XXXXXXXXXXXX",
    b"sk-proj-abcxxxxxxxxxx",
    b"xxxx",
    b"your-key-here",
    b"your-api-key",
    b"YOUR_API_KEY",
    b"your_openai_api_key_here",
    b"sk-your-key",
    b"changeme",
    b"change-me",
    b"replace-me",
    b"insert-your-key-here",
    b"<your key>",
    b"<OPENAI_API_KEY>",
    b"[key]",
    b"null",
    b"undefined",
    b"None",
    b"sk-placeholder-for-api-proxy",
    b"sk-ant-placeholder-key-for-credential-isolation",
    b"ghu_" + b"a" * 36,
    b"gemini-api-key-placeholder-for-credential-isolation",
    b"google-api-key-placeholder-for-credential-isolation",
)


@pytest.mark.parametrize("value", PLACEHOLDERS)
def test_placeholder_is_refused(value: bytes) -> None:
    assert "is a placeholder, not a key" in refusal(value)


@given(st.binary(max_size=80))
def test_every_value_is_either_taken_unchanged_or_refused_as_configuration(value: bytes) -> None:
    try:
        secret = check_shape(value, SOURCE, OPENAI)
    except ConfigError:
        return
    assert secret.reveal() == value
    assert all(0x21 <= byte <= 0x7E for byte in value)


@given(
    st.text(
        alphabet="abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", min_size=40, max_size=164
    )
)
def test_keys_of_the_usual_alphabet_are_taken_unless_they_say_they_are_none(text: str) -> None:
    words = ("placeholder", "your", "change", "replace", "insert", "goes", "x" * 8)
    if len(set(text)) > 8 and not any(word in text.lower() for word in words):
        assert check_shape(b"sk-" + text.encode(), SOURCE, OPENAI).reveal() == b"sk-" + text.encode()
