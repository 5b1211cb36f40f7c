"""SECURITY.md: each line of what stops an attacker names the tests that prove it, and these exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()
_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_each_named_test_exists() -> None:
    named = _NAMED.findall(PAGE)
    assert len(named) > 40
    assert [one for one in named if one[1] not in _tests_of(ROOT / one[0])] == []


@pytest.mark.parametrize("row", [line for line in PAGE.splitlines() if line.startswith("| stops ")])
def test_each_thing_that_stops_an_attacker_names_a_test(row: str) -> None:
    assert _NAMED.search(row)


def _tests_of(file: Path) -> set[str]:
    """Functions, and methods of classes."""
    if not file.is_file():
        return set()
    return {
        node.name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
