"""OpenAI: https://platform.openai.com/docs/api-reference (authentication, errors, streaming)."""

import json

from awfproxy.errors import AwfError, Hop
from awfproxy.providers.provider import Provider


def _inject(key: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"Authorization", b"Bearer " + key),)


def error_body(error: AwfError, request_id: str) -> bytes:
    """OpenAI's error object (message, type, param, code), with hop, retryability and request id beside it."""
    content = {
        "error": {
            "message": error.message,
            "type": "invalid_request_error" if error.hop is Hop.CLIENT else "awfproxy_error",
            "param": None,
            "code": error.code,
            "hop": error.hop.value,
            "retryable": error.retryable,
            "request_id": request_id,
        }
    }
    return json.dumps(content, separators=(",", ":")).encode("ascii")


OPENAI = Provider(
    name="openai",
    title="OpenAI",
    host="api.openai.com",
    port=10000,
    base_path=b"/v1",
    field=b"authorization",
    inject=_inject,
    probe_target=b"/models",
    variable="OPENAI_API_KEY",
    target_variable="OPENAI_API_TARGET",
    base_path_variable="OPENAI_API_BASE_PATH",
    credential_name="openai_api_key",
    restricted_words=(
        "missing scopes",
        "insufficient permissions",
        "missing_scope",
        "insufficient_permissions",
    ),
    end_markers=(
        b"event: response.completed",
        b"event: response.incomplete",
        b"event: response.failed",
        b"data: [DONE]",
    ),
    error_body=error_body,
)
