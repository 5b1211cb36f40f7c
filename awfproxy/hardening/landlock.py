"""Landlock: which files may be opened, and to which TCP ports may be bound and connected.

https://docs.kernel.org/userspace-api/landlock.html. Each version of the kernel's interface knows more rights
than the one before; what is known is forbidden wherever it is not granted. Executing is granted nowhere.
"""

import ctypes
import os
import stat
from collections.abc import Iterable, Iterator
from enum import IntFlag

import attrs

from awfproxy.hardening.kernel import syscall

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_ASK_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_BIND_TCP, _CONNECT_TCP = 1, 2
_ABSTRACT_SOCKETS, _SIGNALS = 1, 2


class Access(IntFlag):
    """Rights on files and folders, with the kernel's values."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


READ = Access.READ_FILE | Access.READ_DIR
"""Files, and lists of folders."""

DEVICE = Access.READ_FILE | Access.WRITE_FILE
KEEP = READ | Access.WRITE_FILE | Access.TRUNCATE | Access.MAKE_REG | Access.REMOVE_FILE
"""A log that is written, renamed and removed within its folder."""

SOCKETS = Access.MAKE_SOCK | Access.MAKE_SYM | Access.REMOVE_FILE
"""Unix sockets, and the links that Twisted locks them by."""

_OF_FILES = (
    Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE | Access.IOCTL_DEV
)


@attrs.frozen
class Policy:
    """What is granted; all else is not."""

    paths: tuple[tuple[str, Access], ...]
    """A folder's rights are those of all below it. What is not there is passed over."""

    connect: frozenset[int]
    bind: frozenset[int] | None
    """TCP ports; None where it is not known which."""

    abstract_sockets: bool = False
    """Abstract unix sockets of others may be reached."""

    signals: bool = False
    """Other processes may be sent signals."""


@attrs.frozen
class Ruleset:
    """What the kernel is told that it has to handle: struct landlock_ruleset_attr."""

    files: Access
    network: int
    scoped: int

    def packed(self, version: int) -> bytes:
        """Of the size that the version knows."""
        known = [self.files, self.network, self.scoped][: 1 if version < 4 else 2 if version < 6 else 3]
        return b"".join(int(each).to_bytes(8, "little") for each in known)


def ruleset(version: int, policy: Policy) -> Ruleset:
    """All that this version of Landlock can forbid, but for what the policy leaves open as a whole."""
    last = {1: Access.MAKE_SYM, 2: Access.REFER, 3: Access.TRUNCATE, 4: Access.TRUNCATE}
    files = Access((last.get(version, Access.IOCTL_DEV) << 1) - 1)
    network = _CONNECT_TCP | (0 if policy.bind is None else _BIND_TCP)
    scoped = (0 if policy.abstract_sockets else _ABSTRACT_SOCKETS) | (0 if policy.signals else _SIGNALS)
    return Ruleset(files, network if version >= 4 else 0, scoped if version >= 6 else 0)


def described(version: int, handled: Ruleset) -> str:
    """For the log: what is in force."""
    parts = ["files"]
    if handled.network:
        parts.append("TCP ports" if handled.network & _BIND_TCP else "TCP ports to connect to")
    if handled.scoped & _SIGNALS:
        parts.append("signals")
    if handled.scoped & _ABSTRACT_SOCKETS:
        parts.append("abstract sockets")
    return f"Landlock {version} ({', '.join(parts)})"


def version() -> int:
    """The kernel's; raises `OSError` where it has none, or none that may be used."""
    return syscall(_CREATE_RULESET, None, 0, _ASK_VERSION)


def restrict(policy: Policy) -> str:
    """Puts the policy in force for this thread and those that it starts; what that is, in words.

    Raises `OSError`, and then nothing is in force.
    """
    number = version()
    handled = ruleset(number, policy)
    attributes = handled.packed(number)
    descriptor = syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path, access in policy.paths:
            _grant(descriptor, path, access & handled.files)
        for port, right in _ports(policy):
            if right & handled.network:
                _add(descriptor, _NET_PORT, _u64(right) + _u64(port))
        syscall(_RESTRICT_SELF, descriptor, 0)
    finally:
        os.close(descriptor)
    return described(number, handled)


def _ports(policy: Policy) -> Iterator[tuple[int, int]]:
    yield from ((port, _CONNECT_TCP) for port in _sorted(policy.connect))
    yield from ((port, _BIND_TCP) for port in _sorted(policy.bind or ()))


def _sorted(ports: Iterable[int]) -> list[int]:
    return sorted(port for port in ports if 0 <= port < 65536)


def _grant(ruleset: int, path: str, access: Access) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # it is not there, and so not needed
    try:
        if not stat.S_ISDIR(os.fstat(beneath).st_mode):
            access &= _OF_FILES  # what is about folders is refused of anything else
        if access:
            _add(ruleset, _PATH_BENEATH, _u64(access) + beneath.to_bytes(4, "little"))
    finally:
        os.close(beneath)


def _add(ruleset: int, kind: int, rule: bytes) -> None:
    syscall(_ADD_RULE, ruleset, kind, ctypes.c_char_p(rule), 0)


def _u64(value: int) -> bytes:
    return int(value).to_bytes(8, "little")
