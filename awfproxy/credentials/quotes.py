"""Whether a peer's text that is going to be shown quotes a secret. Pure."""

from collections.abc import Iterable

_WINDOW = 8
"""Octets of a secret by which it could be recognised."""


def quotes(text: str, secrets: Iterable[bytes]) -> bool:
    """Whether a part of one of them that could be recognised is in the text."""
    shown = text.encode()
    parts = [shown[at : at + _WINDOW] for at in range(len(shown) - _WINDOW + 1)]
    return any(part in secret for secret in secrets for part in parts)
