"""`awfproxy demo`, up to the point where the reactor runs: its options, its environment, its words."""

import shlex

import pytest
from twisted.internet.address import IPv4Address, IPv6Address

from awfproxy.cli.demo import FIRST_LINE, command_line, environment, main, what_to_try
from awfproxy.credentials.secret import Secret
from awfproxy.settings.options import BY_NAME, CommandLineError

ADDRESS = IPv4Address("TCP", "127.0.0.1", 10000)
URL = "http://127.0.0.1:10000"


def commands(text):
    """The printed commands, as a shell reads them."""
    body = text.split("Try, in another terminal:\n\n")[1].split("\n\nNone of them")[0]
    return [shlex.split(command) for command in body.split("\n\n")]


def test_the_first_line_says_that_no_key_is_set():
    assert FIRST_LINE.startswith("awfproxy demo: no key is set")
    assert "stand-in" in FIRST_LINE


def test_the_printed_commands_are_two_of_curl_and_one_of_codex():
    models, stream, codex = commands(what_to_try(ADDRESS, {}))
    assert models == ["curl", f"{URL}/v1/models"]
    assert stream[:3] == ["curl", "-N", f"{URL}/v1/responses"]
    assert '"stream": true' in stream[-1]
    assert codex[:3] == ["codex", "exec", "--skip-git-repo-check"]
    assert (
        codex[-2]
        == f'model_providers.awfproxy={{name="awfproxy", base_url="{URL}/v1", wire_api="responses"}}'
    )


def test_the_printed_commands_name_no_key():
    assert "key" not in what_to_try(ADDRESS, {}).split("None of them")[0].lower()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_where_the_environment_has_a_proxy_the_commands_go_past_it(variable):
    for command in commands(what_to_try(ADDRESS, {variable: "http://proxy.example:3128"})):
        assert command[:2] == ["NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1"]


def test_an_https_proxy_alone_changes_nothing():
    assert what_to_try(ADDRESS, {"HTTPS_PROXY": "http://proxy.example:3128"}) == what_to_try(ADDRESS, {})


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:10000"),
        ("0.0.0.0", "http://127.0.0.1:10000"),
        ("::", "http://[::1]:10000"),
        ("192.0.2.7", "http://192.0.2.7:10000"),
    ],
)
def test_the_url_is_one_that_works_on_this_machine(host, url):
    kind = IPv6Address if ":" in host else IPv4Address
    for command in commands(what_to_try(kind("TCP", host, 10000), {})):
        assert any(url in word for word in command)


def test_the_daemon_sees_nothing_of_the_environment_but_the_demo_s_own_options(canary):
    around = {option.variable: "x" for option in BY_NAME.values()} | {
        name: "x"
        for name in (
            "OPENAI_API_KEY", "OPENAI_API_TARGET", "OPENAI_API_BASE_PATH", "HTTPS_PROXY", "https_proxy",
            "NO_PROXY", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "CREDENTIALS_DIRECTORY",
            "NOTIFY_SOCKET", "HOME",
        )
    }  # fmt: skip
    assert environment(around, Secret(canary.encode("ascii")), "/ca.pem") == {
        "OPENAI_API_KEY": canary,
        "SSL_CERT_FILE": "/ca.pem",
        "AWFPROXY_PORT": "x",
        "AWFPROXY_BIND": "x",
        "AWFPROXY_LOG_FORMAT": "x",
    }


def test_port_bind_and_log_format_are_taken():
    line = command_line(["--port", "0", "--bind=::1", "--log-format", "json"])
    assert (line.values["port"], line.values["bind"], line.values["log-format"]) == ("0", "::1", "json")


@pytest.mark.parametrize(
    "option", [option for option in BY_NAME.values() if option.name not in ("port", "bind", "log-format")]
)
def test_every_other_option_of_the_daemon_is_refused(option):
    with pytest.raises(CommandLineError, match=f"{option.flag} has no place in the demo"):
        command_line([option.flag] if option.switch else [option.flag, ""])


@pytest.mark.parametrize("arguments", [["--prot", "1"], ["--port"], ["models"], ["--egress-proxy", "direct"]])
def test_a_wrong_command_line_is_64_with_a_sentence(arguments, capsys):
    assert main(arguments, {}) == 64
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("awfproxy: ")
    assert err.count("\n") == 1


def test_help_says_what_the_demo_ignores(capsys):
    assert main(["--help"], {}) == 0
    out = capsys.readouterr().out
    ignored = out.partition("Ignored")[2]
    for name in ("OPENAI_API_KEY", "HTTPS_PROXY", "NO_PROXY", "OPENAI_API_TARGET", "SSL_CERT_FILE"):
        assert name in ignored
