"""After the 101 (RFC 9110 7.8): bytes both ways as they come, each side's end passed on.

`OPEN -> CLIENT_ENDED | ORIGIN_ENDED -> CLOSED`. Backpressure goes straight through: a full client pauses the
origin's side and the other way round, so each direction holds what one read brought and what the transport
takes above its high water, and nothing is stored here.
"""

from collections.abc import Callable
from enum import Enum
from typing import Protocol as Interface

from awfproxy.errors.base import AwfError
from awfproxy.errors.origin import IncompleteMessage
from awfproxy.errors.own import ShuttingDown
from awfproxy.observe.accesslog import AccessLog, AccessRecord, Outcome
from awfproxy.observe.leakguard import LeakGuard
from awfproxy.settings.values import WebSocketLimits

_DRAIN_SILENCE = 2.0
"""Seconds of silence after which a tunnel is ended while the process stops."""
_HALF_CLOSED_SILENCE = 60.0
"""Seconds of silence with one side's end seen: it may have gone altogether, which only a write would show."""


class ClientEnd(Interface):
    """The client's connection, as its tunnel sees it."""

    def write(self, data: bytes) -> None:
        """Sends to the client, now."""

    def end_writing(self) -> None:
        """Nothing more comes from the origin: our FIN, after what was written."""

    def close(self) -> None:
        """Ends politely: what was written arrives."""

    def abort(self) -> None:
        """Resets the connection."""

    def pause_reading(self) -> None:
        """Takes no more from the client for now."""

    def resume_reading(self) -> None:
        """Reads on."""


class OriginEnd(Interface):
    """The upstream connection, as its tunnel sees it."""

    def write(self, content: bytes) -> None:
        """Sends to the origin, now."""

    def end_writing(self) -> None:
        """Nothing more comes from the client: close_notify, after what was written."""

    def close(self) -> None:
        """Ends politely."""

    def abort(self) -> None:
        """Ends the connection now."""

    def pause_response(self) -> None:
        """Takes no more from the origin for now."""

    def resume_response(self) -> None:
        """Reads on."""


class _State(Enum):
    OPEN = "OPEN"
    CLIENT_ENDED = "CLIENT_ENDED"
    ORIGIN_ENDED = "ORIGIN_ENDED"
    CLOSED = "CLOSED"


# Looking a member up on its Enum costs as much as a call (Python 3.11), and these are asked for all the time.
_OPEN, _CLIENT_ENDED, _ORIGIN_ENDED, _CLOSED = _State


