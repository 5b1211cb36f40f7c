"""Who may call, as the operator writes it: where it may be listened, the files, users and groups."""

import grp
import os
import pwd
from collections.abc import Callable, Mapping

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from awfproxy.callers.allowed import Allowed, Peer
from awfproxy.callers.endpoint import parse_endpoint
from awfproxy.callers.reach import Reach, is_loopback, reach
from awfproxy.errors.configuration import ConfigError
from awfproxy.service.places import is_local
from awfproxy.service.reload import key_files
from awfproxy.settings.accounts import group, user
from awfproxy.settings.commandline import parse
from awfproxy.settings.load import load
from awfproxy.settings.values import Settings
from tests.kit.tokens import KEY

Seen = Callable[[str, str, str], None]
KEY_TEXT = KEY.decode()
FILES = {"/etc/token.key": KEY_TEXT + "\n", "/etc/revoked": "job-1\n# old\njob-2\n"}
TOKENS = ("--token-key-file", "/etc/token.key")


@pytest.fixture
def environ(canary: str) -> dict[str, str]:
    return {"OPENAI_API_KEY": canary, "HTTPS_PROXY": "http://squid:3128"}


def settings(
    environ: Mapping[str, str], *words: str, files: Mapping[str, str] = FILES, mode: int = 0o100600
) -> Settings:
    def read(name: str) -> bytes:
        if name not in files:
            raise FileNotFoundError(2, "No such file or directory", name)
        return files[name].encode()

    return load(parse(words).values, environ, read, lambda name: mode)


def refusal(environ: Mapping[str, str], *words: str, files: Mapping[str, str] = FILES) -> str:
    with pytest.raises(ConfigError) as caught:
        settings(environ, *words, files=files)
    return str(caught.value)


# --- where it may be listened -----------------------------------------------------------------------

PLACES = [
    ("tcp:10000:interface=127.0.0.1", Reach.LOCAL),
    ("tcp:10000:interface=127.8.9.1", Reach.LOCAL),
    ("tcp6:10000:interface=\\:\\:1", Reach.LOCAL),
    ("tcp6:10000:interface=\\:\\:ffff\\:127.0.0.1", Reach.LOCAL),
    ("ssl:10000:privateKey=k:interface=127.0.0.1", Reach.LOCAL),
    ("unix:/run/awfproxy.sock", Reach.LOCAL),
    ("unix:/run/awfproxy.sock:mode=666", Reach.LOCAL),
    ("tcp:10000", Reach.ELSEWHERE),
    ("tcp:10000:interface=", Reach.ELSEWHERE),
    ("tcp:10000:backlog=5", Reach.ELSEWHERE),
    ("tcp:10000:interface=0.0.0.0", Reach.ELSEWHERE),
    ("tcp:10000:interface=172.30.0.30", Reach.ELSEWHERE),
    ("tcp:10000:interface=127.0.0.1:interface=0.0.0.0", Reach.ELSEWHERE),
    ("tcp6:10000", Reach.ELSEWHERE),
    ("tcp6:10000:interface=\\:\\:", Reach.ELSEWHERE),
    ("tcp6:10000:interface=fd00\\:\\:30", Reach.ELSEWHERE),
    ("ssl:10000:privateKey=interface\\=127.0.0.1", Reach.ELSEWHERE),
    ("ssl:10000:privateKey=/a:certKey=/b", Reach.ELSEWHERE),
    ("tcp:10000:127.0.0.1", Reach.LOCAL),
    ("tcp:10000:0.0.0.0", Reach.ELSEWHERE),
    ("tcp6:10000:127.0.0.1", Reach.ELSEWHERE),
    ("tcp:10000:interface=localhost", Reach.UNKNOWN),
    ("systemd:domain=INET:index=0", Reach.UNKNOWN),
    ("haproxy:tcp:10000:interface=127.0.0.1", Reach.UNKNOWN),
    ("fd:3", Reach.UNKNOWN),
]  # fmt: skip


