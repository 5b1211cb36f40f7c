"""Names and values of fields that an operator writes, in options and variables (RFC 9110 5.1, 5.5, 5.6.2).

A refusal never quotes what it is about: a key that was put into the wrong place must not be shown.
"""

import re

LONGEST = 64

RESERVED = frozenset(
    {
        b"host", b"content-length", b"content-type", b"content-encoding", b"expect", b"trailer",
        b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade",
        b"proxy-authorization", b"proxy-authenticate", b"cookie", b"cookie2", b"set-cookie", b"forwarded",
        b"via",
    }
)  # fmt: skip
"""Names, as `alike` writes them, that HTTP or awfproxy needs for something else."""

_RESERVED_PREFIXES = (b"x-forwarded-", b"sec-", b"awfproxy-", b"http2-")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[!-~](?:[ !-~]*[!-~])?")


def alike(name: bytes) -> bytes:
    """The form in which names are compared: many servers take `_` for `-`, and case says nothing."""
    return name.lower().replace(b"_", b"-")


def field_name(text: str) -> bytes:
    """The name of a field that may be added to requests, or `ValueError` with the fix."""
    if not _TOKEN.fullmatch(text) or len(text) > LONGEST:
        raise ValueError(
            f"it is not the name of a field (RFC 9110 5.6.2). Give up to {LONGEST} letters, digits and "
            "hyphens, such as api-key, without a colon and without a value."
        )
    name = text.encode("ascii")
    if alike(name) in RESERVED or alike(name).startswith(_RESERVED_PREFIXES):
        raise ValueError("HTTP or awfproxy needs that field for itself. Give another, such as api-key")
    return name


def field_value(text: str) -> bytes:
    """The value of a field that may be added to requests, or `ValueError` with the fix."""
    if not _VALUE.fullmatch(text):
        raise ValueError(
            "it is not the value of a field (RFC 9110 5.5): empty, with white space at an end, a control "
            "character or one beyond ASCII. Give plain text in one line."
        )
    return text.encode("ascii")
