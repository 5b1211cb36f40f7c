"""The table of errors: complete, within the rules for what clients do with each, and as documented."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from awfproxy.errors.base import AwfError, Hop
from awfproxy.errors.client import PathDenied
from awfproxy.errors.configuration import ConfigError
from awfproxy.errors.egress import EgressFailed
from awfproxy.errors.table import table
from awfproxy.errors.tls import TlsFailed
from awfproxy.settings.options import BY_NAME

ROWS = table()
ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "errors.md"

for_each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.code)


def page_rows() -> list[list[str]]:
    """The cells of the table that begins with the column `code`."""
    lines = PAGE.read_text().splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("| code |")) + 2
    cells = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        cells.append([cell.strip() for cell in line.strip("|").split("|")])
    return cells


def cells_of(row: type[AwfError]) -> list[str]:
    return [
        f"`{row.code}`",
        str(row.status),
        f"`{row.hop.value}`",
        "yes" if row.retryable else "no",
        "-" if row.retry_after is None else str(row.retry_after),
        row.sentence,
        row.fix,
    ]


def test_page_and_table_agree_row_by_row() -> None:
    page = page_rows()
    assert page == [cells_of(row) for row in ROWS]


def test_page_explains_every_hop() -> None:
    explained = re.findall(r"^\| `([a-z]+)` \| [^|]+ \|$", PAGE.read_text(), re.MULTILINE)
    assert explained == list(dict.fromkeys(explained))
    assert set(explained) == {hop.value for hop in Hop}


def test_table_holds_every_class_that_has_a_code_once() -> None:
    modules = [import_module(f"awfproxy.errors.{file.stem}") for file in ROOT.glob("awfproxy/errors/*.py")]
    written = [
        each
        for module in modules
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, AwfError) and "code" in vars(each)
    ]
    assert set(written) == set(ROWS)
    assert len({row.code for row in ROWS}) == len(ROWS) > 30


@for_each_row
def test_row_is_complete(row: type[AwfError]) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", row.code)
    assert isinstance(row.hop, Hop)
    assert row.sentence.endswith(".")
    assert row.fix.endswith(".")
    for text in (row.sentence, row.fix):
        assert text.isascii()
        assert text.isprintable()
        assert "|" not in text


@for_each_row
def test_status_is_one_that_clients_take_well(row: type[AwfError]) -> None:
    if row.hop is Hop.CLIENT:
        assert row.status in {400, 403, 405, 408, 414, 426, 431, 501, 505}
    else:
        assert row.status in {403, 500, 502, 503, 504}
    if row.status == 403:
        assert row.retryable is False


@for_each_row
def test_retry_after_is_small_and_there_exactly_where_trying_again_helps(row: type[AwfError]) -> None:
    if row.retryable:
        assert row.retry_after in {1, 2, 3, 4, 5}
        assert row.status in {502, 503, 504}
    else:
        assert row.retry_after is None


@for_each_row
def test_options_that_a_fix_names_exist(row: type[AwfError]) -> None:
    flags = {option.flag for option in BY_NAME.values()}
    assert set(re.findall(r"--[a-z-]+", row.sentence + row.fix)) <= flags


def test_text_for_the_operator_has_the_detail_and_the_table_has_not() -> None:
    error = EgressFailed("CONNECT answered 503")
    assert str(error) == f"{EgressFailed.sentence} {EgressFailed.fix} (CONNECT answered 503)"
    assert str(EgressFailed()) == f"{EgressFailed.sentence} {EgressFailed.fix}"
    assert error.detail == "CONNECT answered 503"


def test_public_text_is_in_the_message_and_is_the_detail_where_there_is_no_other() -> None:
    row = f"{PathDenied.sentence} {PathDenied.fix}"
    shown = PathDenied(public="Rule 2.")
    assert (shown.message, shown.detail, str(shown)) == (f"{row} Rule 2.", "Rule 2.", f"{row} Rule 2.")
    both = PathDenied("for the log", public="Rule 2.")
    assert (both.message, both.detail) == (f"{row} Rule 2.", "for the log")
    assert str(both) == f"{row} Rule 2. (for the log)"
    assert PathDenied("for the log").message == row


def test_text_of_a_configuration_error_is_what_was_said_alone() -> None:
    assert str(ConfigError("--port: not a number.")) == "--port: not a number."
    assert str(ConfigError()) == f"{ConfigError.sentence} {ConfigError.fix}"


def test_table_can_begin_at_a_branch() -> None:
    branch = table(TlsFailed)
    assert branch
    assert {row.hop for row in branch} == {Hop.TLS}
    assert branch == [row for row in ROWS if row.hop is Hop.TLS]