@pytest.mark.parametrize(("description", "expected"), PLACES)
def test_description_tells_who_reaches_it_or_that_it_does_not_tell(description: str, expected: Reach) -> None:
    assert reach(parse_endpoint(description)) is expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (IPv4Address("TCP", "127.0.0.1", 1), True),
        (IPv4Address("TCP", "0.0.0.0", 1), False),
        (IPv4Address("TCP", "10.0.0.1", 1), False),
        (IPv6Address("TCP", "::1", 1), True),
        (IPv6Address("TCP", "::ffff:127.0.0.1", 1), True),
        (IPv6Address("TCP", "::", 1), False),
        (IPv6Address("TCP", "fe80::1%eth0", 1), False),
        (UNIXAddress("/run/a"), True),
        (object(), False),
    ],
)
def test_open_socket_s_address_tells(address: object, expected: bool) -> None:
    assert is_local(address) is expected
    assert not is_loopback("localhost")


ELSEWHERE = [
    ("--bind", "0.0.0.0"),
    ("--bind", "::"),
    ("--bind", "172.30.0.30"),
    ("--listen", "tcp:10000"),
    ("--listen", "unix:/run/a.sock", "--listen", "tcp:10000:interface=0.0.0.0"),
    ("--listen", "ssl:10000"),
]


@pytest.mark.parametrize("words", ELSEWHERE, ids=" ".join)
def test_place_that_others_reach_takes_tokens_or_a_word(
    words: tuple[str, ...], environ: dict[str, str], outcome: Seen
) -> None:
    said = refusal(environ, *words)
    assert said.startswith(f"{words[-2]} (command line): ")
    for part in ("--token-key-file", "--allow-anonymous", "127.0.0.1", "unix socket"):
        assert part in said
    with_tokens = settings(environ, *words, *TOKENS)
    assert not with_tokens.warnings
    said_so = settings(environ, *words, "--allow-anonymous")
    (warning,) = said_so.warnings
    assert warning.startswith("ANONYMOUS CALLERS: --allow-anonymous (command line) is in force")
    outcome("Who may call", "listening elsewhere, nobody asked", "exit 78, names option, place and fixes")


def test_word_is_true_by_its_name_alone_and_by_true_in_the_environment_and_the_file(
    environ: dict[str, str],
) -> None:
    bind = environ | {"AWFPROXY_BIND": "0.0.0.0"}
    for words in (("--allow-anonymous",), ("--allow-anonymous", "--port", "7"), ("--allow-anonymous=true",)):
        assert settings(bind, *words).callers.anonymous
    assert settings(bind | {"AWFPROXY_ALLOW_ANONYMOUS": "true"}).callers.anonymous
    files = {"/etc/a.toml": "allow-anonymous = true"}
    assert settings(bind, "--config", "/etc/a.toml", files=files).callers.anonymous
    assert "neither true nor false" in refusal(bind | {"AWFPROXY_ALLOW_ANONYMOUS": "yes"})
    assert "Give true or false" in refusal(bind, "--allow-anonymous=")


def test_place_of_this_machine_alone_takes_nothing(environ: dict[str, str]) -> None:
    for words in ((), ("--bind", "::1"), ("--listen", "unix:/run/a.sock"), ("--allow-anonymous",)):
        assert not settings(environ, *words).warnings


def test_other_provider_s_place_is_named_by_its_option_and_one_without_a_port_is_not(
    environ: dict[str, str], canary: str
) -> None:
    words = ("--anthropic-listen", "tcp:10001")
    assert settings(environ, *words)
    said = refusal(environ | {"ANTHROPIC_API_KEY": canary}, *words)
    assert said.startswith("--anthropic-listen (command line)")
    said = refusal(environ | {"AWFPROXY_BIND": "::"})
    assert said.startswith("--bind (environment variable AWFPROXY_BIND)")


def test_sidecar_s_profile_says_the_word_loudly_and_can_be_contradicted(environ: dict[str, str]) -> None:
    made = settings(environ, "--profile", "gh-aw")
    assert any("ANONYMOUS CALLERS" in warning and "0.0.0.0" in warning for warning in made.warnings)
    assert "--bind" in refusal(environ, "--profile", "gh-aw", "--allow-anonymous=false")
    made = settings(environ, "--profile", "gh-aw", *TOKENS)
    assert not any("ANONYMOUS" in warning for warning in made.warnings)


# --- the files --------------------------------------------------------------------------------------


