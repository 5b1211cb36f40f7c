"""Google's Gemini API: https://ai.google.dev/api."""

from collections.abc import Mapping
from urllib.parse import quote

from awfproxy.providers.google import INVALID_KEY, access_of, error_body
from awfproxy.providers.provider import QUESTION, ProbeRequest, Provider, Trial


def trial(model: str, stream: bool) -> tuple[bytes, Mapping[str, object]]:
    """The model, and whether the answer is streamed, stand in the target."""
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    target = f"/v1beta/models/{quote(model, safe='')}:{method}".encode("ascii")
    return target, {
        "contents": [{"role": "user", "parts": [{"text": QUESTION}]}],
        "generationConfig": {"maxOutputTokens": 16},
    }



PROVIDER: Provider = Provider(
    name="gemini",
    title="Gemini",
    host="generativelanguage.googleapis.com",
    port=10003,
    variable="GEMINI_API_KEY",
    target_variable="GEMINI_API_TARGET",
    base_path_variable="GEMINI_API_BASE_PATH",
    auth_field_variable=None,
    credential_name="gemini_api_key",
    access=access_of(lambda: PROVIDER, models=b"/v1beta/models"),
    probe=ProbeRequest(b"/v1beta/models?pageSize=1", rejected_codes=frozenset({INVALID_KEY})),
    restricted_words=(),
    end_markers=(),
    error_body=error_body,
    trial=Trial("gemini-3.5-flash-lite", trial, last_event=b'"finishReason"'),
)
"""A stream of Gemini's has no event that ends it: the last one only holds a finishReason, within its JSON."""
