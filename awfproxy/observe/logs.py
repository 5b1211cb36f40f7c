"""How log events are written, as text or as JSON (`--log-format`): observers for Twisted's log.

JSON is one object a line: timestamp, level, event, message, and the event's own values. Only plain values are
written, so that no object can bring along what it holds; failures lose their locals.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from twisted.logger import FileLogObserver, LogEvent, LogLevel, formatEvent, formatEventAsClassicLogText

from awfproxy.net.deadlines import INTERVAL, NEVER, Sweep
from awfproxy.observe.accesslog import AccessLine, EventLine, Line, emit
from awfproxy.observe.logstream import LogStream, Stream

_AT_MOST = 64
"""Access lines written together: more would hold up the requests that come meanwhile (0.4 ms for these)."""
_PLAIN = (str, int, float, bool, type(None))
# What Twisted adds to every event for observers of the old kind.
_LEGACY = frozenset(
    {"isError", "message", "time", "system", "format", "failure", "why", "printed", "logLevel"}
)


def _stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class _Clock:
    """Time stamps, of which all but the milliseconds are made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def stamp(self, event: LogEvent) -> str:
        moment: float = event.get("log_time", 0.0)
        second = int(moment)
        if second != self._second:
            self._second, self._text = second, _stamp(second)
        return f"{self._text}.{int((moment - second) * 1000):03d}Z"


def text_lines() -> Callable[[LogEvent], str | None]:
    """Events as Twisted's own text, in UTC; an access line without the detour through a format."""
    clock = _Clock()

    def line(event: LogEvent) -> str | None:
        access = event.get("line")
        if isinstance(access, AccessLine | EventLine):
            return f"{clock.stamp(event)} [access] {access}\n"
        return formatEventAsClassicLogText(event, formatTime=lambda _: clock.stamp(event))

    return line


def json_lines(names: Mapping[str, str] | None = None) -> Callable[[LogEvent], str]:
    """Events as JSON; those in `names` under another name."""
    clock = _Clock()
    names = names or {}

    def line(event: LogEvent) -> str:
        level, name = event.get("log_level"), event.get("event")
        record: dict[str, object] = {
            "timestamp": clock.stamp(event),
            "level": getattr(level, "name", "info"),
            "event": names.get(name, name) if isinstance(name, str) else "log",
        }
        access = event.get("line")
        if isinstance(access, AccessLine | EventLine):
            record.update(access.values)
        else:
            _add_values(record, event)
        return json.dumps(record, separators=(",", ":")) + "\n"

    return line


def _add_values(record: dict[str, object], event: LogEvent) -> None:
    record["message"] = formatEvent(event)
    for key, value in event.items():
        if not key.startswith("log_") and key not in _LEGACY and isinstance(value, _PLAIN):
            record.setdefault(key, value)
    failure = event.get("log_failure")
    if failure is not None:
        record["error_type"] = failure.type.__name__
        record["stack"] = failure.getBriefTraceback()


def without(
    lines: Callable[[LogEvent], str | None], hidden: str
) -> Callable[[LogEvent], str | None]:
    """The same lines, in which `hidden` reads `[REDACTED]`."""
    pattern = re.compile(re.escape(hidden), re.IGNORECASE)

    def line(event: LogEvent) -> str | None:
        text = lines(event)
        return None if text is None else pattern.sub("[REDACTED]", text)

    return line


class LogWriter:
    """The log of one process: Twisted's events by an observer, access lines straight to the same stream.

    An event of Twisted's log, and a write to the stream, each cost as much as parsing a request. So access
    lines go past the one and are gathered for the other, unformatted (a hundred in a row cost half of a
    hundred apart): for `INTERVAL` seconds, to `_AT_MOST` lines, or until anything else is logged. Until
    `observer` has been asked for (under `--logger` or `--syslog` it never is) they are events.
    """

    def __init__(
        self, log_format: str, names: Mapping[str, str] | None = None, hidden: str | None = None
    ) -> None:
        """Events in `names` are called otherwise in JSON; the text `hidden` is not shown, in any case."""
        lines: Callable[[LogEvent], str | None] = json_lines(names) if log_format == "json" else text_lines()
        self._lines = without(lines, hidden) if hidden else lines
        self._stream: LogStream | None = None
        self._sweep: Sweep | None = None
        self._gathered: list[LogEvent] = []
        self.deadline = NEVER

    def observer(self, stream: Stream) -> FileLogObserver:
        """An observer for Twisted's events; from now on access lines go to `stream` too."""
        self._stream = LogStream(stream, self._lost)
        return FileLogObserver(self._stream, self._line_after_gathered)  # type: ignore[arg-type]

    @property
    def lines_lost(self) -> int:
        """Lines that could not be written, since the start; 0 where the log is not written here."""
        return 0 if self._stream is None else self._stream.lost_in_all

    def gather(self, sweep: Sweep) -> None:
        """From now on access lines may wait for others; before, each is written at once."""
        self._sweep = sweep

    def access(self, line: Line) -> None:
        """Writes one line of a request's."""
        if self._stream is None:
            emit(line)
            return
        self._gathered.append(
            {"log_time": time.time(), "line": line, "event": line.event, "log_level": line.level}
        )
        if self._sweep is None or len(self._gathered) == _AT_MOST:
            self.deadline_passed()
        elif len(self._gathered) == 1:
            self.deadline = self._sweep.seconds() + INTERVAL
            self._sweep.add(self)

    def deadline_passed(self) -> None:
        """Writes what has been gathered."""
        if self._sweep is not None:
            self._sweep.discard(self)
        gathered, self._gathered = self._gathered, []
        if self._stream is not None and gathered:
            self._stream.write("".join([self._lines(event) or "" for event in gathered]))

    def _line_after_gathered(self, event: LogEvent) -> str | None:
        """Each event's line comes after the access lines before it."""
        if self._gathered:
            self.deadline_passed()
        return self._lines(event)

    def _lost(self, count: int) -> str:
        """The line in place of so many that could not be written."""
        event: LogEvent = {
            "log_time": time.time(),
            "log_level": LogLevel.warn,
            "log_namespace": "awfproxy.log",
            "log_system": "awfproxy.log#warn",
            "log_format": "{lines} lines of the log are lost: it could not be written "
            "(a full disk, or a reader who does not keep up).",
            "event": "log_lines_lost",
            "lines": count,
        }
        return self._lines(event) or ""
