"""What a stream of server-sent events came to: how many there were, and how it ended. Pure."""

import re

from awfproxy.credentials.verdict import ProviderError, read_error
from awfproxy.observe.endmarker import EndMarker
from awfproxy.providers.provider import Provider, Trial

_EVENT_END = re.compile(rb"\r?\n\r?\n")
_ERROR = re.compile(rb"event: ?(?:error|response\.failed)\r?\n")


def events(content: bytes) -> list[bytes]:
    """The whole events that hold data."""
    return [event for event in _EVENT_END.split(content)[:-1] if b"data:" in event]


def has_ended(provider: Provider, trial: Trial, content: bytes) -> bool:
    """Whether the stream came to its end on the protocol's own level."""
    if trial.last_event:
        found = events(content)
        return bool(found) and trial.last_event in found[-1]
    marker = EndMarker(provider.end_markers)
    marker.feed(content)
    return marker.seen


def failure(content: bytes) -> ProviderError | None:
    """The error that the provider put into the stream, in place of the rest of its answer."""
    for event in events(content):
        if _ERROR.search(event + b"\n"):
            data = b"".join(re.findall(rb"data: ?([^\r\n]*)", event))
            return read_error(data)
    return None
