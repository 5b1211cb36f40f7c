"""Where the key comes from, and what happens when there are several places, or none."""

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import attrs
import pytest

from awfproxy.credentials import sources
from awfproxy.credentials.sources import (
    KeyFound,
    find_key,
    how_to_give,
    mode_of,
    read_file,
    read_file_at_once,
)
from awfproxy.errors.configuration import ConfigError
from awfproxy.providers.compatible import compatible
from awfproxy.providers.openai import PROVIDER as OPENAI
from awfproxy.providers.provider import Asked

CREDENTIAL = "/run/credentials/openai_api_key"


class Files:
    """A file system of a few names; a mode of 0 cannot be read."""

    def __init__(self, contents: Mapping[str, bytes], mode: int = 0o100600) -> None:
        self.contents = contents
        self.mode = mode
        self.reads: list[str] = []

    def read(self, name: str) -> bytes:
        self.reads.append(name)
        if name not in self.contents:
            raise FileNotFoundError(2, "No such file or directory", name)
        if self.mode & 0o444 == 0:
            raise PermissionError(13, "Permission denied", name)
        return self.contents[name]

    def mode_of(self, name: str) -> int:
        return self.mode


def find(environ: Mapping[str, str], key_file: str | None = None, files: Files | None = None) -> KeyFound:
    found = find_or_none(environ, key_file, files)
    assert found is not None
    return found


def find_or_none(
    environ: Mapping[str, str],
    key_file: str | None = None,
    files: Files | None = None,
    *,
    repair: bool = False,
) -> KeyFound | None:
    files = files or Files({})
    (use,) = OPENAI.access(Asked()).keys
    return find_key(environ, key_file, OPENAI, use, files.read, files.mode_of, repair=repair)


