"""Nothing in awfproxy turns data into code, starts a program or opens a console."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "awfproxy").rglob("*.py"))

FORBIDDEN_MODULES = {
    "pickle": "runs what it reads", "marshal": "runs what it reads", "shelve": "pickles",
    "dill": "pickles", "code": "a console", "codeop": "a console", "pdb": "a console",
    "twisted.manhole": "a console", "twisted.conch": "a console", "twisted.persisted": "pickles",
    "twisted.spread": "objects from a network", "subprocess": "programs", "multiprocessing": "programs",
    "pty": "programs", "twisted.internet.process": "programs", "twisted.internet.utils": "programs",
}  # fmt: skip
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
FORBIDDEN_ATTRIBUTES = {
    "system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp", "execv", "execve", "execvp", "execl",
    "spawnv", "spawnl", "spawnProcess", "set_trace",
}  # fmt: skip


def found(tree: ast.AST) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=imported):
                names += [alias.name for alias in imported if _forbidden(alias.name)]
            case ast.ImportFrom(module=str(module), names=imported):
                full = [module, *(f"{module}.{alias.name}" for alias in imported)]
                names += [name for name in full if _forbidden(name)]
            case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_CALLS:
                names.append(name)
            case ast.Attribute(attr=name) if name in FORBIDDEN_ATTRIBUTES:
                names.append(name)
    return names


def _forbidden(module: str) -> bool:
    return any(module == each or module.startswith(each + ".") for each in FORBIDDEN_MODULES)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_pickle_no_eval_no_console_and_no_program(path: Path) -> None:
    assert found(ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle", "from pickle import loads", "import subprocess as s", "from twisted import conch",
        "from twisted.conch import manhole", "eval('1')", "def f():\n    import code", "os.system('x')",
        "reactor.spawnProcess(p, 'x')", "compile('1', '', 'eval')",
    ],
)  # fmt: skip
def test_what_is_looked_for_is_found(text: str) -> None:
    assert found(ast.parse(text))
