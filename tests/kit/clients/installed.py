"""Where `make test` has put the agents and the SDKs, and in which versions.

The folders are named after the lockfiles, so a changed pin is a new installation. AWFPROXY_TEST_CLIENTS
and AWFPROXY_TEST_SDKS name other places; `make test-latest` does.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

from tests.kit.daemon import ROOT

PINS = ROOT / "tests" / "clients"
PACKAGES = {
    "codex": "@openai/codex",
    "claude": "@anthropic-ai/claude-code",
    "gemini": "@google/gemini-cli",
    "copilot": "@github/copilot",
}


def agent_binary(name: str) -> str | None:
    place = _agents() / "node_modules" / ".bin" / name
    return str(place) if place.exists() else None


def agent_version(name: str) -> str:
    """Of the one installed."""
    manifest = _agents() / "node_modules" / PACKAGES[name] / "package.json"
    return str(json.loads(manifest.read_text())["version"])


def sdk_python() -> str | None:
    """The interpreter that has the three SDKs."""
    place = _sdks() / "bin" / "python"
    return str(place) if place.exists() else None


def search_path() -> str:
    """What an agent finds programs in: itself, node, and the system's own."""
    node = os.path.dirname(shutil.which("node") or "")
    places = [str(_agents() / "node_modules" / ".bin"), node, "/usr/bin", "/bin"]
    return ":".join(place for place in places if place)


def _agents() -> Path:
    return _place("AWFPROXY_TEST_CLIENTS", "clients", PINS / "package-lock.json")


def _sdks() -> Path:
    return _place("AWFPROXY_TEST_SDKS", "sdks", PINS / "requirements.txt")


def _place(variable: str, stem: str, lock: Path) -> Path:
    if named := os.environ.get(variable):
        return ROOT / named
    return ROOT / ".cache" / f"{stem}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
