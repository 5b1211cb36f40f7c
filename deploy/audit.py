"""Judges what pip-audit found out about the packages of a lock file, for `make audit`.

    pip-audit ... --format json | python3 deploy/audit.py deploy/runtime.lock

pip-audit itself ends with 0 where it could not look a package up. Here one that it skipped, or that is in the
lock and not in its report, is unaudited, and that is a failure like a known vulnerability is.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path


def problems(lock: str, report: str) -> Iterator[str]:
    """One line for each package with a known vulnerability, and for each that was not looked up."""
    pinned = dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", lock, re.MULTILINE))
    try:
        found = {_normal(each["name"]): each for each in json.loads(report)["dependencies"]}
    except (ValueError, KeyError, TypeError):
        yield "unaudited: everything, since pip-audit gave no report"
        return
    for name, version in pinned.items():
        entry = found.get(_normal(name), {"skip_reason": "not in pip-audit's report"})
        if "skip_reason" in entry:
            yield f"unaudited: {name} {version} ({entry['skip_reason']})"
        elif entry.get("version") != version:
            yield f"unaudited: {name} {version} (pip-audit looked up {entry.get('version')})"
        for known in entry.get("vulns", ()):
            fixed = ", ".join(known.get("fix_versions", ())) or "no version"
            yield f"vulnerable: {name} {version}: {known['id']} (fixed in {fixed})"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> int:
    lock = Path(sys.argv[1]).read_text()
    found = list(problems(lock, sys.stdin.read()))
    for line in found:
        print(line)
    total = len(re.findall(r"^\S+==", lock, re.MULTILINE))
    unaudited = sum(line.startswith("unaudited:") for line in found)
    print(f"{total} packages, {len(found) - unaudited} known vulnerabilities, {unaudited} unaudited")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
