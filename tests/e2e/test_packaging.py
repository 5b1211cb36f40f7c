"""The wheel: built from a copy of the sources, installed where there is nothing else, used from elsewhere."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.e2e.conftest import NAME, options
from tests.kit.certificates import Authority
from tests.kit.daemon import ROOT, Daemon
from tests.kit.origin import Origin
from tests.kit.squid import Squid

SOURCES = ("awfproxy", "twisted", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built in a copy, so that nothing is left in the checkout and nothing left there gets in."""
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
        elif source.exists():
            shutil.copy(source, copy / name)
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", out, copy, cwd=out)
    (built,) = out.glob("awfproxy-*.whl")
    return built


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an empty environment into which the wheel was installed, with what it asks for."""
    place = tmp_path_factory.mktemp("clean") / "venv"
    run(sys.executable, "-m", "venv", place, cwd=place.parent)
    run(place / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", wheel, cwd=place.parent)
    return place / "bin"


def test_wheel_holds_all_modules_the_plugin_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "awfproxy").rglob("*.py")}
    content = {name for name in names if ".dist-info/" not in name}
    assert content == sources | {"awfproxy/py.typed", "twisted/plugins/awfproxy_plugin.py"}
    assert any(name.endswith("/LICENSE") for name in names)


def test_every_module_imports_with_what_the_wheel_asks_for(clean: Path, tmp_path: Path) -> None:
    paths = (path.relative_to(ROOT).with_suffix("") for path in (ROOT / "awfproxy").rglob("*.py"))
    names = sorted(".".join(path.parts).removesuffix(".__init__") for path in paths)
    code = "import sys, importlib; [importlib.import_module(name) for name in sys.argv[1:]]"
    run(clean / "python", "-I", "-c", code, *names, cwd=tmp_path)


@pytest.mark.parametrize("runner", ["twistd", "twist"])
def test_runners_know_the_plugin(clean: Path, tmp_path: Path, runner: str) -> None:
    assert "awfproxy" in run(clean / runner, "--help", cwd=tmp_path)


def test_console_script_has_its_commands(clean: Path, tmp_path: Path) -> None:
    text = run(clean / "awfproxy", "--help", cwd=tmp_path)
    assert "demo" in text
    assert "check" in text


@pytest.mark.parametrize("runner", ["twistd", "twist"])
def test_installed_plugin_serves_from_an_unrelated_directory(
    clean: Path, runner: str, authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    before = ["-n", "--pidfile="] if runner == "twistd" else []
    daemon = Daemon(env={"OPENAI_API_KEY": canary, "PYTHONPATH": "", "PYTHONSAFEPATH": "1"})
    daemon.command = [
        str(clean / runner), *before, "awfproxy", "--port", str(daemon.port),
        *options(authority, own_origin, squid),
    ]  # fmt: skip
    with daemon:
        daemon.ready("/readyz")
        assert daemon.ask("GET", "/v1/models").status == 200
        assert daemon.terminate() == 143
    assert {path.name for path in daemon.folder.iterdir()} == {"stdout", "stderr"}, "files left where it ran"


@pytest.mark.parametrize(("key", "code"), [("good", 0), ("another", 77), ("", 78)])
def test_check_ends_with_the_validators_code(
    clean: Path, authority: Authority, squid: Squid, canary: str, key: str, code: int
) -> None:
    with Origin(authority.leaf(NAME), "another-key" if key == "another" else canary) as origin:
        daemon = Daemon(env={"OPENAI_API_KEY": key and canary, "PYTHONPATH": ""})
        daemon.command = [str(clean / "awfproxy"), "check", *options(authority, origin, squid)]
        with daemon:
            assert daemon.exit_code() == code


def test_check_show_tells_each_setting_and_its_source(
    clean: Path, authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    daemon = Daemon(env={"OPENAI_API_KEY": canary, "PYTHONPATH": "", "AWFPROXY_POOL_MAX": "7"})
    daemon.command = [str(clean / "awfproxy"), "check", "--show", *options(authority, own_origin, squid)]
    with daemon:
        assert daemon.exit_code() == 0
    shown = daemon.stdout.read_text()
    assert f"set, {len(canary)} characters, from" in shown
    assert any(
        "pool-max" in line and "7" in line and "AWFPROXY_POOL_MAX" in line for line in shown.splitlines()
    )
    assert not own_origin.connections
