"""Whether this process's user namespace has the users and groups that may connect (user_namespaces(7)). Pure.

The kernel names whom it does not have by one number for all: such a one is never told from another.
"""

from collections.abc import Iterable

UID_MAP, GID_MAP = "/proc/self/uid_map", "/proc/self/gid_map"
NOBODY = 65534
"""/proc/sys/kernel/overflowuid and overflowgid, which hardly anyone changes."""

_ALL = 1 << 32


def missing(id_map: str, ids: Iterable[int]) -> tuple[int, ...]:
    """Those of the users, or groups, whom a namespace with this map does not have, in order."""
    ranges = _ranges(id_map)
    return tuple(
        number
        for number in sorted(ids)
        if not any(first <= number < first + count for first, count in ranges)
    )


def is_whole(id_map: str) -> bool:
    """Whether nobody is missing: the machine's own namespace. The highest number stands for none."""
    return sum(count for _, count in _ranges(id_map)) >= _ALL - 1


def _ranges(id_map: str) -> list[tuple[int, int]]:
    """(first inside, how many); `ValueError` for what is no map."""
    found = []
    for line in id_map.splitlines():
        first, _, count = map(int, line.split())
        found.append((first, count))
    return found
