"""`--log-format json`: one JSON object a line (timestamp, level, event, message, and the event's own values).

Only plain values are written, so that no object can bring along what it holds; failures lose their locals.
"""

import json
from datetime import UTC, datetime
from typing import TextIO

from twisted.logger import FileLogObserver, LogEvent, formatEvent

_PLAIN = (str, int, float, bool, type(None))
# "line", and what Twisted adds to every event for observers of the old kind.
_NOT_WRITTEN = frozenset(
    {"line", "isError", "message", "time", "system", "format", "failure", "why", "printed", "logLevel"}
)


def json_line(event: LogEvent) -> str:
    """The event as one line; never raises (an observer that does is switched off)."""
    moment = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
    level = event.get("log_level")
    name = event.get("event")
    record: dict[str, object] = {
        "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": getattr(level, "name", "info"),
        "event": name if isinstance(name, str) else "log",
    }
    line = event.get("line")  # the access log's: there the values say it all
    if line is None:
        record["message"] = formatEvent(event)
    for key, value in event.items():
        if not key.startswith("log_") and key not in _NOT_WRITTEN and isinstance(value, _PLAIN):
            record.setdefault(key, value)
    failure = event.get("log_failure")
    if failure is not None:
        record["error_type"] = failure.type.__name__
        record["stack"] = failure.getBriefTraceback()
    return json.dumps(record, separators=(",", ":")) + "\n"


def json_observer(stream: TextIO) -> FileLogObserver:
    """An observer that writes such lines to `stream`."""
    return FileLogObserver(stream, json_line)
