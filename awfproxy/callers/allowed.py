"""Which of this machine's users may connect to a unix socket. Pure but for the names of users and groups."""

import grp
import pwd
import re

import attrs

_NUMBER = re.compile(r"[0-9]{1,10}")


@attrs.frozen
class Peer:
    """Who is at the other end of a unix socket, as the kernel says."""

    uid: int
    gids: frozenset[int]
    """The primary group and, as far as known, the others."""


@attrs.frozen
class Allowed:
    """Those who may; without any it is false, and everyone may whom the socket's file mode lets in."""

    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.uids or self.gids)

    def admits(self, peer: Peer) -> bool:
        """By the user or by one of the groups; root is a user like any other."""
        return peer.uid in self.uids or not self.gids.isdisjoint(peer.gids)


def user(text: str) -> int:
    """A number, or the name of a user of this machine's."""
    if _NUMBER.fullmatch(text):
        return _number(text)
    try:
        return pwd.getpwnam(text).pw_uid
    except (KeyError, ValueError):
        raise ValueError("there is no such user. Give a number, or a name that this machine knows.") from None


def group(text: str) -> int:
    """A number, or the name of a group of this machine's."""
    if _NUMBER.fullmatch(text):
        return _number(text)
    try:
        return grp.getgrnam(text).gr_gid
    except (KeyError, ValueError):
        raise ValueError(
            "there is no such group. Give a number, or a name that this machine knows."
        ) from None


def _number(text: str) -> int:
    # The highest one stands for "none" (setreuid(2)).
    if int(text) >= (1 << 32) - 1:
        raise ValueError("it is out of range. Give a number up to 4294967294.")
    return int(text)
