"""OpenAI: https://platform.openai.com/docs/api-reference (authentication, errors, streaming)."""

import json
from collections.abc import Mapping

from awfproxy.errors.base import AwfError, Hop
from awfproxy.providers import byok
from awfproxy.providers.provider import (
    QUESTION,
    Access,
    Asked,
    KeyUse,
    ProbeRequest,
    Provider,
    Trial,
    bare_key,
    bearer,
)
from awfproxy.wire.target import Origin

END_MARKERS = (
    b"event: response.completed",
    b"event: response.incomplete",
    b"event: response.failed",
    b"data: [DONE]",
)
"""Of the Responses API's streams, and of Chat Completions'."""


def access(asked: Asked) -> Access:
    """`/v1` in front of every path at the usual host; a bare key where the operator names a field for it.

    With COPILOT_PROVIDER_TYPE=azure the field is Azure's, and the COPILOT_PROVIDER_… variables stand in for
    those that are not set.
    """
    azure = byok.is_azure(asked.environ)
    url = byok.base_url(asked.environ) if azure and asked.target is None else None
    origin, base_path = url or (asked.target or Origin(PROVIDER.host), b"")
    if origin.host == PROVIDER.host and not base_path:
        base_path = b"/v1"
    if asked.base_path is not None:
        base_path = asked.base_path
    variable, credential_name = PROVIDER.variable, PROVIDER.credential_name
    if azure and not asked.has(variable, credential_name) and byok.has_key(asked):
        variable, credential_name = byok.KEY_VARIABLE, byok.CREDENTIAL_NAME
    field = asked.auth_field or (b"api-key" if azure else None)
    inject = bearer if field is None else bare_key(field)
    return Access(
        origin=origin,
        base_path=base_path,
        keys=(KeyUse(variable, credential_name, inject),),
        models=b"/models" if base_path else b"/v1/models",
    )


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


def trial(model: str, stream: bool) -> tuple[bytes, Mapping[str, object]]:
    """By the Responses API, as codex asks; 16 is the least that it takes for a limit."""
    return b"/v1/responses", {
        "model": model,
        "input": QUESTION,
        "max_output_tokens": 16,
        "store": False,
        "stream": stream,
    }


PROVIDER = Provider(
    name="openai",
    title="OpenAI",
    host="api.openai.com",
    port=10000,
    variable="OPENAI_API_KEY",
    target_variable="OPENAI_API_TARGET",
    base_path_variable="OPENAI_API_BASE_PATH",
    auth_field_variable="AWF_OPENAI_AUTH_HEADER",
    credential_name="openai_api_key",
    access=access,
    probe=ProbeRequest(b"/models"),
    restricted_words=(
        "missing scopes",
        "insufficient permissions",
        "missing_scope",
        "insufficient_permissions",
    ),
    end_markers=END_MARKERS,
    error_body=error_body,
    trial=Trial("gpt-6-luna", trial),
)
