"""The gh-aw profile's settings: what the sidecar's environment comes to."""

from collections.abc import Mapping

import pytest

from awfproxy.credentials.injector import prepare_request
from awfproxy.credentials.shape import check_shape
from awfproxy.errors.configuration import ConfigError
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.settings.commandline import parse
from awfproxy.settings.load import load
from awfproxy.settings.profile import GH_AW, PROFILES
from awfproxy.settings.provider import ProviderSettings
from awfproxy.settings.readings import NOT_HONOURED, not_honoured
from awfproxy.settings.syntax import Egress
from awfproxy.settings.values import Probe, Settings, in_force
from awfproxy.wire.framing import NO_BODY
from awfproxy.wire.message import RequestHead, field
from awfproxy.wire.target import Origin

PROXY = "http://172.30.0.10:3128"
PLACEHOLDER = "ghu_" + "a" * 36


def settings(environ: Mapping[str, str], *words: str) -> Settings:
    def read(name: str) -> bytes:
        raise FileNotFoundError(2, "No such file or directory", name)

    return load(parse(("--profile", "gh-aw", *words)).values, environ, read, lambda name: 0o100600)


def of(made: Settings, name: str) -> ProviderSettings:
    return next(one for one in made.providers if one.provider.name == name)


def refusal(environ: Mapping[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        settings(environ)
    return str(caught.value)


def test_profile_is_chosen_by_its_name() -> None:
    assert PROFILES["gh-aw"] is GH_AW
    assert settings({}).profile is GH_AW


# --- ports and providers ----------------------------------------------------------------------------


def test_all_five_ports_open_on_the_ipv4_wildcard_whatever_the_keys() -> None:
    made = settings({})
    assert [tuple(map(str, one.listen)) for one in made.providers] == [
        (f"tcp:{port}:interface=0.0.0.0",) for port in (10000, 10001, 10002, 10003, 10004)
    ]
    assert made.closed == ()
    assert not any(one.configured for one in made.providers)


def test_empty_key_file_is_watched_for_the_key_to_come() -> None:
    words = "--profile", "gh-aw", "--key-file", "/run/keys/openai"
    made = load(parse(words).values, {}, lambda name: b"\n", lambda name: 0o100600)
    openai = of(made, "openai")
    assert not openai.configured
    assert openai.key_files == ("/run/keys/openai",)


def test_what_is_not_configured_has_no_credential_in_force(canary: str) -> None:
    made = settings({"ANTHROPIC_API_KEY": canary})
    assert list(in_force(made)) == ["anthropic"]


@pytest.mark.parametrize("provider", BUILT_IN, ids=lambda provider: provider.name)
@pytest.mark.parametrize("value", ["", "  ", "\n"])
def test_empty_key_is_none(provider, value: str) -> None:  # type: ignore[no-untyped-def]
    assert not of(settings({provider.variable: value}), provider.name).configured


@pytest.mark.parametrize("around", ["{}", " {} ", "{}\n", "Bearer {}", "bearer  {}\n"])
def test_key_is_trimmed_and_its_scheme_taken_off(around: str, canary: str) -> None:
    one = of(settings({"OPENAI_API_KEY": around.format(canary)}), "openai")
    assert one.keys[0] is not None
    assert one.keys[0].reveal() == canary.encode()


@pytest.mark.parametrize("value", [PLACEHOLDER, "dummy-byok-key-for-offline-mode", f"Bearer {PLACEHOLDER}"])
def test_agents_placeholder_is_no_key_of_copilots(value: str, canary: str) -> None:
    assert not of(settings({"COPILOT_PROVIDER_API_KEY": value}), "copilot").configured
    one = of(settings({"COPILOT_PROVIDER_API_KEY": value, "COPILOT_GITHUB_TOKEN": canary}), "copilot")
    assert one.keys[0] is not None
    assert one.keys[0].reveal() == canary.encode()


def test_malformed_key_is_refused() -> None:
    assert "control" in refusal({"GEMINI_API_KEY": "AIza\x01b"})


@pytest.mark.parametrize(
    "key",
    ["sk-ant-fake-test-key-12345", "sk-fake-test-key", "fake-token-for-test", "ghp_fake-test-token-12345",
     "copilot_test_token_67890"],
)  # fmt: skip
def test_keys_of_the_sidecars_own_tests_are_taken(key: str) -> None:
    assert check_shape(key.encode(), "a test", BUILT_IN[0]).reveal() == key.encode()


# --- what agents are given --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "variable", "sent", "target", "upstream", "injected"),
    [
        ("openai", "OPENAI_API_KEY", (b"Authorization", b"Bearer sk-placeholder-for-api-proxy"),
         b"/responses", b"/v1/responses", (b"Authorization", b"Bearer {}")),
        ("openai", "OPENAI_API_KEY", (b"Authorization", b"Bearer sk-placeholder-for-api-proxy"),
         b"/v1/responses", b"/v1/responses", (b"Authorization", b"Bearer {}")),
        ("anthropic", "ANTHROPIC_API_KEY",
         (b"Authorization", b"Bearer sk-ant-placeholder-key-for-credential-isolation"),
         b"/v1/messages?beta=true", b"/v1/messages?beta=true", (b"x-api-key", b"{}")),
        ("copilot", "COPILOT_GITHUB_TOKEN", (b"Authorization", b"Bearer " + PLACEHOLDER.encode()),
         b"/responses", b"/responses", (b"Authorization", b"Bearer {}")),
        ("gemini", "GEMINI_API_KEY",
         (b"x-goog-api-key", b"gemini-api-key-placeholder-for-credential-isolation"),
         b"/v1beta/models/m:streamGenerateContent?alt=sse&key=x",
         b"/v1beta/models/m:streamGenerateContent?alt=sse", (b"x-goog-api-key", b"{}")),
        ("vertex", "GOOGLE_API_KEY",
         (b"x-goog-api-key", b"google-api-key-placeholder-for-credential-isolation"),
         b"/v1/publishers/google/models/m:generateContent", b"/v1/publishers/google/models/m:generateContent",
         (b"x-goog-api-key", b"{}")),
    ],
)  # fmt: skip
def test_agents_placeholder_goes_and_the_key_is_put_in_once(
    canary: str, name: str, variable: str, sent: tuple[bytes, bytes], target: bytes, upstream: bytes,
    injected: tuple[bytes, bytes],
) -> None:  # fmt: skip
    one = of(settings({variable: canary}), name)
    asked = RequestHead(b"POST", target, b"1.1", (field(b"Host", b"172.30.0.30:10000"), field(*sent)))
    head = prepare_request(asked, NO_BODY, access=one.access, keys=one.keys)
    assert head.target == upstream
    carriers = [
        (lower, value)
        for lower, _, value in head.fields
        if lower in (b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key")
    ]
    assert carriers == [(injected[0].lower(), injected[1].replace(b"{}", canary.encode()))]


# --- egress -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "host"),
    [
        ({"HTTPS_PROXY": PROXY}, "172.30.0.10"),
        ({"HTTP_PROXY": PROXY}, "172.30.0.10"),
        ({"HTTPS_PROXY": PROXY, "HTTP_PROXY": "http://other:3128"}, "172.30.0.10"),
        ({"HTTPS_PROXY": "", "HTTP_PROXY": PROXY}, "172.30.0.10"),
        ({"https_proxy": "http://other:3128", "HTTP_PROXY": PROXY}, "172.30.0.10"),
    ],
)
def test_proxy_is_upper_case_https_proxy_else_http_proxy(environ: dict[str, str], host: str) -> None:
    made = settings(environ)
    assert made.egress == Egress(host, 3128)
    assert not any("DIRECT" in warning for warning in made.warnings)


@pytest.mark.parametrize("environ", [{}, {"https_proxy": PROXY, "http_proxy": PROXY}])
def test_without_one_it_is_direct_and_said_loudly(environ: dict[str, str]) -> None:
    made = settings(environ)
    assert made.egress is None
    assert any(warning.startswith("DIRECT EGRESS") for warning in made.warnings)


def test_default_profile_still_refuses_to_go_direct(canary: str) -> None:
    with pytest.raises(ConfigError, match="does not go direct by itself"):
        load(parse(()).values, {"OPENAI_API_KEY": canary}, lambda name: b"", lambda name: 0)


def test_credentials_in_the_proxys_url_are_not_shown() -> None:
    made = settings({"HTTPS_PROXY": "http://user:Secr3tWord@squid:3128"})
    shown = " ".join([str(made.egress), *(entry.shown for entry in made.entries), *made.warnings])
    assert "Secr3tWord" not in shown
    assert made.egress is not None
    assert made.egress.authorization is not None


# --- probes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "probe"),
    [(None, Probe.AFTER), ("warn", Probe.AFTER), ("off", Probe.OFF), ("strict", Probe.STRICT),
     ("STRICT", Probe.STRICT), ("", Probe.AFTER)],
)  # fmt: skip
def test_keys_are_checked_as_awf_validate_keys_says(value: str | None, probe: Probe) -> None:
    made = settings({} if value is None else {"AWF_VALIDATE_KEYS": value})
    assert made.probe is probe


