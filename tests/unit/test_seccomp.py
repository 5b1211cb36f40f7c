"""The seccomp filter, run as the kernel runs it: what is refused, what is let through, on either machine."""

import errno
import struct
from collections.abc import Sequence

import pytest

from awfproxy.hardening.bpf import ALLOW, DENY, EQUAL, RETURN, UNKNOWN, Step, assembled, program
from awfproxy.hardening.calls import ARCHITECTURES, BY_ARGUMENTS, NEVER, OFTEN

MACHINES = sorted(ARCHITECTURES)
UNIX, INET, INET6, NETLINK, PACKET, VSOCK, ALG = 1, 2, 10, 16, 17, 40, 38
STREAM, DATAGRAM, RAW = 1, 2, 3
FLAGS = 0o2004000  # SOCK_CLOEXEC, SOCK_NONBLOCK


def run(code: bytes, number: int, audit: int, arguments: Sequence[int] = ()) -> int:
    """What the filter answers: an interpreter of the instructions that it is made of."""
    six = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", number, audit, 0, *(each % 2**64 for each in six))
    steps = list(struct.iter_unpack("=HBBI", code))
    accumulator, at = 0, 0
    while True:
        opcode, yes, no, value = steps[at]
        at += 1
        match opcode:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x54:
                accumulator &= value
            case 0x06:
                return int(value)
            case 0x15 | 0x35 | 0x45:
                holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: accumulator & value}
                at += yes if holds[opcode] else no
            case _:
                raise AssertionError(f"{opcode:#x} is no instruction of a filter")


def answer(machine: str, name: str, *arguments: int) -> int:
    architecture = ARCHITECTURES[machine]
    return run(program(architecture), architecture.numbers[name], architecture.audit, arguments)


def cases(names: Sequence[str]) -> list[tuple[str, str]]:
    return [(each, name) for each in MACHINES for name in names if name in ARCHITECTURES[each].numbers]


@pytest.mark.parametrize(("machine", "name"), cases(NEVER))
def test_what_the_daemon_never_does_is_refused(machine: str, name: str) -> None:
    assert answer(machine, name) == DENY
    assert DENY & 0xFFFF == errno.EPERM


@pytest.mark.parametrize(("machine", "name"), cases(OFTEN))
def test_what_it_does_all_the_time_is_let_through(machine: str, name: str) -> None:
    assert answer(machine, name) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_any_call_that_is_not_listed_is_let_through(machine: str) -> None:
    architecture = ARCHITECTURES[machine]
    listed = {architecture.numbers[name] for name in (*NEVER, *BY_ARGUMENTS) if name in architecture.numbers}
    code = program(architecture)
    answers = {run(code, number, architecture.audit) for number in set(range(480)) - listed}
    assert answers == {ALLOW}


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_in_another_machines_numbers_are_refused(machine: str) -> None:
    code = program(ARCHITECTURES[machine])
    i386 = 0x40000003
    others = {i386, *(each.audit for name, each in ARCHITECTURES.items() if name != machine)}
    assert {run(code, 0, audit) for audit in others} == {DENY}


def test_the_second_numbers_of_x86_are_refused() -> None:
    architecture = ARCHITECTURES["x86_64"]
    assert run(program(architecture), 0x40000000 | 39, architecture.audit) == DENY  # getpid of x32


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((UNIX, STREAM | FLAGS, 0), ALLOW),
        ((UNIX, DATAGRAM | FLAGS, 0), ALLOW),
        ((INET, STREAM | FLAGS, 0), ALLOW),
        ((INET, STREAM, 6), ALLOW),
        ((INET6, DATAGRAM, 17), ALLOW),
        ((INET6, STREAM, 0), ALLOW),
        ((NETLINK, RAW | FLAGS, 0), ALLOW),
        ((NETLINK, RAW, 9), DENY),
        ((INET, RAW, 1), DENY),
        ((INET6, RAW | FLAGS, 58), DENY),
        ((INET, DATAGRAM, 1), DENY),
        ((INET, STREAM, 262), DENY),  # MPTCP, which Landlock does not see
        ((INET, STREAM, 132), DENY),  # SCTP
        ((INET, 5, 0), DENY),
        ((PACKET, RAW, 0), DENY),
        ((VSOCK, STREAM, 0), DENY),
        ((ALG, 5, 0), DENY),
    ],
)
def test_sockets_are_unix_tcp_udp_and_the_question_for_addresses(
    machine: str, arguments: tuple[int, ...], expected: int
) -> None:
    assert answer(machine, "socket", *arguments) == expected


@pytest.mark.parametrize("machine", MACHINES)
def test_a_thread_may_begin_and_a_process_may_not(machine: str) -> None:
    assert answer(machine, "clone", 0x3D0F00) == ALLOW  # as pthread_create has it
    assert answer(machine, "clone", 0x1200011) == DENY  # as fork has it
    assert answer(machine, "clone3") == UNKNOWN  # upon which the C library takes clone


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("option", "expected"), [(4, DENY), (35, DENY), (0x59616D61, DENY), (15, ALLOW), (38, ALLOW), (3, ALLOW)]
)
def test_nothing_opens_the_process_to_others_again(machine: str, option: int, expected: int) -> None:
    assert answer(machine, "prctl", option, 1) == expected


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("request_", "expected"), [(0x5412, DENY), (0x541C, DENY), (2**32 | 0x5412, DENY), (0x5401, ALLOW)]
)
def test_nothing_is_typed_into_a_terminal(machine: str, request_: int, expected: int) -> None:
    """The kernel looks at the lower half of the number alone, and so does the filter."""
    assert answer(machine, "ioctl", 0, request_) == expected


def test_a_jump_that_is_too_far_for_an_instruction_is_an_error() -> None:
    with pytest.raises(struct.error):
        assembled([Step(EQUAL, 1, yes="end"), *[Step(EQUAL, 2)] * 256, "end", Step(RETURN, 0)])
