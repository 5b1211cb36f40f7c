"""The suite's own rules can fail a session: what a test leaves on the reactor, and a test skipped on CI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

_INNER = """
import socket
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

async def test_clean():
    done = Deferred()
    reactor.callLater(0, done.callback, None)
    await done

async def test_delayed_call():
    reactor.callLater(60, print)

async def test_listening_port():
    reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")

async def test_lost_failure():
    fail(ValueError("nobody asks"))

async def test_logged_failure():
    Logger().failure("said", Failure(ValueError("said")))

async def test_logged_failure_that_is_wanted(logged_failures):
    Logger().failure("said", Failure(ValueError("said")))
    assert len(logged_failures) == 1
    logged_failures.clear()

async def test_clean_after_others():
    pass
"""


def run_session(folder: Path, content: str, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_inner.py").write_text(content)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rEs", "-p", "tests.conftest", "-p", "no:cacheprovider",
         f"--rootdir={folder}", *options, str(folder / "test_inner.py")],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **env},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_what_a_test_leaves_on_the_reactor_fails_that_test_and_no_other(tmp_path: Path) -> None:
    done = run_session(tmp_path, _INNER)
    assert done.returncode == 1, done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("ERROR ") and "::" in line]
    found = {line.split("::")[1].split(" ")[0] for line in lines}
    assert found == {"test_delayed_call", "test_listening_port", "test_lost_failure", "test_logged_failure"}
    assert "7 passed, 4 errors" in done.stdout


def test_skipped_test_fails_the_session_on_ci_only(tmp_path: Path) -> None:
    content = "import pytest\n\ndef test_inner():\n    pytest.skip('cannot')\n"
    assert run_session(tmp_path, content).returncode == 0
    on_ci = run_session(tmp_path, content, CI="true")
    assert on_ci.returncode == 1
    assert "nothing may be" in on_ci.stdout


@pytest.mark.parametrize(("env", "outcome"), [({}, "1 skipped"), ({"CI": "true"}, "1 failed")])
def test_missing_tool_skips_at_a_desk_and_fails_on_ci(
    tmp_path: Path, env: dict[str, str], outcome: str
) -> None:
    content = "from tests.kit.tools import need\n\ndef test_inner():\n    need('codex')\n"
    done = run_session(tmp_path, content, AWFPROXY_TEST_CLIENTS="/nonexistent", **env)
    assert outcome in done.stdout
    assert "make test" in done.stdout


_OUTCOME = """
def test_inner(outcome):
    outcome("Area", "class", {note!r})

def test_that_fails(outcome):
    outcome("Area", "other class", "never counted")
    assert {passes}
"""
_PAGE = "before\n<!-- outcomes: Area -->\nold\n<!-- end -->\nafter\n"


def test_run_writes_its_outcomes_into_the_page_and_fails_on_ci_where_that_changed_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(_PAGE)
    option = f"--reliability={page}"
    content = _OUTCOME.format(note="a | b", passes=True)
    changed = run_session(tmp_path, content, option, CI="true")
    assert changed.returncode == 1
    assert "commit it" in changed.stdout
    assert "| class | 1 | a \\| b |\n| other class | 1 | never counted |" in page.read_text()
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("<!-- end -->\nafter\n")
    assert run_session(tmp_path, content, option, CI="true").returncode == 0


def test_outcomes_of_a_run_that_failed_are_not_written(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(_PAGE)
    run_session(tmp_path, _OUTCOME.format(note="x", passes=False), f"--reliability={page}")
    assert page.read_text() == _PAGE


def test_area_without_a_place_in_the_page_fails_on_ci(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no place\n")
    done = run_session(tmp_path, _OUTCOME.format(note="x", passes=True), f"--reliability={page}", CI="true")
    assert done.returncode == 1
    assert "areas without a place: ['Area']" in done.stdout
