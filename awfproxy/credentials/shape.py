"""What a key has to look like before anything is asked of it: pure, no I/O, and no repairs.

Every way in which keys arrive broken has its own sentence and fix. No text here holds a byte of the
value that it is about: a "malformed" key is often the real one with something around it.
"""

import re
from collections.abc import Callable, Sequence

from awfproxy.credentials.secret import Secret
from awfproxy.errors.configuration import ConfigError
from awfproxy.providers.provider import Provider

LONGEST = 4096
"""Far above any provider's keys, and below what HTTP servers accept as one field."""

OF_OURS = re.compile(rb"(?:sk-(?:ant-)?|gho_)?awfproxy[-_]")
"""How what awfproxy gives to agents in place of a key begins: placeholders, and caller tokens."""

_QUOTES = b"\"'`"
_SCHEME = re.compile(rb"(?i)(authorization\s*:\s*)?(bearer|basic|token)[ \t:]")
_ASSIGNMENT = re.compile(rb"(export\s+)?[A-Z][A-Z0-9_]{2,}\s*=")

_UNEXPANDED = re.compile(
    rb"\$\{.*|\$\(.*|\$[A-Za-z_][A-Za-z0-9_]*|\{\{.*\}\}|%[A-Za-z_][A-Za-z0-9_]*%", re.DOTALL
)
_TEMPLATE = re.compile(rb"<.*>|\[.*\]|\{.*\}", re.DOTALL)
_MASKED = re.compile(rb"\*{3}|\.{3}")
_ONE_CHARACTER = re.compile(rb"(?i)(?:sk-|gh[a-z]_)?(?:[a-z]+-)*(.)\1{2,}")
_WORDS = re.compile(
    rb"(?i)placeholder|your[-_ ]?(?:[a-z]+[-_ ])*(?:key|token|secret)|change[-_ ]?me|replace[-_ ]?(?:me|this)"
    rb"|insert[-_ ].*key|(?:key|token)[-_ ]goes[-_ ]here|x{8}"
)
_NOTHING = frozenset((b"null", b"undefined", b"none", b"nil", b"redacted", b"api-key", b"apikey"))


def check_shape(value: bytes, source: str, provider: Provider) -> Secret:
    """The value as a `Secret`, or `ConfigError` with what is wrong with it, where it is from, and the fix."""
    for is_wrong, sentence in _RULES:
        if is_wrong(value):
            raise ConfigError(f"The {provider.title} key ({source}) {sentence}")
    return Secret(value)


def looks_real(value: bytes) -> bool:
    """Whether it could be a key: what the daemon takes for a placeholder is none."""
    return not any(is_wrong(value) for is_wrong, _ in _RULES)


def _has_control(value: bytes) -> bool:
    return any(byte < 0x20 or byte == 0x7F for byte in value)


def _is_placeholder(value: bytes) -> bool:
    bare = value.lower()
    return bare in _NOTHING or bool(
        _TEMPLATE.fullmatch(value) or _ONE_CHARACTER.fullmatch(value) or _WORDS.search(value)
    )


_RULES: Sequence[tuple[Callable[[bytes], object], str]] = (
    (
        lambda value: not value,
        "is set but empty: in GitHub Actions an unset secret expands to an empty string: set it under "
        "Settings → Secrets; elsewhere set a value, or remove the empty one.",
    ),
    (
        lambda value: not value.strip(),
        "is blank: there is nothing but white space in it. Put the key there.",
    ),
    (
        lambda value: value.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")),
        "begins with a byte order mark. Save it again as plain ASCII text, without one.",
    ),
    (
        lambda value: value.endswith(b"\r"),
        "ends in a carriage return: a Windows line end. Save it again with Unix line ends.",
    ),
    (
        lambda value: value != value.strip(),
        "has white space before or after it (one newline at its very end is allowed). Remove it: "
        "awfproxy does not repair keys.",
    ),
    (
        lambda value: b"\n" in value or b"\r" in value,
        "has a newline in its middle. Give the key alone, on one line.",
    ),
    (
        _has_control,
        "has a control byte in it (a tab, NUL or escape). Copy it again from where it was issued.",
    ),
    (
        lambda value: not value.isascii(),
        "has a character in it that is not ASCII: a typographic quote or dash, or a non-breaking space. "
        "Copy it again from where it was issued.",
    ),
    (
        lambda value: value[0] in _QUOTES or value[-1] in _QUOTES,
        "is in quotes. Remove them: docker's --env-file and systemd credentials keep quotes as part of the "
        "value.",
    ),
    (
        _SCHEME.match,
        "begins with an authentication scheme. Give the key alone, without `Bearer ` or a field name: "
        "awfproxy adds them.",
    ),
    (
        _ASSIGNMENT.match,
        "is a NAME=value line. Give what stands after the equals sign alone.",
    ),
    (
        _UNEXPANDED.fullmatch,
        "is the name of a variable that was never expanded. Check the quoting: single quotes and "
        "env files do not expand variables, and GitHub Actions expands secrets in a workflow's `env:` only.",
    ),
    (
        _MASKED.search,
        "is masked: its middle, or all of it, was replaced by stars or dots, as GitHub Actions does in its "
        "logs and dashboards do in lists. Take the real key from where it was issued.",
    ),
    (
        _is_placeholder,
        "is a placeholder, not a key. Put the real key there: awfproxy is the one place that needs it; "
        "placeholders are for the agents.",
    ),
    (
        OF_OURS.match,
        "is a caller token of awfproxy's own. That is what agents get in place of the key: put the "
        "provider's key there.",
    ),
    (
        lambda value: b" " in value,
        "has a space in its middle. Give the key alone, without any text around it.",
    ),
    (
        lambda value: len(value) > LONGEST,
        f"is longer than {LONGEST} characters. Check that the right file is named.",
    ),
)
