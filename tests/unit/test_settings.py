"""Settings: where values come from, how they are written, and what every refusal says."""

from collections.abc import Mapping

import attrs
import pytest

from awfproxy.errors.configuration import ConfigError
from awfproxy.settings.commandline import help_text, parse
from awfproxy.settings.load import load
from awfproxy.settings.options import BY_NAME, OPTIONS, PROVIDER_SETTINGS, CommandLineError
from awfproxy.settings.provider import ProviderSettings
from awfproxy.settings.syntax import Egress
from awfproxy.settings.values import Deadlines, Entry, PoolLimits, Probe, Settings, WebSocketLimits
from awfproxy.wire.target import Origin, join_base_path

PROXY = "http://squid:3128"


@pytest.fixture
def environ(canary: str) -> dict[str, str]:
    """The least with which the daemon starts."""
    return {"OPENAI_API_KEY": canary, "HTTPS_PROXY": PROXY}


def settings(environ: Mapping[str, str], *words: str, files: Mapping[str, str] | None = None) -> Settings:
    def read(name: str) -> bytes:
        if name not in (files or {}):
            raise FileNotFoundError(2, "No such file or directory", name)
        return (files or {})[name].encode("utf-8", "surrogateescape")

    return load(parse(words).values, environ, read, lambda name: 0o100600)


def only(made: Settings) -> ProviderSettings:
    """The settings of the only provider."""
    (one,) = made.providers
    return one


def listens(one: ProviderSettings) -> tuple[str, ...]:
    return tuple(map(str, one.listen))


