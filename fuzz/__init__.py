"""Coverage-guided fuzzing (atheris) of all that reads a peer's bytes: `make fuzz`, or `python -m fuzz`.

Each target takes bytes and asserts what must hold of them; `fuzz/corpus/TARGET` has the inputs that reach
something of their own. It is the tree's plain Python that is fuzzed: atheris instruments bytecode, and of the
compiled modules of an installed awfproxy it would see nothing.
"""
