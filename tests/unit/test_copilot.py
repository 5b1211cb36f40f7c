"""Copilot: which host, which key in which scheme, and which fields, out of the variables that gh-aw sets."""

import json

import attrs
import pytest

from awfproxy.credentials.injector import prepare_request, prepare_with_key, secrets_of
from awfproxy.credentials.secret import Secret
from awfproxy.credentials.shape import check_shape
from awfproxy.errors.configuration import ConfigError
from awfproxy.providers.copilot import PROVIDER, usual_host
from awfproxy.providers.provider import Access, Asked
from awfproxy.wire.framing import NO_BODY
from awfproxy.wire.message import Fields, RequestHead, field
from awfproxy.wire.target import Origin

PLACEHOLDER = "ghu_" + "a" * 36
DUMMY = "dummy-byok-key-for-offline-mode"
OWN_KEY = {"COPILOT_PROVIDER_API_KEY": "own"}
ELSEWHERE = {**OWN_KEY, "COPILOT_PROVIDER_BASE_URL": "https://openrouter.ai/api/v1"}

USUAL = "api.githubcopilot.com"
ENTERPRISE = "api.enterprise.githubcopilot.com"
BUSINESS = "api.business.githubcopilot.com"
TENANT = "copilot-api.octocorp.ghe.com"
CUSTOM = "copilot.gateway.example"


def access(environ: dict[str, str] | None = None, host: str | None = None, **more: object) -> Access:
    asked = Asked(environ=environ or {}, target=None if host is None else Origin(host), instance="of-process")
    return PROVIDER.access(attrs.evolve(asked, **more))


def sent(
    access: Access,
    method: bytes = b"POST",
    target: bytes = b"/chat/completions",
    keys: tuple[bytes, ...] = (b"one", b"two"),
    *pairs: tuple[bytes, bytes],
) -> dict[bytes, bytes]:
    """The fields that leave, by lower-case name."""
    head = RequestHead(method, target, b"1.1", tuple(field(*pair) for pair in pairs))
    secrets = tuple(map(Secret, keys[: len(access.keys)]))
    fields: Fields = prepare_request(head, NO_BODY, access=access, keys=secrets).fields
    assert len({lower for lower, _, _ in fields}) == len(fields)
    return {lower: value for lower, _, value in fields}


# --- where it is ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "host"),
    [
        (None, USUAL),
        ("", USUAL),
        (" ", USUAL),
        ("https://github.com", USUAL),
        ("https://GITHUB.com/", USUAL),
        ("https://octocorp.ghe.com", TENANT),
        ("https://octocorp.ghe.com:443/x", TENANT),
        ("https://github.octocorp.example", ENTERPRISE),
        ("http://ghes:8080", ENTERPRISE),
        ("https://notghe.com", ENTERPRISE),
    ],
)
def test_host_goes_with_the_server(server: str | None, host: str) -> None:
    environ = {} if server is None else {"GITHUB_SERVER_URL": server}
    assert usual_host(environ) == host
    assert access(environ).origin == Origin(host)
    assert access(environ, CUSTOM).origin == Origin(CUSTOM)


def test_server_that_is_no_url_is_refused_with_its_name() -> None:
    with pytest.raises(ValueError, match="GITHUB_SERVER_URL: "):
        access({"GITHUB_SERVER_URL": "https://a b"})


@pytest.mark.parametrize(
    ("asked", "origin", "base_path"),
    [
        (Asked(ELSEWHERE), Origin("openrouter.ai"), b"/api/v1"),
        (Asked(ELSEWHERE, base_path=b"/b"), Origin("openrouter.ai"), b"/b"),
        (Asked(ELSEWHERE, base_path=b""), Origin("openrouter.ai"), b""),
        (Asked(ELSEWHERE, target=Origin(CUSTOM)), Origin(CUSTOM), b""),
        (Asked(ELSEWHERE, target=Origin(CUSTOM), base_path=b"/b"), Origin(CUSTOM), b"/b"),
        (Asked(OWN_KEY), Origin(USUAL), b""),
    ],
)
def test_base_url_of_the_operators_own_provider_names_origin_and_path_where_no_target_does(
    asked: Asked, origin: Origin, base_path: bytes
) -> None:
    made = PROVIDER.access(asked)
    assert (made.origin, made.base_path) == (origin, base_path)