def test_key_and_labels_are_read_and_their_files_watched(environ: dict[str, str]) -> None:
    made = settings(environ, *TOKENS, "--revoked-labels-file", "/etc/revoked")
    assert made.callers.in_force is not None
    assert [key.reveal() for key in made.callers.in_force.keys] == [KEY]
    assert made.callers.in_force.revoked == {"job-1", "job-2"}
    assert key_files(made) == ["/etc/token.key", "/etc/revoked"]
    assert settings(environ).callers.in_force is None
    assert KEY_TEXT not in repr(made)


@pytest.mark.parametrize(
    ("words", "files", "parts"),
    [
        (TOKENS, {}, ["--token-key-file (command line): /etc/token.key cannot be read: No such file"]),
        (TOKENS, {"/etc/token.key": "short\n"}, ["line 1 has fewer than 32", "awfproxy token key"]),
        (TOKENS, {"/etc/token.key": ""}, ["line 1 is empty"]),
        ((*TOKENS, "--revoked-labels-file", "/etc/no"), FILES, ["-file (command line): /etc/no cannot be"]),
        (
            (*TOKENS, "--revoked-labels-file", "/etc/revoked"),
            FILES | {"/etc/revoked": "a\nb c\n"},
            ["/etc/revoked: line 2: a label has letters"],
        ),
        (("--revoked-labels-file", "/etc/revoked"), FILES, ["there are no tokens to revoke"]),
        (("--token-key-file", KEY_TEXT), {}, ["the value cannot be read"]),
    ],
)
def test_files_that_cannot_be_used_end_a_start(
    words: tuple[str, ...], files: Mapping[str, str], parts: list[str], environ: dict[str, str]
) -> None:
    said = refusal(environ, *words, files=files)
    for part in parts:
        assert part in said
    assert KEY_TEXT not in said


def test_key_file_that_every_user_may_read_or_write_is_a_warning(environ: dict[str, str]) -> None:
    for mode in (0o100644, 0o100602):
        (warning,) = settings(environ, *TOKENS, mode=mode).warnings
        assert "chmod 600 /etc/token.key" in warning
    assert not settings(environ, *TOKENS, mode=0o100640).warnings


# --- users and groups -------------------------------------------------------------------------------


def test_users_and_groups_are_numbers_or_names(environ: dict[str, str]) -> None:
    me, mine = pwd.getpwuid(os.getuid()), grp.getgrgid(os.getgid())
    words = ("--allow-uid", "7", "--allow-uid", me.pw_name, "--allow-gid", mine.gr_name)
    made = settings(environ, "--listen", "unix:/run/a.sock", *words)
    assert made.callers.peers == Allowed(frozenset({7, me.pw_uid}), frozenset({mine.gr_gid}))
    assert user("0") == group("0") == 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nobody-has-this-name", "'nobody-has-this-name'"),
        ("a\nb", "'a\\nb'"),
        ("4294967295", "'4294967295'"),
        ("sk-a-key", "the value"),
        ("n" * 61, "the value"),
    ],
)
def test_who_is_not_there_is_named_with_the_place_where_they_were_given(
    text: str, shown: str, environ: dict[str, str]
) -> None:
    known = str(os.getuid())
    for option, what in ("--allow-uid", "user"), ("--allow-gid", "group"):
        said = refusal(environ, "--listen", "unix:/run/a.sock", option, known, option, text)
        assert said.startswith(f"{option} (command line): ")
        assert f"{shown} is no {what} of this machine's" in said or f"{shown} is out of range" in said
    variable = environ | {"AWFPROXY_ALLOW_UID": f"{known} nobody-1"}
    assert "(environment variable AWFPROXY_ALLOW_UID): 'nobody-1' is no user" in refusal(variable)


@pytest.mark.parametrize("text", ["nobody-has-this-name", "-1", "4294967295", "99999999999", "", "a b", "7 "])
def test_what_names_nobody_is_refused(text: str, environ: dict[str, str]) -> None:
    for option in ("--allow-uid", "--allow-gid"):
        assert refusal(environ, "--listen", "unix:/run/a.sock", f"{option}={text}").startswith(option)


PRIVATE_USERS = "0 0 1\n998 998 1\n"


