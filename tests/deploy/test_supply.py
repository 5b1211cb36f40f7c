"""What awfproxy depends on: few packages, each with its reason, all pinned by hash, looked up and listed."""

import importlib.util
import json
import re
import subprocess
import sys
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.kit.container import ROOT

LOCKS = ("deploy/runtime.lock", "deploy/build.lock")


def direct() -> list[Requirement]:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return [Requirement(line) for line in setup["options"]["install_requires"].strip().splitlines()]


def entries(lock: str) -> dict[str, tuple[str, str]]:
    """Version and all that stands below it, by package."""
    text = (ROOT / lock).read_text()
    parts = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    found = {}
    for part in parts:
        match = re.match(r"([a-z0-9.-]+)==(\S+) ", part)
        assert match, part
        found[match[1]] = (match[2], part)
    return found


def test_at_most_eight_packages_are_asked_for_and_the_readme_says_why() -> None:
    assert len(direct()) <= 8
    table = (ROOT / "README.md").read_text().split("## What it is built from")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| ([\w-]+) \| (.+) \|$", table, re.MULTILINE))
    for each in direct():
        assert len(rows[each.name]) > 5, each.name


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_a_lock_has_one_version_and_its_hashes(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    for name, (_, part) in entries(lock).items():
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", part), name
        assert not re.search(r"--hash=(?!sha256:[0-9a-f]{64}\b)", part), name


def closure(requirements: list[Requirement]) -> set[str]:
    """All that these packages lead to, as they are installed here."""
    found: set[str] = set()
    waiting = [(each, frozenset(each.extras)) for each in requirements]
    while waiting:
        each, extras = waiting.pop()
        name = canonicalize_name(each.name)
        key = f"{name}[{','.join(sorted(extras))}]"
        if key in found:
            continue
        found |= {name, key}
        for line in metadata.requires(name) or ():
            further = Requirement(line)
            wanted = [{"extra": extra} for extra in extras] or [{"extra": ""}]
            if further.marker is None or any(further.marker.evaluate(one) for one in wanted):
                waiting.append((further, frozenset(further.extras)))
    return {name for name in found if "[" not in name}


def test_lock_has_all_that_awfproxy_leads_to_and_nothing_else() -> None:
    assert set(entries("deploy/runtime.lock")) == closure(direct())


def test_lock_is_within_what_awfproxy_asks_for() -> None:
    pinned = entries("deploy/runtime.lock")
    for each in direct():
        version, _ = pinned[canonicalize_name(each.name)]
        assert each.specifier.contains(version), each


def test_build_lock_is_within_what_the_build_asks_for() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    (requires,) = re.findall(r"^requires = (\[.*\])$", text, re.MULTILINE)
    pinned = entries("deploy/build.lock")
    for each in map(Requirement, json.loads(requires)):
        version, _ = pinned[canonicalize_name(each.name)]
        assert each.specifier.contains(version), each


# --- make audit -------------------------------------------------------------------------------------

LOCK = "attrs==26.1.0 \\\n    --hash=sha256:00\nzope-interface==8.7 \\\n    --hash=sha256:00\n"


def audit(report: str, tmp_path: Path, lock: str = LOCK) -> tuple[int, str]:
    (tmp_path / "lock").write_text(lock)
    done = subprocess.run(
        [sys.executable, str(ROOT / "deploy" / "audit.py"), str(tmp_path / "lock")],
        input=report, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def report(*dependencies: dict[str, object]) -> str:
    """As `pip-audit --format json` writes it."""
    return json.dumps({"dependencies": dependencies, "fixes": []})


CLEAN = {"name": "attrs", "version": "26.1.0", "vulns": []}
OTHER = {"name": "zope.interface", "version": "8.7", "vulns": []}


def test_all_looked_up_and_nothing_known_is_0(tmp_path: Path) -> None:
    code, said = audit(report(CLEAN, OTHER), tmp_path)
    assert (code, said) == (0, "2 packages, 0 known vulnerabilities, 0 unaudited\n")


def test_skipped_package_is_unaudited_and_a_failure(tmp_path: Path) -> None:
    skipped = {"name": "zope-interface", "skip_reason": "Dependency not found on PyPI"}
    code, said = audit(report(CLEAN, skipped), tmp_path)
    assert code == 1
    assert "unaudited: zope-interface 8.7 (Dependency not found on PyPI)\n" in said
    assert "1 unaudited" in said


def test_package_that_the_report_lacks_is_unaudited(tmp_path: Path) -> None:
    code, said = audit(report(CLEAN), tmp_path)
    assert code == 1
    assert "unaudited: zope-interface 8.7 (not in" in said


def test_other_version_than_the_locks_is_unaudited(tmp_path: Path) -> None:
    code, said = audit(report(CLEAN, OTHER | {"version": "8.6"}), tmp_path)
    assert code == 1
    assert "unaudited: zope-interface 8.7 (pip-audit looked up 8.6)" in said


def test_known_vulnerability_is_named_with_its_fix(tmp_path: Path) -> None:
    known = {"id": "PYSEC-2026-1", "fix_versions": ["26.2.0"], "aliases": [], "description": ""}
    code, said = audit(report(CLEAN | {"vulns": [known]}, OTHER), tmp_path)
    assert code == 1
    assert "vulnerable: attrs 26.1.0: PYSEC-2026-1 (fixed in 26.2.0)\n" in said


@pytest.mark.parametrize("nothing", ["", "Traceback", "[]", "{}"])
def test_no_report_is_a_failure(tmp_path: Path, nothing: str) -> None:
    code, said = audit(nothing, tmp_path)
    assert code == 1
    assert "unaudited: everything" in said


# --- make sbom --------------------------------------------------------------------------------------


def test_bill_of_materials_lists_the_lock_with_its_hashes(tmp_path: Path) -> None:
    """By the command of `make sbom`; cyclonedx-py validates what it writes."""
    makefile = (ROOT / "Makefile").read_text()
    (options,) = re.findall(r"cyclonedx-py requirements (.*) -o ", makefile)
    out = tmp_path / "sbom.json"
    done = subprocess.run(
        [str(Path(sys.executable).parent / "cyclonedx-py"), "requirements", *options.split(), "-o", str(out)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    listed = json.loads(out.read_text())
    assert listed["bomFormat"] == "CycloneDX"
    names = {each["name"]: each["version"] for each in listed["components"]}
    assert names == {name: version for name, (version, _) in entries("deploy/runtime.lock").items()}
    assert all(
        reference["hashes"] for each in listed["components"] for reference in each["externalReferences"]
    )


def test_tools_of_the_supply_chain_are_there() -> None:
    for module in ("piptools", "pip_audit", "cyclonedx_py"):
        assert importlib.util.find_spec(module), module
