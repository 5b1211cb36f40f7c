"""The lines of `awfproxy check --show`: each setting, and where it is from. No line holds a credential."""

from collections.abc import Iterator, Sequence

from awfproxy.settings.given import DEFAULT, AllGiven
from awfproxy.settings.options import OPTIONS, PROVIDER_SETTINGS
from awfproxy.settings.provider import ProviderSettings
from awfproxy.settings.syntax import Egress
from awfproxy.settings.values import Entry


def entries(
    given: AllGiven,
    every: Sequence[ProviderSettings],
    egress: Egress | None,
    roots_file: str | None,
    extra_ca_file: str | None,
) -> Iterator[Entry]:
    """A line for each option, then for each provider, then for what TLS trusts."""
    yield from _shared_entries(given, egress)
    for one in every:
        yield from _provider_entries(one, given)
    yield _trust("roots", roots_file, "the system's", "SSL_CERT_FILE")
    yield _trust("added", extra_ca_file, "nothing", "NODE_EXTRA_CA_CERTS")


def _trust(what: str, file: str | None, without: str, variable: str) -> Entry:
    return Entry(f"trust: {what}", file or without, f"environment variable {variable}" if file else DEFAULT)


def _shared_entries(given: AllGiven, egress: Egress | None) -> Iterator[Entry]:
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
