"""Ports of all that listens in tests, below the kernel's own range, so that no connection takes one.

Those of fake origins are few enough to stand in Squid's configuration before any of them is in use.
"""

import itertools
import os
import socket

_FIRST = 20000 + os.getpid() % 190 * 64
ORIGIN_PORTS = tuple(range(_FIRST, _FIRST + 64))
"""Another block for each process."""

_NEXT = itertools.cycle(ORIGIN_PORTS)
"""An origin that has ended leaves its port unused for a while, so that it stays refused."""

_OTHERS = range(11000, 20000)
_BEGIN = os.getpid() * 61 % len(_OTHERS)
_NEXT_OTHER = itertools.cycle((*_OTHERS[_BEGIN:], *_OTHERS[:_BEGIN]))
"""So many that none comes again before the kernel has forgotten its connections."""


def free_port() -> int:
    """A port that nothing listens on now. For programs that cannot bind port 0 and tell."""
    for port in itertools.islice(_NEXT_OTHER, len(_OTHERS)):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("every port is in use")


def origin_listener(backlog: int = 512) -> socket.socket:
    """Listens on loopback, on a port that the kit's Squid lets awfproxy reach."""
    for port in itertools.islice(_NEXT, len(ORIGIN_PORTS)):
        try:
            return socket.create_server(("127.0.0.1", port), backlog=backlog)
        except OSError:
            continue
    raise AssertionError("every port for origins is in use")
