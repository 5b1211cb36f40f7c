"""Credentials in the environment: which they are, where the kernel has them, and a copy that is silent."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from awfproxy.hardening.environ import Environment, bounds, credentials, places
from awfproxy.providers.builtin import BUILT_IN

ROOT = Path(__file__).resolve().parents[2]
KNOWN = {name for each in BUILT_IN for name in (each.variable, *each.further_variables)}
VALUE = "v" * 20


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_each_providers_key_is_a_credential(name: str) -> None:
    assert credentials({name: VALUE}, KNOWN) == {name}


@pytest.mark.parametrize(
    "name",
    [
        "COPILOT_PROVIDER_API_KEY", "COPILOT_GITHUB_TOKEN", "AWF_BYOK_EXTRA_HEADERS", "GITHUB_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "OTEL_EXPORTER_OTLP_HEADERS", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD",
    ],
)  # fmt: skip
def test_whatever_is_called_like_a_credential_is_one(name: str) -> None:
    assert credentials({name: VALUE}, ()) == {name}


@pytest.mark.parametrize("name", ["PATH", "HOME", "LANG", "AWFPROXY_KEY_FILE", "CREDENTIALS_DIRECTORY"])
def test_names_of_places_are_none(name: str) -> None:
    assert credentials({name: "/run/some:/where"}, KNOWN) == set()


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "AWFPROXY_EGRESS_PROXY"])
@pytest.mark.parametrize(
    ("value", "has_one"),
    [
        ("http://user:password@squid:3128", True),
        ("user:password@squid:3128", True),
        ("http://user:p@ss@squid:3128", True),
        ("http://squid:3128", False),
        ("http://squid:3128/@", False),
        ("direct", False),
    ],
)
def test_a_proxys_password_is_a_credential_and_its_place_is_not(
    name: str, value: str, has_one: bool
) -> None:
    assert credentials({name: value}, ()) == ({name} if has_one else set())


def test_a_key_under_another_name_is_found_by_its_value() -> None:
    environ = {"LLM": VALUE, "COPY": f"Bearer {VALUE}", "OTHER": "v" * 19}
    assert credentials(environ, ("LLM",)) == {"LLM", "COPY"}


def test_an_empty_variable_and_a_short_value_lead_to_no_others() -> None:
    assert credentials({"LLM": "", "A": "b"}, ("LLM",)) == set()
    assert credentials({"LLM": "1", "A": "1"}, ("LLM",)) == {"LLM"}


def test_values_are_found_in_the_block_by_name_each_time_they_stand_there() -> None:
    block = b"A=1\0KEY=abc\0XKEY=no\0KEY=defg\0odd\0KEY=\0B=KEY=no\0"
    found = [block[offset : offset + length] for offset, length in places(block, [b"KEY"])]
    assert found == [b"abc", b"defg"]


def test_a_block_of_which_values_are_overwritten_has_none_of_them() -> None:
    block = bytearray(b"A=1\0KEY=abc\0B=2\0")
    for offset, length in places(bytes(block), [b"KEY"]):
        block[offset : offset + length] = bytes(length)
    assert list(places(bytes(block), [b"KEY"])) == []
    assert list(places(bytes(block), [b"A", b"B"])) == [(2, 1), (14, 1)]


FIELDS = b" ".join(str(number).encode() for number in range(4, 53))


@pytest.mark.parametrize("name", [b"python", b"a) R 1 2 (b", b""])
def test_the_block_is_found_behind_any_name_of_the_command(name: bytes) -> None:
    assert bounds(b"1 (" + name + b") R " + FIELDS) == (50, 51)


@pytest.mark.parametrize(
    "stat",
    [
        b"",
        b"1 (x) R 1 2",
        b"1 (x) R " + FIELDS.replace(b" 50 51", b" 0 0"),
        b"1 (x) R " + FIELDS.replace(b" 50 51", b" 51 50"),
        b"1 (x) R " + FIELDS.replace(b" 51", b" 99999999999"),
    ],
)
def test_a_kernel_that_does_not_tell_where_it_is_leaves_it_alone(stat: bytes) -> None:
    assert bounds(stat) is None


def test_the_copy_is_a_mapping_that_does_not_print() -> None:
    environ = {"A": VALUE}
    copy = Environment(environ)
    environ.clear()
    assert dict(copy) == {"A": VALUE}
    assert len(copy) == 1
    assert "B" not in copy
    for text in (repr(copy), str(copy), f"{copy}", f"{copy!s:>5}"):
        assert VALUE not in text
    with pytest.raises(TypeError, match="not serialised"):
        pickle.dumps(copy)


_FORGET = """
import json, os, subprocess, sys
from awfproxy.hardening.environ import forget
done = forget(os.environ, ["SOME_KEY", "ABSENT"])
with open("/proc/self/environ", "rb") as file:
    block = file.read()
child = subprocess.run(["env"], capture_output=True, text=True).stdout
print(json.dumps([done.overwritten, done.problem, block.decode(), child, sorted(os.environ)]))
"""


def test_what_is_forgotten_is_neither_in_proc_nor_in_the_environment_of_a_child() -> None:
    env = {"FIRST": "1", "SOME_KEY": VALUE, "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "LAST": "2"}
    done = subprocess.run(
        [sys.executable, "-c", _FORGET], env=env, capture_output=True, text=True, check=True, timeout=30
    )
    overwritten, problem, block, child, names = json.loads(done.stdout)
    assert (overwritten, problem) == (1, "")
    assert VALUE not in block + child
    assert "SOME_KEY" not in names
    assert "FIRST=1\0SOME_KEY=" in block  # nothing but the value is touched
    assert "\0LAST=2\0" in block
    assert "LAST=2" in child