def refusal(environ: Mapping[str, str], *words: str, files: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        settings(environ, *words, files=files)
    return str(caught.value)


def toml(environ: Mapping[str, str], text: str, *words: str) -> Settings:
    return settings(environ, "--config", "/etc/a.toml", *words, files={"/etc/a.toml": text})


def toml_refusal(environ: Mapping[str, str], text: str) -> str:
    return refusal(environ, "--config", "/etc/a.toml", files={"/etc/a.toml": text})


def entry(made: Settings, name: str) -> Entry:
    return next(one for one in made.entries if one.name == name)


# --- defaults and precedence ------------------------------------------------------------------------


def test_defaults(environ: dict[str, str]) -> None:
    made = settings(environ)
    assert listens(only(made)) == ("tcp:10000:interface=127.0.0.1",)
    assert only(made).access.origin == Origin("api.openai.com", 443)
    assert only(made).access.base_path == b"/v1"
    assert made.egress == Egress("squid", 3128)
    assert made.probe is Probe.TRY
    assert (made.startup_grace, made.startup_deadline) == (5.0, 60.0)
    assert made.deadlines == Deadlines()
    assert made.pool == PoolLimits()
    assert (made.max_connections, made.local_pages, made.log_format) == (2048, "", "text")
    assert (made.roots_file, made.extra_ca_files, made.warnings) == (None, (), ())
    assert made.leak_guard


def test_the_leak_guard_can_be_switched_off(environ: dict[str, str]) -> None:
    assert not settings(environ, "--leak-guard", "off").leak_guard
    assert not toml(environ, 'leak-guard = "off"').leak_guard


def test_websocket_has_limits_of_its_own_and_can_be_refused(environ: dict[str, str]) -> None:
    made = settings(environ)
    assert (only(made).websocket, made.websocket_limits) == (True, WebSocketLimits(1800.0, 86400.0))
    environ |= {"AWFPROXY_WEBSOCKET_LIFETIME": "60"}
    made = settings(environ, "--websocket", "refuse", "--websocket-idle-deadline", "2.5")
    assert (only(made).websocket, made.websocket_limits) == (False, WebSocketLimits(2.5, 60.0))


def test_defaults_of_the_table_are_those_of_the_values(environ: dict[str, str], canary: str) -> None:
    made = settings(environ)
    bare = Settings(made.providers, made.egress)
    for field in attrs.fields(Settings):
        if field.name not in ("closed", "entries", "warnings"):
            assert getattr(made, field.name) == getattr(bare, field.name)


def test_command_line_before_environment_before_file_before_default(environ: dict[str, str]) -> None:
    file = "port = 10003"
    both = environ | {"AWFPROXY_PORT": "10002"}
    for made, number, source in (
        (toml(both, file, "--port", "10001"), "10001", "command line"),
        (toml(both, file), "10002", "environment variable AWFPROXY_PORT"),
        (toml(environ, file), "10003", "/etc/a.toml: port"),
        (settings(environ), "10000", "default"),
    ):
        assert listens(only(made)) == (f"tcp:{number}:interface=127.0.0.1",)
        assert entry(made, "port") == Entry("port", number, source)


def test_our_own_variable_comes_before_the_shared_ones_in_their_order(environ: dict[str, str]) -> None:
    shared = {"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:2"}
    made = settings(environ | shared | {"AWFPROXY_EGRESS_PROXY": "http://c:3"})
    assert str(made.egress) == "http://c:3"
    assert str(settings(environ | shared).egress) == "http://a:1"
    assert str(settings(environ | shared | {"HTTPS_PROXY": ""}).egress) == "http://b:2"
    assert str(toml(environ | shared, 'egress-proxy = "d:4"').egress) == "http://a:1"


def test_every_option_is_an_environment_variable(environ: dict[str, str]) -> None:
    for option in BY_NAME.values():
        variable = "AWFPROXY_" + option.name.upper().replace("-", "_")
        text = refusal(environ | {variable: "\0"})
        assert text.startswith(f"--{option.name} (environment variable {variable}): ")


def test_every_option_but_config_is_a_key_of_the_file(environ: dict[str, str]) -> None:
    for option in (*OPTIONS, *PROVIDER_SETTINGS):
        text = toml_refusal(environ, f"{option.name} = {'7' if option.switch else 'true'}")
        if option.in_file:
            assert text.startswith(f"--{option.name} (/etc/a.toml: {option.name}): ")
        else:
            assert option.name == "config"
            assert "Remove it" in text


def test_switch_is_true_by_its_name_alone_and_by_true_in_the_environment_and_the_file(
    environ: dict[str, str],
) -> None:
    assert not settings(environ).reuse_port
    assert settings(environ, "--reuse-port").reuse_port
    assert settings(environ, "--reuse-port", "--port", "7").reuse_port
    assert settings(environ | {"AWFPROXY_REUSE_PORT": "true"}).reuse_port
    assert toml(environ, "reuse-port = true").reuse_port
    assert not settings(environ | {"AWFPROXY_REUSE_PORT": "true"}, "--reuse-port=false").reuse_port
    assert entry(settings(environ, "--reuse-port"), "reuse-port").shown == "true"
    assert "neither true nor false" in refusal(environ | {"AWFPROXY_REUSE_PORT": "yes"})
    assert "Give true or false" in refusal(environ, "--reuse-port=")
    assert "Write reuse-port = true" in toml_refusal(environ, 'reuse-port = "true"')


def test_config_file_from_the_environment(environ: dict[str, str]) -> None:
    made = settings(
        environ | {"AWFPROXY_CONFIG": "/etc/b.toml"}, files={"/etc/b.toml": "max-connections = 7"}
    )
    assert made.max_connections == 7


def test_empty_value_is_refused_but_for_shared_variables(environ: dict[str, str]) -> None:
    assert "--egress-proxy (command line): its value is empty" in refusal(environ, "--egress-proxy", "")
    text = refusal(environ | {"AWFPROXY_PORT": ""})
    assert text.startswith("--port (environment variable AWFPROXY_PORT): its value is empty")
    assert "its value is empty" in refusal(environ | {"AWFPROXY_LISTEN": " "})
    assert "its value is empty" in toml_refusal(environ, "listen = []")
    empty = {
        "OPENAI_API_TARGET": "",
        "OPENAI_API_BASE_PATH": "",
        "SSL_CERT_FILE": "",
        "NODE_EXTRA_CA_CERTS": "",
    }
    assert only(settings(environ | empty)).access.base_path == b"/v1"


# --- the TOML file ----------------------------------------------------------------------------------


def test_all_types_of_the_file(environ: dict[str, str]) -> None:
    made = toml(
        environ,
        """
        listen = ["tcp:1", "unix:/run/a b"]
        allow-anonymous = true
        head-deadline = 2.5
        drain-deadline = 0
        pool-max = 12
        log-format = "json"
        probe = "require"
        local-pages = "off"
        """,
    )
    assert listens(only(made)) == ("tcp:1", "unix:/run/a b")
    assert (made.deadlines.head, made.deadlines.drain, made.pool.maximum) == (2.5, 0.0, 12)
    assert (made.log_format, made.probe, made.local_pages) == ("json", Probe.REQUIRE, None)
    assert listens(only(toml(environ, 'listen = "tcp:2"', "--allow-anonymous"))) == ("tcp:2",)


def test_unknown_key_is_refused_with_the_likely_one(environ: dict[str, str]) -> None:
    text = toml_refusal(environ, "egress_proxy = 'x:1'")
    assert text.startswith(
        "/etc/a.toml has a key that is no option: 'egress_proxy'. Did you mean egress-proxy?"
    )
    assert "'openai'" in toml_refusal(environ, "[openai]\nport = 1")


def test_key_in_the_file_is_refused_and_not_shown(environ: dict[str, str], canary: str) -> None:
    text = toml_refusal(environ, f'api_key = "{canary}"')
    assert "A key is never given there: use key-file" in text
    assert canary[8:16] not in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('port = "10000"', "is not a number. Write port = 10000"),
        ("port = 1.5", "not a whole number"),
        ("head-deadline = inf", "'inf' is not a number"),
        ("log-format = 3", "is not a string"),
        ("listen = [1]", 'or a list: listen = ["..."]'),
        ('port = [10000]', "is not a number"),
    ],
)  # fmt: skip
def test_wrong_type_in_the_file_is_refused(environ: dict[str, str], text: str, said: str) -> None:
    assert said in toml_refusal(environ, text)


def test_file_that_cannot_be_used_is_refused(environ: dict[str, str]) -> None:
    text = refusal(environ, "--config", "/nowhere")
    assert text.startswith("--config (command line): /nowhere cannot be read: No such file or directory.")
    assert "is not TOML" in toml_refusal(environ, "port 10000")
    assert "line 2" in toml_refusal(environ, "port = 1\nport = 2\n")
    assert "is not UTF-8" in toml_refusal(environ, "\udcff")


