"""Several tasks at once, as one."""

from collections.abc import Coroutine, Sequence
from typing import Any

from twisted.internet.defer import Deferred, FirstError, gatherResults


async def all_of(tasks: Sequence[Coroutine[Deferred[Any], Any, None]]) -> None:
    """All at once; the first that fails ends the others, and its exception comes out."""
    started = [Deferred.fromCoroutine(task) for task in tasks]
    try:
        await gatherResults(started, consumeErrors=True)
    except FirstError as first:
        first.subFailure.raiseException()
    finally:
        for one in started:
            one.addErrback(lambda _: None)
            one.cancel()
