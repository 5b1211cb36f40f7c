"""Bring your own key: the COPILOT_PROVIDER_… variables of Copilot CLI, which two providers here heed.

Each function raises `ValueError` with one sentence for what cannot be used, and the fix; no value is quoted.
"""

import json
import re
from collections.abc import Mapping

from awfproxy.providers.provider import Added, Asked
from awfproxy.wire.fieldname import alike, field_name, field_value
from awfproxy.wire.target import Origin
from awfproxy.wire.url import origin_and_path

KEY_VARIABLE = "COPILOT_PROVIDER_API_KEY"
CREDENTIAL_NAME = "copilot_provider_api_key"
BASE_URL_VARIABLE = "COPILOT_PROVIDER_BASE_URL"
EXTRA_FIELDS_VARIABLE = "AWF_BYOK_EXTRA_HEADERS"

_STAND_INS = frozenset({"ghu_" + "a" * 36, "dummy-byok-key-for-offline-mode"})
# What gh-aw and its firewall give agents in place of a key, so that Copilot CLI starts without one.

_SECRET_NAME = re.compile(
    rb"(?:key|token|secret|auth|authorization|authentication|password|passwd|credentials?|signature|jwt)"
    rb"(?:-|\Z)"
)
_SECRET_FORM = re.compile(rb"(?=[0-9]*[A-Za-z])(?=[A-Za-z]*[0-9])[0-9A-Za-z]{20}")
# So long a run of letters and digits is a key's, and no word's, date's or UUID's.
_SHORTEST_SECRET = 8

_SCHEME = re.compile(r"(?i)(?:bearer|token)(?:\s+|\Z)")
_CREDENTIALS = frozenset(
    {b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"chatgpt-account-id"}
)


def has_key(asked: Asked) -> bool:
    """Whether there is a key, in the environment or as a systemd credential, that is neither empty nor one of
    the values that stand in for one."""
    credential = asked.credential(CREDENTIAL_NAME) or b""
    return _is_key(asked.environ.get(KEY_VARIABLE, "")) or _is_key(credential.decode("utf-8", "replace"))


def _is_key(text: str) -> bool:
    bare = _SCHEME.sub("", text.strip(), count=1).strip()
    return bool(bare) and bare not in _STAND_INS


def is_azure(environ: Mapping[str, str]) -> bool:
    """COPILOT_PROVIDER_TYPE is azure: an origin that takes its key in `api-key`."""
    return environ.get("COPILOT_PROVIDER_TYPE", "").strip().lower() == "azure"


def base_url(environ: Mapping[str, str]) -> tuple[Origin, bytes] | None:
    """Origin and base path out of COPILOT_PROVIDER_BASE_URL; None where it is not set."""
    text = environ.get(BASE_URL_VARIABLE, "").strip()
    if not text:
        return None
    try:
        return origin_and_path(text)
    except ValueError as error:
        raise ValueError(f"{BASE_URL_VARIABLE}: {error}") from None


def extra_fields(environ: Mapping[str, str]) -> Added:
    """What AWF_BYOK_EXTRA_HEADERS, a JSON object of strings, adds to requests beside the key."""
    text = environ.get(EXTRA_FIELDS_VARIABLE, "").strip()
    if not text:
        return ()
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not all(isinstance(value, str) for value in document.values()):
        raise ValueError(
            f"{EXTRA_FIELDS_VARIABLE} is not a JSON object of strings. "
            'Write it as {"X-Name": "value"}, or remove it.'
        )
    fields = tuple(_field(number, name, value) for number, (name, value) in enumerate(document.items(), 1))
    if len({alike(name) for name, _ in fields}) < len(fields):
        raise ValueError(f"{EXTRA_FIELDS_VARIABLE} has one field twice. Give each once.")
    return fields


def secrets_in(fields: Added) -> tuple[bytes, ...]:
    """The credentials among them, without their schemes: by the field's name, or by what they look like.

    Others are not secret, and may be common words, which answers must keep.
    """
    return tuple(
        word
        for name, value in fields
        for word in _words(value)
        if _SECRET_FORM.search(word)
        or (len(word) >= _SHORTEST_SECRET and _SECRET_NAME.search(alike(name)))
    )


def _words(value: bytes) -> list[bytes]:
    """Each by itself: what is repeated may be one of them. A first one of letters alone is a scheme."""
    words = value.split(b" ")
    return words[1:] if len(words) > 1 and words[0].isalpha() else words


def _field(number: int, name: str, value: str) -> tuple[bytes, bytes]:
    place = f"{EXTRA_FIELDS_VARIABLE}, number {number}"
    try:
        added = field_name(name), field_value(value)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    if alike(added[0]) in _CREDENTIALS:
        raise ValueError(f"{place} is a field for a key, which {KEY_VARIABLE} alone is for. Remove it there.")
    return added