# --- the command line -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--prot", "1"), "--prot is not an option. Did you mean --port?"),
        (("--key", "x"), "--key is not an option. A key is never given there: use --key-file"),
        (("--por", "1"), "--por is not an option"),
        (("--port",), "--port needs a value: --port PORT"),
        (("10000",), "something on it that is no option"),
        (("-p", "10000"), "something on it that is no option"),
        (("--port", "1", "--port", "2"), "--port is given twice"),
        (("--port", "x"), "--port (command line): 'x' is not a whole number. Give one from 0 to 65535."),
        (("--port=1e3",), "'1e3' is not a whole number"),
        (("--port", "1_000"), "is not a whole number"),
        (("--idle-deadline", "10s"), "Give plain seconds without a unit"),
        (("--idle-deadline", "nan"), "is not a number"),
    ],
)
def test_command_line_that_is_not_well_formed_is_a_usage_error(
    environ: dict[str, str], words: tuple[str, ...], said: str
) -> None:
    with pytest.raises(CommandLineError) as caught:
        settings(environ, *words)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--port", "65536"), "Give a whole number from 0 to 65535"),
        (("--port", "-1"), "is out of range"),
        (("--port", "9" * 5000), "is out of range"),
        (("--head-deadline", "0"), "Give seconds above 0, up to 86400"),
        (("--drain-deadline", "-1"), "Give seconds from 0 to 86400"),
        (("--silence-deadline", "86401"), "is out of range"),
        (("--pool-max", "0"), "from 1 to 65535"),
        (("--max-connections", "0"), "from 1 to 1000000"),
        (("--pool-max", "2", "--pool-warm", "3"), "--pool-warm is 3 and --pool-max 2"),
        (("--probe", "maybe"), "Give try, require, off, after or strict"),
        (("--log-format", "JSON"), "Give text or json"),
        (("--bind", "localhost"), "Give 127.0.0.1 or ::1"),
        (("--listen", "10000"), "tcp:10000:interface=127.0.0.1"),
        (("--listen", "127.0.0.1:10000"), "is not a Twisted server endpoint"),
        (("--listen", "unix:/run/a\\"), "--listen (command line): it ends with a backslash"),
        (("--listen", "unix:/run/a:address=/run/b"), "it gives its address twice"),
        (("--local-pages", "health"), "does not begin with a slash"),
        (("--allow-origin", "*"), "Give SCHEME://HOST:PORT as browsers do, or null"),
        (("--allow-origin", "localhost:3000"), "Give SCHEME://HOST:PORT"),
        (("--allow-origin", "http://*"), "not a host name"),
        (("--allow-origin", "https://a.test/b"), "it is more than an origin"),
        (("--allow-origin", "https://user@a.test"), "it is more than an origin"),
        (("--allow-origin", "vscode-webview://a/b"), "SCHEME://* for all"),
        (("--ca-file", "/no/ca"), "--ca-file (command line): /no/ca cannot be read: No such file"),
    ],
)
def test_value_out_of_range_is_a_configuration_error(
    environ: dict[str, str], words: tuple[str, ...], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(environ, *words)
    assert said in str(caught.value)
    assert not isinstance(caught.value, CommandLineError)


def test_number_malformed_elsewhere_is_a_configuration_error(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(environ | {"AWFPROXY_PORT": "x"})
    assert not isinstance(caught.value, CommandLineError)


def test_port_set_by_kubernetes_is_explained(environ: dict[str, str]) -> None:
    assert "enableServiceLinks: false" in refusal(environ | {"AWFPROXY_PORT": "tcp://10.0.0.1:10000"})


def test_malformed_value_of_the_file_is_refused_though_it_is_not_used(environ: dict[str, str]) -> None:
    assert "/etc/a.toml: port" in refusal(
        environ, "--config", "/etc/a.toml", "--port", "1", files={"/etc/a.toml": "port = -1"}
    )


def test_value_that_could_be_a_misplaced_key_is_not_shown(environ: dict[str, str], canary: str) -> None:
    assert canary[8:16] not in refusal(environ, f"--{canary}")
    assert canary[8:16] not in toml_refusal(environ, f"{canary} = 1")
    assert canary[8:16] not in refusal(environ, "--port", canary)
    assert canary[8:16] not in refusal(environ, "--probe", canary)


def test_values_of_usage_options_are_taken(environ: dict[str, str]) -> None:
    listen = ["unix:/run/a", "unix:/run/b"]
    values: dict[str, str | list[str] | None] = {"listen": listen, "port": None, "ca-file": []}
    assert listens(only(load(values, environ, lambda _: b"", lambda _: 0))) == ("unix:/run/a", "unix:/run/b")


# --- listening --------------------------------------------------------------------------------------


def test_bind_and_port_make_an_endpoint(environ: dict[str, str]) -> None:
    every = settings(environ, "--bind", "0.0.0.0", "--port=0", "--allow-anonymous")
    assert listens(only(every)) == ("tcp:0:interface=0.0.0.0",)
    assert listens(only(settings(environ, "--bind", "::1"))) == ("tcp6:10000:interface=\\:\\:1",)


def test_listen_takes_the_place_of_port_and_bind(environ: dict[str, str]) -> None:
    made = settings(
        environ, "--listen", "unix:/run/a.sock", "--listen=systemd:domain=INET:index=0", "--port", "1"
    )
    assert listens(only(made)) == ("unix:/run/a.sock", "systemd:domain=INET:index=0")
    assert made.warnings == ("--port (command line) has no effect beside --listen (command line).",)
    assert entry(made, "port").shown == "not used, see listen"


def test_several_values_in_a_variable_are_separated_by_spaces(environ: dict[str, str]) -> None:
    two = {"AWFPROXY_LISTEN": "unix:/run/a  unix:/run/b"}
    assert listens(only(settings(environ | two))) == ("unix:/run/a", "unix:/run/b")


@pytest.mark.parametrize(
    ("text", "prefix"),
    [("off", None), ("/", ""), ("", ""), ("/_awfproxy", "/_awfproxy"), ("/a/b/", "/a/b")],
)
def test_local_pages_are_moved_or_off(environ: dict[str, str], text: str, prefix: str | None) -> None:
    assert settings(environ, "--local-pages", text).local_pages == prefix


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("null", b"null"),
        ("http://localhost:3000", b"http://localhost:3000"),
        ("HTTPS://App.Test/", b"https://app.test"),
        ("https://app.test:443", b"https://app.test"),
        ("http://app.test:443", b"http://app.test:443"),
        ("http://[::0001]:80", b"http://[::1]"),
        ("vscode-webview://*", b"vscode-webview://*"),
        ("app://obsidian.md", b"app://obsidian.md"),
    ],
)
def test_origin_of_pages_is_taken_as_browsers_write_it(
    environ: dict[str, str], text: str, origin: bytes
) -> None:
    assert settings(environ, "--allow-origin", text).allowed_origins == {origin}
    assert not settings(environ).allowed_origins


