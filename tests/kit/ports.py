"""Ports of fake origins: few enough to stand in Squid's configuration before any of them is in use."""

import os
import socket

ORIGIN_PORTS = tuple(range(start := 20000 + os.getpid() % 190 * 64, start + 64))
"""Below the kernel's own range, so that no connection takes one; another block for each process."""


def origin_listener(backlog: int = 512) -> socket.socket:
    """Listens on loopback, on the first free port that the kit's Squid lets awfproxy reach."""
    for port in ORIGIN_PORTS:
        try:
            return socket.create_server(("127.0.0.1", port), backlog=backlog)
        except OSError:
            continue
    raise AssertionError("every port for origins is in use")
