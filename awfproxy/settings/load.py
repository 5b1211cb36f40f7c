"""The daemon's settings: from command line, environment and TOML file to one frozen value.

Pure: the mappings and the two callables that reach files are passed in. An option on the command line
comes before the environment, that before the file, that before the default. Every refusal is a
`ConfigError` that names the option, the place its value came from, and the fix; no text holds a
credential.
"""

from collections.abc import Mapping, Sequence

import attrs

from awfproxy.callers.endpoint import EndpointDescription
from awfproxy.credentials.sources import ModeOf, ReadFile, how_to_give
from awfproxy.errors.configuration import ConfigError
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.settings.callers import caller_settings
from awfproxy.settings.entries import entries
from awfproxy.settings.given import AllGiven, Arguments, Given, refuse, resolve_all
from awfproxy.settings.provider import ProviderSettings, provider_settings
from awfproxy.settings.syntax import Egress, quoted
from awfproxy.settings.values import Deadlines, PoolLimits, Probe, Settings, WebSocketLimits
from awfproxy.settings.warnings import warnings


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
        entries=tuple(entries(given, every, egress, roots_file, extra)),
        warnings=(
            *warnings(given, environ, egress, opened),
            *(warning for one in opened for warning in one.warnings),
            *callers.warnings,
        ),
    )


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
    taken: list[tuple[ProviderSettings, EndpointDescription]] = []
    for one in opened:
        for place in one.listen:
            for other, others in taken:
                if other is not one and place.collides(others):
                    raise ConfigError(
                        f"{other.provider.name} and {one.provider.name} have the same port ({place}). Give "
                        f"one of them another: {one.provider.written('port')}."
                    )
            taken.append((one, place))


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