def test_word_that_awf_validate_keys_does_not_have_is_taken_as_warn_and_said() -> None:
    made = settings({"AWF_VALIDATE_KEYS": "stric"})
    assert made.probe is Probe.AFTER
    assert any("AWF_VALIDATE_KEYS" in warning and "stric" in warning for warning in made.warnings)


def test_awf_validate_keys_means_nothing_to_the_default_profile(canary: str) -> None:
    environ = {"OPENAI_API_KEY": canary, "HTTPS_PROXY": PROXY, "AWF_VALIDATE_KEYS": "off"}
    assert load(parse(()).values, environ, lambda name: b"", lambda name: 0).probe is Probe.TRY


@pytest.mark.parametrize(
    ("name", "environ", "probed"),
    [
        ("openai", {}, True),
        ("openai", {"OPENAI_API_TARGET": "llm.example"}, False),
        ("openai", {"COPILOT_PROVIDER_TYPE": "azure",
                    "COPILOT_PROVIDER_BASE_URL": "https://x.openai.azure.com/openai/v1"}, False),
        ("anthropic", {}, True),
        ("anthropic", {"ANTHROPIC_API_TARGET": "llm.example"}, False),
        ("copilot", {"COPILOT_GITHUB_TOKEN": "gho_x1y2z3"}, True),
        ("copilot", {"COPILOT_GITHUB_TOKEN": "gho_x1y2z3", "COPILOT_API_TARGET": "copilot-api.a.ghe.com"},
         False),
        ("copilot", {"COPILOT_PROVIDER_API_KEY": "sk-x1y2z3"}, False),
        ("gemini", {"GEMINI_API_TARGET": "llm.example"}, False),
    ],
)  # fmt: skip
def test_key_for_another_origin_is_not_checked(name: str, environ: dict[str, str], probed: bool) -> None:
    assert of(settings(environ), name).access.probed is probed


