"""`EndpointDescription`: where it is listened, as the operator writes it for Twisted's serverFromString.

Read here once for all who ask. Pure: Twisted's own reader is private, and comes with much else.
`tests/unit/test_endpoint.py` holds the two together.
"""

import re
from collections.abc import Mapping

import attrs

_PARAMETERS = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "ssl": (
        "port", "privateKey", "certKey", "sslmethod", "interface", "backlog", "extraCertChain",
        "dhParameters",
    ),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "systemd": ("domain", "index", "name"),
}  # fmt: skip
"""In the order in which each kind takes those that are given without their name."""

_WITH_PORT = ("tcp", "tcp6", "ssl")
_PLAIN = ("tcp", "tcp6", "unix", "systemd")
_WHOLE = re.compile(r"(?:[^\\]|\\.)*", re.DOTALL)
_ARGUMENT = re.compile(r"((?:[^:\\]|\\.)*):", re.DOTALL)
_NAMED = re.compile(r"((?:[^=\\]|\\.)*)=(.*)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@attrs.frozen
class EndpointDescription:
    text: str
    """As it was written."""

    kind: str = attrs.field(eq=False)
    """What stands before the first colon, in small letters: for some kinds Twisted takes any."""

    arguments: Mapping[str, str] = attrs.field(eq=False)
    """By name. Of a kind that is not known here only those that are given with it."""

    def __str__(self) -> str:
        return self.text

    @property
    def is_plain_socket(self) -> bool:
        """Whether it is of a kind whose connections get our own transports, without TLS.

        Any other keeps what it comes with.
        """
        return self.kind in _PLAIN

    @property
    def may_be_unix(self) -> bool:
        """Whether it is a unix socket on which users can be told, or an inherited one that may be."""
        inet = self.arguments.get("domain") in ("INET", "INET6")
        return self.kind == "unix" or (self.kind == "systemd" and not inet)

    @property
    def path(self) -> str | None:
        """Of a unix socket."""
        return self.arguments.get("address") or None if self.kind == "unix" else None

    @property
    def port(self) -> int | None:
        """None where it has none, or one that only its plug-in knows."""
        if self.kind not in _WITH_PORT:
            return None
        try:
            port = int(self.arguments.get("port", ""))
        except ValueError:
            return None
        return port if 0 <= port <= 65535 else None

    def collides(self, other: "EndpointDescription") -> bool:
        """Whether both are the same place, so that only one of them can be opened."""
        if self.port == 0:
            return False
        return self._place == other._place

    @property
    def _place(self) -> tuple[str | int, ...]:
        if self.path is not None:
            return (self.path,)
        if self.port is not None:
            return (self.kind, self.port, self.arguments.get("interface", ""))
        return (self.text,)

    def completed(self, **arguments: str) -> str:
        """The text with these arguments too, as far as they are not given."""
        added = [f":{name}={value}" for name, value in arguments.items() if name not in self.arguments]
        return self.text + "".join(added)


def parse_endpoint(text: str) -> EndpointDescription:
    """`ValueError` for what Twisted could open in no way; what else it may want, it judges itself."""
    positional, named = arguments_of(text)
    if not positional:
        raise ValueError("it names no kind of endpoint. Write for example tcp:10000:interface=127.0.0.1")
    kind = positional.pop(0).lower()
    if kind not in _PARAMETERS:
        return EndpointDescription(text, kind, named)
    parameters = _PARAMETERS[kind]
    if len(positional) > len(parameters):
        raise ValueError(
            f"it has more arguments than {kind}: takes, which are {', '.join(parameters)}. A colon that is "
            "part of one is written \\:"
        )
    by_place = dict(zip(parameters, positional, strict=False))
    if twice := [name for name in by_place if name in named]:
        raise ValueError(f"it gives its {twice[0]} twice, with the name and without. Give it once.")
    return EndpointDescription(text, kind, {**by_place, **named})


def arguments_of(text: str) -> tuple[list[str], dict[str, str]]:
    """Those without a name, and those with one. A backslash takes the meaning from what follows it."""
    if not _WHOLE.fullmatch(text):
        raise ValueError("it ends with a backslash, which is for what follows it. Write two for one.")
    positional: list[str] = []
    named: dict[str, str] = {}
    for part in _ARGUMENT.findall(text + ":"):
        match = _NAMED.fullmatch(part)
        if match is None:
            positional.append(_plain(part))
        else:
            named[_plain(match[1])] = _plain(match[2])
    return positional, named


def _plain(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)
