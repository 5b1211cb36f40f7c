"""The canary key, and the search of everything the suite puts out for its bytes.

Every test that needs a key uses the canary. Whatever is printed, logged, answered or reported on the
way is handed to the one `Watch`; at the end of the session it is searched for every 8-byte window of
the key's random part, and one hit fails the session, whatever the tests themselves said.
"""

import secrets
import string
from collections.abc import Iterator
from pathlib import Path

WINDOW = 8
PREFIX = "sk-proj-"
_LIMIT = 8 * 1024 * 1024
"""Bytes kept of one stream of answers: enough for every head and error, too few for a gigabyte."""


class Canary(str):
    """A key whose `repr` does not show it, so that a failing test's own report stays clean."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<canary>"


def make_canary() -> Canary:
    """A prefix as OpenAI's keys have it, and 48 random characters made for this run."""
    alphabet = string.ascii_letters + string.digits
    return Canary(PREFIX + "".join(secrets.choice(alphabet) for _ in range(48)))


class Watch:
    """Collects the suite's outputs; `findings()` names those in which a part of the canary stands."""

    def __init__(self, canary: str) -> None:
        random = canary.removeprefix(PREFIX).encode("ascii")
        self._windows = [random[at : at + WINDOW] for at in range(len(random) - WINDOW + 1)]
        self._files: list[Path] = []
        self._found: list[str] = []
        self.searched = 0

    def add(self, label: str, content: bytes | str) -> None:
        """Search `content` now; only the label is kept."""
        content = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
        self.searched += 1
        if self._holds(content):
            self._found.append(label)

    def add_file(self, path: Path) -> None:
        """Search this file at the end, or when `settle` is called."""
        self._files.append(path)

    def collector(self, label: str) -> "Collector":
        return Collector(self, label)

    def settle(self, path: Path) -> None:
        """Search a file now: it is about to be removed."""
        if path in self._files:
            self._files.remove(path)
            self._search_file(path)

    def findings(self) -> list[str]:
        while self._files:
            self._search_file(self._files.pop())
        return list(self._found)

    def _search_file(self, path: Path) -> None:
        if path.is_file():
            self.add(str(path), path.read_bytes())

    def _holds(self, content: bytes) -> bool:
        return any(window in content for window in self._windows)


class Collector:
    """The bytes of one connection, searched together, so that a window cut by two reads is found as well."""

    def __init__(self, watch: Watch, label: str) -> None:
        self._watch = watch
        self._label = label
        self._content = bytearray()

    def feed(self, data: bytes) -> None:
        if len(self._content) < _LIMIT:
            self._content += data

    def close(self) -> None:
        if self._content:
            self._watch.add(self._label, bytes(self._content))
            self._content.clear()


_CANARY = make_canary()
_WATCH = Watch(_CANARY)


def session_canary() -> Canary:
    return _CANARY


def session_watch() -> Watch:
    return _WATCH


def report_texts(report: object) -> Iterator[tuple[str, str]]:
    """All text that a pytest report carries: captured output and log, and the traceback."""
    name = getattr(report, "nodeid", "?")
    for title, text in getattr(report, "sections", ()):
        yield f"{name}: {title}", text
    longrepr = getattr(report, "longrepr", None)
    if longrepr is not None:
        yield f"{name}: report", str(longrepr)
