"""Tunnels to one origin, kept open between requests and shared by all clients.

The last tunnel used is the first reused (LIFO), so that spare ones grow old and are closed. Requests that
find none wait in one FIFO, and whichever tunnel is free or ready first serves the first of them: no request
owns an attempt, so a slow CONNECT holds up nobody else, and a burst does not become a storm of handshakes
(p99 at 256 connections: 60 to 110 ms instead of 260).
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol as Interface

import attrs
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from awfproxy.errors.base import AwfError
from awfproxy.errors.own import InternalError
from awfproxy.net.deadlines import INTERVAL, Sweep
from awfproxy.settings.values import PoolLimits
from awfproxy.upstream.connection import UpstreamConnection
from awfproxy.upstream.cooldown import Cooldown

_CHECK_AFTER = 1.0
"""Seconds idle after which a tunnel is looked at before it is reused."""
_SLOW = 1.0
"""Seconds after which an attempt that no request waits for is not relied on by the next one."""
_HEAD_START = 0.1
"""Seconds that an attempt may take longer than one begun later, before it is not relied on any more."""
_LINGER = 5.0
_WARM_BACKOFF = 2.0
_TICK = 1.0


class Waiter(Interface):
    """A request that waits for a tunnel."""

    def tunnel_ready(self, connection: UpstreamConnection) -> None:
        """Here is one; it is the waiter's until its response is complete or it is aborted."""

    def tunnel_failed(self, reason: AwfError) -> None:
        """None could be opened."""


@attrs.frozen
class PoolStats:
    """Counts of tunnels and of those waiting for one, now; and of attempts, since the start."""

    idle: int
    busy: int
    opening: int
    waiting: int
    opened: int
    failed: int
    reused: int
    """Times that a tunnel was given to a request and had served another before."""
    failures: Mapping[str, int]
    """`failed` by the code of the error."""
    not_tried: int
    """Requests that were told the last error, because so many attempts in a row had failed."""


@attrs.define(eq=False)
class _Attempt:
    """A tunnel being opened. Overtaken: one begun later has been ready first, or it is slow and the request
    it was begun for is gone."""

    number: int
    begun: float
    overtaken: bool = False
    deferred: Deferred[None] | None = None

    def relied_on(self, young: float) -> bool:
        """It is promised to a waiter: begun after `young`, it was overtaken by a little at most."""
        return not self.overtaken or self.begun > young


@attrs.define(eq=False)
class _Place:
    """A waiter's place in the queue, with the retry it is allowed."""

    waiter: Waiter
    retried: bool = False


