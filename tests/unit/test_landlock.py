"""Landlock: what each version of the kernel's interface is told, and what the daemon's settings come to."""

import os
from pathlib import Path

import pytest

from awfproxy.callers.endpoint import parse_endpoint
from awfproxy.credentials.sources import mode_of, read_file
from awfproxy.hardening.landlock import DEVICE, KEEP, READ, SOCKETS, Access, Policy, described, ruleset
from awfproxy.hardening.needs import Surroundings, bound, code, places, policy
from awfproxy.settings.load import load
from awfproxy.settings.values import Settings

KEY = "sk-proj-" + "Zq8kT3vB9xW2mN7pL4rD6sF1" * 2
NOTHING = Policy((), frozenset(), frozenset())


@pytest.mark.parametrize(
    ("version", "files", "network", "scoped", "size"),
    [
        (1, 0x1FFF, 0, 0, 8),
        (2, 0x3FFF, 0, 0, 8),
        (3, 0x7FFF, 0, 0, 8),
        (4, 0x7FFF, 3, 0, 16),
        (5, 0xFFFF, 3, 0, 16),
        (6, 0xFFFF, 3, 3, 24),
        (7, 0xFFFF, 3, 3, 24),
        (99, 0xFFFF, 3, 3, 24),
    ],
)
def test_each_version_is_told_what_it_knows_and_no_more(
    version: int, files: int, network: int, scoped: int, size: int
) -> None:
    told = ruleset(version, NOTHING)
    assert (int(told.files), told.network, told.scoped) == (files, network, scoped)
    assert len(told.packed(version)) == size


def test_what_the_policy_leaves_open_is_not_handled() -> None:
    open_ = Policy((), frozenset(), None, abstract_sockets=True, signals=True)
    told = ruleset(7, open_)
    assert (told.network, told.scoped) == (2, 0)
    assert described(7, told) == "Landlock 7 (files, TCP ports to connect to)"
    assert described(7, ruleset(7, NOTHING)) == "Landlock 7 (files, TCP ports, signals, abstract sockets)"
    assert described(1, ruleset(1, NOTHING)) == "Landlock 1 (files)"


def test_executing_is_granted_to_nothing() -> None:
    assert not (READ | DEVICE | KEEP | SOCKETS) & Access.EXECUTE


def settings(folder: Path, *listen: str, **options: str) -> Settings:
    values: dict[str, str | list[str] | None] = {"listen": list(listen), "egress-proxy": "http://10.0.0.1:3128"}
    values |= {name.replace("_", "-"): value for name, value in options.items()}
    return load(values, {"OPENAI_API_KEY": KEY}, read_file, mode_of)


def of(made: Policy, path: object) -> Access:
    """All that is granted for exactly this path."""
    found = Access(0)
    for name, access in made.paths:
        if name == str(path):
            found |= access
    return found


def test_only_the_egress_proxy_and_dns_may_be_connected_to(tmp_path: Path) -> None:
    made = policy(settings(tmp_path), {}, Surroundings())
    assert made.connect == {53, 3128}


def test_where_there_is_no_egress_proxy_it_is_the_providers(tmp_path: Path) -> None:
    made = policy(settings(tmp_path, egress_proxy="direct", target="llm.example:8443"), {}, Surroundings())
    assert made.connect == {53, 8443}


@pytest.mark.parametrize(
    ("listen", "ports"),
    [
        (["tcp:10000:interface=127.0.0.1"], {10000}),
        (["tcp6:10001:interface=\\:\\:1:backlog=7"], {10001}),
        (["tcp6:interface=\\:\\:1:port=10001"], {10001}),
        (["tcp:port=0", "ssl:443:privateKey=a"], {0, 443}),
        (["tcp:interface=1\\:port=5:port=6"], {6}),
        (["tcp:interface=127.0.0.1:7"], {7}),
        (["unix:/run/a.sock", "systemd:domain=INET:index=0"], set()),
        (["tcp:1", "onion:80"], None),
    ],
)
def test_only_the_ports_that_are_listened_at_may_be_bound_to(
    listen: list[str], ports: set[int] | None
) -> None:
    """A plug-in's endpoint is its own affair: then any may be."""
    assert bound(map(parse_endpoint, listen)) == ports