# --- the egress proxy -------------------------------------------------------------------------------


def test_no_egress_proxy_is_refused_never_direct(environ: dict[str, str]) -> None:
    for value in {}, {"HTTPS_PROXY": ""}:
        text = refusal({"OPENAI_API_KEY": environ["OPENAI_API_KEY"], **value})
        for way in (
            "--egress-proxy http://HOST:PORT",
            "AWFPROXY_EGRESS_PROXY",
            "HTTPS_PROXY",
            "--egress-proxy direct",
        ):
            assert way in text


def test_http_proxy_is_not_used(environ: dict[str, str]) -> None:
    del environ["HTTPS_PROXY"]
    assert "HTTP_PROXY is set, but" in refusal(environ | {"HTTP_PROXY": PROXY})


def test_direct_takes_the_word_and_is_warned_of_loudly(environ: dict[str, str]) -> None:
    made = settings(environ, "--egress-proxy", "direct")
    assert made.egress is None
    assert made.warnings[0].startswith("DIRECT EGRESS: --egress-proxy is direct (command line)")
    assert entry(made, "egress-proxy").shown == "direct"


@pytest.mark.parametrize(
    ("text", "host", "port", "authorization"),
    [
        ("squid:3128", "squid", 3128, None),
        ("http://squid_1.Corp:3128/", "squid_1.corp", 3128, None),
        ("HTTP://10.0.0.1:80", "10.0.0.1", 80, None),
        ("http://[::1]:3128", "::1", 3128, None),
        ("http://user:pass@squid:3128", "squid", 3128, b"Basic dXNlcjpwYXNz"),
        ("user:pass@squid:3128", "squid", 3128, b"Basic dXNlcjpwYXNz"),
        ("http://us%20er:p%40ss%2F@squid:3128", "squid", 3128, b"Basic dXMgZXI6cEBzcy8="),
        ("http://user:a:b@squid:3128", "squid", 3128, b"Basic dXNlcjphOmI="),
        ("http://user@squid:3128", "squid", 3128, b"Basic dXNlcjo="),
        ("http://%C3%BC:x@squid:3128", "squid", 3128, b"Basic w7w6eA=="),
    ],
)
def test_egress_proxy_url(
    environ: dict[str, str], text: str, host: str, port: int, authorization: bytes | None
) -> None:
    made = settings(environ, "--egress-proxy", text).egress
    assert made is not None
    assert (made.host, made.port) == (host, port)
    assert (made.authorization.reveal() if made.authorization else None) == authorization


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://squid:3128", "TLS to the egress proxy itself is not spoken"),
        ("socks5://squid:1080", "SOCKS"),
        ("socks5h://squid:1080", "SOCKS"),
        ("ftp://squid:1", "its scheme is not http"),
        ("http://squid", "it names no port"),
        ("squid", "it names no port"),
        ("http://squid:3128/path", "something follows the port"),
        ("http://squid:3128?x", "something follows the port"),
        ("http://squid:0", "its port is not a number from 1 to 65535"),
        ("http://squid:", "its port is not a number"),
        ("http://:3128", "names no host"),
        ("http://::1:3128", "several colons"),
        ("http://[::1:3128", "not closed by ]"),
        ("http://[squid]:3128", "not an IPv6 address"),
        ("http://1.2.3:3128", "not an IPv4 address"),
        ("http://squ id:3128", "space, control or non-ASCII"),
        ("http://squid:3128\n", "space, control or non-ASCII"),
        ("http://-squid:3128", "not a host name"),
    ],
)
def test_egress_proxy_that_cannot_be_used_is_refused_with_the_reason(
    environ: dict[str, str], text: str, said: str
) -> None:
    refused = refusal(environ | {"HTTPS_PROXY": text})
    assert refused.startswith("--egress-proxy (environment variable HTTPS_PROXY): ")
    assert said in refused


@pytest.mark.parametrize(
    "userinfo",
    [
        "name:hunter2/",
        "na@me:hunter2",
        "name:hunter2%",
        "na%3Ame:hunter2",
        "name:hunter2%0a",
        "name:hunter2 ",
    ],
)
def test_malformed_credentials_of_the_egress_proxy_are_refused_unseen(
    environ: dict[str, str], userinfo: str
) -> None:
    text = refusal(environ, "--egress-proxy", f"http://{userinfo}@squid:3128")
    assert "hunter2" not in text


