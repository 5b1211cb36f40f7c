"""Every hop of the way times each side of it times every fault.

Seen each time are what the client gets, what the log says, what the metrics count, and what is left.
A row of `cells.CELLS` is one case, and `NOT_THERE` says of the other cells why they cannot be. After each the
way is mended and the next request has to be answered, at once; then nothing may be left of any of it.
"""

import ssl
from collections import Counter
from collections.abc import Callable
from itertools import product

import pytest

from tests.faults.asking import said, sent
from tests.faults.cell import Cell
from tests.faults.cells import CELLS, FAULTS, NOT_THERE, SIDES
from tests.faults.place import Place
from tests.faults.scripts import good
from tests.kit.certificates import Authority
from tests.memory.peers import get

TUNNELS = frozenset({"tunnels_opened_total", "tunnels_reused_total"})
"""The way is mended by closing what was open, which may be seen before the next request or by it."""
AFTERWARDS = Counter(
    {
        "requests_total:GET:2xx": 1, "requests_by_outcome_total:completed": 1, "response_bytes_total": 2,
        "request_duration_ms": 1, "tunnel_wait_ms": 1, "time_to_head_ms": 1,
    }
)  # fmt: skip
"""What one good request adds to the metrics."""


def test_the_table_has_every_cell_or_says_why_it_cannot_be() -> None:
    there = {(cell.hop, cell.side, cell.fault) for cell in CELLS}
    every = {(hop, side, fault) for hop, sides in SIDES.items() for side, fault in product(sides, FAULTS)}
    assert there | set(NOT_THERE) == every
    assert not there & set(NOT_THERE)
    assert len({cell.name for cell in CELLS}) == len(CELLS)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
async def test_a_fault_is_told_counted_and_leaves_nothing(
    cell: Cell,
    authority: Authority,
    context: ssl.SSLContext,
    canary: str,
    outcome: Callable[[str, str, str], None],
) -> None:
    place = await Place(authority, context, canary).open()
    try:
        place.serve(cell.serve)
        if cell.prepare:
            await cell.prepare(place)
        client = await cell.ask(place)
        await place.settled()
        log = "; ".join(f"{line['outcome']} {line['status']} {line['error'] or '-'}" for line in place.lines)
        assert (client, log) == (cell.client, cell.log)
        assert place.served == cell.tunnels
        assert place.failed_hops == ([cell.blamed] if cell.blamed else [])
        assert without(place.counters(), cell.unknown) == cell.counters
        assert await place.egress_health() == cell.health
        if cell.mend:
            await cell.mend(place)
        place.serve(good)
        before = place.counters()
        assert await said(await sent(place, get()), 1) == "200; kept"
        await place.settled()
        assert without(place.counters() - before, TUNNELS) == AFTERWARDS
        assert (await place.egress_health())["state"] == "ok"
    finally:
        await place.close()
    note = f"{cell.client}; log: {cell.log or 'no line'}" + (f" ({cell.how})" if cell.how else "")
    outcome("Faults on the way", f"{cell.hop}, {cell.side}: {cell.fault}", note)


def without(counters: Counter[str], names: frozenset[str]) -> Counter[str]:
    return Counter({name: count for name, count in counters.items() if name not in names})
