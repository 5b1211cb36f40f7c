"""How the values of options are written: from text to typed values, each parser a pure function.

A parser raises `ValueError` with what is wrong and what to write instead; `given` puts the option's
name and the place in front. Texts that may hold a credential (the egress proxy's URL) are never echoed.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import unquote_to_bytes

import attrs

from awfproxy.callers.endpoint import EndpointDescription, parse_endpoint
from awfproxy.credentials.secret import KEY_BEGINNINGS, Secret
from awfproxy.wire.fieldname import field_name
from awfproxy.wire.target import Origin

LONGEST_WAIT = 86400.0

_LABELS = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
    r"(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*"
)
_WHOLE = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_ENDPOINT = re.compile(r"([A-Za-z][A-Za-z0-9_]*):.+", re.DOTALL)


class NotANumber(ValueError):
    """On the command line this is a usage error (64), elsewhere a configuration error (78)."""


@attrs.frozen
class Egress:
    """The egress proxy. Its text shows no credentials."""

    host: str
    port: int
    authorization: Secret | None = None
    """The value of Proxy-Authorization on the CONNECT (RFC 7617), never sent anywhere else."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


@attrs.frozen
class Target:
    origin: Origin
    dropped: tuple[str, ...]
    """Names of the parts of a URL that were written, and mean nothing here."""


def quoted(text: str) -> str:
    """The text for a message: short, printable, and not shown where it could be a misplaced key."""
    if len(text) > 60 or text.startswith(KEY_BEGINNINGS):
        return "the value"
    return ascii(text)


