"""docs/migrating.md: each row has a status, and the tests that it names are there."""

import re
from pathlib import Path

import pytest

from awfproxy.settings.profile import GH_AW

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "migrating.md").read_text()
TESTS = frozenset(
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
)
STATUSES = ("kept", "different", "later")


def rows() -> list[tuple[str, str, str]]:
    found = []
    for line in PAGE.splitlines():
        if line.startswith("| ") and not line.startswith("| what the sidecar does"):
            cells = line.strip("|").split(" | ")
            assert len(cells) == 3, line
            found.append((cells[0].strip(), cells[1].strip(), cells[2].strip()))
    return found


ROWS = rows()


def test_every_section_of_the_page_has_rows() -> None:
    sections = PAGE.split("\n### ")[1:]
    assert len(sections) >= 9
    assert all(section.count("\n| ") >= 3 for section in sections)


@pytest.mark.parametrize(("what", "status", "where"), ROWS, ids=[row[0][:60] for row in ROWS])
def test_row_has_a_status_and_what_goes_with_it(what: str, status: str, where: str) -> None:
    assert what
    assert status in STATUSES
    named = re.findall(r"`(test_\w+)`", where)
    assert set(named) <= TESTS
    assert named if status == "kept" else where


def test_what_the_profile_changes_is_in_the_configuration() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    section = page.split("## `--profile gh-aw`")[1].split("\n## ")[0]
    for option, value in GH_AW.defaults.items():
        assert f"| `{option}` | `{value}` |" in section
    for variables in GH_AW.variables.values():
        for variable in variables:
            assert f"`{variable}`" in section
