"""The search for the canary can fail: each way in which a part of it can get out is shown to be found."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.canary import PREFIX, WINDOW, Watch, make_canary

ROOT = Path(__file__).resolve().parents[2]

_INNER = {
    "stdout": "print(canary[20:28])",
    "log": "import logging; logging.warning('it is %s', canary[-8:])",
    "report": "raise ValueError(canary[30:38])",
    "connection": (
        "from tests.kit.canary import session_watch; c = session_watch().collector('answers');"
        "c.feed(canary[8:12].encode()); c.feed(canary[12:16].encode()); c.close()"
    ),
    "file": (
        "from tests.kit.canary import session_watch; path = tmp_path / 'stderr';"
        "session_watch().add_file(path); path.write_text('x' + canary[9:17])"
    ),
}


def run_session(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    """A pytest session of its own, with the suite's conftest and one test that does `body`."""
    test = folder / "test_inner.py"
    test.write_text(f"def test_inner(canary, tmp_path):\n    {body}\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider",
         f"--rootdir={folder}", f"--basetemp={folder}/tmp", str(test)],
        cwd=folder,
        env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("way", _INNER)
def test_eight_bytes_of_the_canary_fail_the_session(way: str, tmp_path: Path) -> None:
    done = run_session(tmp_path, _INNER[way])
    assert done.returncode == 1
    assert "parts of the canary key were put out" in done.stdout


def test_a_session_that_puts_nothing_out_passes(tmp_path: Path) -> None:
    done = run_session(tmp_path, "print(canary[:8], repr(canary), canary[20:27])")
    assert done.returncode == 0, done.stdout
    assert "canary: no part of it" in done.stdout


def test_every_window_is_searched() -> None:
    key = make_canary()
    random = key.removeprefix(PREFIX)
    assert len(random) == 48
    for at in range(len(random) - WINDOW + 1):
        watch = Watch(key)
        watch.add("here", f"before{random[at : at + WINDOW]}after")
        assert watch.findings() == ["here"]
    watch = Watch(key)
    watch.add("here", PREFIX + random[: WINDOW - 1] + "!" + random[-WINDOW + 1 :])
    assert watch.findings() == []
