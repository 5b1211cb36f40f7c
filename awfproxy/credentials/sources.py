"""Where the key comes from: environment, file, systemd credential. One key, from however many places.

All sources are looked at, and each value found is judged; two that disagree are an error, since either
could be the stale one. One trailing newline is trimmed, as editors and `echo` leave it; `shape` judges
the rest. The file system is reached through the two callables given; `read_file` and `mode_of` are the
real ones.
"""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from os.path import join
from typing import BinaryIO

import attrs

from awfproxy.credentials.secret import KEY_BEGINNINGS, Secret
from awfproxy.credentials.shape import check_shape
from awfproxy.errors.configuration import ConfigError
from awfproxy.providers.provider import KeyUse, Provider

_SCHEME = re.compile(rb"(?i)\A(bearer|token) +")
LARGEST_FILE = 16 * 1024 * 1024

ReadFile = Callable[[str], bytes]
ModeOf = Callable[[str], int]


@attrs.frozen
class KeyFound:
    secret: Secret
    source: str
    """For the operator: `environment variable OPENAI_API_KEY`; several that agree are all named."""

    warnings: tuple[str, ...]
    files: tuple[str, ...] = ()
    """The files that have it."""


def find_key(
    environ: Mapping[str, str],
    key_file: str | None,
    provider: Provider,
    use: KeyUse,
    read_file: ReadFile,
    mode_of: ModeOf,
    *,
    repair: bool = False,
) -> KeyFound | None:
    """One of the provider's keys, None where no source has it, or `ConfigError`.

    `key_file` is the value of the provider's --key-file, whatever set that. With `repair` white space and a
    scheme around a key are taken off, and an empty one counts as not set.
    """
    found, files = [], []
    for value, source, file in _values(environ, key_file, provider, use, read_file):
        bare = _repaired(value) if repair else value.removesuffix(b"\n")
        if bare or not repair:
            found.append((check_shape(bare, source, provider), source))
            files += [] if file is None else [file]
    if not found:
        return None
    secret, source = found[0]
    for other, other_source in found[1:]:
        if other != secret:
            raise ConfigError(
                f"The {provider.title} key is given twice, and the two differ: {source}, and {other_source}. "
                "Remove the one that is out of date."
            )
    return KeyFound(
        secret,
        " and ".join(source for _, source in found),
        tuple(_warnings(key_file, provider, mode_of)),
        tuple(files),
    )


def _repaired(value: bytes) -> bytes:
    return _SCHEME.sub(b"", value.strip() + b" ").strip()


def _values(
    environ: Mapping[str, str], key_file: str | None, provider: Provider, use: KeyUse, read_file: ReadFile
) -> Iterator[tuple[bytes, str, str | None]]:
    """Each value with its source, and the file that it is from."""
    value = environ.get(use.variable)
    if value is not None:
        yield os.fsencode(value), f"environment variable {use.variable}", None
    if key_file is not None:
        yield _read_key_file(key_file, provider, use, read_file), f"file {key_file}", key_file
    name = use.credential_name
    credential = find_credential(environ, name, read_file)
    if credential is not None:
        yield credential, f"systemd credential {name}", join(environ["CREDENTIALS_DIRECTORY"], name)


def _read_key_file(path: str, provider: Provider, use: KeyUse, read_file: ReadFile) -> bytes:
    if "/" not in path and (path.startswith((*KEY_BEGINNINGS, "gh")) or path.strip() != path):
        raise ConfigError(
            "--key-file takes the name of a file, and what it was given looks like the key itself (not "
            f"shown). Put the key into a file, or into the environment variable {use.variable}; on a command "
            "line every process of this machine can read it, so consider it leaked."
        )
    try:
        return read_file(path)
    except OSError as error:
        raise ConfigError(
            f"The {provider.title} key's file, {path} ({provider.written('key-file')}), cannot be read: "
            f"{error.strerror or 'no reason given'}. "
            "Check its name, and that the user whom awfproxy runs as may read it."
        ) from None


def find_credential(environ: Mapping[str, str], name: str, read_file: ReadFile) -> bytes | None:
    """The content of the systemd credential of that name, None where there is none, or `ConfigError`."""
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return None
    try:
        return read_file(join(directory, name))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(
            f"The systemd credential {name}, in $CREDENTIALS_DIRECTORY, cannot be read: "
            f"{error.strerror or 'no reason given'}. Check LoadCredential= in the unit."
        ) from None


def _warnings(key_file: str | None, provider: Provider, mode_of: ModeOf) -> Iterator[str]:
    if key_file is None:
        return
    try:
        mode = mode_of(key_file)
    except OSError:
        return
    if mode & stat.S_IROTH:
        yield (
            f"The {provider.title} key's file, {key_file}, is readable by every user of this machine. "
            f"Do: chmod 600 {key_file}"
        )


def how_to_give(provider: Provider) -> str:
    """The ways to give a provider's key, as the end of a sentence."""
    name, file, option = provider.variable, provider.credential_name, provider.written("key-file")
    if not provider.from_file:
        own = provider.option("key-file").upper().replace("-", "_")
        option += f" or AWFPROXY_{own}, or by key-file in the --config file"
    return (
        f"the environment variable {name} (in GitHub Actions: env: {name}: ${{{{ secrets.{name} }}}}); a "
        f"file named by {option}; a systemd credential: LoadCredential={file}:/etc/{file}"
    )


def read_file(path: str) -> bytes:
    """A small file's content. Read once, from its start, so that `/dev/fd/3` and `<(command)` work too."""
    with open(path, "rb") as file:
        return _content(file)


def read_file_at_once(path: str) -> bytes:
    """The same, but a pipe is not waited for: one without a writer is empty, a slow one is an `OSError`."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        return _content(file)


def _content(file: BinaryIO) -> bytes:
    content: bytes | None = file.read(LARGEST_FILE + 1)
    if content is None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    if len(content) > LARGEST_FILE:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return content


def mode_of(path: str) -> int:
    return os.stat(path).st_mode
