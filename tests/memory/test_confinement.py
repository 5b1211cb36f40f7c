"""What the log says of the confinement: what is in force, and a line for each thing that is not, with why."""

import errno
import os
from collections.abc import Callable, Iterator

import pytest
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from awfproxy.hardening import landlock, seccomp
from awfproxy.hardening.environ import Forgotten
from awfproxy.hardening.landlock import Policy
from awfproxy.service import confinement
from awfproxy.service.confinement import Before, Confinement

Start = Callable[..., list[tuple[str, str]]]
POLICY = Policy((), frozenset(), frozenset())


@pytest.fixture
def said() -> Iterator[list[tuple[str, str]]]:
    events: list[tuple[str, str]] = []

    def observe(event: LogEvent) -> None:
        events.append((str(event.get("event")), formatEvent(event)))

    globalLogPublisher.addObserver(observe)
    yield events
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, said: list[tuple[str, str]]) -> Start:
    """Starts it on a kernel made up: each part's answer is a word, or the error that it raises."""

    def answer(given: str | OSError) -> Callable[..., str]:
        def restrict(*_: object) -> str:
            if isinstance(given, OSError):
                raise given
            return given

        return restrict

    def make(
        *,
        files: str | OSError = "Landlock 7 (files)",
        calls: str | OSError = "seccomp",
        closing: str = "",
        before: Before = Before(Forgotten(2)),  # noqa: B008
        root: bool = False,
        threads: int = 1,
        confine: bool = True,
        dumpable: bool = False,
    ) -> list[tuple[str, str]]:
        monkeypatch.setattr(landlock, "restrict", answer(files))
        monkeypatch.setattr(seccomp, "restrict", answer(calls))
        monkeypatch.setattr(confinement, "close_to_others", lambda *, dumpable: closing)
        monkeypatch.setattr(confinement, "is_root", lambda: root)
        monkeypatch.setattr(confinement, "_threads", lambda: threads)
        service = Confinement(before, confine=confine, dumpable=dumpable, policy=lambda: POLICY)
        service.startService()
        return said

    return make


ALL = (
    "In force: core dumps and ptrace off, no_new_privs; 2 credentials overwritten in the environment; "
    "Landlock 7 (files); seccomp"
)


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def test_all_that_is_in_force_is_one_line(start: Start) -> None:
    assert start() == [("confined", ALL)]


def test_a_kernel_without_landlock_is_a_line_and_the_rest_is_in_force(start: Start) -> None:
    assert start(files=error(errno.ENOSYS)) == [
        ("not_confined", "Not in force: Landlock (Function not implemented)"),
        ("confined", ALL.replace("; Landlock 7 (files)", "")),
    ]


def test_a_kernel_without_seccomp_is_a_line_and_the_rest_is_in_force(start: Start) -> None:
    assert start(calls=error(errno.EINVAL)) == [
        ("not_confined", "Not in force: seccomp (Invalid argument)"),
        ("confined", ALL.replace("; seccomp", "")),
    ]


def test_a_machine_that_there_is_no_filter_for_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "x", "6", "1", "riscv64")))
    with pytest.raises(OSError, match="there is no filter for riscv64"):
        seccomp.restrict()


def test_off_is_a_line_each(start: Start) -> None:
    assert [text for name, text in start(confine=False) if name == "not_confined"] == [
        "Not in force: Landlock (--confine off)",
        "Not in force: seccomp (--confine off)",
    ]


def test_dumpable_says_what_it_means(start: Start) -> None:
    assert start(dumpable=True)[0] == (
        "not_confined",
        "Not in force: core dumps and ptrace off (--dumpable: whoever looks into it sees the key)",
    )


@pytest.mark.parametrize(
    "refusal", [{"closing": "not permitted"}, {"before": Before(Forgotten(), "not permitted")}]
)
def test_a_kernel_that_does_not_close_it_to_others_is_a_line(
    start: Start, refusal: dict[str, object]
) -> None:
    assert start(**refusal)[0] == (
        "not_confined",
        "Not in force: core dumps and ptrace off, no_new_privs (not permitted)",
    )


def test_credentials_that_are_left_are_a_line(start: Start) -> None:
    assert start(before=Before(Forgotten(1, "some of it could not be overwritten")))[0] == (
        "not_confined",
        "Not in force: credentials overwritten in the environment (some of it could not be overwritten)",
    )


def test_threads_that_landlock_does_not_bind_are_a_line(start: Start) -> None:
    assert start(threads=3)[0] == (
        "not_confined",
        "Not in force: Landlock for threads that began before (there are 2)",
    )


def test_root_is_warned(start: Start) -> None:
    assert [name for name, _ in start(root=True)] == ["running_as_root", "confined"]