def test_credentials_of_the_egress_proxy_are_never_shown(environ: dict[str, str], canary: str) -> None:
    made = settings(environ, "--egress-proxy", f"http://user:{canary}@squid:3128")
    shown = f"{made.egress} {made!r} {made.entries}"
    assert canary[8:16] not in shown
    assert entry(made, "egress-proxy").shown == "http://squid:3128, with user and password"


@pytest.mark.parametrize(
    "value",
    [
        "*",
        "api.openai.com",
        ".openai.com",
        "openai.com",
        "*.openai.com",
        "a, API.openai.com ,b",
        "api.openai.com:443",
    ],
)
@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_no_proxy_that_matches_is_a_warning_and_nothing_more(
    environ: dict[str, str], variable: str, value: str
) -> None:
    made = settings(environ | {variable: value})
    assert made.egress == Egress("squid", 3128)
    assert len(made.warnings) == 1
    assert made.warnings[0].startswith(f"{variable} has an entry that matches api.openai.com;")


@pytest.mark.parametrize(
    "value", ["", ",", "localhost,127.0.0.1,::1", "notopenai.com", "api.openai.com:80", "com.x"]
)
def test_no_proxy_for_others_is_no_warning(environ: dict[str, str], value: str) -> None:
    assert settings(environ | {"NO_PROXY": value}).warnings == ()


def test_no_proxy_ranges_match_addresses(environ: dict[str, str]) -> None:
    assert settings(environ | {"NO_PROXY": "10.0.0.0/8"}, "--target", "10.1.2.3").warnings
    assert settings(environ | {"NO_PROXY": "[fd00::1]"}, "--target", "[fd00::1]").warnings
    assert not settings(environ | {"NO_PROXY": "10.0.0.0/8"}, "--target", "11.1.2.3").warnings


# --- the provider -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("gateway.corp", Origin("gateway.corp", 443)),
        ("GATEWAY.corp:8443", Origin("gateway.corp", 8443)),
        ("https://gateway.corp", Origin("gateway.corp", 443)),
        ("https://gateway.corp:8443/", Origin("gateway.corp", 8443)),
        ("[fd00::1]:8443", Origin("fd00::1", 8443)),
        ("10.0.0.1", Origin("10.0.0.1", 443)),
    ],
)
def test_target_names_the_origin(environ: dict[str, str], text: str, origin: Origin) -> None:
    made = settings(environ | {"OPENAI_API_TARGET": text})
    assert only(made).access.origin == origin
    assert made.warnings == ()


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        ("https://gateway.corp/v1", "path"),
        ("gateway.corp/v1?a=b#c", "path, query, fragment"),
        ("https://name:hunter2@gateway.corp", "user and password"),
    ],
)
def test_parts_of_a_target_that_mean_nothing_are_dropped_with_a_warning(
    environ: dict[str, str], text: str, dropped: str
) -> None:
    made = settings(environ, "--target", text)
    assert only(made).access.origin == Origin("gateway.corp", 443)
    assert f"its {dropped} will not be used" in made.warnings[0]
    assert "hunter2" not in made.warnings[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http://gateway.corp", "plain http to the provider"),
        ("wss://gateway.corp", "its scheme is not https"),
        ("gateway.corp.", "without a dot at its end"),
        ("gate way", "not a host name"),
        ("https://", "names no host"),
        ("gateway.corp:99999", "its port is not a number"),
        ("g\u00e4teway.corp", "in ASCII"),
    ],
)
def test_target_that_cannot_be_used_is_refused(environ: dict[str, str], text: str, said: str) -> None:
    refused = refusal(environ | {"OPENAI_API_TARGET": text})
    assert refused.startswith("--target (environment variable OPENAI_API_TARGET): ")
    assert said in refused


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ((), b"/v1"),
        (("--target", "api.openai.com:8443"), b"/v1"),
        (("--target", "https://API.openai.com"), b"/v1"),
        (("--target", "gateway.corp"), b""),
        (("--target", "gateway.corp", "--base-path", "v1"), b"/v1"),
        (("--base-path", "/"), b""),
        (("--base-path", "/openai/v1/"), b"/openai/v1"),
        (("--base-path", "/a%20b//"), b"/a%20b/"),
    ],
)
def test_base_path(environ: dict[str, str], words: tuple[str, ...], path: bytes) -> None:
    assert only(settings(environ, *words)).access.base_path == path


@pytest.mark.parametrize("target", [b"/responses", b"/v1/responses"])
def test_both_forms_arrive_below_the_base_path(environ: dict[str, str], target: bytes) -> None:
    assert join_base_path(only(settings(environ)).access.base_path, target) == b"/v1/responses"


@pytest.mark.parametrize("text", ["//v1", "/v 1", "/v1?x", "/v1#x", "/\u00fc", "/v1\r\nX: y", "https://h/v1"])
def test_base_path_that_is_no_path_is_refused(environ: dict[str, str], text: str) -> None:
    assert refusal(environ | {"OPENAI_API_BASE_PATH": text}).startswith("--base-path (")


# --- trust ------------------------------------------------------------------------------------------


def test_ca_files_of_all_places_are_kept(environ: dict[str, str]) -> None:
    files = {"/roots": "", "/node": "", "/one": "", "/two": ""}
    variables = {"SSL_CERT_FILE": "/roots", "NODE_EXTRA_CA_CERTS": "/node"}
    made = settings(environ | variables, "--ca-file", "/one", "--ca-file", "/two", files=files)
    assert made.roots_file == "/roots"
    assert made.extra_ca_files == ("/node", "/one", "/two")
    assert entry(made, "trust: roots").source == "environment variable SSL_CERT_FILE"


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"])
def test_missing_ca_file_of_a_variable_is_refused(environ: dict[str, str], variable: str) -> None:
    assert f"{variable} (environment variable): /no/ca cannot be read" in refusal(
        environ | {variable: "/no/ca"}
    )


