"""What Google's two APIs have in common: keys, and errors (https://cloud.google.com/apis/design/errors)."""

import json
from collections.abc import Callable

from awfproxy.errors.base import AwfError
from awfproxy.providers.provider import Access, Asked, KeyUse, Provider, bare_key
from awfproxy.wire.target import Origin

KEY_PARAMETERS = frozenset({b"key", b"apikey", b"api_key", b"access_token", b"oauth_token"})
"""Query parameters, in lower case, in which clients send a key or a token of their own."""

INVALID_KEY = "API_KEY_INVALID"
KEYS_NOT_TAKEN = "CREDENTIALS_MISSING"
"""The method that was asked takes no API keys at all, whatever key it is."""

_STATUS_NAMES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def access_of(
    provider: Callable[[], Provider], models: bytes | None = None
) -> Callable[[Asked], Access]:
    """The `access` of a provider of Google's, which is looked up when it is used."""

    def access(asked: Asked) -> Access:
        this = provider()
        inject = bare_key(asked.auth_field or b"x-goog-api-key")
        return Access(
            origin=asked.target or Origin(this.host),
            base_path=asked.base_path or b"",
            keys=(KeyUse(this.variable, this.credential_name, inject),),
            without_query=KEY_PARAMETERS,
            models=models,
        )

    return access


def status_name(status: int) -> str:
    """The name of google.rpc.Code that goes with a status."""
    return _STATUS_NAMES.get(status, "INVALID_ARGUMENT" if status < 500 else "INTERNAL")


def error_body(error: AwfError, request_id: str) -> bytes:
    """Google's error object (code, message, status, details); our code is the reason in its ErrorInfo."""
    content = {
        "error": {
            "code": error.status,
            "message": error.message,
            "status": status_name(error.status),
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": error.code,
                    "domain": "awfproxy",
                }
            ],
            "hop": error.hop.value,
            "retryable": error.retryable,
            "request_id": request_id,
        }
    }
    return json.dumps(content, separators=(",", ":")).encode("ascii")