def refusal(environ: Mapping[str, str], key_file: str | None = None, files: Files | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        find(environ, key_file, files)
    return str(caught.value)


def test_key_from_the_environment(canary: str) -> None:
    found = find({"OPENAI_API_KEY": canary})
    assert found.secret.reveal() == canary.encode()
    assert found.source == "environment variable OPENAI_API_KEY"
    assert found.warnings == ()


def test_key_from_a_file(canary: str) -> None:
    found = find({}, "/etc/key", Files({"/etc/key": canary.encode()}))
    assert found.secret.reveal() == canary.encode()
    assert found.source == "file /etc/key"


def test_key_from_a_systemd_credential(canary: str) -> None:
    found = find({"CREDENTIALS_DIRECTORY": "/run/credentials"}, None, Files({CREDENTIAL: canary.encode()}))
    assert found.secret.reveal() == canary.encode()
    assert found.source == "systemd credential openai_api_key"


def test_credentials_of_other_names_are_no_source(canary: str) -> None:
    found = find({"CREDENTIALS_DIRECTORY": "/run/credentials", "OPENAI_API_KEY": canary})
    assert found.source == "environment variable OPENAI_API_KEY"


def test_one_trailing_newline_is_trimmed_everywhere(canary: str) -> None:
    assert find({"OPENAI_API_KEY": canary + "\n"}).secret.reveal() == canary.encode()
    files = Files({"/etc/key": canary.encode() + b"\n"})
    assert find({}, "/etc/key", files).secret.reveal() == canary.encode()


@pytest.mark.parametrize("end", ["\n\n", "\r\n", " \n"])
def test_anything_more_at_the_end_is_refused(end: str, canary: str) -> None:
    assert "/etc/key" in refusal({}, "/etc/key", Files({"/etc/key": (canary + end).encode()}))


def test_bytes_of_the_environment_that_are_not_utf8_are_judged_as_bytes() -> None:
    assert "not ASCII" in refusal({"OPENAI_API_KEY": os.fsdecode(b"sk-\xff\xfe")})


def test_two_sources_that_agree_are_both_named(canary: str) -> None:
    found = find({"OPENAI_API_KEY": canary}, "/etc/key", Files({"/etc/key": canary.encode() + b"\n"}))
    assert found.source == "environment variable OPENAI_API_KEY and file /etc/key"


def test_two_sources_that_disagree_are_an_error_that_names_both(canary: str) -> None:
    files = Files({"/etc/key": canary.encode() + b"2", CREDENTIAL: canary.encode()})
    text = refusal({"OPENAI_API_KEY": canary}, "/etc/key", files)
    assert "environment variable OPENAI_API_KEY, and file /etc/key" in text
    assert "Remove the one" in text
    text = refusal({"OPENAI_API_KEY": canary + "3", "CREDENTIALS_DIRECTORY": "/run/credentials"}, None, files)
    assert "systemd credential openai_api_key" in text


def test_empty_variable_is_an_error_though_a_file_has_the_key(canary: str) -> None:
    text = refusal({"OPENAI_API_KEY": ""}, "/etc/key", Files({"/etc/key": canary.encode()}))
    assert "GitHub Actions" in text


def test_empty_key_file_is_an_error() -> None:
    assert "(file /etc/key) is set but empty" in refusal({}, "/etc/key", Files({"/etc/key": b"\n"}))


def test_no_source_is_no_key() -> None:
    assert find_or_none({}) is None
    assert find_or_none({"CREDENTIALS_DIRECTORY": "/run/credentials", "ANTHROPIC_API_KEY": "x"}) is None


def test_ways_to_give_a_key_are_named_for_each_provider() -> None:
    for way in ("OPENAI_API_KEY", "--key-file", "AWFPROXY_KEY_FILE", "LoadCredential=openai_api_key:"):
        assert way in how_to_give(OPENAI)
    other = attrs.evolve(OPENAI, name="anthropic", variable="ANTHROPIC_API_KEY", credential_name="a_key")
    for way in ("ANTHROPIC_API_KEY", "--anthropic-key-file", "AWFPROXY_ANTHROPIC_KEY_FILE", "=a_key:"):
        assert way in how_to_give(other)
    from_file = how_to_give(compatible("acme"))
    for way in ("ACME_API_KEY", "key-file in [providers.acme]", "LoadCredential=acme_api_key:"):
        assert way in from_file
    assert "--" not in from_file.replace("--config", "")
    assert "AWFPROXY_" not in from_file


@pytest.mark.parametrize("around", ["{}", " {}\r\n", "Bearer {}", "bearer  {} ", "\ttoken {}"])
def test_repair_takes_white_space_and_scheme_off(around: str, canary: str) -> None:
    found = find_or_none({"OPENAI_API_KEY": around.format(canary)}, repair=True)
    assert found is not None
    assert found.secret.reveal() == canary.encode()


@pytest.mark.parametrize("value", ["", " ", "\n", "Bearer "])
def test_with_repair_what_is_empty_is_not_set(value: str) -> None:
    assert find_or_none({"OPENAI_API_KEY": value}, repair=True) is None


def test_repair_mends_nothing_else(canary: str) -> None:
    with pytest.raises(ConfigError, match="quotes"):
        find_or_none({"OPENAI_API_KEY": f'"{canary}"'}, repair=True)


def test_unreadable_key_file_names_option_file_and_reason(canary: str) -> None:
    assert "/etc/key (--key-file), cannot be read: No such file or directory" in refusal({}, "/etc/key")
    text = refusal({}, "/etc/key", Files({"/etc/key": canary.encode()}, mode=0))
    assert "cannot be read: Permission denied" in text


def test_unreadable_systemd_credential_is_an_error(canary: str) -> None:
    files = Files({CREDENTIAL: canary.encode()}, mode=0)
    assert "LoadCredential=" in refusal({"CREDENTIALS_DIRECTORY": "/run/credentials"}, None, files)


def test_key_given_in_place_of_a_file_name_is_not_shown(canary: str) -> None:
    files = Files({})
    text = refusal({}, canary, files)
    assert "looks like the key itself" in text
    assert canary[8:16] not in text
    assert files.reads == []


def test_world_readable_key_file_is_a_warning(canary: str) -> None:
    found = find({}, "/etc/key", Files({"/etc/key": canary.encode()}, mode=0o100644))
    assert found.warnings == (
        "The OpenAI key's file, /etc/key, is readable by every user of this machine. Do: chmod 600 /etc/key",
    )


def test_key_file_is_read_once(canary: str) -> None:
    files = Files({"/dev/fd/63": canary.encode()})
    find({}, "/dev/fd/63", files)
    assert files.reads == ["/dev/fd/63"]


def test_the_real_file_system(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"content")
    file.chmod(0o604)
    assert read_file(str(file)) == b"content"
    assert mode_of(str(file)) & 0o777 == 0o604
    with pytest.raises(OSError, match="directory"):
        read_file(str(tmp_path))


def test_a_file_without_end_is_refused() -> None:
    with pytest.raises(OSError, match="too large"):
        read_file("/dev/zero")


@pytest.mark.parametrize("beginning", ["sk-ant-", "ghp_", "ghu_", "gho_", "github_pat_", "AIzaSy", "AQ."])
def test_key_of_any_provider_in_place_of_a_file_name_is_not_shown(beginning: str) -> None:
    files = Files({})
    text = refusal({}, beginning + "Zb4kq7Xw", files)
    assert "looks like the key itself" in text
    assert "Zb4kq7Xw" not in text
    assert files.reads == []


def test_file_whose_name_begins_as_keys_do_is_named_by_its_folder(tmp_path: Path) -> None:
    found = find({}, "./github_pat_file", Files({"./github_pat_file": b"sk-Zb4kq7Xw"}))
    assert found.source == "file ./github_pat_file"


def test_pipe_is_waited_for_at_the_start_and_never_while_serving(tmp_path: Path) -> None:
    """Opening one to which nobody writes would hold up every agent."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert read_file_at_once(str(pipe)) == b""
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(pipe, os.O_WRONLY)
    try:
        with pytest.raises(BlockingIOError):
            read_file_at_once(str(pipe))
        os.write(writer, b"content")
        os.close(writer)
        assert read_file_at_once(str(pipe)) == b"content"
    finally:
        os.close(reader)
    file = tmp_path / "file"
    file.write_bytes(b"content")
    assert read_file_at_once(str(file)) == b"content"


@pytest.mark.parametrize("read", [read_file, read_file_at_once])
def test_the_key_files_descriptor_is_closed_after_each_read_and_is_no_childs(
    tmp_path: Path, read: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the read fails."""
    key = tmp_path / "key"
    key.write_bytes(b"k")
    seen: list[bool] = []

    def content(file: BinaryIO) -> bytes:
        seen.append(os.get_inheritable(file.fileno()))
        if len(seen) > 1:
            raise OSError(errno.EIO, "no")
        return file.read()

    monkeypatch.setattr(sources, "_content", content)
    before = os.listdir("/proc/self/fd")
    assert read(str(key)) == b"k"
    with pytest.raises(OSError, match="no"):
        read(str(key))
    assert os.listdir("/proc/self/fd") == before
    assert seen == [False, False]