def whole(minimum: int, maximum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not _WHOLE.fullmatch(text):
            raise NotANumber(f"{quoted(text)} is not a whole number. Give one from {minimum} to {maximum}.")
        if len(text) > 20 or not minimum <= int(text) <= maximum:
            raise ValueError(
                f"{quoted(text)} is out of range. Give a whole number from {minimum} to {maximum}."
            )
        return int(text)

    return parse


def port(text: str) -> int:
    if text.startswith("tcp://"):
        raise NotANumber(
            "its value is a URL, as Kubernetes sets it for a service called awfproxy. "
            "Set enableServiceLinks: false in the pod, or give the service another name."
        )
    return whole(0, 65535)(text)


def seconds(*, zero: bool = False) -> Callable[[str], float]:
    """Plain seconds; `zero` says whether not to wait at all is a choice."""
    span = f"from 0 to {LONGEST_WAIT:.0f}" if zero else f"above 0, up to {LONGEST_WAIT:.0f}"

    def parse(text: str) -> float:
        if not _DECIMAL.fullmatch(text):
            raise NotANumber(f"{quoted(text)} is not a number. Give plain seconds without a unit, {span}.")
        value = float(text)
        if not (0 < value <= LONGEST_WAIT or (zero and value == 0)):
            raise ValueError(f"{quoted(text)} is out of range. Give seconds {span}.")
        return value

    return parse


def switch(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{quoted(text)} is neither true nor false. Write one of these")
    return text == "true"


def choice(values: Iterable[str]) -> Callable[[str], str]:
    known = tuple(values)

    def parse(text: str) -> str:
        if text not in known:
            raise ValueError(
                f"{quoted(text)} is not one of its values. Give {', '.join(known[:-1])} or {known[-1]}."
            )
        return text

    return parse


def path(text: str) -> str:
    if "\0" in text:
        raise ValueError("a file name has no NUL byte in it. Give the name of a file.")
    return text


def address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError(
            f"{quoted(text)} is not an IP address. Give 127.0.0.1 or ::1 for this machine alone, "
            "0.0.0.0 or :: for every interface, or the address of one."
        ) from None


def endpoint(text: str) -> EndpointDescription:
    """The form alone: Twisted judges the rest when it makes the endpoint."""
    match = _ENDPOINT.fullmatch(text)
    if match is None or match[1] == "localhost":
        raise ValueError(
            f"{quoted(text)} is not a Twisted server endpoint. Write for example "
            "tcp:10000:interface=127.0.0.1, "
            "unix:/run/awfproxy/openai.sock or systemd:domain=INET:index=0"
        )
    return parse_endpoint(text)


def tcp_endpoint(interface: str, number: int) -> EndpointDescription:
    """What --bind and --port stand for."""
    kind = "tcp6" if ":" in interface else "tcp"
    escaped = interface.replace(":", "\\:")
    return parse_endpoint(f"{kind}:{number}:interface={escaped}")


def egress(text: str) -> Egress | None:
    """The egress proxy's URL, or None for the word `direct`."""
    if text.lower() == "direct":
        return None
    scheme, mark, rest = text.partition("://")
    if not mark:
        rest = text
    elif scheme.lower() == "https":
        raise ValueError(
            "TLS to the egress proxy itself is not spoken. Give Squid's plain port, as http://HOST:PORT: "
            "the key travels in TLS to the provider either way."
        )
    elif scheme.lower().startswith("socks"):
        raise ValueError("a SOCKS proxy does not speak CONNECT. Give an HTTP proxy, as http://HOST:PORT")
    elif scheme.lower() != "http":
        raise ValueError("its scheme is not http. Write http://HOST:PORT, HOST:PORT, or the word direct.")
    if not rest.isascii() or not rest.isprintable() or " " in rest:
        raise ValueError(
            "it has a space, control or non-ASCII character in it. Percent-encode it, or remove it."
        )
    userinfo, at, authority = rest.removesuffix("/").rpartition("@")
    if any(mark in userinfo for mark in "/?#@"):
        raise ValueError("its user or password has one of @ / ? # in it. Percent-encode it: %40 %2F %3F %23")
    if any(mark in authority for mark in "/?#"):
        raise ValueError("something follows the port. Write http://HOST:PORT, and nothing behind it.")
    host, number = _host_port(authority)
    if number is None:
        raise ValueError("it names no port. Write it out, as http://HOST:3128 (3128 is Squid's usual one).")
    return Egress(host, number, _basic(userinfo) if at else None)


def _basic(userinfo: str) -> Secret:
    if re.search(r"%(?![0-9A-Fa-f]{2})", userinfo):
        raise ValueError("its user or password has a % that begins no code. Write a plain % as %25.")
    name, _, password = userinfo.partition(":")
    user, word = unquote_to_bytes(name), unquote_to_bytes(password)
    if b":" in user or any(byte < 0x20 or byte == 0x7F for byte in user + word):
        raise ValueError(
            "its user has a colon in it, or one of user and password a control byte, which Basic "
            "authentication "
            "cannot carry (RFC 7617). Choose others."
        )
    return Secret(b"Basic " + b64encode(user + b":" + word))


def target(text: str) -> Target:
    """HOST[:PORT]; a whole https URL is taken for its authority."""
    scheme, mark, rest = text.partition("://")
    if not mark:
        rest = text
    elif scheme.lower() == "http":
        raise ValueError(
            "plain http to the provider would show the key to the network. Give a host that speaks TLS."
        )
    elif scheme.lower() != "https":
        raise ValueError("its scheme is not https. Write HOST or HOST:PORT.")
    dropped = []
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    behind = rest[len(authority) :]
    if "@" in authority:
        authority = authority.rpartition("@")[2]
        dropped.append("user and password")
    if "#" in behind:
        behind = behind.partition("#")[0]
        dropped.append("fragment")
    if "?" in behind:
        behind = behind.partition("?")[0]
        dropped.append("query")
    if behind.strip("/"):
        dropped.append("path")
    host, number = _host_port(authority)
    return Target(Origin(host, 443 if number is None else number), tuple(reversed(dropped)))


def _host_port(text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("its IPv6 address is not closed by ]. Write [ADDRESS]:PORT")
        try:
            host = str(IPv6Address(host))
        except ValueError:
            raise ValueError("what stands between [ and ] is not an IPv6 address.") from None
        colon, number = rest[:1], rest[1:]
    else:
        host, colon, number = text.partition(":")
        if ":" in number:
            raise ValueError("it has several colons. Write HOST:PORT, and an IPv6 address in brackets.")
        host = _host(host)
    if not colon:
        return host, None
    if not re.fullmatch(r"[0-9]{1,5}", number) or not 1 <= int(number) <= 65535:
        raise ValueError("its port is not a number from 1 to 65535. Write HOST:PORT")
    return host, int(number)


def _host(text: str) -> str:
    if not text:
        raise ValueError("it names no host. Write HOST:PORT")
    if not _LABELS.fullmatch(text):
        raise ValueError(
            "its host is not a host name or IP address. Write a name in ASCII, without a dot at its end."
        )
    if re.fullmatch(r"[0-9.]+", text):
        try:
            IPv4Address(text)
        except ValueError:
            raise ValueError(
                "its host is not an IPv4 address, but looks like one. Write four numbers."
            ) from None
    return text.lower()


def base_path(text: str) -> bytes:
    """Leading slash added, one trailing slash lost, `/` alone is none."""
    if "://" in text:
        raise ValueError("it is a URL. Give the path alone here, and the host with --target.")
    return _prefix(text if text.startswith("/") else "/" + text).encode("ascii")


def auth_field(text: str) -> bytes:
    """The name of the field that carries the key by itself, in the casing in which it is sent."""
    return field_name(text)


def web_origin(text: str) -> bytes:
    """A page's origin as browsers write it (RFC 6454 6.2), in lower case; `SCHEME://*` for a whole scheme."""
    if text == "null":
        return b"null"
    scheme, mark, authority = text.lower().removesuffix("/").partition("://")
    if not mark or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        raise ValueError(
            f"{quoted(text)} is not the origin of a page. Give SCHEME://HOST:PORT as browsers do, or null."
        )
    if scheme in ("http", "https"):
        if "@" in authority or any(mark in authority for mark in "/?#"):
            raise ValueError("it is more than an origin. Give SCHEME://HOST:PORT alone.")
        host, number = _host_port(authority)
        port = "" if number in (None, {"http": 80, "https": 443}[scheme]) else f":{number}"
        authority = (f"[{host}]" if ":" in host else host) + port
    elif authority != "*" and not re.fullmatch(r"[a-z0-9._-]+", authority):
        raise ValueError("what follows :// is not one word. Give SCHEME://NAME, or SCHEME://* for all.")
    return f"{scheme}://{authority}".encode("ascii")


def local_pages(text: str) -> str | None:
    """Where /health and the other local pages stand: a prefix, `` for none, None for `off`."""
    if text == "off":
        return None
    if text and not text.startswith("/"):
        raise ValueError(
            f"{quoted(text)} does not begin with a slash. Give a prefix such as /_awfproxy, or off."
        )
    return _prefix(text)


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas; which names there are is judged where they are known."""
    found = tuple(name.strip() for name in text.split(","))
    if not all(re.fullmatch(r"[a-z][a-z0-9-]*", name) for name in found):
        raise ValueError(f"{quoted(text)} is not a list of providers. Write names with commas: openai,gemini")
    return found


def _prefix(text: str) -> str:
    if not re.fullmatch(r"[!-~]*", text) or "?" in text or "#" in text:
        raise ValueError(
            "it has a character in it that a path cannot have. Percent-encode it; leave out ? and #."
        )
    if text.startswith("//"):
        raise ValueError("it begins with two slashes. Give a path such as /v1")
    return text.removesuffix("/")
