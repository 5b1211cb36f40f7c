"""`awfproxy check` as a process: the validator alone, and its exit code."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.daemon import PACKAGES


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Bound, so that nobody else takes it, and not listening."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def check(canary: str, *words: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; from awfproxy.cli.main import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, "check", *words],
        env={"PYTHONPATH": str(PACKAGES), "OPENAI_API_KEY": canary, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--startup-grace", "0"),
            "would open its port, but not be ready. OpenAI: The egress proxy cannot be reached.",
        ),
        (("--probe", "require", "--startup-deadline", "0.5"), "Gave up after"),
    ],
)
def test_egress_proxy_that_refuses_is_unavailable(
    canary: str, closed_port: int, words: tuple[str, ...], said: str
) -> None:
    done = check(canary, "--egress-proxy", f"127.0.0.1:{closed_port}", *words)
    assert done.returncode == 69, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_ca_file_without_certificates_is_a_configuration_error(
    canary: str, closed_port: int, tmp_path: Path
) -> None:
    empty = tmp_path / "ca.pem"
    empty.write_text("")
    done = check(canary, "--egress-proxy", f"127.0.0.1:{closed_port}", "--ca-file", str(empty))
    assert done.returncode == 78, done.stderr
    assert str(empty) in done.stderr


def test_settings_are_judged_before_anything_is_connected_to(canary: str) -> None:
    assert check(canary).returncode == 78
    assert check("", "--egress-proxy", "squid:3128").returncode == 78
    assert check(canary, "--nonsense").returncode == 64
