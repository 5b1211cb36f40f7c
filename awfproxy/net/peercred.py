"""Who is at the other end of a unix socket: unix(7), SO_PEERCRED and SO_PEERGROUPS."""

import socket
import struct
from collections.abc import Callable

from twisted.logger import Logger

from awfproxy.callers.allowed import Allowed, Peer

_SO_PEERGROUPS = 59  # asm-generic/socket.h; the standard library has no name for it
_MOST = 1024
"""Octets, the most that getsockopt gives in Python: 256 groups."""


def peer_of(sock: socket.socket) -> Peer:
    """As of when it connected. Of a user with more groups than 256 only the primary one is known."""
    _, uid, gid = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        groups = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST)
    except OSError:
        groups = b""
    return Peer(uid, frozenset({gid, *struct.unpack(f"{len(groups) // 4}I", groups)}))


class PeerCheck:
    """Whether a peer may connect. Who may not is named in the log once, however often it tries."""

    _log = Logger()

    def __init__(self, allowed: Allowed, refused: Callable[[], None]) -> None:
        """`refused` is called for each connection that is refused."""
        self._allowed = allowed
        self._refused = refused
        self._named: set[int] = set()

    def __call__(self, peer: Peer) -> bool:
        if self._allowed.admits(peer):
            return True
        self._refused()
        if peer.uid not in self._named:
            self._named.add(peer.uid)
            self._log.warn(
                "A connection to the unix socket is refused: user {uid}, groups {gids}, is not one of "
                "--allow-uid and --allow-gid. Further ones of this user are only counted.",
                event="peer_refused",
                uid=peer.uid,
                gids=" ".join(map(str, sorted(peer.gids))),
            )
        return False
