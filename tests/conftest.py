"""For all tests: the canary key, the check for what stays on the reactor, the search of all output."""

import gc
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogEvent, globalLogPublisher

# Last, for the run whose awfproxy is the installed one and not the tree's.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from tests.kit import canary as canaries
from tests.kit.tools import on_ci


@pytest.fixture(scope="session")
def canary() -> str:
    """The key of every test: "sk-proj-" and 48 random characters. Its repr does not show it."""
    return canaries.session_canary()


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


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail") and on_ci():
        _skipped_on_ci.append(report.nodeid)
    watch = canaries.session_watch()
    for label, text in canaries.report_texts(report):
        watch.add(label, text)


def pytest_collection_finish() -> None:
    # What is loaded by now stays loaded: the collection in front of each check need not visit it again.
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    yield
    watch = canaries.session_watch()
    if report := session.config.getoption("xmlpath", None):
        watch.add_file(Path(report))
    if watch.findings() or _skipped_on_ci:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _skipped_on_ci:
        terminalreporter.section("skipped, though on CI nothing may be", red=True)
        for name in _skipped_on_ci:
            terminalreporter.write_line(name)
    watch = canaries.session_watch()
    found = watch.findings()
    if found:
        terminalreporter.section("parts of the canary key were put out", red=True)
        for label in found:
            terminalreporter.write_line(f"in {label}")
    else:
        terminalreporter.write_line(f"canary: no part of it in {watch.searched} outputs")