@pytest.mark.parametrize(
    "key", [None, "", " ", "Bearer ", PLACEHOLDER, f"Bearer {PLACEHOLDER}", DUMMY, f"token {DUMMY} "]
)
def test_without_a_key_of_the_operators_own_the_token_never_goes_to_its_origin(key: str | None) -> None:
    environ = {**ELSEWHERE, "COPILOT_PROVIDER_API_KEY": key or ""}
    if key is None:
        del environ["COPILOT_PROVIDER_API_KEY"]
    made = access(environ)
    assert made.origin == Origin(USUAL)
    assert [use.variable for use in made.keys] == ["COPILOT_GITHUB_TOKEN"]


def test_base_url_that_would_show_the_key_is_refused_with_its_name() -> None:
    with pytest.raises(ValueError, match="COPILOT_PROVIDER_BASE_URL: its scheme is not https"):
        access({**OWN_KEY, "COPILOT_PROVIDER_BASE_URL": "http://127.0.0.1:10002"})


# --- which key, in which scheme ---------------------------------------------------------------------

KINDS = ("ghp_x", "gho_x", "ghu_x", "ghs_x", "tid=x")
"""Any but a fine-grained personal access token."""


@pytest.mark.parametrize(
    ("host", "environ", "scheme"),
    [
        (USUAL, {}, b"Bearer"),
        (ENTERPRISE, {}, b"token"),
        (BUSINESS, {}, b"token"),
        (TENANT, {}, b"Bearer"),
        (CUSTOM, {}, b"Bearer"),
        (USUAL, {"GITHUB_SERVER_URL": "https://octocorp.ghe.com"}, b"Bearer"),
        (BUSINESS, {"GITHUB_SERVER_URL": "https://octocorp.ghe.com"}, b"token"),
        (CUSTOM, {"GITHUB_SERVER_URL": "https://octocorp.ghe.com"}, b"Bearer"),
        (CUSTOM, {"GITHUB_SERVER_URL": "https://ghes.example"}, b"token"),
        (TENANT, {"GITHUB_SERVER_URL": "https://ghes.example"}, b"Bearer"),
        (CUSTOM, {"GITHUB_SERVER_URL": "https://ghes.example", "AWF_PLATFORM_TYPE": "github.com"}, b"Bearer"),
        (CUSTOM, {"AWF_PLATFORM_TYPE": "ghes"}, b"token"),
        (TENANT, {"AWF_PLATFORM_TYPE": "ghes"}, b"token"),
        (BUSINESS, {"AWF_PLATFORM_TYPE": "ghec"}, b"token"),
        (ENTERPRISE, {"AWF_PLATFORM_TYPE": "ghec-self-hosted"}, b"token"),
        (TENANT, {"AWF_PLATFORM_TYPE": "ghec"}, b"Bearer"),
        (f"{ENTERPRISE}.evil.example", {}, b"Bearer"),
    ],
)
def test_scheme_goes_by_host_and_platform_and_is_bearer_for_a_fine_grained_token(
    host: str, environ: dict[str, str], scheme: bytes
) -> None:
    made = access(environ, host)
    for kind in KINDS:
        token = kind.encode()
        assert sent(made, keys=(token,))[b"authorization"] == scheme + b" " + token
    assert sent(made, keys=(b"github_pat_x",))[b"authorization"] == b"Bearer github_pat_x"


def test_platform_that_is_none_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"AWF_PLATFORM_TYPE .*ghec-self-hosted"):
        access({"AWF_PLATFORM_TYPE": "ghess"})


@pytest.mark.parametrize("host", [USUAL, ENTERPRISE, TENANT])
@pytest.mark.parametrize(
    ("method", "target", "listing"),
    [
        (b"GET", b"/models", True),
        (b"GET", b"/models?a", True),
        (b"GET", b"/models/gpt/x", True),
        (b"POST", b"/models/session", False),
        (b"GET", b"/modelsx", False),
        (b"GET", b"/x/models", False),
        (b"POST", b"/chat/completions", False),
    ],
)
def test_models_are_listed_with_githubs_token_and_all_else_goes_with_the_own_key_as_bearer(
    host: str, method: bytes, target: bytes, listing: bool
) -> None:
    made = access(OWN_KEY, host)
    assert [use.variable for use in made.keys] == ["COPILOT_PROVIDER_API_KEY", "COPILOT_GITHUB_TOKEN"]
    scheme = b"token" if host == ENTERPRISE else b"Bearer"
    expected = scheme + b" gho_two" if listing else b"Bearer own"
    assert sent(made, method, target, (b"own", b"gho_two"))[b"authorization"] == expected


def test_models_are_listed_with_githubs_token_below_a_base_path_too() -> None:
    made = access(OWN_KEY, USUAL, base_path=b"/b")
    for target in b"/models", b"/b/models":
        assert sent(made, b"GET", target)[b"authorization"] == b"Bearer two"
    assert sent(made, b"GET", b"/models")[b"x-github-api-version"] == b"2026-07-01"


