"""`Step`: one hop of the way, and what was found there. Pure values."""

from collections.abc import Sequence
from enum import Enum

import attrs

NAMES = (
    "configuration", "port", "health", "egress", "connect", "tls", "key", "request", "stream", "agent",
)  # fmt: skip
"""All steps, in the order in which they are walked."""


class State(Enum):
    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@attrs.frozen
class Outcome:
    """What a step came to."""

    state: State
    said: str
    """One sentence or more, with the cause where it failed. It may hold text of a peer's: escape it."""

    fix: str = ""
    code: int = 0
    """The exit code that follows from it."""

    symptom: bool = False
    """It failed, but what made it fail is to be found further on."""


@attrs.frozen
class Step:
    name: str
    provider: str
    """Empty for a step that is about all of them."""

    outcome: Outcome
    seconds: float = 0.0


def ok(said: str) -> Outcome:
    return Outcome(State.OK, said)


def failed(said: str, fix: str, code: int, *, symptom: bool = False) -> Outcome:
    return Outcome(State.FAILED, said, fix, code, symptom)


def skipped(why: str) -> Outcome:
    return Outcome(State.SKIPPED, why)


def cause(steps: Sequence[Step]) -> Step | None:
    """The first that failed and is not a symptom; a symptom where nothing else failed."""
    every = [step for step in steps if step.outcome.state is State.FAILED]
    return next((step for step in every if not step.outcome.symptom), every[0] if every else None)


def exit_code(steps: Sequence[Step]) -> int:
    found = cause(steps)
    return 0 if found is None else found.outcome.code
