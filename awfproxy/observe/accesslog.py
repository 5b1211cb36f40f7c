"""One line per exchange: what was asked, what became of it, how long each phase took.

No byte from a peer reaches the line unescaped, no query string and no field value but the two request ids.
"""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any

import attrs
from twisted.logger import Logger, LogLevel

from awfproxy.errors.base import AwfError, Hop
from awfproxy.errors.client import BadWebSocketHandshake, WebSocketUnsupported
from awfproxy.observe.metrics import Metrics
from awfproxy.wire.target import path_of

_log = Logger(namespace="awfproxy.access")
_MAX_PATH = 200
_REMEMBERED = 256
"""Octets of a path above which it is made anew each time: what clients send must not fill memory, and what
may hold a credential (a query, a fragment, an authority) must not stay there."""
_UNSAFE = re.compile(rb"[^\x21-\x7e]")


class Outcome(StrEnum):
    """What became of an exchange."""

    COMPLETED = "completed"
    CLIENT_LEFT = "client_left"
    CLIENT_LEFT_AFTER_DONE = "client_left_after_done"
    """After the protocol's own end marker: a success."""
    UPSTREAM_FAILED = "upstream_failed"
    UPSTREAM_TRUNCATED = "upstream_truncated"
    REFUSED = "refused"
    TIMED_OUT = "timed_out"
    DRAINED = "drained"


# Looking a member up on its Enum costs as much as a call (Python 3.11).
_FAILED = frozenset({Outcome.UPSTREAM_FAILED, Outcome.UPSTREAM_TRUNCATED})


class AccessRecord:
    """What is known of one exchange so far; times are the reactor's seconds."""

    def __init__(
        self,
        request_id: bytes,
        client: str,
        method: bytes,
        target: bytes,
        started: float,
        request_bytes: int = 0,
        response_bytes: int = 0,
        status: int = 0,
        acquired: float | None = None,
        head_at: float | None = None,
        reused: bool | None = None,
        provider_request_id: bytes = b"",
        error: type[AwfError] | None = None,
    ) -> None:
        self.request_id = request_id
        self.client = client
        self.method = method
        self.target = target
        self.started = started
        self.request_bytes = request_bytes
        """Octets of content received from the client."""
        self.response_bytes = response_bytes
        """Octets of content sent to the client."""
        self.status = status
        """As the client saw it; 0 when it saw none."""
        self.acquired = acquired
        self.head_at = head_at
        self.reused = reused
        self.provider_request_id = provider_request_id
        self.error = error
        self.websocket = False
        """A handshake that was forwarded, or would have been."""
        self.leaks_masked = 0
        """How often the key stood in the answer, and was masked."""
        self.caller = ""
        """The label of the caller's token; empty where there is none."""


_WEBSOCKET_ENDS = {
    Outcome.REFUSED: "rejected",
    Outcome.UPSTREAM_FAILED: "failed",
    Outcome.UPSTREAM_TRUNCATED: "failed",
    Outcome.TIMED_OUT: "failed",
}

_NAMES = (
    "request_id",
    "provider",
    "client",
    "method",
    "path",
    "status",
    "outcome",
    "error",
    "request_bytes",
    "response_bytes",
    "duration_ms",
    "tunnel",
    "tunnel_ms",
    "head_ms",
    "provider_request_id",
)
_TEXT = " ".join(f"{name}=%s" for name in _NAMES)


class AccessLine:
    """The line of an ended exchange. Observers write it in their own form, when they write."""

    def __init__(
        self,
        provider: str,
        record: AccessRecord,
        outcome: Outcome,
        duration_ms: float,
        upstream_host: str | None = None,
    ) -> None:
        """`upstream_host` is given only where lines have it at all."""
        self.provider = provider
        self.record = record
        self.outcome = outcome
        self.duration_ms = duration_ms
        self.upstream_host = upstream_host

    def _in_order(self, nothing: str | None) -> tuple[str | int | float | None, ...]:
        record = self.record
        error, reused = record.error, record.reused
        return (
            printable(record.request_id),
            self.provider,
            record.client,
            printable(record.method),
            shown_path(record.target),
            record.status,
            self.outcome,
            nothing if error is None else error.code,
            record.request_bytes,
            record.response_bytes,
            self.duration_ms,
            nothing if reused is None else "reused" if reused else "new",
            _milliseconds(record.started, record.acquired, nothing),
            _milliseconds(record.started, record.head_at, nothing),
            printable(record.provider_request_id) if record.provider_request_id else nothing,
        )

    @property
    def values(self) -> dict[str, str | int | float | None]:
        """The line's values by name, in its order; None (in text `-`) for what there is not."""
        values: dict[str, str | int | float | None] = dict(zip(_NAMES, self._in_order(None), strict=True))
        if self.upstream_host is not None:
            values["upstream_host"] = self.upstream_host
        if self.record.caller:
            values["caller"] = self.record.caller
        if self.record.leaks_masked:
            values["leaks_masked"] = self.record.leaks_masked
        return values

    def __str__(self) -> str:
        text = _TEXT % self._in_order("-")
        if self.record.caller:
            text += f" caller={self.record.caller}"
        return f"{text} leaks_masked={self.record.leaks_masked}" if self.record.leaks_masked else text

    @property
    def event(self) -> str:
        return "request_complete"

    @property
    def level(self) -> Any:
        return LogLevel.info