@pytest.mark.parametrize(
    "path",
    [
        b"/models/../mcp/readonly",
        b"/models/./../mcp/readonly",
        b"/models/%2e%2e/mcp/readonly",
        b"/models/..%2fmcp",
        b"/models/..;/mcp",
        b"/models/..\\mcp",
        b"/models//../mcp",
    ],
)
def test_path_that_only_begins_as_the_list_of_models_goes_with_the_own_key(path: bytes) -> None:
    """Some servers would take it for another: GitHub's token is lent for the list alone, rules or none."""
    made = access(OWN_KEY, USUAL)
    assert made.key_for is not None
    assert made.key_for(b"GET", path) == 0


@pytest.mark.parametrize("environ", [ELSEWHERE, {**ELSEWHERE, "COPILOT_GITHUB_TOKEN": "gho_x"}])
def test_githubs_token_never_goes_where_only_the_own_key_belongs(environ: dict[str, str]) -> None:
    for made in access(environ), access(environ, CUSTOM):
        assert [use.variable for use in made.keys] == ["COPILOT_PROVIDER_API_KEY"]
        assert sent(made, b"GET", b"/models")[b"authorization"] == b"Bearer one"


def test_own_key_comes_from_its_own_credential_too() -> None:
    assert access(OWN_KEY).keys[0].credential_name == "copilot_provider_api_key"
    assert access().keys[0].credential_name == "copilot_github_token"


@pytest.mark.parametrize(
    ("environ", "host", "probed"),
    [
        ({}, USUAL, True),
        ({}, CUSTOM, True),
        (OWN_KEY, USUAL, False),
        (OWN_KEY, TENANT, False),
        ({**OWN_KEY, "COPILOT_GITHUB_TOKEN": "gho_x"}, USUAL, True),
        (ELSEWHERE, None, True),
    ],
)
def test_own_key_alone_is_not_probed_at_hosts_whose_model_list_takes_githubs_tokens_alone(
    environ: dict[str, str], host: str | None, probed: bool
) -> None:
    assert access(environ, host).probed is probed


def test_another_field_for_the_key_is_refused() -> None:
    with pytest.raises(ValueError, match="auth-field"):
        access(auth_field=b"x-key")


@pytest.mark.parametrize("value", [PLACEHOLDER])
def test_stand_in_for_a_token_is_no_token_either(value: str) -> None:
    with pytest.raises(ConfigError):
        check_shape(value.encode(), "variable", PROVIDER)


# --- fields -----------------------------------------------------------------------------------------

BILLED = {b"x-initiator": b"agent", b"copilot-integration-id": b"agentic-workflows"}


@pytest.mark.parametrize("host", [USUAL, ENTERPRISE, BUSINESS, "githubcopilot.com"])
def test_copilots_own_hosts_are_told_initiator_interaction_and_integration(host: str) -> None:
    assert sent(access({}, host)) == {
        **BILLED,
        b"host": host.encode(),
        b"x-interaction-id": b"of-process",
        b"authorization": (b"token one" if host in (ENTERPRISE, BUSINESS) else b"Bearer one"),
    }


def test_hosts_of_tenants_are_told_the_integration_alone() -> None:
    assert sent(access({}, TENANT)) == {
        b"host": TENANT.encode(),
        b"copilot-integration-id": b"agentic-workflows",
        b"authorization": b"Bearer one",
    }


@pytest.mark.parametrize("host", [CUSTOM, "evilgithubcopilot.com", "api.octocorp.ghe.com"])
def test_other_hosts_are_told_nothing(host: str) -> None:
    assert sent(access({}, host)) == {b"host": host.encode(), b"authorization": b"Bearer one"}


@pytest.mark.parametrize(
    ("environ", "interaction"),
    [
        ({"GITHUB_RUN_ID": "17", "GITHUB_RUN_ATTEMPT": "3"}, b"17-3"),
        ({"GITHUB_RUN_ID": " 17 "}, b"17-1"),
        ({"GITHUB_RUN_ID": "17", "GITHUB_RUN_ATTEMPT": " "}, b"17-1"),
        ({"GITHUB_RUN_ATTEMPT": "3"}, b"of-process"),
        ({"GITHUB_RUN_ID": "1 7"}, b"of-process"),
        ({"GITHUB_RUN_ID": "1" * 127}, b"of-process"),
    ],
)
def test_interaction_is_the_run_or_the_process(environ: dict[str, str], interaction: bytes) -> None:
    assert sent(access(environ))[b"x-interaction-id"] == interaction


