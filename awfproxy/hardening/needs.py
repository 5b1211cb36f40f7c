"""What the daemon needs once it has started, as a policy for Landlock: from its settings, and where it runs.

Landlock grants files themselves, not their names: one that is replaced by another, as editors and Kubernetes
do it, would be out of reach. So a file's folder is granted, and what its links lead to; never "/".
"""

import os
import re
import ssl
import sys
from collections.abc import Iterable, Iterator, Mapping

import attrs

from awfproxy.callers.endpoint import EndpointDescription
from awfproxy.hardening.landlock import DEVICE, KEEP, READ, SOCKETS, Access, Policy
from awfproxy.settings.readings import LOG_FOLDER
from awfproxy.settings.values import Settings

_DNS = 53
_SYSTEM = ("/usr", "/lib", "/lib64")
"""Programs' own files, the C library's plug-ins for names among them."""

_REPLACED = "/etc"
"""As a folder, since resolv.conf and hosts are replaced while we run."""

_VOLUME = re.compile(r"(/.*?)/\.\.[^/]+/")
_NOT_AS_FOLDERS = ("/", "/dev", "/proc", "/sys")


@attrs.frozen
class Surroundings:
    """What is not in the settings."""

    kept: tuple[str, ...] = ()
    """Folders in which the runner goes on to write: its log's."""

    removed: tuple[str, ...] = ()
    """Files that it removes at the end: its pid file."""

    code: tuple[str, ...] = ()
    """Where modules may still be imported from."""


def policy(settings: Settings, environ: Mapping[str, str], surroundings: Surroundings) -> Policy:
    """Nothing that is not needed, as far as Landlock can tell one from another."""
    listeners = [each for one in settings.providers for each in one.listen]
    sockets = {os.path.dirname(os.path.abspath(path)) for path in (each.path for each in listeners) if path}
    replaced = [_REPLACED, *_trusted(), *places("/etc/resolv.conf")]
    replaced += [place for name in _files(settings, environ) for place in places(name)]
    kept = [*surroundings.kept]
    if settings.profile.lists_models:
        kept.append(environ.get("AWF_API_PROXY_LOG_DIR") or LOG_FOLDER)
    removed = {os.path.dirname(os.path.abspath(name)) for name in surroundings.removed}
    granted = [
        *((path, READ) for path in (*_SYSTEM, *surroundings.code)),
        *((path, Access.READ_FILE) for path in replaced),
        *((path, KEEP) for path in kept),
        *((path, SOCKETS) for path in sorted(sockets)),
        *((path, Access.REMOVE_FILE) for path in sorted(removed)),
        (os.devnull, DEVICE),
        ("/dev/urandom", Access.READ_FILE),
    ]
    return Policy(
        paths=tuple(dict.fromkeys(granted)),
        connect=frozenset({_DNS, *_connected(settings)}),
        bind=bound(listeners),
        abstract_sockets=environ.get("NOTIFY_SOCKET", "").startswith("@"),
        # Twisted asks by a signal whether who has locked a unix socket is still there.
        signals=bool(sockets),
    )


def _connected(settings: Settings) -> Iterator[int]:
    if settings.egress is not None:
        yield settings.egress.port
    else:
        yield from (one.access.origin.port for one in settings.providers)


def bound(listeners: Iterable[EndpointDescription]) -> frozenset[int] | None:
    """The ports of these endpoints; None where one is of a kind that only its plug-in understands."""
    ports = set()
    for description in listeners:
        if description.kind in ("unix", "systemd"):
            continue
        if description.port is None:
            return None
        ports.add(description.port)
    return frozenset(ports)


def _files(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """Those that a reload reads again."""
    for one in settings.providers:
        yield from one.key_files
    yield from settings.callers.files
    yield from settings.extra_ca_files
    if settings.roots_file is not None:
        yield settings.roots_file
    if settings.config_file is not None:
        yield settings.config_file
    if environ.get("CREDENTIALS_DIRECTORY"):
        yield os.path.join(environ["CREDENTIALS_DIRECTORY"], "any")


def places(name: str) -> Iterator[str]:
    """The folders in which the file is found again once it is replaced; itself where that is too much."""
    real = os.path.realpath(name)
    for path in dict.fromkeys((os.path.abspath(name), real)):
        folder = os.path.dirname(path)
        narrow = folder in _NOT_AS_FOLDERS or folder.startswith(("/dev/", "/proc/", "/sys/"))
        yield path if narrow else folder
    # A volume of Kubernetes: its content is in ..2026_01_01 beside ..data, and the next one's beside both.
    if volume := _VOLUME.match(real):
        yield volume[1]


def _trusted() -> Iterator[str]:
    """The system's roots, which OpenSSL looks for one by one when it needs them."""
    found = ssl.get_default_verify_paths()
    for path in found.cafile, found.capath:
        if path:
            yield path
            yield os.path.realpath(path)


def code(path: Iterable[str], folder: str, package: str) -> tuple[str, ...]:
    """Of the import path what holds code: the working folder, which twistd puts there, only if `package` is
    from it."""
    own = os.path.dirname(os.path.dirname(os.path.abspath(package)))
    found = [each for each in path if os.path.isabs(each) and each != "/" and (each == own or each != folder)]
    prefixes = (each for each in (sys.prefix, sys.base_prefix) if each != "/")
    return tuple(dict.fromkeys((*prefixes, own, *found)))
