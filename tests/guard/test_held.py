"""Bytes that a connection holds while it is idle or streams, and holds no more when it has ended."""

from tests.guard.bound import Bound, about, check, counted

BOUNDS = {
    "idle connection": about(1989, 0.1),
    "left of each idle connection": Bound(1, 32),
    "stream": about(7470, 0.1),  # both sides, with the exchange between them
    "left of each stream": Bound(12, 100),
}
LOOK = (
    "Held are the channel and its transport (idle), and the request, the exchange, the upstream connection "
    "and its transport (stream): look for a buffer, head or body that one of them keeps longer than it needs "
    "it, and for what is left at who still knows it (hub, sweep, site, pool)."
)


def test_bytes_held_by_connections() -> None:
    check("bytes held by each of a hundred connections", counted("held"), BOUNDS, LOOK)