class Tunnel:
    """Made by the exchange when the origin has switched; hears of either connection and tells the other one.

    `start` gives it the client's. The channel calls `look` at each sweep. One access line, at the end.
    """

    __slots__ = (
        "_client",
        "_draining",
        "_guard",
        "_idle",
        "_log",
        "_moved",
        "_now",
        "_origin",
        "_record",
        "_silent_at",
        "_state",
        "_until",
    )

    def __init__(
        self,
        origin: OriginEnd,
        *,
        record: AccessRecord,
        log: AccessLog,
        limits: WebSocketLimits,
        now: Callable[[], float],
        guard: LeakGuard | None = None,
    ) -> None:
        self._client: ClientEnd
        self._origin = origin
        self._record = record
        self._log = log
        self._now = now
        self._guard = guard
        self._state = _OPEN
        self._idle = limits.idle
        self._draining = False
        self._moved = False
        """A byte has passed since the last look: cheaper than a clock for each."""
        self._silent_at = now() + limits.idle
        self._until = now() + limits.lifetime

    # --- from the client's side ------------------------------------------------------------------

    def start(self, client: ClientEnd) -> None:
        """Here is the client's connection; nothing else is called before."""
        self._client = client

    def from_client(self, data: bytes) -> None:
        """Bytes for the origin."""
        self._moved = True
        self._record.request_bytes += len(data)
        self._origin.write(data)

    def client_ended(self) -> None:
        """The client sends no more; it may read on."""
        if self._state is _OPEN:
            self._half_closed(_CLIENT_ENDED)
            self._origin.end_writing()
        elif self._state is _ORIGIN_ENDED:
            self._end(Outcome.COMPLETED)

    def client_lost(self) -> None:
        """The client's connection is gone: the origin's is aborted at once."""
        if self._state is not _CLOSED:
            self._done(Outcome.CLIENT_LEFT)
            self._origin.abort()

    def client_full(self) -> None:
        """The client takes no more for now."""
        self._origin.pause_response()

    def client_ready(self) -> None:
        """It does again."""
        self._origin.resume_response()

    # --- from the upstream connection ------------------------------------------------------------

    def from_origin(self, data: bytes) -> None:
        """Bytes for the client."""
        self._moved = True
        self._record.response_bytes += len(data)
        if self._guard is not None:
            data = self._guard.feed(data)
        if data:
            self._client.write(data)

    def origin_ended(self) -> None:
        """The origin sends no more (close_notify); it may read on."""
        self._release()
        if self._state is _OPEN:
            self._half_closed(_ORIGIN_ENDED)
            self._client.end_writing()
        elif self._state is _CLIENT_ENDED:
            self._end(Outcome.COMPLETED)

    def origin_lost(self, orderly: bool) -> None:
        """The origin's connection is gone; not orderly is without close_notify, so perhaps a cut."""
        if self._state is _CLOSED:
            return
        if orderly or self._state is _ORIGIN_ENDED:
            self._release()
            self._done(Outcome.COMPLETED)
            self._client.close()
            return
        if self._state is _CLIENT_ENDED:  # many origins answer an end so, and the client may have left
            self._done(Outcome.CLIENT_LEFT)
        else:
            self._done(Outcome.UPSTREAM_TRUNCATED, IncompleteMessage)
        self._client.abort()

    def origin_full(self) -> None:
        """The origin takes no more for now."""
        self._client.pause_reading()

    def origin_ready(self) -> None:
        """It does again."""
        self._client.resume_reading()

    # --- limits ----------------------------------------------------------------------------------

    def look(self) -> None:
        """Ends it where it has been silent, or has lived, for too long."""
        now = self._now()
        if self._moved:
            self._moved = False
            self._silent_at = now + self._idle
        if now >= self._until:
            self._abort(Outcome.TIMED_OUT)
        elif now >= self._silent_at:
            self._end(Outcome.DRAINED if self._draining else Outcome.TIMED_OUT)

    def drain(self) -> None:
        """The process stops: what is silent from now on is ended."""
        self._draining = True
        self._idle = _DRAIN_SILENCE
        self._silent_at = self._now() + _DRAIN_SILENCE

    def drain_deadline_passed(self) -> None:
        """The process waits no longer."""
        self._abort(Outcome.DRAINED, ShuttingDown)

    # --- inside ----------------------------------------------------------------------------------

    def _release(self) -> None:
        """The origin sends no more: what its last bytes might have become, they are not."""
        if self._guard is not None and self._guard.held:
            self._client.write(self._guard.end())

    def _half_closed(self, state: _State) -> None:
        self._state = state
        self._idle = min(self._idle, _HALF_CLOSED_SILENCE)
        self._moved = True

    def _end(self, outcome: Outcome) -> None:
        self._release()
        self._done(outcome)
        self._origin.close()
        self._client.close()

    def _abort(self, outcome: Outcome, error: type[AwfError] | None = None) -> None:
        if self._state is not _CLOSED:
            self._done(outcome, error)
            self._origin.abort()
            self._client.abort()

    def _done(self, outcome: Outcome, error: type[AwfError] | None = None) -> None:
        self._state = _CLOSED
        self._record.error = error or self._record.error
        if self._guard is not None:
            self._record.leaks_masked = self._guard.masked
        self._log.ended(self._record, outcome, self._now())
