"""Puts the seccomp filter in force."""

import ctypes
import os

from awfproxy.hardening.bpf import program
from awfproxy.hardening.calls import ARCHITECTURES
from awfproxy.hardening.kernel import syscall

_SET_MODE_FILTER = 1
_ALL_THREADS = 1
# Without it kernels before 5.16 slow down every thread that has a filter, against guests that run code of
# their own in it (Speculative Store Bypass); there are none here.
_NO_SLOWER = 4


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def restrict() -> str:
    """Puts the filter in force for all threads; what that is, in words.

    Raises `OSError`, and then nothing is in force. It takes no_new_privs.
    """
    machine = os.uname().machine
    architecture = ARCHITECTURES.get(machine)
    # A 32-bit program on a 64-bit kernel has other numbers than the machine's name says.
    if architecture is None or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise OSError(0, f"there is no filter for {machine}")
    code = program(architecture)
    filled = _Program(len(code) // 8, code)
    seccomp = architecture.numbers["seccomp"]
    thread = syscall(seccomp, _SET_MODE_FILTER, _ALL_THREADS | _NO_SLOWER, ctypes.byref(filled))
    if thread:
        raise OSError(0, "one of its threads has a filter of its own")
    return "seccomp"
