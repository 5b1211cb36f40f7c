"""`Cooldown`: while no tunnel can be opened, requests are told so at once instead of each finding out anew.

It counts failures in a row of attempts that a request waited for. The third begins a pause in which
requests are told the last error; after it attempts are made again, and the next failure begins a longer
one. The first is short, so that a Squid which restarts is found again soon; none is longer than a second.

Descriptors that run out here say nothing of the way: such an attempt asks nobody and costs nothing, so there
is nothing to spare, and the next request may find one free.
"""

from awfproxy.errors.base import AwfError
from awfproxy.errors.own import OutOfDescriptors

IN_A_ROW = 3
"""Failures after which requests are not tried for a while."""

FIRST, GROWTH, LONGEST = 0.125, 2.0, 1.0
"""Seconds of the pauses."""


class Cooldown:
    """One per pool, which tells it how its attempts end; seconds are the caller's, it has no clock."""

    def __init__(self) -> None:
        self._failures = 0
        self._pause = FIRST
        self._until = 0.0
        self._refusal: AwfError | None = None

    def failed(self, reason: AwfError, now: float) -> None:
        """An attempt that a request waited for has failed at `now`.

        One that was begun before the pause counts for nothing in it: else a burst would lengthen the pause.
        """
        if isinstance(reason, OutOfDescriptors) or self.refusal(now) is not None:
            return
        self._failures += 1
        if self._failures < IN_A_ROW:
            return
        why = f": {reason.detail}" if reason.detail else ""
        self._refusal = type(reason)(f"not tried, since {self._failures} attempts in a row failed{why}")
        self._until = now + self._pause
        self._pause = min(self._pause * GROWTH, LONGEST)

    def succeeded(self) -> None:
        """A tunnel stands: all is forgotten."""
        if self._failures:
            self._failures, self._pause, self._refusal = 0, FIRST, None

    def refusal(self, now: float) -> AwfError | None:
        """What a request is told at `now` in place of an attempt; None: it is to be tried."""
        return self._refusal if now < self._until else None
