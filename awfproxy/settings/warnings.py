"""What the operator should hear about settings that are valid all the same, one sentence each."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from ipaddress import ip_address, ip_network

from awfproxy.providers.builtin import BUILT_IN
from awfproxy.settings.given import AllGiven
from awfproxy.settings.options import BY_NAME, PROVIDER_SETTINGS, option_of
from awfproxy.settings.provider import ProviderSettings
from awfproxy.settings.syntax import Egress
from awfproxy.wire.target import Origin


def warnings(
    given: AllGiven, environ: Mapping[str, str], egress: Egress | None, opened: Sequence[ProviderSettings]
) -> Iterator[str]:
    """All but those of single providers and of callers, which come with their own settings."""
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