# --- what is shown ----------------------------------------------------------------------------------


def test_nothing_of_the_settings_shows_the_key(environ: dict[str, str], canary: str) -> None:
    made = settings(environ)
    shown = entry(made, "OpenAI key")
    assert shown == Entry("OpenAI key", "set, 56 characters", "environment variable OPENAI_API_KEY")
    assert canary[8:16] not in repr(made)


def test_every_option_has_an_entry(environ: dict[str, str]) -> None:
    names = [one.name for one in settings(environ).entries]
    assert names[: len(OPTIONS) + len(PROVIDER_SETTINGS)] == [
        option.name for option in (*OPTIONS, *PROVIDER_SETTINGS)
    ]


def test_misspelt_variable_is_a_warning(environ: dict[str, str]) -> None:
    made = settings(environ | {"AWFPROXY_EGRES_PROXY": "x", "AWFPROXY_SERVICE_HOST": "10.0.0.1"})
    assert made.warnings == (
        "The environment variable 'AWFPROXY_EGRES_PROXY' is no option's. Did you mean AWFPROXY_EGRESS_PROXY?",
    )


def test_help_names_every_option_with_its_default_and_shared_variables() -> None:
    text = help_text()
    assert max(map(len, text.splitlines())) <= 105
    words = text.split()
    for option in (*OPTIONS, *PROVIDER_SETTINGS):
        assert option.flag in words
    for option in BY_NAME.values():
        assert all(variable in text for variable in option.known_as)
    for option in OPTIONS:
        if option.default:
            assert f"default {option.default}" in " ".join(words)
    assert text.count("twistd -n --pidfile= awfproxy") > 3


# --- several providers ------------------------------------------------------------------------------

EVERY_KEY = (
    "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "COPILOT_GITHUB_TOKEN", "GEMINI_API_KEY", "GOOGLE_API_KEY",
)  # fmt: skip


def names(made: Settings) -> list[str]:
    return [one.provider.name for one in made.providers]


def test_each_provider_with_a_key_has_its_port_and_origin(canary: str) -> None:
    made = settings(dict.fromkeys(EVERY_KEY, canary) | {"HTTPS_PROXY": PROXY})
    assert [(one.provider.name, listens(one), one.access.origin.host) for one in made.providers] == [
        (name, (f"tcp:{port}:interface=127.0.0.1",), host)
        for name, port, host in (
            ("openai", 10000, "api.openai.com"),
            ("anthropic", 10001, "api.anthropic.com"),
            ("copilot", 10002, "api.githubcopilot.com"),
            ("gemini", 10003, "generativelanguage.googleapis.com"),
            ("vertex", 10004, "aiplatform.googleapis.com"),
        )
    ]
    assert made.closed == ()


def test_provider_without_a_key_is_closed(canary: str) -> None:
    made = settings({"ANTHROPIC_API_KEY": canary, "HTTPS_PROXY": PROXY})
    assert names(made) == ["anthropic"]
    assert made.closed == ("openai", "copilot", "gemini", "vertex")


def test_no_key_at_all_names_every_providers_variable() -> None:
    text = refusal({"HTTPS_PROXY": PROXY})
    for variable in (*EVERY_KEY, "--key-file", "LoadCredential=openai_api_key:", "awfproxy demo"):
        assert variable in text


@pytest.mark.parametrize("variable", [*EVERY_KEY, "COPILOT_PROVIDER_API_KEY"])
@pytest.mark.parametrize("value", ["", " "])
def test_key_that_is_set_but_empty_is_an_error_for_every_provider(
    environ: dict[str, str], variable: str, value: str
) -> None:
    assert f"environment variable {variable}" in refusal(environ | {variable: value})


def test_settings_of_another_provider_have_its_name_in_front(environ: dict[str, str], canary: str) -> None:
    environ |= {"ANTHROPIC_API_KEY": canary, "AWFPROXY_ANTHROPIC_BASE_PATH": "/a"}
    text = '[providers.anthropic]\nwebsocket = "refuse"\n[providers.openai]\nport = 10009\n'
    made = toml(environ, text, "--anthropic-port", "10011", "--anthropic-target", "a.test:8443")
    openai, anthropic = made.providers
    assert listens(openai) == ("tcp:10009:interface=127.0.0.1",)
    assert openai.websocket
    assert listens(anthropic) == ("tcp:10011:interface=127.0.0.1",)
    assert (anthropic.access.origin, anthropic.access.base_path) == (Origin("a.test", 8443), b"/a")
    assert not anthropic.websocket


def test_key_file_of_another_provider(environ: dict[str, str], canary: str) -> None:
    made = settings(environ, "--gemini-key-file", "/k", files={"/k": canary})
    assert names(made) == ["openai", "gemini"]
    assert made.providers[1].key_files == ("/k",)
    assert refusal(environ, "--gemini-key-file", "/none").startswith("The Gemini key's file")


def test_required_providers(environ: dict[str, str], canary: str) -> None:
    assert names(settings(environ, "--require", "openai")) == ["openai"]
    assert "no Anthropic key, which --require" in refusal(environ, "--require", "openai, anthropic")
    assert "there are openai, anthropic," in refusal(environ, "--require", "opena")
    assert "is not a list of providers" in refusal(environ, "--require", "A;B")


