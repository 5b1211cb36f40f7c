"""The process confines itself once it has started, and the log says what is in force and what is not.

Once: after the runner has gone into the background, written its pid file and left root, and before anything
is connected to or listened at. By then no thread has begun, so Landlock, which binds the thread that asks for
it and those that it starts, binds them all. What a kernel does not have is passed over, with a line in the
log: it is a second wall, and a daemon that does not start keeps no key safe.
"""

import os
from collections.abc import Callable

import attrs
from twisted.application.service import Service
from twisted.logger import Logger

from awfproxy.hardening import landlock, seccomp
from awfproxy.hardening.environ import Forgotten
from awfproxy.hardening.landlock import Policy
from awfproxy.hardening.process import close_to_others, is_root


@attrs.frozen
class Before:
    """What was done before there was a log."""

    forgotten: Forgotten
    problem: str = ""
    """Why the process could not be closed to others."""


class Confinement(Service):
    """Its start does it; it has no end."""

    _log = Logger()

    def __init__(
        self, before: Before, *, confine: bool, dumpable: bool, policy: Callable[[], Policy]
    ) -> None:
        """`policy` is asked for when it is put in force: names of files are looked at then."""
        self._before = before
        self._confine = confine
        self._dumpable = dumpable
        self._policy = policy

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        in_force: list[str] = []
        # Again: the kernel has its own default for a process whose user has changed meanwhile.
        problem = close_to_others(dumpable=self._dumpable) or self._before.problem
        if problem:
            self._not_in_force("core dumps and ptrace off, no_new_privs", problem)
        elif self._dumpable:
            self._not_in_force("core dumps and ptrace off", "--dumpable: whoever looks into it sees the key")
            in_force.append("no_new_privs")
        else:
            in_force.append("core dumps and ptrace off, no_new_privs")
        forgotten = self._before.forgotten
        if forgotten.problem:
            self._not_in_force("credentials overwritten in the environment", forgotten.problem)
        elif forgotten.overwritten:
            in_force.append(f"{forgotten.overwritten} credentials overwritten in the environment")
        if is_root():
            self._log.warn(
                "Running as root, which awfproxy needs for nothing: run it as a user of its own (User= or "
                "DynamicUser= in the unit, --uid for twistd)",
                event="running_as_root",
            )
        for name, restrict in self._restrictions():
            if not self._confine:
                self._not_in_force(name, "--confine off")
                continue
            try:
                in_force.append(restrict())
            except OSError as error:
                self._not_in_force(name, error.strerror or "no reason given")
        self._log.info("In force: {in_force}", event="confined", in_force="; ".join(in_force))

    def _restrictions(self) -> tuple[tuple[str, Callable[[], str]], ...]:
        return (("Landlock", self._landlock), ("seccomp", seccomp.restrict))

    def _landlock(self) -> str:
        others = _threads() - 1
        done = landlock.restrict(self._policy())
        if others > 0:
            self._not_in_force("Landlock for threads that began before", f"there are {others}")
        return done

    def _not_in_force(self, what: str, why: str) -> None:
        self._log.warn("Not in force: {what} ({why})", event="not_confined", what=what, why=why)


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1