@pytest.mark.parametrize(
    ("uid_map", "gid_map", "parts"),
    [
        ("0 0 4294967295\n", "0 0 4294967295\n", []),
        (PRIVATE_USERS, "0 0 4294967295\n", [("--allow-uid (command line)", "1000, 1001", "uid_map")]),
        ("0 0 4294967295\n", PRIVATE_USERS, [("--allow-gid (command line)", " 2000 ", "gid_map")]),
        (PRIVATE_USERS, PRIVATE_USERS, [("--allow-uid",), ("--allow-gid",)]),
        ("0 0 999\n", None, [("--allow-uid", ": 1000, 1001 never")]),
        (None, None, []),
        ("what is no map", "1", []),
    ],
)
def test_whom_the_user_namespace_does_not_have_a_warning_names(
    uid_map: str | None, gid_map: str | None, parts: list[tuple[str, ...]], environ: dict[str, str]
) -> None:
    found = {"/proc/self/uid_map": uid_map, "/proc/self/gid_map": gid_map}
    files = FILES | {name: text for name, text in found.items() if text is not None}
    words = ("--allow-uid", "1001", "--allow-uid", "1000", "--allow-uid", "998", "--allow-gid", "2000")
    warnings = settings(environ, "--listen", "unix:/run/a.sock", *words, files=files).warnings
    assert len(warnings) == len(parts)
    for warning, expected in zip(warnings, parts, strict=True):
        assert [part for part in (*expected, "PrivateUsers=no") if part not in warning] == []
        assert "998" not in warning


def test_number_that_stands_for_all_who_are_missing_lets_them_all_in(environ: dict[str, str]) -> None:
    words = ("--listen", "unix:/run/a.sock", "--allow-uid", "65534")
    for content, many in (PRIVATE_USERS, 1), ("0 100000 65536\n", 1), ("0 0 4294967295\n", 0):
        warnings = settings(environ, *words, files=FILES | {"/proc/self/uid_map": content}).warnings
        assert len(warnings) == many
        for warning in warnings:
            assert "lets in every user whom" in warning


def test_map_is_not_looked_at_where_nobody_is_listed(environ: dict[str, str]) -> None:
    files = FILES | {"/proc/self/uid_map": PRIVATE_USERS, "/proc/self/gid_map": PRIVATE_USERS}
    assert not settings(environ, "--listen", "unix:/run/a.sock", files=files).warnings


def test_users_without_a_unix_socket_are_an_error_and_beside_ports_a_warning(environ: dict[str, str]) -> None:
    assert "nothing listens on one" in refusal(environ, "--allow-uid", "7")
    assert "--allow-gid" in refusal(environ, "--allow-gid", "7")
    assert settings(environ, "--listen", "systemd:domain=UNIX:index=0", "--allow-uid", "7")
    for inherited in "systemd:domain=INET:index=0", "systemd:index=0:domain=INET", "systemd:INET6:0":
        words = ("--listen", inherited, "--allow-uid", "7")
        assert "nothing listens on one" in refusal(environ, *words)
    both = ("--listen", "unix:/run/a.sock", "--listen", "tcp:1:interface=127.0.0.1", "--allow-uid", "7")
    (warning,) = settings(environ, *both).warnings
    assert "tcp:1:interface=127.0.0.1 can be used by every user" in warning
    assert not settings(environ, *both, *TOKENS).warnings


@pytest.mark.parametrize(
    ("allowed", "peer", "expected"),
    [
        (Allowed(frozenset({7})), Peer(7, frozenset({1})), True),
        (Allowed(frozenset({7})), Peer(8, frozenset({7})), False),
        (Allowed(frozenset(), frozenset({7})), Peer(7, frozenset({1})), False),
        (Allowed(frozenset(), frozenset({7})), Peer(8, frozenset({1, 7})), True),
        (Allowed(frozenset({7}), frozenset({9})), Peer(8, frozenset({9})), True),
        (Allowed(frozenset({7}), frozenset({9})), Peer(0, frozenset({0})), False),
    ],
)
def test_user_or_group_lets_in_and_root_is_a_user_like_any_other(
    allowed: Allowed, peer: Peer, expected: bool
) -> None:
    assert allowed
    assert allowed.admits(peer) is expected
    assert not Allowed()
