"""The daemon's settings: from command line, environment and TOML file to one frozen value.

Pure: the mappings and the two callables that reach files are passed in. An option on the command line
comes before the environment, that before the file, that before the default. Every refusal is a
`ConfigError` that names the option, the place its value came from, and the fix; no text holds a
credential.
"""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from enum import Enum
from ipaddress import ip_address, ip_network

import attrs

from awfproxy.caller_settings import CallerSettings, caller_settings
from awfproxy.credentials.sources import ModeOf, ReadFile, how_to_give
from awfproxy.credentials.store import InForce
from awfproxy.errors import ConfigError
from awfproxy.given import DEFAULT, AllGiven, Arguments, Given, refuse, resolve_all
from awfproxy.options import BY_NAME, OPTIONS, PROVIDER_SETTINGS, option_of
from awfproxy.profile import DEFAULT as DEFAULT_PROFILE
from awfproxy.profile import Profile
from awfproxy.provider_settings import ProviderSettings, provider_settings
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.syntax import Egress as Egress
from awfproxy.syntax import quoted
from awfproxy.wire.target import Origin


class Probe(Enum):
    """When path and key are tried, and what follows."""

    TRY = "try"
    REQUIRE = "require"
    OFF = "off"
    AFTER = "after"
    """Once the ports are open; nothing ends the process."""

    STRICT = "strict"
    """As `AFTER`, but a key that is rejected then ends it."""

    @property
    def is_after_opening(self) -> bool:
        """The ports do not wait for it."""
        return self in (Probe.AFTER, Probe.STRICT)


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
    providers: tuple[ProviderSettings, ...]
    """Those whose ports open, in the order of their ports."""

    egress: Egress | None
    """None only where the operator said `direct`, or the profile does."""

    closed: tuple[str, ...] = ()
    """Names of the providers that have no key, and so no port."""

    profile: Profile = DEFAULT_PROFILE
    roots_file: str | None = None
    """In place of the system's trusted roots; `extra_ca_files` are trusted beside them."""

    extra_ca_files: tuple[str, ...] = ()
    probe: Probe = Probe.TRY
    startup_grace: float = 5.0
    startup_deadline: float = 60.0
    deadlines: Deadlines = Deadlines()
    pool: PoolLimits = PoolLimits()
    websocket_limits: WebSocketLimits = WebSocketLimits()
    max_connections: int = 2048
    local_pages: str | None = ""
    """The prefix of /health and the others; None where they are off."""

    leak_guard: bool = True
    """Answers are searched for the key that was sent."""

    allowed_origins: frozenset[bytes] = frozenset()
    """Of web pages that may call, as in `Origin`; or `SCHEME://*` for all of a scheme."""

    callers: CallerSettings = attrs.field(factory=CallerSettings)
    reuse_port: bool = False
    """Other processes may open the same TCP ports."""

    log_format: str = "text"
    config_file: str | None = None
    confine: bool = True
    """Landlock and seccomp, once it has started."""

    dumpable: bool = False
    """Profilers and debuggers may look into the process."""

    entries: tuple[Entry, ...] = ()
    warnings: tuple[str, ...] = ()


