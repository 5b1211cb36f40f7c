"""Running the reactor for as long as one piece of work takes."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


class Interrupted(Exception):
    """A signal ended it before its time."""


def run(work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """What `work`, given the reactor, returns; or raises what it raises, or `Interrupted`."""
    from twisted.internet import reactor

    results: list[T] = []
    problems: list[BaseException] = []

    def fail(failure: Failure) -> None:
        assert failure.value is not None
        problems.append(failure.value)

    def stop(_: object) -> None:
        if reactor.running:
            reactor.stop()

    def begin() -> None:
        Deferred.fromCoroutine(work(reactor)).addCallbacks(results.append, fail).addBoth(stop)

    reactor.callWhenRunning(begin)
    reactor.run()
    if problems:
        raise problems[0]
    if not results:
        raise Interrupted
    return results[0]
