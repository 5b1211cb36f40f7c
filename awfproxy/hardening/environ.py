"""The environment: a copy that does not print, and the credentials gone from where others would find them.

The kernel shows the block that a process began with as /proc/PID/environ, whatever becomes of `os.environ`
later. So credentials are overwritten in that very block, and taken out of `os.environ`, which children get.
Settings are read again on a reload, so the copy keeps them.
"""

import ctypes
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, final

import attrs

_CREDENTIAL = re.compile(r"(?i)KEY|TOKEN|SECRET|PASSW(OR)?D|CREDENTIAL|COOKIE|AUTHORIZATION|HEADERS")
_NOT_ITSELF = re.compile(r"(?i)_(FILE|DIR|DIRECTORY|PATH)\Z")
_USER_AND_PASSWORD = re.compile(r"\A([a-zA-Z][a-zA-Z0-9+.-]*://)?[^/\s@]*:[^/\s]*@")
_LARGEST = 64 * 1024 * 1024


@final
class Environment(Mapping[str, str]):
    """The variables as they were when it was made. It holds keys: nothing formats them."""

    __slots__ = ("__values",)

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.__values = dict(environ)

    def __getitem__(self, name: str) -> str:
        return self.__values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.__values)

    def __len__(self) -> int:
        return len(self.__values)

    def __repr__(self) -> str:
        return f"<environment, {len(self.__values)} variables>"

    def __reduce__(self) -> Any:
        raise TypeError("an Environment is not serialised")


def credentials(environ: Mapping[str, str], known: Iterable[str]) -> set[str]:
    """The variables with a credential: those `known` to have one, those that are called or look so, and any
    that repeats the value of a known one."""
    named = {name for name in known if environ.get(name)}
    values = [environ[name] for name in named if len(environ[name]) >= 8]
    return named | {
        name
        for name, value in environ.items()
        if value
        and (
            (_CREDENTIAL.search(name) and not _NOT_ITSELF.search(name))
            or _USER_AND_PASSWORD.match(value)
            or any(each in value for each in values)
        )
    }


def places(block: bytes, names: Iterable[bytes]) -> Iterator[tuple[int, int]]:
    """Offset and length of these variables' values in the block; one given twice has two."""
    wanted = set(names)
    offset = 0
    for entry in block.split(b"\0"):
        name, equals, value = entry.partition(b"=")
        if equals and value and name in wanted:
            yield offset + len(name) + 1, len(value)
        offset += len(entry) + 1


def bounds(stat: bytes) -> tuple[int, int] | None:
    """env_start and env_end of proc(5)'s stat; None where the kernel does not tell.

    The second field is the command's name, in which anything may stand, so counting begins behind it.
    """
    fields = stat.rpartition(b")")[2].split()
    try:
        start, end = int(fields[47]), int(fields[48])
    except (IndexError, ValueError):
        return None
    return (start, end) if 0 < start < end <= start + _LARGEST else None


@attrs.frozen
class Forgotten:
    """What became of the credentials in the environment."""

    overwritten: int = 0
    """Values in the block that the process began with."""

    problem: str = ""
    """Why something is left, or may be; never what."""


def forget(environ: MutableMapping[str, str], names: Collection[str]) -> Forgotten:
    """Takes these variables out of `environ`, which is `os.environ`, and overwrites their first values."""
    wanted = {name.encode("utf-8", "surrogateescape") for name in names}
    for name in names:
        environ.pop(name, None)
    if not wanted:
        return Forgotten()
    try:
        with open("/proc/self/stat", "rb") as file:
            found = bounds(file.read())
    except OSError as error:
        return Forgotten(problem=f"/proc/self/stat: {error.strerror}")
    if found is None:
        return Forgotten(problem="the kernel does not tell where it is")
    start, size = found[0], found[1] - found[0]
    written = 0
    for offset, length in places(ctypes.string_at(start, size), wanted):
        ctypes.memset(start + offset, 0, length)
        written += 1
    if any(places(ctypes.string_at(start, size), wanted)):
        return Forgotten(written, "some of it could not be overwritten")
    return Forgotten(written)
