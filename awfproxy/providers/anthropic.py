"""Anthropic: https://docs.anthropic.com/en/api (authentication, versions, errors, streaming)."""

import json
from collections.abc import Mapping

from awfproxy.errors.base import AwfError
from awfproxy.providers.provider import (
    QUESTION,
    Access,
    Added,
    Asked,
    KeyUse,
    ProbeRequest,
    Provider,
    Trial,
    bare_key,
)
from awfproxy.wire.target import Origin

END_MARKERS = (b"event: message_stop",)

_VERSION: Added = ((b"anthropic-version", b"2023-06-01"),)
_ERROR_TYPES = {
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    504: "timeout_error",
}


def access(asked: Asked) -> Access:
    """No base path of its own: clients send `/v1/messages`."""
    inject = bare_key(asked.auth_field or b"x-api-key")
    return Access(
        origin=asked.target or Origin(PROVIDER.host),
        base_path=asked.base_path or b"",
        keys=(KeyUse(PROVIDER.variable, PROVIDER.credential_name, inject),),
        defaults=lambda method, path: _VERSION,
        models=b"/v1/models",
    )


def error_type(status: int) -> str:
    """Anthropic's word for a status: https://docs.anthropic.com/en/api/errors."""
    return _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")


def error_body(error: AwfError, request_id: str) -> bytes:
    """Anthropic's error object (type, message), with our code, hop and retryability beside these."""
    content = {
        "type": "error",
        "error": {
            "type": error_type(error.status),
            "message": error.message,
            "code": error.code,
            "hop": error.hop.value,
            "retryable": error.retryable,
        },
        "request_id": request_id,
    }
    return json.dumps(content, separators=(",", ":")).encode("ascii")


def trial(model: str, stream: bool) -> tuple[bytes, Mapping[str, object]]:
    """By the Messages API."""
    messages = [{"role": "user", "content": QUESTION}]
    return b"/v1/messages", {"model": model, "max_tokens": 16, "messages": messages, "stream": stream}


PROVIDER = Provider(
    name="anthropic",
    title="Anthropic",
    host="api.anthropic.com",
    port=10001,
    variable="ANTHROPIC_API_KEY",
    target_variable="ANTHROPIC_API_TARGET",
    base_path_variable="ANTHROPIC_API_BASE_PATH",
    auth_field_variable="AWF_ANTHROPIC_AUTH_HEADER",
    credential_name="anthropic_api_key",
    access=access,
    probe=ProbeRequest(b"/v1/messages", method=b"POST", body=b"{}", accepted=frozenset({400})),
    restricted_words=(),
    end_markers=END_MARKERS,
    error_body=error_body,
    trial=Trial("claude-haiku-5-5", trial),
)
"""The probe is a message without content: the key is judged first, and nothing is generated."""