# --- targets and base paths -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    ["llm.example", " llm.example ", "https://llm.example", "https://llm.example:8443/a?b#c",
     "https://user:word@llm.example", "llm.example:8443", "LLM.example"],
)  # fmt: skip
def test_of_a_target_only_the_host_is_kept(value: str) -> None:
    made = settings({"OPENAI_API_TARGET": value, "OPENAI_API_KEY": "sk-x1y2z3"})
    assert of(made, "openai").access.origin == Origin("llm.example", 443)
    dropped = value.strip() not in ("llm.example", "https://llm.example", "LLM.example")
    assert any("OPENAI_API_TARGET" in warning for warning in made.warnings) is dropped
    assert not any("user:word" in warning for warning in made.warnings)


def test_blank_target_is_none() -> None:
    assert of(settings({"OPENAI_API_TARGET": "  "}), "openai").access.origin == Origin("api.openai.com")


def test_options_own_target_keeps_its_port() -> None:
    one = of(settings({}, "--target", "llm.example:8443"), "openai")
    assert one.access.origin == Origin("llm.example", 8443)


def test_target_in_plain_http_is_refused() -> None:
    assert "OPENAI_API_TARGET" in refusal({"OPENAI_API_TARGET": "http://llm.example"})
    assert "show the key to the network" in refusal({"OPENAI_API_TARGET": "http://llm.example"})


