"""What the tests saw, for docs/reliability.md: each case's class and outcome, put there by the run itself.

A test says `outcome("Hostile clients", "CL.TE", "400 malformed_request; origin saw nothing")`; it counts
when the test has passed. The run of everything is given `--reliability docs/reliability.md` and writes one
table an area between that page's marks, `<!-- outcomes: Hostile clients -->` and `<!-- end -->`.
"""

import re
from collections import Counter
from collections.abc import Iterable

import attrs

PROPERTIES = "Properties and fuzzing"
"""The area of properties, by the words of their tests' names (`tests.conftest`), and of fuzz targets."""


@attrs.frozen(order=True)
class Seen:
    """One case: a row's name, and what it came to. `note` never varies between runs: no times, no ports."""

    area: str
    kind: str
    note: str


def tables(seen: Iterable[Seen]) -> dict[str, str]:
    """A table for each area: case classes with how many cases each has, and all their outcomes."""
    areas: dict[str, dict[str, Counter[str]]] = {}
    for one in seen:
        areas.setdefault(one.area, {}).setdefault(one.kind, Counter())[one.note] += 1
    return {area: _table(kinds) for area, kinds in areas.items()}


def written(page: str, seen: Iterable[Seen]) -> str:
    """The page with its tables made anew.

    `ValueError` where an area has no place there, or a place no cases.
    """
    made = tables(seen)
    places = set(re.findall(r"<!-- outcomes: (.*?) -->", page))
    if places != set(made):
        without_cases, without_place = sorted(places - set(made)), sorted(set(made) - places)
        raise ValueError(f"places without cases: {without_cases}; areas without a place: {without_place}")
    return re.sub(
        r"(<!-- outcomes: (.*?) -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}{made[found[2]]}{found[3]}",
        page,
        flags=re.DOTALL,
    )


def _table(kinds: dict[str, Counter[str]]) -> str:
    lines = ["| case class | cases | outcome |", "|---|---|---|"]
    for kind in sorted(kinds):
        notes = kinds[kind]
        if len(notes) == 1:
            outcome = next(iter(notes))
        else:
            outcome = "; ".join(f"{count} of {note}" for note, count in sorted(notes.items()))
        lines.append(f"| {_cell(kind)} | {notes.total()} | {_cell(outcome)} |")
    lines.append(f"| **all** | **{sum(notes.total() for notes in kinds.values())}** | |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