def test_one_port_is_not_for_two(environ: dict[str, str], canary: str) -> None:
    environ |= {"ANTHROPIC_API_KEY": canary}
    assert "openai and anthropic have the same port" in refusal(environ, "--anthropic-port", "10000")
    spelt = ("--listen", "unix:/run/a", "--anthropic-listen", "unix:mode=600:address=/run/a")
    assert "openai and anthropic have the same port" in refusal(environ, *spelt)
    both = settings(environ, "--port", "0", "--anthropic-port", "0")
    assert len(both.providers) == 2


OWN = '[providers.mine]\norigin = "llm.test:8443"\nport = 10005\n'


def test_provider_of_the_files_own(environ: dict[str, str], canary: str) -> None:
    more = 'base-path = "/api"\nauth-field = "X-Key"\nkey-variable = "THEIR_KEY"\nrules = ["allow GET /a"]\n'
    made = toml(environ | {"THEIR_KEY": canary}, OWN + more)
    one = made.providers[1]
    assert (one.provider.name, listens(one)) == ("mine", ("tcp:10005:interface=127.0.0.1",))
    assert (one.access.origin, one.access.base_path) == (Origin("llm.test", 8443), b"/api")
    assert one.access.keys[0].inject(b"k") == ((b"X-Key", b"k"),)
    assert [rule.text for rule in one.rules.rules] == ["allow GET /a"]
    assert toml(environ | {"MINE_API_KEY": canary}, OWN).providers[1].configured
    many = "".join(f'[providers.p{n}]\norigin = "h{n}"\nport = {n}\n' for n in range(20000, 20030))
    keys = {f"P{n}_API_KEY": canary for n in range(20000, 20030)}
    assert len(toml(environ | keys, many).providers) == 31


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (OWN, "no key for mine, which the --config file names. Give it in one of these ways: "),
        ("[providers.mine]\nport = 1", "is no provider that awfproxy knows, and names no origin"),
        ('[providers.mine]\norigin = "h"', "[providers.mine] names no port"),
        ('[providers.Mine]\norigin = "h"', "names a provider 'Mine'"),
        (OWN + "kez = 1", "[providers.mine] has a key that is no setting of a provider: 'kez'"),
        (OWN + 'key-variable = "A B"', "key-variable is not the name of an environment variable"),
        (OWN + "rules = 1", "[providers.mine] rules is not a list of strings"),
        (OWN + 'rules = ["allow GET /a", "permit"]', "rules, rule 2: a rule has three words"),
        ("providers = 1", "providers is not a table of tables"),
        ("[providers]\nopenai = 1", "providers is not a table of tables"),
        ("port = 1\n[providers.openai]\nport = 2", "[providers.openai] port is given in another place"),
        ("anthropic-port = 1", "has a key that is no option: 'anthropic-port'"),
        ("[providers.anthropic]\nport = true", "--anthropic-port"),
    ],
)
def test_tables_of_providers_that_cannot_be_used(environ: dict[str, str], text: str, said: str) -> None:
    assert said in toml_refusal(environ, text)


def test_variable_for_a_provider_of_the_files_own_is_a_warning(environ: dict[str, str], canary: str) -> None:
    made = toml(environ | {"MINE_API_KEY": canary, "AWFPROXY_MINE_PORT": "1"}, OWN)
    assert [warning for warning in made.warnings if "AWFPROXY_MINE_PORT has no effect" in warning]
    assert listens(made.providers[1]) == ("tcp:10005:interface=127.0.0.1",)


def test_rules_of_the_file_take_the_place_of_a_default(environ: dict[str, str], canary: str) -> None:
    environ |= {"COPILOT_GITHUB_TOKEN": canary}
    assert settings(environ).providers[1].rules.source == "Copilot's default"
    assert not toml(environ, "[providers.copilot]\nrules = []").providers[1].rules
    assert not settings(environ).providers[0].rules


BYOK_FILE = "/run/credentials/copilot_provider_api_key"
AT_OPENROUTER = {
    "HTTPS_PROXY": PROXY,
    "CREDENTIALS_DIRECTORY": "/run/credentials",
    "COPILOT_PROVIDER_BASE_URL": "https://openrouter.ai/api/v1",
}


def test_byok_key_that_is_a_systemd_credential_alone_is_noticed(canary: str) -> None:
    made = only(settings(AT_OPENROUTER, files={BYOK_FILE: canary + "\n"}))
    assert (made.access.origin, made.access.base_path) == (Origin("openrouter.ai"), b"/api/v1")
    assert [key and key.reveal() for key in made.keys] == [canary.encode()]
    assert made.key_sources == ("systemd credential copilot_provider_api_key",)
    assert made.key_files == (BYOK_FILE,)


def test_byok_key_and_githubs_token_may_both_be_systemd_credentials(canary: str) -> None:
    """With both the probe has the list of models to ask for, as with both in the environment."""
    environ = {"HTTPS_PROXY": PROXY, "CREDENTIALS_DIRECTORY": "/run/credentials"}
    files = {BYOK_FILE: canary, "/run/credentials/copilot_github_token": "ghp_" + canary}
    made = only(settings(environ, files=files))
    assert [use.variable for use in made.access.keys] == ["COPILOT_PROVIDER_API_KEY", "COPILOT_GITHUB_TOKEN"]
    assert all(made.keys)
    assert made.access.probed
    assert not only(settings(environ, files={BYOK_FILE: canary})).access.probed


