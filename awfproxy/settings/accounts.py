"""Users and groups of this machine, as options name them: by number, or by a name that is looked up here."""

import grp
import pwd
import re

from awfproxy.settings.syntax import quoted

_NUMBER = re.compile(r"[0-9]{1,10}")


def user(text: str) -> int:
    """A number, or the name of a user of this machine's."""
    if _NUMBER.fullmatch(text):
        return _number(text)
    try:
        return pwd.getpwnam(text).pw_uid
    except (KeyError, ValueError):
        raise ValueError(
            f"{quoted(text)} is no user of this machine's. Give a number, or a name that it knows."
        ) from None


def group(text: str) -> int:
    """A number, or the name of a group of this machine's."""
    if _NUMBER.fullmatch(text):
        return _number(text)
    try:
        return grp.getgrnam(text).gr_gid
    except (KeyError, ValueError):
        raise ValueError(
            f"{quoted(text)} is no group of this machine's. Give a number, or a name that it knows."
        ) from None


def _number(text: str) -> int:
    # The highest one stands for "none" (setreuid(2)).
    if int(text) >= (1 << 32) - 1:
        raise ValueError(f"{quoted(text)} is out of range. Give a number up to 4294967294.")
    return int(text)
