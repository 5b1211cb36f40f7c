"""System calls that Python has no function for. Each raises `OSError`."""

import ctypes
import os
from functools import cache
from typing import Any


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> int:
    """prctl(2) with one argument; the others are zero, as the kernel wants them."""
    zero = ctypes.c_ulong(0)
    return _checked(_libc().prctl(option, ctypes.c_ulong(value), zero, zero, zero))


def syscall(number: int, *arguments: Any) -> int:
    """syscall(2); integers are passed as `long`."""
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    function = _libc().syscall
    function.restype = ctypes.c_long
    return _checked(function(ctypes.c_long(number), *given))


def _checked(result: int) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