@attrs.frozen
class EventLine:
    """Something else about a request, written on the same way as access lines, and in order with them."""

    event: str
    level: Any
    values: Mapping[str, str | int | float | None]

    def __str__(self) -> str:
        pairs = " ".join(f"{name}={value}" for name, value in self.values.items())
        return f"{self.event} {pairs}"


Line = AccessLine | EventLine


def emit(line: Line) -> None:
    """The line as an event of Twisted's log."""
    _log.emit(line.level, "{line}", event=line.event, line=line)


class AccessLog:
    """Makes the lines of one provider and counts along."""

    def __init__(
        self,
        provider: str,
        metrics: Metrics,
        write: Callable[[Line], None] = emit,
        upstream_host: str | None = None,
    ) -> None:
        """With `upstream_host` each line names it."""
        self._provider = provider
        self._metrics = metrics
        self._write = write
        self._upstream_host = upstream_host

    def begun(self, record: AccessRecord) -> None:
        """An exchange has begun: `ended` will come for it, once."""
        self._metrics.begun()

    def refused_by_rule(self) -> None:
        """The path rules do not let an exchange through; it ends as any other."""
        self._metrics.rule_refusals += 1

    def refused_caller(self, record: AccessRecord, error: AwfError) -> None:
        """The caller's token does not let an exchange through; it ends as any other."""
        refusals = self._metrics.caller_refusals
        refusals[error.code] = refusals.get(error.code, 0) + 1
        _log.warn(
            "{request_id}: the caller is refused: {detail}",
            event="caller_refused",
            request_id=printable(record.request_id),
            provider=self._provider,
            caller=record.caller or None,
            error=error.code,
            detail=error.detail or error.code,
        )

    def websocket_begun(self, record: AccessRecord) -> None:
        """The exchange is a WebSocket's handshake: beside its line there are events of its own."""
        record.websocket = True
        self._websocket(record, "start", None)

    def ended(self, record: AccessRecord, outcome: Outcome, now: float, detail: str = "") -> None:
        """The one line, and the counters."""
        duration = hundredths((now - record.started) * 1000)
        failed = record.status >= 500 or outcome in _FAILED
        self._metrics.ended(record, outcome, failed, duration)
        error = record.error
        if record.websocket or error is BadWebSocketHandshake or error is WebSocketUnsupported:
            self._websocket(record, _WEBSOCKET_ENDS.get(outcome, "complete"), duration)
        self._write(AccessLine(self._provider, record, outcome, duration, self._upstream_host))
        if record.leaks_masked:
            self._leaked(record)
        refused_on_the_way = error is not None and error.hop is Hop.EGRESS and record.status >= 500
        if error is not None and (error.status >= 500 or refused_on_the_way):
            _log.warn(
                "{request_id}: {hop} failed: {reason} {fix} ({detail})",
                event="request_error",
                request_id=printable(record.request_id),
                provider=self._provider,
                method=printable(record.method),
                path=shown_path(record.target),
                duration_ms=duration,
                hop=error.hop.value,
                error=error.code,
                reason=error.sentence,
                fix=error.fix,
                detail=detail or error.code,
            )

    def _leaked(self, record: AccessRecord) -> None:
        self._metrics.leaks_masked += record.leaks_masked
        _log.warn(
            "{request_id}: the provider's answer had the key in it, {times} times; the client got stars "
            "in its place.",
            event="leak_masked",
            request_id=printable(record.request_id),
            provider=self._provider,
            method=printable(record.method),
            path=shown_path(record.target),
            status=record.status,
            times=record.leaks_masked,
        )

    def _websocket(self, record: AccessRecord, what: str, duration: float | None) -> None:
        _log.info(
            "{request_id}: WebSocket {what}",
            event=f"websocket_upgrade_{what}",
            what=what,
            request_id=printable(record.request_id),
            provider=self._provider,
            path=shown_path(record.target),
            status=record.status,
            duration_ms=duration,
        )


def _milliseconds(since: float, until: float | None, nothing: str | None) -> str | float | None:
    return nothing if until is None else hundredths((until - since) * 1000)


def hundredths(value: float) -> float:
    """Rounded to two places: `round` takes five times as long, since it is right for halves too."""
    return int(value * 100 + 0.5) / 100


def shown_path(target: bytes) -> str:
    """The target's path, printable and not too long; the query may hold a credential, and is left out."""
    if b"?" in target:
        target = target[: target.index(b"?")]
    plain = target[:1] == b"/" and b"#" not in target and len(target) <= _REMEMBERED
    return _known_path(target) if plain else _path(target)


def _path(target: bytes) -> str:
    return printable(path_of(target))[:_MAX_PATH]


# Agents ask for the same few paths.
_known_path = lru_cache(maxsize=256)(_path)


def printable(data: bytes) -> str:
    """Bytes of a peer as one word of visible ASCII: all else is escaped, so no line can be forged."""
    if _UNSAFE.search(data):
        data = _UNSAFE.sub(lambda match: b"\\x%02x" % match.group()[0], data)
    return data.decode("ascii")
