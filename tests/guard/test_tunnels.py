"""Tunnels for a thousand requests of sixteen clients at once: what the origin accepts and Squid logs."""

from contextlib import ExitStack
from typing import Any

from tests.e2e.conftest import NAME
from tests.guard.bound import Bound, check, exactly
from tests.guard.conftest import request
from tests.kit.client import Client
from tests.kit.daemon import Daemon
from tests.kit.origin import Origin
from tests.kit.reader import poll
from tests.kit.squid import Squid

CLIENTS = 16
ROUNDS = 63
BOUNDS = {
    # One each, one of them kept warm before, and one for the check of the key. Where opening takes more than
    # a tenth of a second, one more for each that is ready before an older.
    "for sixteen streams at once": Bound(17, 34),
    "for all requests after them": exactly(0),
    "that only Squid has seen": exactly(0),
}
LOOK = (
    "Look at awfproxy/upstream: a tunnel goes back to the pool at each answer's end (connection._finish), "
    "the newest idle one is taken first (pool._take_idle), waiters get those that become free (pool._offer)."
)


def test_tunnels_for_a_thousand_requests(daemon: Daemon, prompt_origin: Origin, squid: Squid) -> None:
    with daemon:
        daemon.ready("/readyz")
        with ExitStack() as stack:
            clients = [stack.enter_context(Client(daemon.port)) for _ in range(CLIENTS)]
            streams(clients, prompt_origin)  # so that there is a tunnel for each of them
            # The origin counts one later than awfproxy: it is the server that ends a TLS handshake.
            poll(lambda: all_open(tunnels(daemon), prompt_origin), 10, 0.02)
            first = prompt_origin.connections
            for _ in range(ROUNDS):
                one_round(clients)
    squid_saw = f"{NAME}:{prompt_origin.port}"
    # Squid writes a tunnel's line at its end.
    poll(lambda: len(squid.connects(squid_saw)) >= prompt_origin.connections, 10, 0.02)
    found = {
        "for sixteen streams at once": first,
        "for all requests after them": prompt_origin.connections - first,
        "that only Squid has seen": len(squid.connects(squid_saw)) - prompt_origin.connections,
    }
    check(f"tunnels for {ROUNDS} rounds of {CLIENTS} requests at once", found, BOUNDS, LOOK)


def streams(clients: list[Client], origin: Origin) -> None:
    gate = origin.gate("streams")
    for client in clients:
        client.send_head("GET", "/v1/kit/drip?events=1&gate=streams")
    heads = [client.final_head() for client in clients]
    gate.release(2 * CLIENTS)
    for client, head in zip(clients, heads, strict=True):
        for _ in client.pieces(head):
            pass


def one_round(clients: list[Client]) -> None:
    for client in clients:
        client.send(request("/v1/kit/prompt"))
    for client in clients:
        assert client.answer("POST").status == 200


def all_open(tunnels: dict[str, Any], origin: Origin) -> bool:
    """Nothing is being opened any more, at either end; the check of the key had a tunnel of its own."""
    return bool(tunnels["opening"] == 0 and tunnels["opened"] + 1 == origin.connections)


def tunnels(daemon: Daemon) -> dict[str, Any]:
    """The pool's numbers, as the health page has them."""
    health: Any = daemon.health()
    return health["tunnels"]
