"""How a walk is shown: lines for a reader, with a live one while it waits, or one JSON object."""

import json
from collections.abc import Callable, Sequence
from typing import TextIO

from awfproxy.doctor.step import State, Step, cause, exit_code
from awfproxy.doctor.walk import Listener
from awfproxy.service.exit import one_line

_WAITING = {
    "configuration": "reading the configuration",
    "port": "connecting to awfproxy",
    "health": "asking awfproxy how it is",
    "egress": "connecting to the egress proxy",
    "connect": "waiting for a connection to the provider",
    "tls": "waiting for TLS with the provider",
    "key": "asking the provider about the key",
    "request": "waiting for a model's answer",
    "stream": "waiting for a model's stream",
    "agent": "looking at the agent's environment",
}
_WIDTH = 72


class Lines(Listener):
    """One line for each step, its fix below it; on a terminal a live one for the step that is waited for."""

    def __init__(self, out: TextIO, clock: Callable[[], float] | None) -> None:
        """`clock` tells seconds for the live line; None: there is to be none."""
        self._out = out
        self._clock = clock
        self._provider = ""
        self._waiting = ""
        self._since = 0.0

    def begun(self, name: str, provider: str) -> None:
        self._title(provider)
        self._waiting = name
        if self._clock is not None:
            self._since = self._clock()
        self.waiting()

    def waiting(self) -> None:
        if self._clock is not None and self._waiting:
            seconds = self._clock() - self._since
            text = f"  …        {self._waiting:<14}{seconds:6.1f} s  {_WAITING[self._waiting]}"
            self._out.write(f"\r{text:<{_WIDTH}}")
            self._out.flush()

    def done(self, step: Step) -> None:
        self._clear()
        self._title(step.provider)
        outcome = step.outcome
        skipped = outcome.state is State.SKIPPED
        time = "" if skipped else f"{step.seconds:.2f} s"
        self._out.write(f"  {outcome.state.value:<9}{step.name:<14}{time:>8}  {one_line(outcome.said)}\n")
        if outcome.fix:
            self._out.write(f"  {'':<33}Fix: {one_line(outcome.fix)}\n")
        self._out.flush()

    def end(self, steps: Sequence[Step]) -> None:
        """The last line: the cause, or that there is none."""
        self._clear()
        found = cause(steps)
        if found is None:
            self._out.write("All that was tried works.\n")
        else:
            of = f" of {found.provider}" if found.provider else ""
            self._out.write(f"The first cause is at {found.name}{of}; exit code {found.outcome.code}.\n")

    def _title(self, provider: str) -> None:
        if provider != self._provider:
            self._clear()
            self._provider = provider
            self._out.write(f"{one_line(provider)}\n" if provider else "")

    def _clear(self) -> None:
        if self._clock is not None and self._waiting:
            self._out.write(f"\r{'':<{_WIDTH}}\r")
        self._waiting = ""


def as_json(steps: Sequence[Step]) -> str:
    """`ok`, `exit_code`, `cause` (a step or null), `steps`."""

    def value(step: Step) -> dict[str, object]:
        outcome = step.outcome
        return {
            "provider": step.provider or None,
            "step": step.name,
            "state": outcome.state.value,
            "seconds": None if outcome.state is State.SKIPPED else round(step.seconds, 4),
            "said": outcome.said,
            "fix": outcome.fix or None,
        }

    found = cause(steps)
    return json.dumps(
        {
            "ok": found is None,
            "exit_code": exit_code(steps),
            "cause": None if found is None else value(found),
            "steps": [value(step) for step in steps],
        },
        indent=2,
    )
