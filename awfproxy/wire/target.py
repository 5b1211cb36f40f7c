"""The request-target and the origin's authority (RFC 9112 3.2). Targets are bytes, never re-encoded."""

import re
from urllib.parse import unquote_to_bytes

import attrs

from awfproxy.errors.client import BadTarget

_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)(.*)", re.DOTALL)


@attrs.frozen
class Origin:
    """The provider's authority; the scheme is always https."""

    host: str
    port: int = 443

    @property
    def authority(self) -> bytes:
        """host:port, IPv6 in brackets: the CONNECT target (RFC 9110 9.3.6)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}".encode("ascii")

    @property
    def host_field(self) -> bytes:
        """The Host field's value: the default port is left out (RFC 9110 4.2.2)."""
        return self.authority.removesuffix(b":443")


def join_base_path(base_path: bytes, target: bytes) -> bytes:
    """`base_path` + `target`, unless the target's path already is the base path or lies below it."""
    if not base_path:
        return target
    rest = target[len(base_path) :]
    if target.startswith(base_path) and (not rest or rest[:1] in b"/?#"):
        return target
    return base_path + target


def without_parameters(target: bytes, names: frozenset[bytes]) -> bytes:
    """The target without the query parameters of those names (lower case); all other bytes stay as they are.

    A name is compared as a server reads it: percent-decoded, `+` for a space, and in any case.
    """
    path, mark, query = target.partition(b"?")
    if not mark:
        return target
    parts = query.split(b"&")
    kept = [part for part in parts if _parameter_name(part) not in names]
    if len(kept) == len(parts):
        return target
    return path + b"?" + b"&".join(kept) if kept else path


def parameters(target: bytes, names: frozenset[bytes]) -> list[bytes]:
    """The values, percent-decoded, of what `without_parameters` would take out."""
    found = [part for part in target.partition(b"?")[2].split(b"&") if _parameter_name(part) in names]
    return [unquote_to_bytes(part.partition(b"=")[2]) for part in found]


def _parameter_name(part: bytes) -> bytes:
    return unquote_to_bytes(part.partition(b"=")[0].replace(b"+", b" ")).lower()


def path_of(target: bytes) -> bytes:
    """The target without its query, and without an authority (which may hold a password)."""
    for mark in b"?", b"#":
        target = target.partition(mark)[0]
    if target.startswith(b"/"):
        return target
    match = _ABSOLUTE.fullmatch(target)
    return match[2] or b"/" if match else target.rpartition(b"@")[2]


def origin_form(target: bytes, origin: Origin, own_port: int | None) -> bytes:
    """The target in origin-form (RFC 9112 3.2.1), reduced from an absolute-form that names us or the origin.

    Absolute-form arrives when HTTP_PROXY points an agent here, or at a proxy on the way. Its authority
    must be the provider's or have our own port; anything else raises `BadTarget`.
    """
    if target.startswith(b"/"):
        if target.startswith(b"//"):
            raise BadTarget("starts with //")
        return target
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise BadTarget("neither origin-form nor absolute-form")
    authority, rest = match.groups()
    if not _names_us(authority.lower(), origin, own_port):
        raise BadTarget("absolute-form for another authority")
    if not rest.startswith(b"/"):
        rest = b"/" + rest
    return origin_form(rest, origin, own_port)


def _names_us(authority: bytes, origin: Origin, own_port: int | None) -> bool:
    if authority in (origin.authority.lower(), origin.host_field.lower()):
        return True
    host, _, port = authority.rpartition(b":")
    # RFC 9110 4.2.4: userinfo in an authority is there to deceive.
    return bool(host) and b"@" not in host and own_port is not None and port == b"%d" % own_port
