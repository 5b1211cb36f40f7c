"""Whether a stream has come to its end on the protocol's own level, whatever its framing says."""

_SMALL = 4096
"""Octets up to which a copy costs less than a second search."""


class EndMarker:
    """Watches a stream for the protocol's own end, across the borders of what arrives.

    A marker is a whole line, since model text may hold the words; and it counts once the empty line after it
    has passed, which ends the event (https://html.spec.whatwg.org/multipage/server-sent-events.html).
    """

    __slots__ = ("_found", "_kinds", "_longest", "_markers", "_tail", "seen")

    def __init__(self, markers: tuple[bytes, ...]) -> None:
        self._markers = tuple(b"\n" + marker for marker in markers)
        self._kinds = tuple({marker[: marker.find(b" ") + 1]: None for marker in self._markers})
        """How the lines begin that a marker can be: `event: `, `data: `."""
        self._longest = max(map(len, self._markers), default=0) + 1
        self._tail = b"\n"
        self._found = False
        self.seen = False

    def feed(self, content: bytes) -> None:
        if self.seen:
            return
        if self._found:
            self._look_for_end(self._tail + content)
        elif len(content) <= _SMALL:
            self._look_in(self._tail + content)
        else:
            # The two ends first, then the whole: without a copy of it.
            self._look_in(self._tail + content[: self._longest], content[self._longest :])
            if not self._found:
                self._look_in(content)

    def _look_in(self, text: bytes, following: bytes = b"") -> None:
        after = self._after_marker(text)
        if after is None:
            self._tail = text[-self._longest :]
        else:
            self._found = True
            self._look_for_end(text[after:] + following)

    def _look_for_end(self, text: bytes) -> None:
        self.seen = b"\n\n" in text or b"\n\r\n" in text
        self._tail = text[-3:]

    def _after_marker(self, text: bytes) -> int | None:
        """The end of the line of the last event in `text`, where that is a marker.

        Of each kind of line only the last is looked at, from behind: an end that something follows was none,
        and four searches through everything cost as much as all else of a large event.
        """
        for kind in self._kinds:
            at = text.rfind(kind)
            if at >= 0 and text.startswith(self._markers, at):
                for marker in self._markers:
                    end = at + len(marker)
                    if text.startswith(marker, at) and text[end : end + 1] in (b"\r", b"\n"):
                        return end
        return None
