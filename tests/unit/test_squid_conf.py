"""`awfproxy squid-conf`: the text of the configuration, what is refused, and where values come from."""

import re
from pathlib import Path

import pytest

from awfproxy.cli import squid_conf as verb
from awfproxy.cli.main import main as console
from awfproxy.settings.syntax import LONGEST_WAIT
from awfproxy.squid import included, listen, source, squid_conf
from awfproxy.wire.target import Origin

SOURCES = ("172.30.0.30",)


def lines(*origins: Origin, sources: tuple[str, ...] = SOURCES, **more: object) -> list[str]:
    """The configuration's lines without comments."""
    text = squid_conf(origins, [source(each) for each in sources], **more)  # type: ignore[arg-type]
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def value(found: list[str], directive: str) -> str:
    (one,) = (line for line in found if line.startswith(directive + " "))
    return one.removeprefix(directive + " ")


# --- the rules --------------------------------------------------------------------------------------


def test_rules_allow_each_host_at_its_own_ports_from_awfproxy_and_deny_the_rest() -> None:
    found = lines(Origin("api.openai.com"), Origin("llm.test", 8443), Origin("llm.test", 9443))
    assert [line for line in found if line.startswith("acl ")] == [
        "acl awfproxy src 172.30.0.30",
        "acl awfproxy_connect method CONNECT",
        "acl awfproxy_host_1 dstdomain -n api.openai.com",
        "acl awfproxy_port_1 port 443",
        "acl awfproxy_host_2 dstdomain -n llm.test",
        "acl awfproxy_port_2 port 8443 9443",
    ]
    assert [line for line in found if line.startswith("http_access ")] == [
        "http_access deny manager",
        "http_access deny awfproxy_host_1 !awfproxy",
        "http_access deny awfproxy_host_2 !awfproxy",
        "http_access allow awfproxy awfproxy_connect awfproxy_host_1 awfproxy_port_1",
        "http_access allow awfproxy awfproxy_connect awfproxy_host_2 awfproxy_port_2",
        "http_access deny all",
    ]


def test_no_origin_is_no_tunnel() -> None:
    assert [line for line in lines() if "http_access" in line] == [
        "http_access deny manager",
        "http_access deny all",
    ]


@pytest.mark.parametrize("host", ["10.0.0.5", "2001:db8::7"])
def test_origin_that_is_an_address_is_compared_as_one(host: str) -> None:
    assert f"acl awfproxy_host_1 dst -n {host}" in lines(Origin(host))


def test_origin_that_several_providers_share_is_there_once() -> None:
    assert lines(Origin("a.test"), Origin("a.test")) == lines(Origin("a.test"))


def test_sources_that_another_covers_are_left_out() -> None:
    sources = ("172.30.0.30", "fd00::30", "172.30.0.16/28", "172.30.0.30", "10.0.0.0/8")
    assert value(lines(sources=sources), "acl awfproxy src") == "10.0.0.0/8 172.30.0.16/28 fd00::30"


def test_included_files_stand_after_all_settings_and_the_guard_and_before_what_is_allowed() -> None:
    found = lines(Origin("a.test"), include=["/etc/squid/a.conf", "/etc/squid/b/*.conf"])
    first = found.index("include /etc/squid/a.conf")
    assert found[first + 1] == "include /etc/squid/b/*.conf"
    assert found[first - 1] == "http_access deny awfproxy_host_1 !awfproxy"
    assert all(line.startswith("http_access ") for line in found[first + 2 :])
    assert found[-1] == "http_access deny all"


# --- the settings -----------------------------------------------------------------------------------


def seconds(found: list[str], directive: str) -> int:
    number, unit = value(found, directive).split()
    return int(number) * {"seconds": 1, "days": 86400}[unit]


@pytest.mark.parametrize("deadline", [10.0, 5.0, 60.0])
def test_squid_gives_up_on_a_tunnel_before_awfproxy_does(deadline: float) -> None:
    found = lines(Origin("a.test"), connect_deadline=deadline)
    assert 0 < seconds(found, "connect_timeout") < seconds(found, "forward_timeout") < deadline