def load(
    options: Arguments,
    environ: Mapping[str, str],
    read_file: ReadFile,
    mode_of: ModeOf,
    instance: str = "",
) -> Settings:
    """The settings, or `ConfigError` (`CommandLineError` where the command line is not even well-formed).

    `instance` is different for each process, for providers that have to tell one run from another.
    """
    given = resolve_all(options, environ, read_file)
    every = [
        provider_settings(provider, given, environ, read_file, mode_of, instance)
        for provider in given.providers
    ]
    opened = [one for one in every if one.configured or given.profile.opens_unconfigured]
    _check_configured(every, given)
    _check_ports(opened)
    if given["egress-proxy"].value is None and given["egress-proxy"].is_default and not _direct(given):
        raise ConfigError(_no_egress(environ))
    egress: Egress | None = given["egress-proxy"].value
    roots_file = environ.get("SSL_CERT_FILE") or None
    extra = environ.get("NODE_EXTRA_CA_CERTS") or None
    _check_trust(roots_file, extra, given["ca-file"], read_file)
    callers = caller_settings(given, opened, read_file, mode_of)
    return Settings(
        providers=tuple(opened),
        egress=egress,
        closed=tuple(one.provider.name for one in every if one not in opened),
        profile=given.profile,
        roots_file=roots_file,
        extra_ca_files=(*([extra] if extra else []), *given["ca-file"].value),
        probe=Probe(given["probe"].value),
        startup_grace=given["startup-grace"].value,
        startup_deadline=given["startup-deadline"].value,
        deadlines=Deadlines(
            **{field.name: given[f"{field.name}-deadline"].value for field in attrs.fields(Deadlines)}
        ),
        pool=_pool(given),
        websocket_limits=WebSocketLimits(
            idle=given["websocket-idle-deadline"].value, lifetime=given["websocket-lifetime"].value
        ),
        max_connections=given["max-connections"].value,
        local_pages=given["local-pages"].value,
        leak_guard=given["leak-guard"].value == "on",
        allowed_origins=frozenset(given["allow-origin"].value),
        callers=callers,
        reuse_port=given["reuse-port"].value,
        log_format=given["log-format"].value,
        config_file=given["config"].value,
        confine=given["confine"].value == "on",
        dumpable=given["dumpable"].value,
        entries=(
            *_entries(given, egress),
            *(entry for one in every for entry in _provider_entries(one, given)),
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
        ),
        warnings=(
            *_warnings(given, environ, egress, opened),
            *(warning for one in opened for warning in one.warnings),
            *callers.warnings,
        ),
    )


def in_force(settings: Settings) -> dict[str, InForce]:
    """What the settings put in force for each provider that has a key."""
    return {
        one.provider.name: InForce(one.keys, one.rules) for one in settings.providers if one.configured
    }


def _direct(given: AllGiven) -> bool:
    return given.profile.defaults.get("egress-proxy") == "direct"


def _check_configured(every: Sequence[ProviderSettings], given: AllGiven) -> None:
    """The providers that have to be there are."""
    by_name = {one.provider.name: one for one in every}
    required = given["require"]
    for name in required.value or ():
        if name not in by_name:
            known = ", ".join(by_name)
            raise refuse("require", required.source, f"it names {quoted(name)}, but there are {known}.")
        if not by_name[name].configured:
            provider = by_name[name].provider
            raise ConfigError(
                f"awfproxy has no {provider.title} key, which --require ({required.source}) asks for: no "
                f"source of one is set. Give it in one of these ways: {how_to_give(provider)}."
            )
    for one in every[len(BUILT_IN) :]:
        if not one.configured:
            raise ConfigError(
                f"awfproxy has no key for {one.provider.name}, which the --config file names. Give it in one "
                f"of these ways: {how_to_give(one.provider)}; or take [providers.{one.provider.name}] out."
            )
    if not any(one.configured for one in every) and not given.profile.opens_unconfigured:
        others = ", ".join(one.provider.variable for one in every[1:])
        raise ConfigError(
            "awfproxy has no key: no source of one is set, for any provider. Give OpenAI's in one of these "
            f"ways: {how_to_give(BUILT_IN[0])}; another provider's alike ({others}). "
            "To try awfproxy without a key: awfproxy demo"
        )


def _check_ports(opened: Sequence[ProviderSettings]) -> None:
    taken: dict[str, str] = {}
    for one in opened:
        for place in one.listen:
            other = taken.setdefault(place, one.provider.name)
            if other != one.provider.name and not place.startswith(("tcp:0:", "tcp6:0:")):
                raise ConfigError(
                    f"{other} and {one.provider.name} have the same port ({place}). Give one of them "
                    f"another: {one.provider.written('port')}."
                )


