"""The rooms: which may import which, and what each must not touch when it is imported."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "awfproxy"

ORDER = (
    "errors", "agents", "wire", "providers", "credentials", "callers", "settings", "squid", "hardening",
    "net", "upstream", "observe", "proxy", "service", "doctor", "demo", "daemon", "tap", "cli",
)  # fmt: skip
"""A module imports only from its own room and from rooms before it."""

IMPURE = frozenset({"awfproxy.credentials.sources", "awfproxy.agents.files"})
"""In a pure room, but reads or writes files for it."""

PURE_ROOMS = ("errors", "agents", "wire", "providers", "credentials", "callers", "settings", "squid")
ONLY_IMPORTER = {
    "httptools": "awfproxy.wire.parser",
    "jwt": "awfproxy.callers.token",
    "prometheus_client": "awfproxy.observe.prometheus",
    "tomlkit": "awfproxy.agents.tomlfile",
}
ENVIRONMENT_READERS = frozenset(
    {"awfproxy.tap"}
    | {
        f"awfproxy.cli.{verb}"
        for verb in ("main", "demo", "check", "doctor", "env", "squid_conf", "rules", "token")
    }
)


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def room(module: str) -> str:
    """'' for the package itself, which only holds the version."""
    return "".join(module.split(".")[1:2])


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, whether at module level); TYPE_CHECKING blocks count like the rest: a cycle is a cycle."""
    tree = ast.parse(path.read_text())
    inside = {id(node) for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
              for node in ast.walk(each)}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"relative import in {path}"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (
                    (full if full in MODULES or node.module == "twisted.internet" else node.module or ""),
                    (id(node) not in inside),
                )


def own_imports(module: str) -> set[str]:
    return {name for name, _ in imports(MODULES[module]) if name.split(".")[0] == "awfproxy"} - {"awfproxy"}


def test_every_room_is_in_the_order() -> None:
    assert {room(module) for module in MODULES} - {""} <= set(ORDER)


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_only_from_rooms_before_it(module: str) -> None:
    if room(module) == "":
        assert not own_imports(module)
        return
    place = ORDER.index(room(module))
    later = {name for name in own_imports(module) if ORDER.index(room(name)) > place}
    assert not later, f"{module} imports from later rooms: {sorted(later)}"


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {module: own_imports(module) for module in MODULES}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as cycle:
        pytest.fail(f"a cycle: {cycle.args[1]}")


@pytest.mark.parametrize("module", MODULES)
def test_reactor_is_never_imported_at_module_level(module: str) -> None:
    assert ("twisted.internet.reactor", True) not in set(imports(MODULES[module]))


@pytest.mark.parametrize("package", [m for m, path in MODULES.items() if path.name == "__init__.py"])
def test_packages_import_nothing_by_themselves(package: str) -> None:
    assert not list(imports(MODULES[package]))


@pytest.mark.parametrize("library", ONLY_IMPORTER)
def test_library_has_one_importer(library: str) -> None:
    importers = {
        m for m, path in MODULES.items() for name, _ in imports(path) if name.split(".")[0] == library
    }
    assert importers == {ONLY_IMPORTER[library]}


def test_environment_is_read_only_where_all_is_put_together() -> None:
    readers = {
        module
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv") and _is_os(node.value)
    }
    assert readers <= ENVIRONMENT_READERS


def _is_os(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "os"


_IMPORT_WITHOUT_TWISTED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("twisted", "zope", "OpenSSL", "treq"):
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocked())
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
print(len(sys.argv) - 1)
"""


def test_pure_rooms_import_without_twisted() -> None:
    names = [m for m in MODULES if room(m) in PURE_ROOMS and m not in IMPURE]
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT_WITHOUT_TWISTED, *names],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(names) > 10