def test_target_that_cannot_be_read_does_not_send_the_key_to_the_usual_host() -> None:
    assert "ANTHROPIC_API_TARGET" in refusal({"ANTHROPIC_API_TARGET": "not a host"})


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({}, b"/v1"),
        ({"OPENAI_API_TARGET": "llm.example"}, b""),
        ({"OPENAI_API_BASE_PATH": " v2/ "}, b"/v2"),
        ({"OPENAI_API_BASE_PATH": "/v2//"}, b"/v2/"),
        ({"OPENAI_API_BASE_PATH": "/"}, b""),
        ({"OPENAI_API_BASE_PATH": " "}, b"/v1"),
        ({"OPENAI_API_TARGET": "llm.example", "OPENAI_API_BASE_PATH": "/serving"}, b"/serving"),
    ],
)
def test_base_path_is_written_as_there(environ: dict[str, str], path: bytes) -> None:
    assert of(settings(environ), "openai").access.base_path == path


def test_name_of_an_auth_field_that_is_none_is_refused() -> None:
    assert "AWF_OPENAI_AUTH_HEADER" in refusal({"AWF_OPENAI_AUTH_HEADER": "not a name"})


# --- stopping ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, 8.0), ("3000", 3.0), ("1", 0.001), ("8000ms", 8.0), ("0", 8.0), ("-5", 8.0), ("soon", 8.0)],
)
def test_shutdown_timeout_is_in_milliseconds(value: str | None, seconds: float) -> None:
    environ = {} if value is None else {"AWF_API_PROXY_SHUTDOWN_TIMEOUT_MS": value}
    made = settings(environ)
    assert made.deadlines.drain == seconds
    is_none = value in ("0", "-5", "soon")
    assert any("SHUTDOWN_TIMEOUT" in warning for warning in made.warnings) is is_none


# --- what is not honoured ---------------------------------------------------------------------------

SET = {
    "AWF_MAX_RUNS": "5", "AWF_RATE_LIMIT_ENABLED": "true", "AWF_AUTH_TYPE": "github-oidc",
    "AWF_AUTH_AZURE_TENANT_ID": "t", "OTEL_EXPORTER_OTLP_ENDPOINT": "https://o",
    "AWF_ANTHROPIC_STRIP_ANSI": "1", "AWF_ALLOWED_MODELS": '["gpt-5"]', "ACTIONS_ID_TOKEN_REQUEST_URL": "https://t",
}  # fmt: skip


def test_what_is_not_honoured_is_named_in_one_warning() -> None:
    (warning,) = [one for one in settings(SET).warnings if "NOT HONOURED" in one]
    for name in SET:
        assert name in warning
    assert "t" not in warning.split(" ")
    assert "https://o" not in warning


@pytest.mark.parametrize(
    "environ",
    [{}, {"AWF_RATE_LIMIT_ENABLED": "false", "AWF_MAX_RUNS": "", "AWF_ANTHROPIC_AUTO_CACHE": "0"},
     {"AWF_VERSION": "1.2.3", "AWF_PLATFORM_TYPE": "ghes", "AWF_VALIDATE_KEYS": "off",
      "AWF_API_PROXY_LOG_DIR": "/x", "AWF_REQUESTED_MODEL": "gpt-5", "AWF_PROVIDER_SESSION_ID": "s",
      "AWF_BYOK_EXTRA_HEADERS": "{}", "AWF_SENSITIVE_OPENAI_TARGET": "h", "NODE_EXTRA_CA_CERTS": ""}],
)  # fmt: skip
def test_what_is_off_honoured_or_harmless_is_not_named(environ: dict[str, str]) -> None:
    assert not_honoured(environ) == ()
    assert not [one for one in settings(environ).warnings if "NOT HONOURED" in one]


def test_each_name_not_honoured_is_one_that_could_be_set() -> None:
    for pattern in NOT_HONOURED:
        assert not_honoured({pattern.replace("*", "X"): "1"})


def test_default_profile_says_nothing_of_the_sidecars_variables(canary: str) -> None:
    environ = {"OPENAI_API_KEY": canary, "HTTPS_PROXY": PROXY, **SET}
    assert load(parse(()).values, environ, lambda name: b"", lambda name: 0).warnings == ()