def _pool(given: AllGiven) -> PoolLimits:
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


def _entries(given: AllGiven, egress: Egress | None) -> Iterator[Entry]:
    for option in OPTIONS:
        one = given[option.name]
        match option.name:
            case "egress-proxy":
                shown = "direct" if egress is None else str(egress)
                if egress is not None and egress.authorization is not None:
                    shown += ", with user and password"
            case "local-pages":
                shown = "off" if one.value is None else one.value or "/"
            case _:
                shown = _shown(one.value)
        yield Entry(option.name, shown or "none", one.source)


def _provider_entries(one: ProviderSettings, given: AllGiven) -> Iterator[Entry]:
    """A provider's settings; of one that is not configured, that alone."""
    provider, access = one.provider, one.access
    for setting in PROVIDER_SETTINGS if one.configured else ():
        value = given.of(provider, setting.name)
        match setting.name:
            case "target":
                shown = access.origin.authority.decode("ascii")
            case "base-path":
                shown = access.base_path.decode("ascii") or "none"
            case "auth-field":
                shown = _shown(value.value) or "the provider's"
            case "port" if given.of(provider, "listen").value:
                shown = "not used, see listen"
            case "listen" if not value.value:
                shown = "see bind and port"
            case _:
                shown = _shown(value.value)
        yield Entry(provider.option(setting.name), shown or "none", value.source)
    rules = f"{len(one.rules.rules)}" if one.rules else "none"
    if one.configured:
        yield Entry(f"{provider.name}: rules", rules, one.rules.source or DEFAULT)
    for use, key, source in zip(one.access.keys, one.keys, one.key_sources, strict=True):
        if key is not None:
            name = provider.title if use is one.access.keys[0] else f"{provider.title} ({use.variable})"
            yield Entry(f"{name} key", f"set, {len(key)} characters", source)
    if not one.configured:
        yield Entry(f"{provider.title} key", f"not set ({provider.variable})", DEFAULT)


def _shown(value: object) -> str:
    items = value if isinstance(value, tuple) else (value,)
    return " ".join(_text(item) for item in items if item is not None)


def _text(item: object) -> str:
    if isinstance(item, bytes):
        return item.decode("ascii")
    if isinstance(item, bool):
        return str(item).lower()
    return f"{item:g}" if isinstance(item, float) else str(item)


def _warnings(
    given: AllGiven, environ: Mapping[str, str], egress: Egress | None, opened: Sequence[ProviderSettings]
) -> Iterator[str]:
    if egress is None:
        yield (
            f"DIRECT EGRESS: --egress-proxy is direct ({given['egress-proxy'].source}), so provider traffic "
            "passes no "
            "egress proxy and no allowlist. If that is not meant, give --egress-proxy http://HOST:PORT"
        )
    else:
        for variable in "NO_PROXY", "no_proxy":
            for one in opened:
                if _bypasses(environ.get(variable, ""), one.access.origin):
                    yield (
                        f"{variable} has an entry that matches {one.access.origin.host}; awfproxy goes "
                        "through the egress proxy all the same. For a direct connection, say --egress-proxy "
                        "direct"
                    )
    all_listen = all(given.of(one.provider, "listen").value for one in opened)
    if not given["bind"].is_default and opened and all_listen:
        yield f"--bind ({given['bind'].source}) has no effect beside --listen."
    yield from (one.warning for one in given.options.values() if one.warning)
    if given.profile.notices is not None:
        yield from given.profile.notices(environ)
    for provider in given.providers[len(BUILT_IN) :]:
        for option in (option_of(provider, setting) for setting in PROVIDER_SETTINGS):
            if option.variable in environ:
                yield (
                    f"The environment variable {option.variable} has no effect: a provider of the file's own "
                    f"is set in the file alone, in [providers.{provider.name}]."
                )
    known = {option.variable for option in BY_NAME.values()}
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
