"""Google's Vertex AI, with an API key: https://cloud.google.com/vertex-ai/docs/reference/rest."""

from awfproxy.providers.google import INVALID_KEY, KEYS_NOT_TAKEN, access_of, error_body
from awfproxy.providers.provider import ProbeRequest, Provider

PROVIDER: Provider = Provider(
    name="vertex",
    title="Vertex AI",
    host="aiplatform.googleapis.com",
    port=10004,
    variable="GOOGLE_API_KEY",
    target_variable="VERTEX_API_TARGET",
    base_path_variable="VERTEX_API_BASE_PATH",
    auth_field_variable=None,
    credential_name="google_api_key",
    access=access_of(lambda: PROVIDER),
    probe=ProbeRequest(
        b"/v1/projects",
        rejected_codes=frozenset({INVALID_KEY}),
        silent_codes=frozenset({KEYS_NOT_TAKEN}),
    ),
    restricted_words=(),
    end_markers=(),
    error_body=error_body,
)
"""Few of its methods take API keys, and none that is free of cost and project: a 404 or a refusal of keys as
such leaves the key unverified."""
