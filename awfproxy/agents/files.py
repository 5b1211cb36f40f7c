"""An agent's configuration file on the disk: where it is, and how it is replaced, wholly or not at all."""

import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from os.path import dirname, join

import attrs

from awfproxy.agents.agent import ConfigFile
from awfproxy.errors.configuration import ConfigError

LARGEST = 4 * 1024 * 1024


@attrs.frozen
class Found:
    text: str
    """Empty where there is no file yet."""

    status: os.stat_result | None


def path_of(file: ConfigFile, environ: Mapping[str, str]) -> str | None:
    """None where the environment has neither the agent's own variable nor HOME."""
    own = environ.get(file.folder_variable)
    if own:
        return join(own, file.folder_below, file.name)
    home = environ.get("HOME")
    return join(home, file.folder_default, file.name) if home else None


def read(path: str) -> Found:
    """`ConfigError` where there is something, but not a text file that can be read."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"{path} is not a regular file. Nothing was changed.")
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        return Found("", None)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}. Nothing was changed.") from None
    if len(content) > LARGEST:
        raise ConfigError(f"{path} is larger than {LARGEST} bytes. Nothing was changed.")
    try:
        return Found(content.decode(), status)
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8. Nothing was changed.") from None


def replace(path: str, text: str, status: os.stat_result | None) -> None:
    """Put the text there in one step, with the mode and owner that the file had; a symbolic link stays one.

    A new file is 0600, a new folder 0700. `ConfigError` where it fails; then the old file is as it was.
    """
    real = os.path.realpath(path)
    try:
        _make_folder(dirname(real))
        handle, temporary = tempfile.mkstemp(prefix=".awfproxy-", dir=dirname(real))
        try:
            with open(handle, "wb") as file:
                file.write(text.encode())
                if status is not None:
                    own = os.fstat(file.fileno())
                    if (own.st_uid, own.st_gid) != (status.st_uid, status.st_gid):
                        os.fchown(file.fileno(), status.st_uid, status.st_gid)
                    os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, real)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}. Nothing was changed.") from None


def _make_folder(folder: str) -> None:
    if folder and not os.path.isdir(folder):
        _make_folder(dirname(folder))
        os.mkdir(folder, 0o700)
