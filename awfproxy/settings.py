"""The daemon's settings: from command line, environment and TOML file to one frozen value.

Pure: the mappings and the two callables that reach files are passed in. An option on the command line
comes before the environment, that before the file, that before the default. Every refusal is a
`ConfigError` that names the option, the place its value came from, and the fix; no text holds a
credential.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from enum import Enum
from ipaddress import ip_address, ip_network

import attrs

from awfproxy.credentials.secret import Secret
from awfproxy.credentials.sources import ModeOf, ReadFile, find_key
from awfproxy.errors import ConfigError
from awfproxy.given import DEFAULT, Arguments, Given, refuse, resolve_all
from awfproxy.options import OPTIONS
from awfproxy.providers.provider import Provider
from awfproxy.syntax import Egress as Egress
from awfproxy.syntax import tcp_endpoint
from awfproxy.wire.target import Origin


class Probe(Enum):
    """Whether path and key are tried before the port opens."""

    TRY = "try"
    REQUIRE = "require"
    OFF = "off"


@attrs.frozen
class Deadlines:
    """Seconds for each phase; each is the option of its name with `-deadline`."""

    head: float = 10.0
    idle: float = 75.0
    body: float = 60.0
    connect: float = 10.0
    tls: float = 10.0
    response: float = 900.0
    silence: float = 900.0
    acquire: float = 30.0
    drain: float = 20.0


@attrs.frozen
class WebSocketLimits:
    """Seconds: without a byte in either direction, and in all."""

    idle: float = 1800.0
    lifetime: float = 86400.0


@attrs.frozen
class PoolLimits:
    maximum: int = 1024
    opening: int = 32
    warm: int = 1
    idle: float = 50.0
    lifetime: float = 600.0


@attrs.frozen
class Entry:
    """One line of `awfproxy check --show`."""

    name: str
    shown: str
    source: str


@attrs.frozen
class Settings:
    provider: Provider
    listen: tuple[str, ...]
    egress: Egress | None
    """None only where the operator said `direct`."""

    origin: Origin
    base_path: bytes
    credential: Secret
    roots_file: str | None = None
    """In place of the system's trusted roots; `extra_ca_files` are trusted beside them."""

    extra_ca_files: tuple[str, ...] = ()
    probe: Probe = Probe.TRY
    startup_grace: float = 5.0
    startup_deadline: float = 60.0
    deadlines: Deadlines = Deadlines()
    pool: PoolLimits = PoolLimits()
    websocket: bool = True
    """Whether clients may ask for one."""

    websocket_limits: WebSocketLimits = WebSocketLimits()
    max_connections: int = 2048
    local_pages: str | None = ""
    """The prefix of /health and the others; None where they are off."""

    log_format: str = "text"
    entries: tuple[Entry, ...] = ()
    warnings: tuple[str, ...] = ()


def load(
    options: Arguments, environ: Mapping[str, str], provider: Provider, read_file: ReadFile, mode_of: ModeOf
) -> Settings:
    """The settings, or `ConfigError` (`CommandLineError` where the command line is not even well-formed)."""
    given = resolve_all(options, environ, provider, read_file)
    key = find_key(environ, given["key-file"].value, provider, read_file, mode_of)
    if given["egress-proxy"].is_default:
        raise ConfigError(_no_egress(environ))
    egress: Egress | None = given["egress-proxy"].value
    target = given["target"]
    origin = Origin(provider.host) if target.is_default else target.value.origin
    base_path = given["base-path"].value
    if base_path is None:
        base_path = provider.base_path if origin.host == provider.host else b""
    pool = _pool(given)
    roots_file = environ.get("SSL_CERT_FILE") or None
    extra = environ.get("NODE_EXTRA_CA_CERTS") or None
    _check_trust(roots_file, extra, given["ca-file"], read_file)
    return Settings(
        provider=provider,
        listen=given["listen"].value or (tcp_endpoint(given["bind"].value, given["port"].value),),
        egress=egress,
        origin=origin,
        base_path=base_path,
        credential=key.secret,
        roots_file=roots_file,
        extra_ca_files=(*([extra] if extra else []), *given["ca-file"].value),
        probe=Probe(given["probe"].value),
        startup_grace=given["startup-grace"].value,
        startup_deadline=given["startup-deadline"].value,
        deadlines=Deadlines(
            **{field.name: given[f"{field.name}-deadline"].value for field in attrs.fields(Deadlines)}
        ),
        pool=pool,
        websocket=given["websocket"].value == "tunnel",
        websocket_limits=WebSocketLimits(
            idle=given["websocket-idle-deadline"].value, lifetime=given["websocket-lifetime"].value
        ),
        max_connections=given["max-connections"].value,
        local_pages=given["local-pages"].value,
        log_format=given["log-format"].value,
        entries=(
            *_entries(given, egress, origin, base_path),
            Entry(
                "trust: roots",
                roots_file or "the system's",
                "environment variable SSL_CERT_FILE" if roots_file else DEFAULT,
            ),
            Entry(
                "trust: added",
                extra or "nothing",
                "environment variable NODE_EXTRA_CA_CERTS" if extra else DEFAULT,
            ),
            Entry(f"{provider.title} key", f"set, {len(key.secret)} characters", key.source),
        ),
        warnings=(*_warnings(given, environ, egress, origin), *key.warnings),
    )


