"""The seccomp filter as a program of classic BPF. Pure.

It refuses what the daemon never does and lets through all else. A list of what it does would be stronger, but
CPython, OpenSSL and the C library choose their calls by version and machine: such a list stops a working
daemon at the next update of either, at a moment that nobody foresees. Of the calls refused here none is made
by any of them in this process, and each answers EPERM, so that a mistake is an error and not a death.

https://www.kernel.org/doc/html/latest/userspace-api/seccomp_filter.html
"""

import errno
import struct
from collections.abc import Iterator

import attrs

from awfproxy.hardening.calls import NEVER, OFTEN, Architecture

ALLOW = 0x7FFF0000
ERRNO = 0x00050000
DENY = ERRNO | errno.EPERM
UNKNOWN = ERRNO | errno.ENOSYS

LOAD, EQUAL, AT_LEAST, ANY_BIT, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06

_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_X32 = 0x40000000
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_STREAM, _DATAGRAM, _TYPE = 1, 2, 0xF
_TCP, _UDP = 6, 17
_CLONE_THREAD = 0x10000
_SET_DUMPABLE, _SET_MM, _SET_PTRACER = 4, 35, 0x59616D61
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C


@attrs.frozen
class Step:
    """One instruction; a jump goes to a label, or on to the next one."""

    code: int
    value: int
    yes: str = ""
    no: str = ""


def program(architecture: Architecture) -> bytes:
    """The filter as an array of struct sock_filter."""
    return assembled(list(_steps(architecture)))


def _steps(architecture: Architecture) -> Iterator[Step | str]:
    numbers = architecture.numbers
    yield Step(LOAD, _ARCHITECTURE)
    yield Step(EQUAL, architecture.audit, no="deny")  # the 32-bit calls, whose numbers mean other things
    yield Step(LOAD, _NUMBER)
    yield from (Step(EQUAL, numbers[name], yes="allow") for name in OFTEN if name in numbers)
    if architecture.has_x32:
        yield Step(AT_LEAST, _X32, yes="deny")
    yield from (Step(EQUAL, numbers[name], yes="deny") for name in NEVER if name in numbers)
    # Its flags are in memory, which a filter cannot see; on ENOSYS the C library takes clone.
    yield Step(EQUAL, numbers["clone3"], yes="unknown")
    for name in "clone", "socket", "prctl":
        yield Step(EQUAL, numbers[name], yes=name)
    yield Step(EQUAL, numbers["ioctl"], no="allow")
    yield from _ioctl()
    yield from _clone()
    yield from _prctl()
    yield from _socket()
    for label, action in ("allow", ALLOW), ("deny", DENY), ("unknown", UNKNOWN):
        yield label
        yield Step(RETURN, action)


def _ioctl() -> Iterator[Step | str]:
    """No typing into the terminal that it was started from."""
    yield _argument(1)
    yield Step(EQUAL, _TIOCSTI, yes="deny")
    yield Step(EQUAL, _TIOCLINUX, yes="deny", no="allow")


def _clone() -> Iterator[Step | str]:
    """Threads, and no processes."""
    yield "clone"
    yield _argument(0)
    yield Step(ANY_BIT, _CLONE_THREAD, yes="allow", no="deny")


def _prctl() -> Iterator[Step | str]:
    """Nothing that would open the process to others again."""
    yield "prctl"
    yield _argument(0)
    yield Step(EQUAL, _SET_DUMPABLE, yes="deny")
    yield Step(EQUAL, _SET_MM, yes="deny")
    yield Step(EQUAL, _SET_PTRACER, yes="deny", no="allow")


def _socket() -> Iterator[Step | str]:
    """Unix, TCP and UDP, and the netlink by which the C library asks for the machine's addresses."""
    yield "socket"
    yield _argument(0)
    yield Step(EQUAL, _UNIX, yes="allow")
    yield Step(EQUAL, _NETLINK, yes="protocol 0")
    yield Step(EQUAL, _INET, yes="type")
    yield Step(EQUAL, _INET6, no="deny")
    yield "type"
    yield _argument(1)
    yield Step(AND, _TYPE)
    yield Step(EQUAL, _STREAM, yes="protocol")
    yield Step(EQUAL, _DATAGRAM, no="deny")
    yield "protocol"
    yield _argument(2)
    yield Step(EQUAL, _TCP, yes="allow")
    yield Step(EQUAL, _UDP, yes="allow")
    yield "protocol 0"
    yield _argument(2)
    yield Step(EQUAL, 0, yes="allow", no="deny")


def _argument(index: int) -> Step:
    """Loads its lower half, which on these machines comes first. All that is judged here are ints."""
    return Step(LOAD, _ARGUMENTS + 8 * index)


def assembled(steps: list[Step | str]) -> bytes:
    """Labels resolved: a jump is so many instructions ahead, at most 255."""
    labels: dict[str, int] = {}
    instructions: list[Step] = []
    for step in steps:
        if isinstance(step, str):
            labels[step] = len(instructions)
        else:
            instructions.append(step)

    def ahead(label: str, at: int) -> int:
        return labels[label] - at - 1 if label else 0

    return b"".join(
        struct.pack("=HBBI", step.code, ahead(step.yes, at), ahead(step.no, at), step.value)
        for at, step in enumerate(instructions)
    )
