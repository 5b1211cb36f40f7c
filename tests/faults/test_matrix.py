"""Every hop of the way times every fault: what the client gets, the log says, the metrics count, and is left.

A row of `cells.CELLS` is one case, and `NOT_THERE` says of the other cells why they cannot be. After each the
way is mended and the next request has to be answered, at once; then nothing may be left of any of it.
"""

import ssl
from collections import Counter
from collections.abc import Callable
from itertools import product

import pytest

from tests.faults.cells import CELLS, FAULTS, HOPS, NOT_THERE, Cell
from tests.faults.place import Place
from tests.faults.scripts import good, said, sent
from tests.kit.certificates import Authority
from tests.memory.peers import get


def test_the_table_has_every_cell_or_says_why_it_cannot_be() -> None:
    there = {(cell.hop, cell.fault) for cell in CELLS}
    assert there | set(NOT_THERE) == set(product(HOPS, FAULTS))
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
        assert place.counters() == expected_counters(cell)
        if cell.mend:
            await cell.mend(place)
        place.serve(good)
        assert await said(await sent(place, get()), 1) == "200; kept"
        await place.settled()
    finally:
        await place.close()
    note = f"{cell.client}; log: {cell.log or 'no line'}" + (f" ({cell.how})" if cell.how else "")
    outcome("Faults on the way", f"{cell.hop}: {cell.fault}", note)


def expected_counters(cell: Cell) -> Counter[str]:
    """By the lines' outcomes, and by the code for each tunnel that could not be opened."""
    lines = [line.split(" ") for line in cell.log.split("; ") if line]
    counters = Counter(f"requests_by_outcome_total:{what}" for what, _, _ in lines)
    if cell.failed:
        counters[f"tunnels_failed_total:{lines[0][2]}"] = cell.failed
    return counters
