"""`Bound`: what a unit of work may cost, with the figure that was measured when the bound was set."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).resolve().parents[2]
_SLACK = 0.5


@attrs.frozen
class Bound:
    """At most `most`, where `measured` was found. Far less is wrong too: nothing would be guarded then."""

    measured: float
    most: float

    def complaint(self, name: str, found: float) -> str:
        """'' where all is well."""
        if found > self.most:
            return f"{name} grew from {self.measured:g} to {found:g} (at most {self.most:g})"
        if self.measured >= 1 and found < self.measured * _SLACK:
            return (
                f"{name} fell from {self.measured:g} to {found:g}: lower its bound so that it guards again, "
                "or see why the test does not measure it any more"
            )
        return ""


def exactly(measured: float) -> Bound:
    """For what does not vary at all."""
    return Bound(measured, measured)


def about(measured: float, slack: float = 0.2) -> Bound:
    """For what varies with the build or the moment."""
    return Bound(measured, round(measured * (1 + slack), 3))


def check(what: str, found: Mapping[str, float], bounds: Mapping[str, Bound], look: str) -> None:
    """Fails with all that grew, from what to what, and where to look; prints every figure (`pytest -s`)."""
    print(f"\n{what}:")
    for name, value in found.items():
        bound = bounds.get(name, exactly(0))
        print(f"  {name:40} {value:10.10g}   (measured {bound.measured:g}, at most {bound.most:g})")
    complaints = [bounds.get(name, exactly(0)).complaint(name, value) for name, value in found.items()]
    complaints += [f"{name} was not measured" for name in bounds if name not in found]
    if any(complaints):
        raise AssertionError("\n".join([f"{what}:", *filter(None, complaints), look]))


def counted(what: str) -> Any:
    """What `tests.guard.count` finds in an interpreter of its own, where nothing else has run."""
    done = subprocess.run(
        command(what), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def command(what: str) -> list[str]:
    return [sys.executable, "-m", "tests.guard.count", what]


def environment() -> dict[str, str]:
    """Always the same hashes, and none of the caller's settings."""
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
