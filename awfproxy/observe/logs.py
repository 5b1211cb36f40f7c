"""How log events are written, as text or as JSON (`--log-format`): observers for Twisted's log.

JSON is one object a line: timestamp, level, event, message, and the event's own values. Only plain values are
written, so that no object can bring along what it holds; failures lose their locals.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

from twisted.logger import FileLogObserver, LogEvent, formatEvent, formatEventAsClassicLogText

from awfproxy.observe.accesslog import AccessLine

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
        if isinstance(access, AccessLine):
            return f"{clock.stamp(event)} [access] {access}\n"
        return formatEventAsClassicLogText(event, formatTime=lambda _: clock.stamp(event))

    return line


def json_lines() -> Callable[[LogEvent], str]:
    """Events as JSON."""
    clock = _Clock()

    def line(event: LogEvent) -> str:
        level, name = event.get("log_level"), event.get("event")
        record: dict[str, object] = {
            "timestamp": clock.stamp(event),
            "level": getattr(level, "name", "info"),
            "event": name if isinstance(name, str) else "log",
        }
        access = event.get("line")
        if isinstance(access, AccessLine):
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


def observer(stream: TextIO, log_format: str) -> FileLogObserver:
    """An observer that writes to `stream` in that format."""
    return FileLogObserver(stream, json_lines() if log_format == "json" else text_lines())
