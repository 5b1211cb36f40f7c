"""What must be installed for a test; on CI a missing tool fails the test instead of skipping it."""

import functools
import os
import shutil
import subprocess

import pytest

from tests.kit.clients.installed import PACKAGES, agent_binary, sdk_python
from tests.kit.sandbox import namespaces
from tests.kit.squid import squid_binary
from tests.kit.systemd import systemd_program

_FINDERS = {
    "squid": squid_binary,
    **{
        name: functools.partial(shutil.which, name)
        for name in ("buildah", "curl", "mmdebstrap", "runc", "strace", "systemd-analyze", "valgrind")
    },
    "sdks": sdk_python,
    **{name: functools.partial(agent_binary, name) for name in PACKAGES},
}


def need(*tools: str) -> None:
    """Skips the test where a tool is missing; with CI set it fails."""
    if missing := [tool for tool in tools if _FINDERS[tool]() is None]:
        _do_without(f"not installed: {', '.join(missing)} (`make test` installs it)")


def need_sandbox(*tools: str) -> None:
    """For a test that runs these in a `Sandbox`."""
    need(*tools)
    if namespaces() is None:
        _do_without("a network namespace (`unshare -n`) is not permitted: be root or allow user namespaces")


def need_systemd() -> None:
    """For a test that starts a `Manager`."""
    if systemd_program() is None:
        _do_without("systemd cannot be started in namespaces here: be root, with systemd installed")


def need_strace() -> None:
    """For a test that looks at a program's system calls."""
    need("strace")
    if subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode:
        _do_without("`strace true` fails: allow ptrace (in Docker: --cap-add SYS_PTRACE)")


def _do_without(text: str) -> None:
    if on_ci():
        pytest.fail(text)
    pytest.skip(text)


def on_ci() -> bool:
    return os.environ.get("CI", "") not in ("", "0", "false")