def test_a_unix_socket_needs_its_folder_and_the_signal_that_asks_for_its_owner(tmp_path: Path) -> None:
    made = policy(settings(tmp_path, f"unix:{tmp_path}/a\\:b/s:mode=600"), {}, Surroundings())
    assert of(made, f"{tmp_path}/a:b") == SOCKETS
    assert made.signals
    assert not policy(settings(tmp_path), {}, Surroundings()).signals


def test_a_unix_socket_is_found_behind_other_arguments_too(tmp_path: Path) -> None:
    made = policy(settings(tmp_path, f"unix:mode=600:address={tmp_path}/s"), {}, Surroundings())
    assert of(made, tmp_path) & SOCKETS == SOCKETS


def test_a_key_below_a_folder_of_a_kubernetes_volume_is_found_once_it_is_swapped(tmp_path: Path) -> None:
    first = tmp_path / "volume/..1/sub"
    first.mkdir(parents=True)
    (first / "key").write_text(KEY)
    (tmp_path / "volume/..data").symlink_to("..1")
    (tmp_path / "volume/sub").symlink_to("..data/sub")
    made = policy(settings(tmp_path, key_file=f"{tmp_path}/volume/sub/key"), {}, Surroundings())
    assert of(made, tmp_path / "volume") == Access.READ_FILE


def test_the_key_files_folder_may_be_read_and_that_of_what_it_links_to(tmp_path: Path) -> None:
    for name in "given", "real":
        (tmp_path / name).mkdir()
    (tmp_path / "real/key").write_text(KEY)
    (tmp_path / "given/key").symlink_to("../real/key")
    made = policy(settings(tmp_path, key_file=f"{tmp_path}/given/key"), {}, Surroundings())
    assert of(made, tmp_path / "given") == of(made, tmp_path / "real") == Access.READ_FILE


def test_the_configuration_file_and_the_certificates_may_be_read_again(tmp_path: Path) -> None:
    for name in "conf", "ca":
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("")
    environ = {"CREDENTIALS_DIRECTORY": "/run/c"}
    made = policy(settings(tmp_path, config=f"{tmp_path}/conf/file"), environ, Surroundings())
    assert of(made, tmp_path / "conf") == of(made, "/run/c") == Access.READ_FILE
    made = policy(settings(tmp_path, ca_file=[f"{tmp_path}/ca/file"]), {}, Surroundings())  # type: ignore[arg-type]
    assert of(made, tmp_path / "ca") == Access.READ_FILE


@pytest.mark.parametrize("name", ["/key", "/dev/fd/3", "/dev/key", "/proc/self/fd/3"])
def test_a_file_whose_folder_would_be_too_much_is_granted_alone(name: str) -> None:
    found = list(places(name))
    assert name in found
    assert not {"/", "/dev", "/dev/fd", "/proc"} & set(found)


def test_nothing_grants_the_root_of_all_files(tmp_path: Path) -> None:
    around = Surroundings(code=code(["/", "/usr/lib/python3"], "/", "/a/awfproxy/x"))
    made = policy(settings(tmp_path), {}, around)
    assert of(made, "/") == 0


def test_the_working_folder_is_no_place_of_code_unless_awfproxy_is_from_it() -> None:
    assert "/home/me" not in code(["/home/me", "/lib/python"], "/home/me", "/lib/python/awfproxy/__init__.py")
    assert "/home/me" in code(["/home/me"], "/home/me", "/home/me/awfproxy/__init__.py")
    assert "" not in code(["", "relative"], "/home/me", "/lib/awfproxy/__init__.py")


def test_only_what_is_kept_may_be_written(tmp_path: Path) -> None:
    around = Surroundings(kept=("/var/log/awfproxy",), removed=("/run/awfproxy/pid",))
    made = policy(settings(tmp_path), {"AWF_API_PROXY_LOG_DIR": "/elsewhere"}, around)
    writing = {path for path, access in made.paths if access & ~READ}
    assert writing == {"/var/log/awfproxy", "/run/awfproxy", os.devnull}
    assert of(made, "/run/awfproxy") == Access.REMOVE_FILE
    made = policy(settings(tmp_path, profile="gh-aw"), {"AWF_API_PROXY_LOG_DIR": "/elsewhere"}, around)
    assert of(made, "/elsewhere") == KEEP


def test_an_abstract_notify_socket_is_reachable(tmp_path: Path) -> None:
    assert policy(settings(tmp_path), {"NOTIFY_SOCKET": "@systemd"}, Surroundings()).abstract_sockets
    assert not policy(settings(tmp_path), {"NOTIFY_SOCKET": "/run/n"}, Surroundings()).abstract_sockets
