"""`python -m fuzz TARGET [CORPUS...] [-libfuzzer_option=value ...]`; without a target, their names.

`--replay` runs the target over the files of its corpus and no others, and needs no atheris.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

TARGETS = {
    "request": "requests",
    "forward": "requests",
    "chunks": "requests",
    "response": "responses",
    "exchange": "exchanges",
    "egress": "words",
    "target": "words",
    "answer": "words",
    "events": "words",
    "line": "words",
    "models": "words",
    "presented": "tokens",
    "token": "tokens",
    "leakguard": "leaks",
    "settings": "settings",
}
"""By name, and the module that has it."""
CORPUS = Path(__file__).parent / "corpus"


def main(arguments: list[str]) -> None:
    if not arguments or arguments[0] not in TARGETS:
        print("\n".join(TARGETS))
        sys.exit(0 if not arguments else 64)
    name, *options = arguments
    if options == ["--replay"]:
        replay(name)
        return
    import atheris

    with atheris.instrument_imports(include=["awfproxy"]):
        run = _target(name)
    atheris.Setup([f"fuzz {name}", *options], run)
    atheris.Fuzz()


def replay(name: str) -> int:
    """Runs the target over its corpus; how many inputs that has."""
    run, inputs = _target(name), sorted((CORPUS / name).iterdir())
    for path in inputs:
        try:
            run(path.read_bytes())
        except Exception as problem:
            problem.add_note(f"the input is {path}")
            raise
    return len(inputs)


def _target(name: str) -> Callable[[bytes], None]:
    found: Callable[[bytes], None] = getattr(importlib.import_module(f"fuzz.{TARGETS[name]}"), name)
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
