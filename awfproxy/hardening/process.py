"""No core dumps, no other process that looks into this one, no new privileges."""

import os
import resource as limits

from awfproxy.hardening.kernel import prctl

PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38


def close_to_others(*, dumpable: bool = False) -> str:
    """Dumps and ptrace forbidden, or allowed again; what the kernel has against that, else ''.

    Where it is not dumpable its files in /proc (environ, mem, maps) are root's, and only who has
    CAP_SYS_PTRACE can attach to it. Either way nothing that it executes gains privileges, without which
    Landlock and seccomp are not to be had.
    """
    try:
        prctl(PR_SET_DUMPABLE, int(dumpable))
        prctl(PR_SET_NO_NEW_PRIVS, 1)
    except OSError as error:
        return error.strerror or "no reason given"
    return ""


def no_core_file() -> None:
    """The hard limit too: nothing raises it again.

    A core_pattern with a pipe (systemd-coredump, apport) does not heed the limit; what stops that is not
    being dumpable.
    """
    limits.setrlimit(limits.RLIMIT_CORE, (0, 0))


def is_dumpable() -> bool:
    """The kernel sets it anew where the user changes, as with twistd's --uid."""
    return prctl(PR_GET_DUMPABLE, 0) == 1


def is_root() -> bool:
    return os.geteuid() == 0