@pytest.mark.parametrize("servers", [1, 2, 3])
@pytest.mark.parametrize("deadline", [10.0, 5.0, 60.0])
def test_squid_gives_up_on_a_name_before_it_gives_up_on_the_way(deadline: float, servers: int) -> None:
    """It looks at `dns_timeout` only when it would ask again, each time round after twice the pause."""
    found = lines(Origin("a.test"), connect_deadline=deadline)
    passed, sent = 0, 0
    while passed < seconds(found, "dns_timeout") or not passed:
        passed += seconds(found, "dns_retransmit_interval") << sent // servers
        sent += 1
    assert passed < seconds(found, "forward_timeout")


def test_no_deadline_is_so_short_that_squid_has_none() -> None:
    found = lines(Origin("a.test"), connect_deadline=0.1, drain_deadline=0.0)
    for name in "connect_timeout", "forward_timeout", "dns_timeout", "dns_retransmit_interval":
        assert seconds(found, name) == 1
    assert seconds(found, "shutdown_lifetime") == 1


@pytest.mark.parametrize("directive", ["read_timeout", "write_timeout", "client_lifetime"])
def test_no_tunnel_is_ended_before_the_longest_deadline_that_awfproxy_takes(directive: str) -> None:
    assert seconds(lines(), directive) > LONGEST_WAIT


def test_squid_outlasts_the_drain() -> None:
    assert seconds(lines(drain_deadline=45.5), "shutdown_lifetime") > 45.5


def test_there_are_descriptors_for_all_tunnels() -> None:
    found = lines(Origin("a.test"), Origin("b.test"), tunnels=4000)
    assert int(value(found, "max_filedescriptors")) > 2 * 2 * 4000


def test_nothing_is_cached_and_nothing_of_the_asker_goes_on() -> None:
    found = lines()
    assert value(found, "cache") == "deny all"
    assert not [line for line in found if line.startswith("cache_dir")]
    assert value(found, "forwarded_for") == "delete"
    for name in "Via", "X-Forwarded-For", "Forwarded":
        assert f"request_header_access {name} deny all" in found


def test_each_block_is_explained() -> None:
    text = squid_conf([Origin("a.test")], [source("10.0.0.1")], include=["/a"])
    for block in text.strip().split("\n\n"):
        assert block.startswith("# "), block
    assert all(len(line) <= 110 for line in text.splitlines() if line.startswith("#"))


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not an IP address"),
        ("awfproxy", "not an IP address"),
        ("172.30.0", "not an IP address"),
        ("172.30.0.30 all", "not an IP address"),
        ("172.30.0.30\nhttp_access allow all", "not an IP address"),
        ("fe80::1%eth0", "not an IP address"),
        ("fe80::1%a\nhttp_access allow all", "not an IP address"),
        ("172.30.0.30/24", "Give 172.30.0.30 for that address alone, or 172.30.0.0/24"),
        ("0.0.0.0/0", "every address"),
        ("::/0", "every address"),
        ("0.0.0.0", "every address"),
        ("::", "every address"),
    ],
)
def test_source_that_is_no_address_of_awfproxy_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        source(text)


@pytest.mark.parametrize("text", ["3128", "172.30.0.10:3128", "[fd00::10]:3128", "65535"])
def test_port_may_have_an_address(text: str) -> None:
    assert value(lines(http_port=listen(text)), "http_port").split()[0] == text


@pytest.mark.parametrize(
    "text",
    [
        "", "0", "65536", "x", "squid:3128", ":3128", "172.30.0:3128", "fd00::10:3128", "[fd00:::1]:3128",
        "3128 a", "3128\n",
    ],
)  # fmt: skip
def test_port_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="port"):
        listen(text)


@pytest.mark.parametrize(
    "text", ["", "local.conf", "/a b", '/"a"', "/a\nhttp_access allow all", "/a/", "/a#b", "/a\n"]
)
def test_included_file_that_squid_would_not_find_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="absolute name"):
        included(text)


# --- the verb ---------------------------------------------------------------------------------------


def said(capsys: pytest.CaptureFixture[str], *words: str, **environ: str) -> list[str]:
    named = [] if any(name.endswith("_KEY") for name in environ) else ["--providers", "openai"]
    assert verb.main(["--sidecar-src", "172.30.0.30", *named, *words], environ) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return [line for line in out.splitlines() if line and not line.startswith("#")]


def test_neither_key_nor_egress_proxy_is_needed_where_the_providers_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert said(capsys) == lines(Origin("api.openai.com"))


