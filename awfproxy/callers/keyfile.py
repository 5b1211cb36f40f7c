"""What is in the two files on callers: the token keys, and the labels that are revoked. Pure.

Each has one item a line. Texts of a key's file never reach a message.
"""

import re
import secrets

from awfproxy.callers.claims import check_label
from awfproxy.credentials.secret import Secret

SHORTEST = 32
"""RFC 7518 3.2: an HS256 key has at least as many bits as the hash has."""

MOST = 8
_KEY = re.compile(rb"[!-~]+")


def new_key() -> str:
    """384 random bits."""
    return secrets.token_urlsafe(48)


def parse_keys(content: bytes) -> tuple[Secret, ...]:
    """One key a line. The first signs, all verify: so keys are changed without a gap. `ValueError` else."""
    lines = content.removesuffix(b"\n").split(b"\n")
    if len(lines) > MOST:
        raise ValueError(f"it has more than {MOST} lines. It has one key a line, and hardly ever two.")
    for number, line in enumerate(lines, 1):
        if not _KEY.fullmatch(line):
            raise ValueError(
                f"line {number} is empty, or has a space or something else in it than visible ASCII. "
                "Make a key with: awfproxy token key"
            )
        if len(line) < SHORTEST:
            raise ValueError(
                f"line {number} has fewer than {SHORTEST} characters. Make a key with: awfproxy token key"
            )
    return tuple(map(Secret, lines))


def parse_labels(content: bytes) -> frozenset[str]:
    """One label a line; `#` begins a comment. `ValueError` for what no label can be: nothing is guessed."""
    labels = set()
    for number, line in enumerate(content.split(b"\n"), 1):
        label = line.partition(b"#")[0].strip().decode("ascii", "replace")
        if label:
            try:
                labels.add(check_label(label))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
    return frozenset(labels)
