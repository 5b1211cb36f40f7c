"""What is particular to each provider: where it is, what its key goes in, and how its errors read."""

import json

import pytest

from awfproxy.credentials.injector import prepare_request
from awfproxy.credentials.secret import Secret
from awfproxy.errors.base import AwfError
from awfproxy.errors.client import BadTarget
from awfproxy.errors.egress import EgressTimeout, EgressUnreachable
from awfproxy.errors.own import CredentialMissing
from awfproxy.observe.endmarker import EndMarker
from awfproxy.providers import anthropic, copilot, gemini, openai, vertex
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.providers.compatible import compatible
from awfproxy.providers.provider import Access, Asked, Provider
from awfproxy.wire.framing import NO_BODY
from awfproxy.wire.message import RequestHead, field
from awfproxy.wire.target import Origin

OTHER = Origin("gateway.example", 8443)
CLIENTS = b"of-the-client"
BY_NAME = {provider.name: provider for provider in BUILT_IN}


def sent(
    access: Access,
    method: bytes = b"POST",
    target: bytes = b"/x",
    keys: tuple[bytes, ...] = (b"k",),
    **fields: bytes,
) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Target and fields, without Host, of what leaves for a request with those fields (`_` for `-`)."""
    made = tuple(field(name.replace("_", "-").encode(), value) for name, value in fields.items())
    head = RequestHead(method, target, b"1.1", made)
    after = prepare_request(head, NO_BODY, access=access, keys=tuple(map(Secret, keys)))
    return after.target, [(name, value) for lower, name, value in after.fields if lower != b"host"]


@pytest.mark.parametrize(
    ("name", "port", "host", "variable", "target", "base_path", "auth_field", "credential"),
    [
        ("openai", 10000, "api.openai.com", "OPENAI_API_KEY", "OPENAI_API_TARGET", "OPENAI_API_BASE_PATH",
         "AWF_OPENAI_AUTH_HEADER", "openai_api_key"),
        ("anthropic", 10001, "api.anthropic.com", "ANTHROPIC_API_KEY", "ANTHROPIC_API_TARGET",
         "ANTHROPIC_API_BASE_PATH", "AWF_ANTHROPIC_AUTH_HEADER", "anthropic_api_key"),
        ("copilot", 10002, "api.githubcopilot.com", "COPILOT_GITHUB_TOKEN", "COPILOT_API_TARGET",
         "COPILOT_API_BASE_PATH", None, "copilot_github_token"),
        ("gemini", 10003, "generativelanguage.googleapis.com", "GEMINI_API_KEY", "GEMINI_API_TARGET",
         "GEMINI_API_BASE_PATH", None, "gemini_api_key"),
        ("vertex", 10004, "aiplatform.googleapis.com", "GOOGLE_API_KEY", "VERTEX_API_TARGET",
         "VERTEX_API_BASE_PATH", None, "google_api_key"),
    ],
)  # fmt: skip
def test_names_that_gh_aws_sidecar_has(
    name: str, port: int, host: str, variable: str, target: str, base_path: str, auth_field: str | None,
    credential: str,
) -> None:  # fmt: skip
    provider = BY_NAME[name]
    assert (provider.port, provider.host, provider.variable) == (port, host, variable)
    assert (provider.target_variable, provider.base_path_variable) == (target, base_path)
    assert (provider.auth_field_variable, provider.credential_name) == (auth_field, credential)


def test_they_stand_in_the_order_of_their_ports_and_no_two_share_anything() -> None:
    assert [provider.port for provider in BUILT_IN] == list(range(10000, 10005))
    for attribute in "name", "title", "host", "variable", "credential_name":
        assert len({getattr(provider, attribute) for provider in BUILT_IN}) == len(BUILT_IN)


@pytest.mark.parametrize(
    ("provider", "target", "field"),
    [
        (openai.PROVIDER, b"/v1/x", (b"Authorization", b"Bearer k")),
        (anthropic.PROVIDER, b"/x", (b"x-api-key", b"k")),
        (copilot.PROVIDER, b"/x", (b"Authorization", b"Bearer k")),
        (gemini.PROVIDER, b"/x", (b"x-goog-api-key", b"k")),
        (vertex.PROVIDER, b"/x", (b"x-goog-api-key", b"k")),
    ],
)
def test_base_path_and_field_of_the_key_at_the_usual_host(
    provider: Provider, target: bytes, field: tuple[bytes, bytes]
) -> None:
    access = provider.access(Asked())
    assert access.origin == Origin(provider.host)
    assert access.probed
    after = sent(access, authorization=CLIENTS, x_api_key=CLIENTS, api_key=CLIENTS, x_goog_api_key=CLIENTS)
    assert after[0] == target
    assert after[1][-1] == field
    assert not any(CLIENTS in value for _, value in after[1])


@pytest.mark.parametrize("provider", BUILT_IN, ids=lambda provider: provider.name)
def test_target_and_base_path_of_the_operators_are_taken_as_they_are(provider: Provider) -> None:
    assert provider.access(Asked(target=OTHER)).origin == OTHER
    assert provider.access(Asked(target=OTHER)).base_path == b""
    assert provider.access(Asked(target=OTHER, base_path=b"/b")).base_path == b"/b"
    assert provider.access(Asked(base_path=b"/b")).base_path == b"/b"
    assert provider.access(Asked(base_path=b"")).base_path == b""


@pytest.mark.parametrize("name", sorted({*BY_NAME} - {"copilot"}))
def test_auth_field_of_the_operators_carries_the_bare_key_and_the_clients_is_removed(name: str) -> None:
    provider = BY_NAME[name]
    access = provider.access(Asked(auth_field=b"X_Own-Key"))
    assert sent(access, x_own_key=CLIENTS, authorization=CLIENTS)[1][-1] == (b"X_Own-Key", b"k")
    assert not any(CLIENTS in value for _, value in sent(access, x_own_key=CLIENTS)[1])


# --- OpenAI at Azure --------------------------------------------------------------------------------

AZURE = {
    "COPILOT_PROVIDER_TYPE": " Azure ",
    "COPILOT_PROVIDER_API_KEY": "key",
    "COPILOT_PROVIDER_BASE_URL": "https://res.openai.azure.com/openai/v1/",
}


def test_azures_key_goes_into_api_key_and_origin_and_base_path_come_from_its_url() -> None:
    access = openai.PROVIDER.access(Asked(AZURE))
    assert (access.origin, access.base_path) == (Origin("res.openai.azure.com"), b"/openai/v1")
    assert (access.keys[0].variable, access.keys[0].credential_name) == (
        "COPILOT_PROVIDER_API_KEY",
        "copilot_provider_api_key",
    )
    assert sent(access, target=b"/responses", authorization=CLIENTS, api_key=CLIENTS) == (
        b"/openai/v1/responses",
        [(b"api-key", b"k")],
    )


def test_what_is_set_for_openai_itself_wins_over_azures() -> None:
    access = openai.PROVIDER.access(Asked({**AZURE, "OPENAI_API_KEY": "k"}, target=OTHER))
    assert (access.origin, access.base_path) == (OTHER, b"")
    assert access.keys[0].variable == "OPENAI_API_KEY"
    assert sent(access)[1] == [(b"api-key", b"k")]
    assert openai.PROVIDER.access(Asked(AZURE, base_path=b"/b")).base_path == b"/b"
    assert sent(openai.PROVIDER.access(Asked(AZURE, auth_field=b"X-K")))[1] == [(b"X-K", b"k")]


@pytest.mark.parametrize("kind", ["", "openai", "anthropic"])
def test_other_types_of_copilots_provider_change_nothing_for_openai(kind: str) -> None:
    access = openai.PROVIDER.access(Asked({**AZURE, "COPILOT_PROVIDER_TYPE": kind}))
    assert (access.origin, access.base_path) == (Origin("api.openai.com"), b"/v1")
    assert access.keys[0].variable == "OPENAI_API_KEY"
    assert sent(access)[1] == [(b"Authorization", b"Bearer k")]


@pytest.mark.parametrize("key", ["", " ", "ghu_" + "a" * 36, "dummy-byok-key-for-offline-mode"])
def test_azure_without_a_key_of_its_own_takes_openais(key: str) -> None:
    access = openai.PROVIDER.access(Asked({**AZURE, "COPILOT_PROVIDER_API_KEY": key}))
    assert access.keys[0].variable == "OPENAI_API_KEY"


# --- Anthropic --------------------------------------------------------------------------------------


def test_anthropic_version_is_put_in_unless_the_client_names_one() -> None:
    access = anthropic.PROVIDER.access(Asked())
    key = (b"x-api-key", b"k")
    assert sent(access)[1] == [(b"anthropic-version", b"2023-06-01"), key]
    assert sent(access, anthropic_version=b"2024-01-01")[1] == [(b"anthropic-version", b"2024-01-01"), key]
    beta = (b"anthropic-beta", b"a,b")
    assert sent(access, anthropic_beta=b"a,b")[1] == [beta, (b"anthropic-version", b"2023-06-01"), key]


def test_anthropics_probe_is_a_message_without_content() -> None:
    probe = anthropic.PROVIDER.probe
    assert (probe.method, probe.target, probe.body) == (b"POST", b"/v1/messages", b"{}")


# --- Google -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", [gemini.PROVIDER, vertex.PROVIDER], ids=lambda provider: provider.name)
@pytest.mark.parametrize(
    "name", [b"key", b"KEY", b"apiKey", b"APIKEY", b"api_key", b"%6bey", b"access_token", b"oauth_token"]
)
def test_keys_in_googles_query_are_removed_and_the_rest_stays(provider: Provider, name: bytes) -> None:
    access = provider.access(Asked())
    target = b"/v1beta/models/m:streamGenerateContent?alt=sse&" + name + b"=" + CLIENTS + b"&$fields=a%2Cb"
    assert sent(access, target=target) == (
        b"/v1beta/models/m:streamGenerateContent?alt=sse&$fields=a%2Cb",
        [(b"x-goog-api-key", b"k")],
    )


# --- any compatible origin --------------------------------------------------------------------------


def test_compatible_origin_needs_no_more_than_a_name_and_an_origin() -> None:
    provider = compatible("my-llm")
    assert provider.written("port") == "port in [providers.my-llm]"
    assert (provider.variable, provider.credential_name) == ("MY_LLM_API_KEY", "my_llm_api_key")
    access = provider.access(Asked(target=OTHER))
    assert sent(access, authorization=CLIENTS) == (b"/x", [(b"Authorization", b"Bearer k")])
    assert access.keys[0].variable == "MY_LLM_API_KEY"


def test_compatible_origin_takes_another_variable_field_and_base_path() -> None:
    provider = compatible("local", "LOCAL_TOKEN")
    access = provider.access(Asked(target=OTHER, base_path=b"/v1", auth_field=b"api-key"))
    assert access.keys[0].variable == provider.variable == "LOCAL_TOKEN"
    assert sent(access, authorization=CLIENTS) == (b"/v1/x", [(b"api-key", b"k")])


def test_compatible_provider_without_an_origin_is_refused_with_the_fix() -> None:
    with pytest.raises(ValueError, match="origin ="):
        compatible("local").access(Asked())


# --- ends and errors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "end"),
    [
        (openai.PROVIDER, b"event: response.completed\ndata: {}\n\n"),
        (openai.PROVIDER, b"data: [DONE]\n\n"),
        (anthropic.PROVIDER, b'event: message_stop\ndata: {"type":"message_stop"}\n\n'),
        (copilot.PROVIDER, b"data: [DONE]\n\n"),
        (copilot.PROVIDER, b"event: message_stop\ndata: {}\n\n"),
        (copilot.PROVIDER, b"event: response.completed\ndata: {}\n\n"),
        (gemini.PROVIDER, None),
        (vertex.PROVIDER, None),
    ],
)
def test_stream_has_ended_after_the_protocols_own_last_event(provider: Provider, end: bytes | None) -> None:
    watcher = EndMarker(provider.end_markers)
    watcher.feed(b'data: {"candidates":[{"finishReason":"STOP"}]}\n\nevent: message_delta\ndata: {}\n\n')
    assert not watcher.seen
    watcher.feed(end or b"")
    assert watcher.seen is (end is not None)


ERRORS: tuple[type[AwfError], ...] = (BadTarget, CredentialMissing, EgressUnreachable, EgressTimeout)


@pytest.mark.parametrize("provider", [*BUILT_IN, compatible("local")], ids=lambda provider: provider.name)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_every_style_of_error_says_what_failed_where_and_whether_to_try_again(
    provider: Provider, error: type[AwfError]
) -> None:
    content = json.loads(provider.error_body(error(), "id"))
    body = content["error"]
    assert body["message"] == f"{error.sentence} {error.fix}"
    assert (body["hop"], body["retryable"]) == (error.hop.value, error.retryable)
    assert "id" in (body.get("request_id"), content.get("request_id"))
    assert error.code in json.dumps(body)


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (BadTarget, "invalid_request_error"),
        (CredentialMissing, "permission_error"),
        (EgressUnreachable, "api_error"),
        (EgressTimeout, "timeout_error"),
    ],
)
def test_anthropics_style(error: type[AwfError], word: str) -> None:
    content = json.loads(anthropic.PROVIDER.error_body(error(), "id"))
    assert (content["type"], content["request_id"]) == ("error", "id")
    assert (content["error"]["type"], content["error"]["code"]) == (word, error.code)


@pytest.mark.parametrize("provider", [gemini.PROVIDER, vertex.PROVIDER], ids=lambda provider: provider.name)
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadTarget, "INVALID_ARGUMENT"),
        (CredentialMissing, "PERMISSION_DENIED"),
        (EgressUnreachable, "UNAVAILABLE"),
        (EgressTimeout, "DEADLINE_EXCEEDED"),
    ],
)
def test_googles_style(provider: Provider, error: type[AwfError], status: str) -> None:
    body = json.loads(provider.error_body(error(), "id"))["error"]
    assert (body["code"], body["status"]) == (error.status, status)
    assert [(each["reason"], each["domain"]) for each in body["details"]] == [(error.code, "awfproxy")]
