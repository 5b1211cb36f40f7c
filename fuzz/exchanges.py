"""The whole data path in memory: a client's bytes and an origin's, whatever they are."""

from typing import Any

from twisted.logger import globalLogPublisher

from fuzz.cuts import ways
from tests.memory.peers import House

KEY = "sk-proj-INJECTED-0123456789-0123456789-0123456789"
BETWEEN = b"\n====\n"
"""Between what the client sends and what the origin does, in an input."""


def exchange(data: bytes) -> None:
    """Nothing fails inside, the client does not see the key, and once it has left no tunnel is busy."""
    sent, _, answered = data.partition(BETWEEN)
    failures: list[Any] = []

    def observe(event: dict[str, Any]) -> None:
        if "log_failure" in event:
            failures.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)
    try:
        for client_way, origin_way in zip(ways(sent)[:3], ways(answered)[:3], strict=False):
            house: Any = House(KEY)
            try:
                _run(house, client_way, origin_way)
            finally:
                house.close()
    finally:
        globalLogPublisher.removeObserver(observe)
    assert not failures, failures[0].getTraceback()


def _run(house: Any, client_way: list[bytes], origin_way: list[bytes]) -> None:
    client = house.client()
    client.deliver(*client_way)
    answered = [wire for wire in house.origins if wire.received]
    for wire in answered:
        assert wire.received.count(KEY.encode()) >= 1
        if wire.lost is None:
            wire.deliver(*origin_way)
            wire.finish()
    assert KEY.encode() not in client.received
    if client.lost is None:
        client.reset()
    stats = house.pool.stats()
    assert (stats.busy, stats.waiting) == (0, 0), "a tunnel or a place is kept"
    assert len(house.lines) >= len(answered), "an exchange without a line"
