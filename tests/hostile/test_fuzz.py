"""The fuzzing of `fuzz/`: its corpus holds for the awfproxy under test, and a short run finds nothing."""

import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fuzz.__main__ import CORPUS, TARGETS, replay
from tests.kit.outcomes import PROPERTIES

Outcome = Callable[[str, str, str], None]
ROOT = Path(__file__).resolve().parents[2]
WHEELS = sys.platform == "linux" and platform.machine() == "x86_64" and sys.version_info < (3, 15)
"""Where atheris is installed: as setup.cfg says."""
RUNS = {"response": 500, "request": 1000, "forward": 500, "exchange": 500}
"""Of those that do most for an input; the others get 2,000."""


@pytest.mark.parametrize("target", TARGETS)
def test_whole_corpus_holds(target: str, outcome: Outcome) -> None:
    assert replay(target) >= 5
    outcome(PROPERTIES, f"fuzz target: {target}", "nothing found, in the corpus kept")


@pytest.mark.skipif(not WHEELS, reason="atheris has wheels for x86_64 Linux and Python below 3.15")
@pytest.mark.parametrize("target", TARGETS)
def test_short_run_finds_nothing(target: str, tmp_path: Path, outcome: Outcome) -> None:
    """In the tree's plain Python, whichever awfproxy is installed; the seed is the same in every run.

    The first folder is where libFuzzer puts what is new.
    """
    done = subprocess.run(
        [
            sys.executable, "-m", "fuzz", target, f"-runs={RUNS.get(target, 2000)}", "-seed=1", "-timeout=10",
            "-max_len=4096", "-verbosity=0", f"-artifact_prefix={tmp_path}/", str(tmp_path),
            str(CORPUS / target),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    outcome(PROPERTIES, f"fuzz target: {target}", "nothing found, by a short run from there")
