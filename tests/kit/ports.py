"""Ports of fake origins: few enough to stand in Squid's configuration before any of them is in use."""

import itertools
import os
import socket

_FIRST = 20000 + os.getpid() % 190 * 64
ORIGIN_PORTS = tuple(range(_FIRST, _FIRST + 64))
"""Below the kernel's own range, so that no connection takes one; another block for each process."""

_NEXT = itertools.cycle(ORIGIN_PORTS)
"""An origin that has ended leaves its port unused for a while, so that it stays refused."""


def origin_listener(backlog: int = 512) -> socket.socket:
    """Listens on loopback, on a port that the kit's Squid lets awfproxy reach."""
    for port in itertools.islice(_NEXT, len(ORIGIN_PORTS)):
        try:
            return socket.create_server(("127.0.0.1", port), backlog=backlog)
        except OSError:
            continue
    raise AssertionError("every port for origins is in use")
