"""Tunnels for a thousand requests of sixteen clients: what Squid is asked for, and the origin accepts."""

from contextlib import ExitStack

from tests.e2e.conftest import NAME
from tests.guard.bound import Bound, check
from tests.guard.conftest import request
from tests.kit.client import Client
from tests.kit.daemon import Daemon
from tests.kit.origin import Origin
from tests.kit.reader import poll
from tests.kit.squid import Squid

CLIENTS = 16
REQUESTS = 1000
_MOST = CLIENTS + 2  # one for the first check of the key, one that is kept warm
BOUNDS = {
    "CONNECT that Squid logged": Bound(17, _MOST),
    "connections that the origin accepted": Bound(17, _MOST),
}
LOOK = (
    "Look at awfproxy/upstream: a tunnel goes back to the pool at each answer's end (connection._finish), the "
    "newest idle one is taken first (pool._take_idle), and waiters get those that become free (pool._offer)."
)


def test_tunnels_for_a_thousand_requests(daemon: Daemon, prompt_origin: Origin, squid: Squid) -> None:
    with daemon:
        daemon.ready("/readyz")
        with ExitStack() as stack:
            clients = [stack.enter_context(Client(daemon.port)) for _ in range(CLIENTS)]
            asked = 0
            while asked < REQUESTS:
                for client in clients:
                    client.send(request("/v1/kit/prompt"))
                for client in clients:
                    assert client.answer("POST").status == 200
                asked += CLIENTS
    tunnels = f"{NAME}:{prompt_origin.port}"
    # Squid writes a tunnel's line at its end.
    poll(lambda: len(squid.connects(tunnels)) >= prompt_origin.connections, 10, 0.02)
    found = {
        "CONNECT that Squid logged": len(squid.connects(tunnels)),
        "connections that the origin accepted": prompt_origin.connections,
    }
    check(f"tunnels for {asked} requests of {CLIENTS} clients", found, BOUNDS, LOOK)