def _pool(given: Mapping[str, Given]) -> PoolLimits:
    maximum, warm = given["pool-max"], given["pool-warm"]
    if warm.value > maximum.value:
        where = warm if maximum.is_default else maximum
        raise refuse(
            "pool-warm" if where is warm else "pool-max",
            where.source,
            f"--pool-warm is {warm.value} and --pool-max {maximum.value}. Lower the first or raise the "
            "second.",
        )
    return PoolLimits(
        maximum=maximum.value,
        opening=given["pool-opening"].value,
        warm=warm.value,
        idle=given["pool-idle"].value,
        lifetime=given["pool-lifetime"].value,
    )


def _no_egress(environ: Mapping[str, str]) -> str:
    unused = " HTTP_PROXY is set, but is not for TLS destinations." if environ.get("HTTP_PROXY") else ""
    return (
        "No egress proxy is set, and awfproxy does not go direct by itself. Give --egress-proxy "
        "http://HOST:PORT, or set "
        f"AWFPROXY_EGRESS_PROXY or HTTPS_PROXY, or egress-proxy in the --config file;{unused} to do without "
        "one, "
        "say so: --egress-proxy direct"
    )


def _check_trust(roots_file: str | None, extra: str | None, ca_files: Given, read_file: ReadFile) -> None:
    """All CA files are there and can be read; what is in them is judged where TLS is set up."""
    named = [
        ("SSL_CERT_FILE", "environment variable", roots_file),
        ("NODE_EXTRA_CA_CERTS", "environment variable", extra),
        *(("--ca-file", ca_files.source, file) for file in ca_files.value),
    ]
    for name, source, file in named:
        if file is None:
            continue
        try:
            read_file(file)
        except OSError as error:
            raise ConfigError(
                f"{name} ({source}): {file} cannot be read: {error.strerror or 'no reason given'}. "
                "Name a PEM file that the user whom awfproxy runs as may read, or leave it out."
            ) from None


def _entries(
    given: Mapping[str, Given], egress: Egress | None, origin: Origin, base_path: bytes
) -> Iterator[Entry]:
    for option in OPTIONS:
        one = given[option.name]
        match option.name:
            case "egress-proxy":
                shown = "direct" if egress is None else str(egress)
                if egress is not None and egress.authorization is not None:
                    shown += ", with user and password"
            case "target":
                shown = origin.authority.decode("ascii")
            case "base-path":
                shown = base_path.decode("ascii") or "none"
            case "local-pages":
                shown = "off" if one.value is None else one.value or "/"
            case "port" | "bind" if given["listen"].value:
                shown = "not used, see listen"
            case "listen" if not one.value:
                shown = "see bind and port"
            case _:
                value = one.value if isinstance(one.value, tuple) else (one.value,)
                shown = " ".join(
                    f"{item:g}" if isinstance(item, float) else str(item)
                    for item in value
                    if item is not None
                )
        yield Entry(option.name, shown or "none", one.source)


def _warnings(
    given: Mapping[str, Given], environ: Mapping[str, str], egress: Egress | None, origin: Origin
) -> Iterator[str]:
    if egress is None:
        yield (
            f"DIRECT EGRESS: --egress-proxy is direct ({given['egress-proxy'].source}), so provider traffic "
            "passes no "
            "egress proxy and no allowlist. If that is not meant, give --egress-proxy http://HOST:PORT"
        )
    else:
        for variable in "NO_PROXY", "no_proxy":
            if _bypasses(environ.get(variable, ""), origin):
                yield (
                    f"{variable} has an entry that matches {origin.host}; awfproxy goes through the egress "
                    "proxy all the "
                    "same. For a direct connection, say --egress-proxy direct"
                )
    target = given["target"]
    if target.value is not None and target.value.dropped:
        yield (
            f"--target ({target.source}): its {', '.join(target.value.dropped)} will not be used; "
            f"the origin is {origin.authority.decode('ascii')}. A path is given with --base-path."
        )
    listen = given["listen"]
    for name in "port", "bind":
        if listen.value and not given[name].is_default:
            yield f"--{name} ({given[name].source}) has no effect beside --listen ({listen.source})."
    known = {option.variable for option in OPTIONS}
    for variable in environ:
        if variable.startswith("AWFPROXY_") and variable not in known:
            close = get_close_matches(variable, known, n=1, cutoff=0.9)
            if close:
                yield f"The environment variable {variable!a} is no option's. Did you mean {close[0]}?"


def _bypasses(no_proxy: str, origin: Origin) -> bool:
    """Whether a NO_PROXY list names the origin, read as widely as the tools that honour it do."""
    return any(_matches(entry.strip().lower(), origin) for entry in no_proxy.split(","))


def _matches(entry: str, origin: Origin) -> bool:
    if entry == "*":
        return True
    try:
        return ip_address(origin.host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass
    host, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and "]" not in port:
        if int(port) != origin.port:
            return False
        entry = host.strip("[]")
    name = entry.removeprefix("*").removeprefix(".")
    return bool(name) and (origin.host == name or origin.host.endswith("." + name))
