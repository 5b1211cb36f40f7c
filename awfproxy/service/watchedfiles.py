"""Which files a reload watches, and whether one of them has changed since it was last looked at."""

import os
from collections.abc import Callable, Iterable, Mapping

Marks = Mapping[str, object]
"""For each file what tells one state of it from another."""


class WatchedFiles:
    """They are asked about now and then: nothing is told to the kernel, so that any file system will do."""

    def __init__(self, names: Iterable[str], marks: Callable[[Iterable[str]], Marks]) -> None:
        self._names = tuple(names)
        self._marks = marks
        self._seen = marks(self._names)

    def marks(self) -> Marks:
        """Those of now; what has been seen stays as it was."""
        return self._marks(self._names)

    def have_changed(self) -> bool:
        """Since the last look, or since `replace`; that counts as a look."""
        seen, self._seen = self._seen, self.marks()
        return seen != self._seen

    def replace(self, names: Iterable[str], before: Marks) -> None:
        """Watches these; one that is in `before` counts as last seen with the mark that it has there."""
        self._names = tuple(names)
        self._seen = {name: before.get(name, mark) for name, mark in self.marks().items()}


def file_marks(names: Iterable[str]) -> Marks:
    """By stat and, of a symbolic link, its target: Kubernetes swaps a link to a folder, editors the file."""
    return {name: _mark(name) for name in names}


def _mark(name: str) -> object:
    try:
        found = os.stat(name)
        return os.path.realpath(name), found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
    except OSError as error:
        return error.errno
