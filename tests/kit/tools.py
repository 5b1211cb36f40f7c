"""What must be installed for a test; on CI a missing tool fails the test instead of skipping it."""

import os
import shutil

import pytest

from tests.kit.codex import VERSION, codex_binary
from tests.kit.squid import squid_binary

_FINDERS = {
    "squid": squid_binary,
    "codex": codex_binary,
    "curl": lambda: shutil.which("curl"),
}
_SAID = {"codex": f"codex {VERSION}"}


def need(*tools: str) -> None:
    """Skips the test where a tool is missing; with CI set it fails."""
    missing = [_SAID.get(tool, tool) for tool in tools if _FINDERS[tool]() is None]
    if not missing:
        return
    text = f"not installed: {', '.join(missing)} (`make test` installs it)"
    if on_ci():
        pytest.fail(text)
    pytest.skip(text)


def on_ci() -> bool:
    return os.environ.get("CI", "") not in ("", "0", "false")
