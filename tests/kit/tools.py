"""What must be installed for a test; on CI a missing tool fails the test instead of skipping it."""

import functools
import os
import shutil
import subprocess
from typing import NoReturn

import pytest

from tests.kit.clients.installed import PACKAGES, agent_binary, sdk_python
from tests.kit.sandbox import namespaces
from tests.kit.squid import squid_binary
from tests.kit.systemd import systemd_program

_PROGRAMS = (
    "buildah", "curl", "faketime", "mmdebstrap", "runc", "strace", "systemd-analyze",
    "systemd-socket-activate", "valgrind",
)  # fmt: skip

_FINDERS = {
    "squid": squid_binary,
    **{name: functools.partial(shutil.which, name) for name in _PROGRAMS},
    "sdks": sdk_python,
    **{name: functools.partial(agent_binary, name) for name in PACKAGES},
}


def need(*tools: str) -> None:
    """Skips the test where a tool is missing; with CI set it fails."""
    if missing := [tool for tool in tools if _FINDERS[tool]() is None]:
        do_without(f"not installed: {', '.join(missing)} (`make test` installs it)")


def need_sandbox(*tools: str) -> None:
    """For a test that runs these in a `Sandbox`."""
    need(*tools)
    if namespaces() is None:
        do_without("a network namespace (`unshare -n`) is not permitted: be root or allow user namespaces")


def need_pid_namespace() -> None:
    """For a test that runs something as PID 1."""
    if subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True, check=False).returncode:
        do_without("unshare --pid does not work here")


def need_systemd() -> None:
    """For a test that starts a `Manager`."""
    if systemd_program() is None:
        do_without("systemd cannot be started in namespaces here: be root, with systemd installed")


def need_strace() -> None:
    """For a test that looks at a program's system calls."""
    need("strace")
    if subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode:
        do_without("`strace true` fails: allow ptrace (in Docker: --cap-add SYS_PTRACE)")


def do_without(text: str) -> NoReturn:
    if on_ci():
        pytest.fail(text)
    pytest.skip(text)


def on_ci() -> bool:
    return os.environ.get("CI", "") not in ("", "0", "false")
