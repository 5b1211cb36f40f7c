"""For all tests: the canary key, the check for what stays on the reactor, the search of all output."""

import gc
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from twisted.logger import LogEvent, globalLogPublisher

# Last, for the run whose awfproxy is the installed one and not the tree's.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from tests.kit import canary as canaries
from tests.kit.outcomes import PROPERTIES, Seen, written
from tests.kit.tools import on_ci


@pytest.fixture(scope="session")
def canary() -> str:
    """The key of every test: "sk-proj-" and 48 random characters. Its repr does not show it."""
    return canaries.session_canary()


@pytest.fixture
def outcome(request: pytest.FixtureRequest) -> Callable[[str, str, str], None]:
    """Says what a case came to, for docs/reliability.md: its area, class and outcome (tests.kit.outcomes)."""
    return lambda area, kind, note: request.node.user_properties.append(("outcome", (area, kind, note)))


@pytest.fixture(autouse=True)
def property_that_holds(request: pytest.FixtureRequest, outcome: Callable[[str, str, str], None]) -> None:
    """Each of hypothesis's is a row of docs/reliability.md; run many times, it cannot ask for `outcome`."""
    if hypothesis.is_hypothesis_test(getattr(request, "function", None)):
        name = request.node.originalname.removeprefix("test_").replace("_", " ")
        outcome(PROPERTIES, f"property: {name}", "holds for whatever was tried")


@pytest.fixture
def logged_failures(request: pytest.FixtureRequest) -> Iterator[list[LogEvent]]:
    """Failures that Twisted logged so far; a test that provokes one asserts on it and clears the list."""
    seen: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            seen.append(event)

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test on the reactor leaves no delayed call, no socket and no logged failure."""
    if not _uses_reactor(request):
        yield
        return
    failures = request.getfixturevalue("logged_failures")
    from twisted.internet import reactor

    calls, sockets = set(map(id, reactor.getDelayedCalls())), _sockets(reactor)
    yield
    gc.collect()
    left = [call for call in reactor.getDelayedCalls() if id(call) not in calls]
    open_ = _sockets(reactor) - sockets
    for call in left:
        call.cancel()
    for each in open_:
        reactor.removeReader(each)
        reactor.removeWriter(each)
    assert not left, f"delayed calls left behind: {left}"
    assert not open_, f"readers or writers left behind: {open_}"
    assert not failures, f"failures logged: {[event['log_failure'].getTraceback() for event in failures]}"


def _uses_reactor(request: pytest.FixtureRequest) -> bool:
    function = getattr(request, "function", None)
    return inspect.iscoroutinefunction(inspect.unwrap(function)) or "/memory/" in str(request.path)


def _sockets(reactor: Any) -> set[Any]:
    return {*reactor.getReaders(), *reactor.getWriters()} - set(reactor._internalReaders)


# --- the session: no part of the canary in anything that is put out, and on CI nothing skipped -------


_skipped_on_ci: list[str] = []
_seen: list[Seen] = []
_stale: list[str] = []


# Where CI is set, hypothesis itself tries the same examples in every run.
hypothesis.settings.register_profile("long", max_examples=10_000, deadline=None)
if not on_ci():
    hypothesis.settings.register_profile("desk", deadline=None)  # a busy machine is no fault of the code
    hypothesis.settings.load_profile("desk")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reliability", metavar="PAGE", help="write the tables of outcomes into this page")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail") and on_ci():
        _skipped_on_ci.append(report.nodeid)
    if report.when == "call" and report.passed:
        _seen.extend(Seen(*value) for name, value in report.user_properties if name == "outcome")
    watch = canaries.session_watch()
    for label, text in canaries.report_texts(report):
        watch.add(label, text)


def pytest_collection_finish() -> None:
    # What is loaded by now stays loaded: the collection in front of each check need not visit it again.
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    if (page := session.config.getoption("--reliability")) and session.exitstatus == pytest.ExitCode.OK:
        _write_outcomes(Path(page))
    yield
    watch = canaries.session_watch()
    if report := session.config.getoption("xmlpath", None):
        watch.add_file(Path(report))
    if _stale and on_ci():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if watch.findings() or _skipped_on_ci:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _write_outcomes(page: Path) -> None:
    before = page.read_text()
    try:
        after = written(before, _seen)
    except ValueError as error:
        _stale.append(f"{page}: {error}")
        return
    if after != before:
        page.write_text(after)
        _stale.append(f"{page} said something else than this run saw. It is written anew: commit it.")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _skipped_on_ci:
        terminalreporter.section("skipped, though on CI nothing may be", red=True)
        for name in _skipped_on_ci:
            terminalreporter.write_line(name)
    if _stale:
        terminalreporter.section("the page of outcomes", red=True)
        for line in _stale:
            terminalreporter.write_line(line)
    watch = canaries.session_watch()
    found = watch.findings()
    if found:
        terminalreporter.section("parts of the canary key were put out", red=True)
        for label in found:
            terminalreporter.write_line(f"in {label}")
    else:
        terminalreporter.write_line(f"canary: no part of it in {watch.searched} outputs")
