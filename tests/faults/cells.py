"""The table: every hop of the way times every side of it times every fault, or why there is no such cell."""

from itertools import product

from tests.faults.opening import OPENING
from tests.faults.relaying import RELAYING

CELLS = (*OPENING, *RELAYING)
"""One row for each cell that can be, or several where it has several cases."""

SIDES = {
    "client": ("client",),
    "listener": ("client",),
    "Squid TCP": ("client", "Squid"),
    "CONNECT": ("client", "Squid"),
    "TLS": ("client", "origin"),
    "request": ("client", "origin"),
    "head": ("client", "origin"),
    "body": ("client", "origin"),
    "WebSocket": ("client", "origin"),
}
"""Who is there at each hop and can do something wrong. At `client` that is before its request is whole."""
FAULTS = ("refused", "reset", "stall", "slow drip", "garbage", "early close", "extra bytes")

_NEXT = "what it sends by then is its next request: the client's row"
_WAITS = "it has asked and waits, and has nothing to be slow with"
_ITS_OWN = "it cannot refuse what it has asked for itself"
_MEANWHILE = {"stall": _WAITS, "slow drip": _WAITS, "garbage": _NEXT, "extra bytes": _NEXT}

NOT_THERE = {
    ("client", "client", "refused"): "it is the client that connects; not let in is the listener's row",
    ("listener", "client", "slow drip"): "a connection is there or not; slow bytes are the client's row",
    ("listener", "client", "garbage"): "without bytes there is none; with bytes it is the client's row",
    ("listener", "client", "extra bytes"): "the same",
    ("Squid TCP", "Squid", "slow drip"): "TCP's handshake has no pieces that could come slowly",
    ("Squid TCP", "Squid", "extra bytes"): "whatever comes before CONNECT was asked is its garbage",
    ("request", "client", "extra bytes"): "what follows a request's end is the next one: the client's row",
    ("body", "client", "garbage"): _NEXT,
    ("body", "client", "extra bytes"): _NEXT,
    ("body", "origin", "refused"): "who refuses does so in the head",
    **{
        (hop, "client", "refused"): _ITS_OWN
        for hop in SIDES if hop not in ("client", "listener")
    },
    **{
        (hop, "client", fault): why
        for hop, (fault, why) in product(("Squid TCP", "CONNECT", "TLS", "head"), _MEANWHILE.items())
    },
}  # fmt: skip
