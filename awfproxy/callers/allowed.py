"""Which of this machine's users may connect to a unix socket. Pure."""

import attrs


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
