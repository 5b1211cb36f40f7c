"""Where the daemon listens, in words: addresses for the log, and why a port could not be opened."""

import errno

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress

from awfproxy.callers.reach import is_loopback

_EVERY = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""An address that stands for all of the machine's, and one of these that a client on it can use."""


def host_and_port(address: IAddress) -> tuple[str, int] | None:
    """Where a client on this machine reaches the address; the host as in a URL. None for a unix socket."""
    match address:
        case IPv4Address():
            return _EVERY.get(address.host, address.host), address.port
        case IPv6Address():
            return f"[{_EVERY.get(address.host, address.host)}]", address.port
    return None


def is_local(address: IAddress) -> bool:
    """Whether this machine alone reaches it; of a kind that is not known here, it is not."""
    match address:
        case IPv4Address() | IPv6Address():
            return is_loopback(address.host)
    return isinstance(address, UNIXAddress)


def shown(address: IAddress) -> str:
    """The address as a client would write it."""
    match address:
        case IPv4Address():
            return f"http://{address.host}:{address.port}"
        case IPv6Address():
            return f"http://[{address.host}]:{address.port}"
        case UNIXAddress():
            return f"unix:{_text(address.name)}"
    return str(address)


def _text(name: bytes | str | None) -> str:
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)


def why_not(description: str, problem: CannotListenError | OSError, setting: str = "--port") -> str:
    """Why it could not be listened there: cause and fix in one sentence, with the port.

    `setting` is where the operator gives this provider's port.
    """
    if isinstance(problem, CannotListenError):
        cause, place = problem.socketError, _place(problem)
    else:
        cause, place = problem, description
    number = getattr(cause, "errno", None)
    if number == errno.EADDRINUSE:
        return f"Cannot listen on {place}: it is in use. Stop what holds it, or choose another: {setting}."
    if number in (errno.EACCES, errno.EPERM):
        return f"Cannot listen on {place}: not permitted. Choose a port above 1023, or another path."
    if number == errno.EADDRNOTAVAIL:
        return f"Cannot listen on {place}: this machine has no such address. Check --bind."
    reason = getattr(cause, "strerror", None) or type(cause).__name__
    return f"Cannot listen on {place}: {reason}. Check {setting}, or --bind."


def _place(problem: CannotListenError) -> str:
    if not isinstance(problem.port, int):
        return f"unix socket {_text(problem.port)}"
    return f"port {problem.port} of {problem.interface or 'all addresses'}"
