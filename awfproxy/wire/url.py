"""URLs that an operator writes in variables that other programs share: to an origin and a path. Pure.

Each function raises `ValueError` with what is wrong and the fix, and never quotes the URL: it may hold a
password.
"""

import re
from ipaddress import IPv6Address

from awfproxy.wire.target import Origin

_URL = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?([^/?#\\]*)([^?#]*)(.*)", re.DOTALL)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::([0-9]{1,5}))?")
_LABELS = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
    r"(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*"
)


def origin_and_path(text: str) -> tuple[Origin, bytes]:
    """`https://HOST[:PORT][/PATH]`; without a scheme, https is meant. A slash at the end is none."""
    scheme, authority, path, rest = _split(text)
    if scheme.lower() not in ("", "https"):
        raise ValueError(
            "its scheme is not https: the key would be shown to the network. Write https://HOST/PATH"
        )
    if rest:
        raise ValueError("it has a query or a fragment. Leave out ? and # and what follows.")
    if not re.fullmatch(r"(?:/[!-~]*)?", path) or path.startswith("//"):
        raise ValueError("its path begins with two slashes, or has a character that a path cannot have.")
    host, port = _host_port(authority)
    return Origin(host, 443 if port is None else port), path.removesuffix("/").encode("ascii")


def host_of(text: str) -> str:
    """The host of an http or https URL, in lower case; a bare HOST[:PORT] is taken too."""
    scheme, authority, _, _ = _split(text)
    if scheme.lower() not in ("", "http", "https"):
        raise ValueError("its scheme is neither http nor https. Write https://HOST")
    return _host_port(authority)[0]


def _split(text: str) -> tuple[str, str, str, str]:
    match = _URL.fullmatch(text)
    assert match is not None  # it takes every text apart
    return match[1] or "", match[2], match[3], match[4]


def _host_port(authority: str) -> tuple[str, int | None]:
    if "@" in authority:
        raise ValueError("it has a user or a password in it. Leave them out.")
    match = _AUTHORITY.fullmatch(authority)
    port = None if match is None or match[2] is None else int(match[2])
    if match is None or (port is not None and not 1 <= port <= 65535):
        raise ValueError("it is not a URL with a host. Write https://HOST or https://HOST:PORT")
    return _host(match[1]), port


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            return str(IPv6Address(text[1:-1]))
        except ValueError:
            raise ValueError("what stands between [ and ] is not an IPv6 address.") from None
    if not _LABELS.fullmatch(text):
        raise ValueError("its host is not a host name. Write a name in ASCII, without a dot at its end.")
    return text.lower()