def test_interaction_is_left_out_where_nothing_tells_one_run_from_another() -> None:
    assert b"x-interaction-id" not in sent(access(instance=""))


@pytest.mark.parametrize(
    ("environ", "integration"),
    [
        ({"COPILOT_INTEGRATION_ID": " own "}, b"own"),
        ({"GITHUB_COPILOT_INTEGRATION_ID": "theirs"}, b"theirs"),
        ({"COPILOT_INTEGRATION_ID": "own", "GITHUB_COPILOT_INTEGRATION_ID": "theirs"}, b"own"),
        ({"COPILOT_INTEGRATION_ID": " ", "GITHUB_COPILOT_INTEGRATION_ID": ""}, b"agentic-workflows"),
    ],
)
def test_integration_is_the_operators_or_the_usual_one(environ: dict[str, str], integration: bytes) -> None:
    assert sent(access(environ))[b"copilot-integration-id"] == integration


@pytest.mark.parametrize("variable", ["COPILOT_INTEGRATION_ID", "AWF_PROVIDER_SESSION_ID"])
def test_variable_that_is_no_value_of_a_field_is_refused_with_its_name_and_not_quoted(variable: str) -> None:
    with pytest.raises(ValueError, match=variable) as caught:
        access({**OWN_KEY, variable: "a\r\nsecret: 1"})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "target", "version"),
    [
        (b"POST", b"/auto", b"2026-08-01"),
        (b"POST", b"/auto?x", b"2026-08-01"),
        (b"POST", b"/models/session", b"2025-07-16"),
        (b"POST", b"/models/session/intent", b"2025-07-16"),
        (b"GET", b"/models", b"2026-07-01"),
        (b"GET", b"/auto", None),
        (b"POST", b"/models", None),
        (b"POST", b"/chat/completions", None),
        (b"POST", b"/auto/x", None),
    ],
)
def test_api_version_goes_by_method_and_path_at_githubs_hosts_unless_the_client_names_one(
    method: bytes, target: bytes, version: bytes | None
) -> None:
    name = b"x-github-api-version"
    for host in USUAL, TENANT:
        assert sent(access({}, host), method, target).get(name) == version
    assert name not in sent(access({}, CUSTOM), method, target)
    assert sent(access(), method, target, (b"one",), (b"X-GitHub-Api-Version", b"1"))[name] == b"1"


def test_what_the_client_says_of_itself_stays() -> None:
    said = ((b"X-Initiator", b"user"), (b"X-Interaction-Id", b"i"), (b"Copilot-Integration-Id", b"cli"))
    after = sent(access(), b"POST", b"/x", (b"one",), *said)
    assert (after[b"x-initiator"], after[b"x-interaction-id"], after[b"copilot-integration-id"]) == (
        b"user",
        b"i",
        b"cli",
    )


EXTRA = {**ELSEWHERE, "AWF_BYOK_EXTRA_HEADERS": '{"HTTP-Referer": "https://a.example/?b", "X-Title": "t u"}'}


