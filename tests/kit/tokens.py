"""Caller tokens for tests: a key in a file, and what is signed with it."""

import time
from pathlib import Path

import jwt

from awfproxy.callers.claims import Claims
from awfproxy.callers.token import issue
from awfproxy.credentials.secret import Secret

KEY = b"only-for-tests-0123456789-0123456789-0123456789-abcdefghijklmnop"


def key_file(folder: Path) -> Path:
    """The file for --token-key-file."""
    file = folder / "token.key"
    file.write_bytes(KEY + b"\n")
    file.chmod(0o600)
    return file


def token(*providers: str, seconds: int = 3600, label: str = "job-123", **more: object) -> str:
    """Good for so many seconds from now on; below zero, it has expired."""
    now = int(time.time())
    issued = min(now, now + seconds) - 10
    claims = Claims(
        label=label, providers=providers or ("openai",), issued=issued, expires=now + seconds, **more
    )  # type: ignore[arg-type]
    return issue(claims, Secret(KEY))


def signed(claims: dict[str, object], key: bytes = KEY, **head: object) -> bytes:
    """Whatever these claims are; a token of OpenAI's shape."""
    return b"sk-awfproxy-" + jwt.encode(claims, key, algorithm="HS256", headers=head or None).encode("ascii")
