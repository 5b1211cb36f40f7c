"""The second signal: what it ends, in which way, and what it leaves alone."""

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from awfproxy.service.exit import ExitCode, ExitStatus
from awfproxy.service.secondsignal import end_at_second_signal

TERM, INT = signal.SIGTERM, signal.SIGINT


class Reactor:
    """Notes what it is asked to do; `stopping` begins a stop that no signal has asked for."""

    def __init__(self) -> None:
        self.story: list[str] = []
        self.before: dict[int, Any] = {}

    def sets_its_own(self, *numbers: int) -> None:
        """The handlers of the first signal; inside a test, since the test run's own reactor sets its late."""
        for each in numbers:
            self.before[each] = signal.getsignal(each)
            signal.signal(each, lambda number, frame: self.story.append(f"first {number}"))

    def callFromThread(self, function: Callable[[], None]) -> None:
        function()

    def addSystemEventTrigger(self, phase: str, event: str, function: Callable[[], None]) -> None:
        assert (phase, event) == ("before", "shutdown")
        self.stopping = function

    def crash(self) -> None:
        self.story.append("crash")


@pytest.fixture
def loop() -> Iterator[Reactor]:
    """At the end the test run's own handlers are back."""
    loop = Reactor()
    yield loop
    for each, handler in loop.before.items():
        signal.signal(each, handler)


def heed(reactor: Reactor, with_0: bool = False, cut: Callable[[], None] | None = None) -> None:
    reactor.sets_its_own(TERM, INT)
    heed_as_it_is(reactor, with_0, cut)


def heed_as_it_is(
    reactor: Reactor, with_0: bool = False, cut: Callable[[], None] | None = None
) -> None:
    status = ExitStatus(lambda hook: None, lambda code: reactor.story.append(f"leave {code}"))
    end_at_second_signal(
        reactor,  # type: ignore[arg-type]
        status,
        cut=cut or (lambda: reactor.story.append("cut")),
        with_0=with_0,
    )


@pytest.mark.parametrize("first", [TERM, INT])
@pytest.mark.parametrize("second", [TERM, INT])
def test_the_first_is_the_reactors_and_the_second_ends_it(loop: Reactor, first: int, second: int) -> None:
    heed(loop)
    signal.raise_signal(first)
    assert loop.story == [f"first {first}"]
    signal.raise_signal(second)
    assert loop.story == [f"first {first}", "cut", "crash"]


def test_where_a_stop_ends_with_0_so_does_the_second_signal(loop: Reactor) -> None:
    heed(loop, with_0=True)
    signal.raise_signal(TERM)
    signal.raise_signal(TERM)
    assert loop.story[1:] == ["cut", "leave 0"]


def test_the_first_signal_is_the_second_one_where_it_stops_already(loop: Reactor) -> None:
    heed(loop)
    loop.stopping()
    signal.raise_signal(TERM)
    assert loop.story == ["cut", "crash"]


def test_where_it_ends_by_itself_the_first_signal_leaves_with_that_end_s_code(loop: Reactor) -> None:
    """The runner would end by no signal, and wait for the reactor's threads."""
    status = ExitStatus(lambda hook: None, lambda code: loop.story.append(f"leave {code}"))
    loop.sets_its_own(TERM, INT)
    end_at_second_signal(loop, status, cut=lambda: loop.story.append("cut"), with_0=False)  # type: ignore[arg-type]
    status.fail(ExitCode.NO_PERMISSION, "rejected")
    loop.stopping()
    signal.raise_signal(TERM)
    assert loop.story == ["cut", f"leave {int(ExitCode.NO_PERMISSION)}"]


def test_the_third_is_the_systems_so_it_ends_even_what_hangs(loop: Reactor) -> None:
    heed(loop)
    loop.callFromThread = lambda function: None  # type: ignore[method-assign]
    signal.raise_signal(TERM)
    signal.raise_signal(TERM)
    assert signal.getsignal(TERM) == signal.SIG_DFL


def test_an_error_while_cutting_does_not_keep_it_alive(loop: Reactor) -> None:
    def cut() -> None:
        raise ValueError("inside")

    heed(loop, cut=cut)
    signal.raise_signal(TERM)
    with pytest.raises(ValueError, match="inside"):  # a reactor logs it
        signal.raise_signal(TERM)
    assert loop.story[1:] == ["crash"]


def test_a_signal_that_is_ignored_stays_so(loop: Reactor) -> None:
    loop.sets_its_own(TERM, INT)
    signal.signal(INT, signal.SIG_IGN)
    heed_as_it_is(loop)
    signal.raise_signal(TERM)
    signal.raise_signal(INT)
    assert loop.story == [f"first {TERM}"]
