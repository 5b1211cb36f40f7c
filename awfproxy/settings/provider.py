"""One provider's settings: where agents connect for it, where it is, with which keys, and what it lets pass.

`load` puts the providers together.
"""

import os
from collections.abc import Mapping

import attrs

from awfproxy.callers.endpoint import EndpointDescription
from awfproxy.credentials.secret import Secret
from awfproxy.credentials.shape import check_shape
from awfproxy.credentials.sources import KeyFound, ModeOf, ReadFile, find_credential, find_key
from awfproxy.errors.configuration import ConfigError
from awfproxy.providers.provider import Access, Asked, Provider
from awfproxy.providers.rules import NO_RULES, Rules
from awfproxy.settings.given import AllGiven, Given
from awfproxy.settings.syntax import tcp_endpoint


@attrs.frozen
class ProviderSettings:
    """What is particular to one provider of this process."""

    provider: Provider
    access: Access
    listen: tuple[EndpointDescription, ...]
    keys: tuple[Secret | None, ...]
    """As in `access.keys`; None for one that is not there. Without the first it is not configured."""

    key_sources: tuple[str, ...] = ()
    """Where each key was found; empty for one that is not there."""

    key_files: tuple[str, ...] = ()
    """The files that the keys came from, and the one that is named for the first, though it may be empty."""

    rules: Rules = NO_RULES
    websocket: bool = True
    """Whether clients may ask for one."""

    warnings: tuple[str, ...] = ()

    @property
    def configured(self) -> bool:
        """There is a key to use."""
        return bool(self.keys) and self.keys[0] is not None


def provider_settings(
    provider: Provider,
    given: AllGiven,
    environ: Mapping[str, str],
    read_file: ReadFile,
    mode_of: ModeOf,
    instance: str = "",
) -> ProviderSettings:
    """The settings of one provider, configured or not; raises `ConfigError`."""

    def setting(name: str) -> Given:
        return given.of(provider, name)

    if not given.profile.repairs_keys:
        for variable in provider.further_variables:
            if variable in environ and not environ[variable].strip():
                check_shape(os.fsencode(environ[variable]), f"environment variable {variable}", provider)
        for name in provider.further_credentials:
            content = find_credential(environ, name, read_file)
            if content is not None and not content.strip():
                check_shape(content.strip(), f"systemd credential {name}", provider)
    access = access_of(provider, given, environ, read_file, instance)
    key_file = setting("key-file").value
    found = [
        find_key(
            environ,
            key_file if index == 0 else None,
            provider,
            use,
            read_file,
            mode_of,
            repair=given.profile.repairs_keys,
        )
        for index, use in enumerate(access.keys)
    ]
    profile = given.profile
    if profile.probed is not None:
        access = attrs.evolve(access, probed=access.probed and profile.probed(provider, access))
    return ProviderSettings(
        provider=provider if profile.errors is None else profile.errors(provider),
        access=access,
        listen=setting("listen").value or (tcp_endpoint(given["bind"].value, setting("port").value),),
        keys=tuple(None if key is None else key.secret for key in found),
        key_sources=tuple("" if key is None else key.source for key in found),
        key_files=_files(key_file, found),
        rules=given.rules.get(provider.name, access.rules),
        websocket=setting("websocket").value == "tunnel",
        warnings=tuple(_warnings(provider, given, access, found)),
    )


def _files(key_file: str | None, found: list[KeyFound | None]) -> tuple[str, ...]:
    named = [] if key_file is None else [key_file]
    return tuple(dict.fromkeys([*named, *(name for key in found if key is not None for name in key.files)]))


def access_of(
    provider: Provider,
    given: AllGiven,
    environ: Mapping[str, str],
    read_file: ReadFile,
    instance: str = "",
) -> Access:
    """Where the provider is and how requests to it are authenticated; raises `ConfigError`."""
    target = given.of(provider, "target").value
    asked = Asked(
        environ=environ,
        target=None if target is None else target.origin,
        base_path=given.of(provider, "base-path").value,
        auth_field=given.of(provider, "auth-field").value,
        credential=lambda name: find_credential(environ, name, read_file),
        instance=instance,
    )
    try:
        return provider.access(asked)
    except ValueError as error:
        raise ConfigError(f"{provider.title}: {error}") from None


def _warnings(
    provider: Provider, given: AllGiven, access: Access, found: list[KeyFound | None]
) -> list[str]:
    said = [warning for key in found if key is not None for warning in key.warnings]
    target = given.of(provider, "target")
    if target.value is not None and target.value.dropped:
        said.append(
            f"{provider.written('target')} ({target.source}): its {', '.join(target.value.dropped)} will "
            f"not be used; the origin is {access.origin.authority.decode('ascii')}. A path is given with "
            f"{provider.written('base-path')}."
        )
    listen, port = given.of(provider, "listen"), given.of(provider, "port")
    if listen.value and not port.is_default:
        said.append(
            f"{provider.written('port')} ({port.source}) has no effect beside {provider.written('listen')} "
            f"({listen.source})."
        )
    return said

