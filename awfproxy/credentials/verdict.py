"""What the provider's answer to the probe says about the key: a pure table over status and error code.

It owns reading the error out of an answer's body and the table; who asks, and what follows from a
verdict, is `awfproxy.service`'s. An egress proxy's 403, 407 or 503 never comes here: that is an error
of the way, not a word of the provider about the key.
"""

import json
import re

import attrs

from awfproxy.providers.provider import Provider

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@attrs.frozen
class Accepted:
    """The provider knows the key. `note` is a warning to show, or empty."""

    note: str = ""


@attrs.frozen
class Rejected:
    """The provider does not take the key; `code` is its error code, or empty."""

    code: str = ""
    status: int = 401


@attrs.frozen
class Unverified:
    """The provider answered, but not about the key: it serves, and the operator is told."""

    status: int
    code: str = ""


@attrs.frozen
class CannotTell:
    """No usable answer: ask again."""

    reason: str
    status: int | None = attrs.field(default=None, eq=False)
    """Of the answer, where there was one."""


Verdict = Accepted | Rejected | Unverified | CannotTell


@attrs.frozen
class ProviderError:
    """The provider's error object: its code, to be shown, and its text, to be matched and never shown."""

    code: str = ""
    text: str = attrs.field(default="", repr=False)


def read_error(body: bytes) -> ProviderError:
    """The error in an answer's body; an empty one if there is none to be read.

    The code is a peer's string, so only one that looks like a code is taken: a sentence put in its
    place could quote the key.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ProviderError()
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return ProviderError()
    text = error.get("message")
    codes = (*_reasons(error.get("details")), error.get("code"), error.get("status"), error.get("type"))
    return ProviderError(
        code=next(filter(None, map(_clean, codes)), ""),
        text=text if isinstance(text, str) else "",
    )


def _reasons(details: object) -> list[object]:
    """Of Google's errors, whose `code` is the status again: the reason is in an ErrorInfo."""
    if not isinstance(details, list):
        return []
    return [detail.get("reason") for detail in details if isinstance(detail, dict)]


def _clean(code: object) -> str:
    return code if isinstance(code, str) and _CODE.fullmatch(code) else ""


def verdict(provider: Provider, status: int, error_code: str | None, error_text: str = "") -> Verdict:
    """The table. `error_text` is only searched for the provider's words for a restricted key."""
    code = _clean(error_code)
    probe = provider.probe
    if 200 <= status < 300:
        return Accepted()
    if code in probe.rejected_codes:
        return Rejected(code, status)
    if code in probe.silent_codes:
        return Unverified(status, code)
    if status in probe.accepted:
        return Accepted()
    if status in (401, 403) and _is_restricted(provider, code, error_text):
        return Accepted(
            f"{provider.title} knows the key but restricts it: it lacks the permission that the check needs, "
            f"and may lack others ({_shown(status, code)})"
        )
    if status == 401:
        return Rejected(code)
    if status == 429:
        return CannotTell(f"{provider.title} limits the rate ({_shown(status, code)})", status)
    if 300 <= status < 500:
        return Unverified(status, code)
    return CannotTell(f"{provider.title} failed ({_shown(status, code)})", status)


def _is_restricted(provider: Provider, code: str, text: str) -> bool:
    said = f"{code}\n{text}".lower()
    return any(word in said for word in provider.restricted_words)


KEY_STATES = ("unchecked", "accepted", "rejected", "unverified", "cannot_tell")


def key_state(verdict: Verdict | None) -> str:
    """One word for logs, `/health` and metrics: one of `KEY_STATES`."""
    match verdict:
        case None:
            return "unchecked"
        case Accepted():
            return "accepted"
        case Rejected():
            return "rejected"
        case Unverified():
            return "unverified"
        case CannotTell():
            return "cannot_tell"


def sidecar_state(provider: Provider, verdict: Verdict | None) -> str:
    """The same in the words of github/gh-aw-firewall's sidecar: a 403 rejects, and a 400 does not."""
    match verdict:
        case None:
            return "pending"
        case Accepted() | Unverified(400):
            return "valid"
        case Rejected():
            return "auth_rejected"
        case Unverified(401 | 403, code) if code not in provider.probe.silent_codes:
            return "auth_rejected"
        case CannotTell() if verdict.status is None:
            return "network_error"
    return "inconclusive"


def describe(provider: Provider, verdict: Verdict) -> str:
    """One sentence for the operator, without a full stop."""
    match verdict:
        case Accepted(note):
            return note or f"{provider.title} accepts the key"
        case Rejected(code, status):
            return f"{provider.title} rejects the key ({_shown(status, code)})"
        case Unverified(status, code):
            return (
                f"{provider.title} answered without a word on the key ({_shown(status, code)}); "
                "it is used unverified"
            )
        case CannotTell(reason):
            return f"The key could not be checked: {reason}"


def _shown(status: int, code: str) -> str:
    return f"{status} {code}" if code else f"{status}"