class Pool(Service):
    """All tunnels to the endpoint's origin.

    `heard(None)` is called for each tunnel that was opened, `heard(error)` for each that could not be.
    """

    def __init__(
        self,
        sweep: Sweep,
        endpoint: IStreamClientEndpoint,
        limits: PoolLimits,
        heard: Callable[[AwfError | None], None],
    ) -> None:
        self._sweep = sweep
        self._endpoint = endpoint
        self._limits = limits
        self._heard = heard
        self._idle: list[UpstreamConnection] = []
        self._busy: set[UpstreamConnection] = set()
        self._closing: dict[UpstreamConnection, float] = {}
        self._waiting: deque[_Place] = deque()
        self._attempts: dict[int, _Attempt] = {}
        self._opened = self._reused = self._numbered = self._newest_ready = 0
        self._failures: dict[str, int] = {}
        self._cooldown = Cooldown()
        self._not_tried = 0
        self._warm_at = 0.0
        self._open = self._opening_more = False
        self.deadline = 0.0

    # --- life ------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Begins to keep `warm` tunnels open and to close old ones."""
        super().startService()  # type: ignore[no-untyped-call]
        self._open = True
        self._sweep.add(self)
        self.deadline_passed()

    def stopService(self) -> None:
        """Gives up attempts and closes all tunnels; by now no exchange is left."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._open = False
        for attempt in list(self._attempts.values()):
            if attempt.deferred is not None:
                attempt.deferred.cancel()
        while self._idle:
            self._idle.pop().abort()
        for connection in list(self._busy):
            connection.abort()
        for connection in list(self._closing):
            connection.abort_lingering()
        self._sweep.discard(self)

    def stats(self) -> PoolStats:
        """What there is now."""
        return PoolStats(
            idle=len(self._idle),
            busy=len(self._busy),
            opening=len(self._attempts),
            waiting=len(self._waiting),
            opened=self._opened,
            failed=sum(self._failures.values()),
            reused=self._reused,
            failures=dict(self._failures),
            not_tried=self._not_tried,
        )

    # --- for exchanges ---------------------------------------------------------------------------

    def acquire(self, waiter: Waiter, fresh: bool = False) -> None:
        """Gives `waiter` a tunnel, at once if one is idle and `fresh` does not rule it out."""
        connection = None if fresh else self._take_idle()
        if connection is not None:
            self._reused += connection.requests > 0
            waiter.tunnel_ready(connection)
            return
        self._overtake_slow()
        # A retry waits in front: its request is older than the others'.
        place = _Place(waiter)
        if fresh:
            self._waiting.appendleft(place)
        else:
            self._waiting.append(place)
        self._open_more()

    def cancel(self, waiter: Waiter) -> None:
        """`waiter` no longer waits."""
        self._waiting = deque(place for place in self._waiting if place.waiter is not waiter)

    # --- for connections -------------------------------------------------------------------------

    def connection_ended(self, connection: UpstreamConnection) -> None:
        """Takes a tunnel back, or forgets it."""
        if connection.lost:
            self._closing.pop(connection, None)
        if connection in self._busy:
            self._busy.discard(connection)
        elif connection in self._idle:
            self._idle.remove(connection)
        if connection.reusable:
            self._offer(connection)
            return
        if not connection.lost:
            self._closing.setdefault(connection, self._sweep.seconds() + _LINGER)
        if self._waiting:
            self._open_more()

    # --- tunnels ---------------------------------------------------------------------------------

    def _take_idle(self) -> UpstreamConnection | None:
        now = self._sweep.seconds()
        while self._idle:
            connection = self._idle.pop()
            fresh = now - connection.idle_since < _CHECK_AFTER
            if connection.reusable and (fresh or connection.still_open()):
                self._busy.add(connection)
                return connection
            connection.close()
        return None

    def _offer(self, connection: UpstreamConnection) -> None:
        """A free tunnel goes to the first waiter, else to the idle ones."""
        now = self._sweep.seconds()
        if not self._open or now - connection.opened_at > self._limits.lifetime:
            connection.close()
            if self._waiting:
                self._open_more()
        elif self._waiting:
            self._busy.add(connection)
            self._reused += connection.requests > 0
            self._waiting.popleft().waiter.tunnel_ready(connection)
        else:
            connection.idle_since = now
            self._idle.append(connection)

    def _open_more(self) -> None:
        """As many attempts as there are waiters, within the limits; never inside itself.

        An attempt can fail at once (no route), and its failure comes back here. After several failures in a
        row there are none for a moment: who would be the reason for one is told the last error.
        """
        if self._opening_more:
            return
        self._opening_more = True
        try:
            while self._promised() < len(self._waiting) and (self._room() or self._make_room()):
                refusal = self._cooldown.refusal(self._sweep.seconds())
                if refusal is None:
                    self._begin()
                else:
                    self._not_tried += 1
                    self._waiting.pop().waiter.tunnel_failed(refusal)  # those before it have attempts to come
        finally:
            self._opening_more = False

    def _make_room(self) -> bool:
        """Gives up the oldest attempt that nobody relies on any more, where only that is in the way."""
        young = self._sweep.seconds() - _HEAD_START
        for attempt in self._attempts.values():
            if not attempt.relied_on(young) and attempt.deferred is not None:
                attempt.deferred.cancel()
                return self._room()
        return False

    def _promised(self) -> int:
        young = self._sweep.seconds() - _HEAD_START
        return sum(attempt.relied_on(young) for attempt in self._attempts.values())

    def _overtake_slow(self) -> None:
        """What hangs and has nobody waiting for it any more shall not hold up the request that comes now."""
        slow = self._sweep.seconds() - _SLOW
        spare = self._promised() - len(self._waiting)
        for attempt in self._attempts.values():
            if spare > 0 and not attempt.overtaken and attempt.begun < slow:
                attempt.overtaken = True
                spare -= 1

    def _room(self) -> bool:
        tunnels = len(self._idle) + len(self._busy) + len(self._attempts)
        return self._open and len(self._attempts) < self._limits.opening and tunnels < self._limits.maximum

    def _begin(self) -> None:
        self._numbered += 1
        attempt = _Attempt(self._numbered, self._sweep.seconds())
        self._attempts[attempt.number] = attempt
        factory = Factory.forProtocol(lambda: UpstreamConnection(self, self._sweep.seconds()))
        factory.noisy = False
        opening = self._endpoint.connect(factory)
        attempt.deferred = opening.addCallbacks(
            self._ready, self._could_not, callbackArgs=(attempt,), errbackArgs=(attempt,)
        )

    def _ready(self, connection: IProtocol, attempt: _Attempt) -> None:
        assert isinstance(connection, UpstreamConnection)
        del self._attempts[attempt.number]
        self._opened += 1
        self._cooldown.succeeded()
        self._newest_ready = max(self._newest_ready, attempt.number)
        for other in self._attempts.values():
            if other.number < attempt.number:
                other.overtaken = True
        self._heard(None)
        self._offer(connection)
        self._open_more()

    def _could_not(self, failure: Failure, attempt: _Attempt) -> None:
        del self._attempts[attempt.number]
        if failure.check(CancelledError):
            return
        reason = failure.value
        if not isinstance(reason, AwfError):
            reason = InternalError(type(reason).__name__)
        self._failures[reason.code] = self._failures.get(reason.code, 0) + 1
        self._warm_at = self._sweep.seconds() + _WARM_BACKOFF
        if attempt.number > self._newest_ready:  # else a later one has told more recent news
            self._heard(reason)
        if self._promised() < len(self._waiting):
            place = self._waiting[0]
            now = self._sweep.seconds()
            self._cooldown.failed(reason, now)
            again = self._cooldown.refusal(now) is None
            if again and reason.retryable and reason.status != 504 and not place.retried:
                place.retried = True
            else:
                self._waiting.popleft()
                place.waiter.tunnel_failed(reason)
        self._open_more()

    # --- once a second ---------------------------------------------------------------------------

    def deadline_passed(self) -> None:
        """Closes what is old or lingers, and keeps the warm minimum."""
        now = self._sweep.seconds()
        self.deadline = now + _TICK - INTERVAL / 2
        for connection in [one for one in self._idle if self._is_old(one, now)]:
            connection.close()
        for connection in [one for one, until in self._closing.items() if until <= now]:
            connection.abort_lingering()
        if self._waiting:
            self._open_more()  # what was young when it was overtaken is not relied on any more
        spare = len(self._idle) + len(self._busy) + len(self._attempts)
        if now >= self._warm_at and spare < self._limits.warm and self._room():
            self._begin()

    def _is_old(self, connection: UpstreamConnection, now: float) -> bool:
        return (
            now - connection.idle_since > self._limits.idle
            or now - connection.opened_at > self._limits.lifetime
        )
