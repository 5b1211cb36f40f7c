"""Resolving: a name's addresses, by the system's `getaddrinfo` on one of the reactor's threads.

Not by Twisted's resolver: of a failure that is no `gaierror`, such as no descriptor left, it tells nobody,
and who waits for it waits for ever.
"""

import socket
from typing import Any

from twisted.internet import error
from twisted.internet.threads import deferToThreadPool


async def addresses_of(reactor: Any, host: str, port: int) -> list[tuple[int, tuple[str, int]]]:
    """Families and socket addresses, in the order to try them; none where the name does not resolve.

    A `ConnectError` with the cause where it could not be asked for.
    """
    try:
        found = await deferToThreadPool(
            reactor, reactor.getThreadPool(), socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM
        )
    except socket.gaierror:
        return []
    except OSError as problem:
        raise error.ConnectError(osError=problem) from problem
    return [
        (family, (str(place[0]), int(place[1])))
        for family, _, _, _, place in found
        if family in (socket.AF_INET, socket.AF_INET6)
    ]