@pytest.mark.parametrize("content", ["Bearer ", "ghu_" + "a" * 36, "dummy-byok-key-for-offline-mode\n"])
def test_systemd_credential_that_stands_in_for_a_byok_key_is_none(content: str, canary: str) -> None:
    environ = {**AT_OPENROUTER, "COPILOT_GITHUB_TOKEN": canary}
    made = only(settings(environ, files={BYOK_FILE: content}))
    assert [use.variable for use in made.access.keys] == ["COPILOT_GITHUB_TOKEN"]
    assert made.access.origin == Origin("api.githubcopilot.com")


@pytest.mark.parametrize("content", ["", "\n"])
def test_empty_byok_credential_is_an_error_unless_the_profile_takes_it_for_not_set(
    content: str, canary: str
) -> None:
    environ = {**AT_OPENROUTER, "OPENAI_API_KEY": canary}
    assert "systemd credential copilot_provider_api_key" in refusal(environ, files={BYOK_FILE: content})
    made = settings(environ, "--profile", "gh-aw", files={BYOK_FILE: content})
    assert [one.provider.name for one in made.providers if one.configured] == ["openai"]


def test_byok_key_in_the_environment_and_another_as_a_systemd_credential_are_an_error(canary: str) -> None:
    said = refusal(
        {**AT_OPENROUTER, "COPILOT_PROVIDER_API_KEY": canary}, files={BYOK_FILE: canary[::-1] + "x"}
    )
    assert "environment variable COPILOT_PROVIDER_API_KEY" in said
    assert "systemd credential copilot_provider_api_key" in said


def test_byok_credential_that_cannot_be_read_is_an_error_that_names_it() -> None:
    def read(name: str) -> bytes:
        if name == BYOK_FILE:
            raise PermissionError(13, "Permission denied", name)
        raise FileNotFoundError(2, "No such file or directory", name)

    with pytest.raises(ConfigError, match="systemd credential copilot_provider_api_key"):
        load(parse(()).values, AT_OPENROUTER, read, lambda name: 0o100600)


def test_azures_key_may_be_a_systemd_credential_and_openais_own_wins_over_it(canary: str) -> None:
    environ = {**AT_OPENROUTER, "COPILOT_PROVIDER_TYPE": "azure"}
    files = {BYOK_FILE: canary}
    assert settings(environ, files=files).providers[0].access.keys[0].variable == "COPILOT_PROVIDER_API_KEY"
    files |= {"/run/credentials/openai_api_key": canary}
    assert settings(environ, files=files).providers[0].access.keys[0].variable == "OPENAI_API_KEY"


def test_byok_at_an_own_endpoint_keeps_copilots_rules_below_its_base_path(canary: str) -> None:
    environ = {
        "HTTPS_PROXY": PROXY,
        "COPILOT_PROVIDER_API_KEY": canary,
        "COPILOT_PROVIDER_BASE_URL": "https://llm.test/openai/v1",
    }
    one = only(settings(environ))
    assert one.rules.judge(b"POST", b"/openai/v1/chat/completions").allowed
    assert not one.rules.judge(b"POST", b"/openai/v1/mcp/readonly").allowed
    assert not one.rules.judge(b"POST", b"/chat/completions").allowed


def test_profile_changes_defaults_and_nothing_that_is_given(environ: dict[str, str]) -> None:
    made = settings({"OPENAI_API_KEY": " Bearer " + environ["OPENAI_API_KEY"] + " "}, "--profile", "gh-aw")
    assert names(made) == ["openai", "anthropic", "copilot", "gemini", "vertex"]
    assert [one.configured for one in made.providers] == [True, False, False, False, False]
    assert made.egress is None
    assert listens(made.providers[1]) == ("tcp:10001:interface=0.0.0.0",)
    assert any("DIRECT EGRESS" in warning for warning in made.warnings)
    made = settings(environ, "--profile", "gh-aw", "--bind", "127.0.0.1")
    assert str(made.egress) == PROXY
    assert listens(made.providers[1]) == ("tcp:10001:interface=127.0.0.1",)
    assert str(settings({"HTTP_PROXY": "http://old:1"}, "--profile", "gh-aw").egress) == "http://old:1"


@pytest.mark.parametrize(
    ("arguments", "variables", "text", "dumpable"),
    [
        ((), {}, "", False),
        (("--dumpable",), {}, "", True),
        (("--dumpable=false",), {"AWFPROXY_DUMPABLE": "true"}, "", False),
        ((), {"AWFPROXY_DUMPABLE": "true"}, "dumpable = false", True),
        ((), {}, "dumpable = true", True),
        ((), {}, "dumpable = false", False),
    ],
)
def test_a_switch_is_on_by_its_name_alone(
    environ: dict[str, str], arguments: tuple[str, ...], variables: dict[str, str], text: str, dumpable: bool
) -> None:
    made = settings(environ | variables, *arguments, "--config", "/etc/a.toml", files={"/etc/a.toml": text})
    assert made.dumpable is dumpable


def test_a_switch_takes_no_other_value(environ: dict[str, str]) -> None:
    assert "neither true nor false" in refusal(environ, "--dumpable=yes")
    assert "not true or false. Write dumpable = true" in toml_refusal(environ, 'dumpable = "on"')
    assert "Give true or false, or leave it out" in refusal(environ | {"AWFPROXY_DUMPABLE": ""})