def test_extra_fields_go_with_the_own_key_alone_and_take_the_place_of_the_clients() -> None:
    after = sent(access(EXTRA), b"POST", b"/x", (b"own",), (b"x_title", b"of-the-client"))
    assert after == {
        b"host": b"openrouter.ai",
        b"http-referer": b"https://a.example/?b",
        b"x-title": b"t u",
        b"authorization": b"Bearer own",
    }
    both = access(EXTRA, USUAL)
    assert b"x-title" in sent(both)
    assert b"x-title" not in sent(both, b"GET", b"/models")
    without = {name: value for name, value in EXTRA.items() if name != "COPILOT_PROVIDER_API_KEY"}
    assert b"x-title" not in sent(access(without))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{", "JSON object of strings"),
        ("[]", "JSON object of strings"),
        ("7", "JSON object of strings"),
        ('{"X-A": 7}', "JSON object of strings"),
        ("[" * 100000, "JSON object of strings"),
        ('{"X-A": "a", "X B": "secret"}', "number 2: it is not the name"),
        ('{"X-A": "a", "x_a": "secret"}', "one field twice"),
        ('{"Content_Length": "5"}', "needs that field for itself"),
        ('{"Proxy-Authorization": "secret"}', "needs that field for itself"),
        ('{"X-A": "a\\r\\nsecret: 1"}', "number 1: it is not the value"),
        *(
            (f'{{"{name}": "secret"}}', "field for a key")
            for name in ("authorization", "X-Api-Key", "api_key", "X-Goog-Api-Key")
        ),
    ],
)
def test_extra_fields_that_cannot_be_used_are_refused_and_not_quoted(value: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        access({**ELSEWHERE, "AWF_BYOK_EXTRA_HEADERS": value})
    assert str(caught.value).startswith("AWF_BYOK_EXTRA_HEADERS")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "secrets"),
    [
        ("Ocp-Apim-Subscription-Key", "0123456789abcdef" * 2, ["0123456789abcdef" * 2]),
        ("X_Gateway_Token", "hunter2hunter2", ["hunter2hunter2"]),
        ("cf-aig-authorization", "Bearer gateway-word", ["gateway-word"]),
        ("Helicone-Auth", "Basic dXNlcjpwYXNz", ["dXNlcjpwYXNz"]),
        ("X-Client-Secret", "first-half second-half", ["first-half", "second-half"]),
        ("X-Password", "pass word", []),
        ("X-Auth-Token", "short", []),
        ("x-team", "Z9ZbTmW4cPvHs8LrJdNyEaGu", ["Z9ZbTmW4cPvHs8LrJdNyEaGu"]),
        ("x-team", "v1/Z9ZbTmW4cPvHs8LrJdNy/x", ["v1/Z9ZbTmW4cPvHs8LrJdNy/x"]),
        ("HTTP-Referer", "https://github.com/example/repository", []),
        ("X-Title", "The Example Company's Agent", []),
        ("X-Author", "example-author", []),
        ("X-Keyword", "keyword-of-ours", []),
        ("Accept", "application/json", []),
        ("X-Region", "europe-west1", []),
        ("anthropic-beta", "prompt-caching-2024-07-31", []),
        ("X-Session-Id", "123e4567-e89b-12d3-a456-426614174000", []),
    ],
)  # fmt: skip
def test_what_is_a_credential_among_the_extra_fields_is_told_by_name_or_form(
    name: str, value: str, secrets: list[str]
) -> None:
    made = access({**ELSEWHERE, "AWF_BYOK_EXTRA_HEADERS": json.dumps({"X-Other": "plain-text", name: value})})
    assert made.keys[0].beside == tuple(each.encode() for each in secrets)
    assert value not in repr(made)


def test_extra_fields_that_are_credentials_are_looked_for_where_they_were_sent() -> None:
    environ = {**OWN_KEY, "AWF_BYOK_EXTRA_HEADERS": '{"X-Api-Token": "hunter2hunter2"}'}
    made = access(environ)
    keys = (Secret(b"own-key-0"), Secret(b"ghp_0123"))
    for method, path, beside in (b"POST", b"/x", (b"hunter2hunter2",)), (b"GET", b"/models", ()):
        head, _, found = prepare_with_key(RequestHead(method, path, b"1.1", ()), NO_BODY, made, keys)
        assert found == beside
        assert (b"hunter2hunter2" in head.values(b"x-api-token")) is bool(beside)
    assert secrets_of(made, keys) == (b"own-key-0", b"ghp_0123", b"hunter2hunter2")


def test_session_goes_with_the_own_key_alone_unless_the_client_names_one() -> None:
    session = {"AWF_PROVIDER_SESSION_ID": " s "}
    name = b"x-session-id"
    made = access({**ELSEWHERE, **session})
    assert sent(made)[name] == b"s"
    assert sent(made, b"POST", b"/x", (b"k",), (b"X-Session-Id", b"c"))[name] == b"c"
    assert name not in sent(access(session))
    both = access({**OWN_KEY, **session})
    assert sent(both)[name] == b"s"
    assert name not in sent(both, b"GET", b"/models")


def test_extra_field_wins_over_what_would_be_put_in_under_its_name() -> None:
    environ = {**OWN_KEY, "AWF_PROVIDER_SESSION_ID": "s",
               "AWF_BYOK_EXTRA_HEADERS": '{"X-Session-ID": "x", "X_Initiator": "y"}'}  # fmt: skip
    head = RequestHead(b"POST", b"/x", b"1.1", ())
    after = prepare_request(head, NO_BODY, access=access(environ), keys=(Secret(b"k"), None))
    found = [name for lower, name, _ in after.fields if b"initiator" in lower or b"session" in lower]
    assert found == [b"X-Session-ID", b"X_Initiator"]


def test_no_key_stays_in_what_was_made(canary: str) -> None:
    environ = {"COPILOT_PROVIDER_API_KEY": canary, "COPILOT_GITHUB_TOKEN": canary}
    assert canary not in repr(Asked(environ))
    assert canary not in repr(access(environ))