def test_exactly_the_providers_with_a_key_are_let_out(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, canary: str
) -> None:
    both = {"ANTHROPIC_API_KEY": canary, "GEMINI_API_KEY": canary}
    wanted = lines(Origin("api.anthropic.com"), Origin("generativelanguage.googleapis.com"))
    assert said(capsys, **both) == wanted
    file = tmp_path / "a.toml"
    file.write_text('[providers.mine]\nport = 10005\norigin = "llm.test:8443"\n')
    found = said(capsys, "--config", str(file), ANTHROPIC_API_KEY=canary, MINE_API_KEY=canary)
    assert found == lines(Origin("api.anthropic.com"), Origin("llm.test", 8443))


def test_two_providers_at_one_origin_are_let_out_once(
    capsys: pytest.CaptureFixture[str], canary: str
) -> None:
    keys = {"OPENAI_API_KEY": canary, "ANTHROPIC_API_KEY": canary}
    found = said(capsys, "--anthropic-target", "api.openai.com", **keys)
    assert found == lines(Origin("api.openai.com"))


def test_without_any_key_and_name_there_is_nothing_to_print(capsys: pytest.CaptureFixture[str]) -> None:
    assert verb.main(["--sidecar-src", "172.30.0.30"], {}) == 78
    assert "--providers openai,anthropic" in capsys.readouterr().err


def test_origin_is_the_one_that_the_daemon_would_connect_to(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "a.toml"
    file.write_text('target = "a.test:8443"\n')
    wanted = lines(Origin("a.test", 8443))
    assert said(capsys, "--target", "a.test:8443") == wanted
    assert said(capsys, OPENAI_API_TARGET="a.test:8443") == wanted
    assert said(capsys, "--config", str(file)) == wanted


def test_port_is_that_of_the_egress_proxy_unless_another_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, HTTPS_PROXY="http://user:word@squid:3129")
    assert value(found, "http_port").startswith("3129 ")
    assert "word" not in "\n".join(found)
    found = said(capsys, "--http-port", "10.0.0.1:3130", HTTPS_PROXY="http://squid:3129")
    assert value(found, "http_port").startswith("10.0.0.1:3130 ")
    assert value(said(capsys, "--egress-proxy", "direct"), "http_port").startswith("3128 ")


def test_sources_files_and_limits_of_the_command_line_are_used(capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "--sidecar-src", "172.30.0.31", "--include", "/a", "--include", "/b", "--connect-deadline", "5",
        "--drain-deadline", "60", "--pool-max", "10",
    )  # fmt: skip
    assert said(capsys, *words) == lines(
        Origin("api.openai.com"), sources=("172.30.0.30", "172.30.0.31"), include=["/a", "/b"],
        connect_deadline=5.0, drain_deadline=60.0, tunnels=10,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ([], 64, "--sidecar-src is missing. Give the address that awfproxy connects to Squid from"),
        (["--sidecar-src"], 64, "--sidecar-src needs a value"),
        (["--sidecar-src", "awfproxy"], 64, "--sidecar-src: 'awfproxy' is not an IP address"),
        (["--sidecar-source", "10.0.0.1"], 64, "Did you mean --sidecar-src?"),
        (["--sidecar-src", "10.0.0.1", "--http-port", "x"], 64, "--http-port: 'x' is not a port"),
        (
            ["--sidecar-src", "10.0.0.1", "--providers", "openai", "--include", "x"],
            64,
            "--include: 'x' is not the absolute name",
        ),
        (["--sidecar-src", "10.0.0.1", "--providers", "opena"], 64, "--providers names opena, but there are"),
        (["--sidecar-src", "10.0.0.1", "--target", "a b"], 78, "--target (command line)"),
    ],
)
def test_refusal_is_one_line_and_nothing_is_printed(
    capsys: pytest.CaptureFixture[str], words: list[str], code: int, text: str
) -> None:
    assert verb.main(words, {}) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("awfproxy: ")
    assert err.count("\n") == 1
    assert text in err


def test_daemon_does_not_know_the_verbs_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert console(["check", "--sidecar-src", "10.0.0.1"]) == 64
    assert "--sidecar-src is not an option" in capsys.readouterr().err


def test_console_script_has_the_verb_and_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert console(["squid-conf", "--help"]) == 0
    out = capsys.readouterr().out
    for option in verb.OWN:
        assert f"  {option.usage}" in out
    assert "--target HOST[:PORT]" in out
