"""Who may call: caller tokens, users on unix sockets, or everyone who reaches a port.

What cannot be told from an endpoint's description (inherited sockets, names) the gate
judges by the open socket's address.
"""

import stat
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import attrs

from awfproxy.callers.allowed import Allowed
from awfproxy.callers.endpoint import EndpointDescription
from awfproxy.callers.keyfile import parse_keys, parse_labels
from awfproxy.callers.reach import Reach, reach
from awfproxy.callers.store import CallersInForce
from awfproxy.callers.usernamespace import GID_MAP, NOBODY, UID_MAP, is_whole, missing
from awfproxy.credentials.secret import Secret
from awfproxy.credentials.sources import ModeOf, ReadFile
from awfproxy.settings.given import AllGiven, Given, refuse
from awfproxy.settings.provider import ProviderSettings
from awfproxy.settings.syntax import quoted

T = TypeVar("T")

KEY_FILE, LABELS_FILE, ANONYMOUS = "token-key-file", "revoked-labels-file", "allow-anonymous"


@attrs.frozen
class CallerSettings:
    in_force: CallersInForce | None = None
    """None where no token is wanted."""

    peers: Allowed = attrs.field(factory=Allowed)
    """Who may connect to unix sockets."""

    anonymous: bool = False
    """Whether it may be listened where others than this machine reach it, and no token is wanted."""

    files: tuple[str, ...] = ()
    """Those whose change asks for a reload."""

    warnings: tuple[str, ...] = ()

    def may_listen(self, local: bool) -> bool:
        """Whether it may be listened at a place that is on this machine alone, or is not."""
        return local or self.in_force is not None or self.anonymous


def caller_settings(
    given: AllGiven, opened: Sequence[ProviderSettings], read_file: ReadFile, mode_of: ModeOf
) -> CallerSettings:
    """From what was given, and the providers whose ports open; raises `ConfigError`."""
    key_file, labels_file = given[KEY_FILE], given[LABELS_FILE]
    in_force = None
    if key_file.value is not None:
        keys = token_keys(key_file, read_file)
        revoked: frozenset[str] = frozenset()
        if labels_file.value is not None:
            revoked = _parsed(LABELS_FILE, labels_file, read_file, parse_labels)
        in_force = CallersInForce(keys, revoked)
    elif labels_file.value is not None:
        raise refuse(
            LABELS_FILE,
            labels_file.source,
            f"there are no tokens to revoke, since there is no --{KEY_FILE}. Give both, or neither.",
        )
    made = CallerSettings(
        in_force=in_force,
        peers=Allowed(frozenset(given["allow-uid"].value), frozenset(given["allow-gid"].value)),
        anonymous=given[ANONYMOUS].value,
        files=tuple(each.value for each in (key_file, labels_file) if each.value is not None),
    )
    places = [(one, place) for one in opened for place in one.listen]
    _check_places(made, given, places)
    _check_peers(made, given, [place for _, place in places])
    warnings = (*_warnings(made, given, places, mode_of), *_of_the_namespace(made.peers, given, read_file))
    return attrs.evolve(made, warnings=warnings)


def token_keys(key_file: Given, read_file: ReadFile) -> tuple[Secret, ...]:
    """The keys in the file that --token-key-file names; raises `ConfigError`."""
    return _parsed(KEY_FILE, key_file, read_file, parse_keys)


def _parsed(name: str, file: Given, read_file: ReadFile, parse: Callable[[bytes], T]) -> T:
    path: str = file.value
    # What has no slash in it may be the key itself, put there by mistake.
    shown = path if "/" in path else quoted(path)
    try:
        return parse(read_file(path))
    except OSError as error:
        reason = error.strerror or "no reason given"
        raise refuse(
            name,
            file.source,
            f"{shown} cannot be read: {reason}. Check its name, and that the user whom awfproxy runs as may "
            "read it.",
        ) from None
    except ValueError as error:
        raise refuse(name, file.source, f"{shown}: {error}") from None


def _check_places(
    made: CallerSettings, given: AllGiven, places: Sequence[tuple[ProviderSettings, EndpointDescription]]
) -> None:
    for one, place in places:
        if not made.may_listen(reach(place) is not Reach.ELSEWHERE):
            listen = given.of(one.provider, "listen")
            name, source = ("bind", given["bind"].source)
            if listen.value:
                name, source = one.provider.option("listen"), listen.source
            raise refuse(name, source, not_for_everyone(one.provider.title, str(place)))


def not_for_everyone(title: str, place: str) -> str:
    """Why a place that others reach is refused, and what to do: one sentence each."""
    return (
        f"{place} can be reached from other machines, and whoever reaches it could use the {title} key. Have "
        f"callers show tokens: --{KEY_FILE} FILE (docs/callers.md); or listen on 127.0.0.1 or a unix socket; "
        f"or, where the network lets nobody but the agent in, say so: --{ANONYMOUS}"
    )


def _check_peers(made: CallerSettings, given: AllGiven, places: Sequence[EndpointDescription]) -> None:
    if made.peers and not any(place.may_be_unix for place in places):
        name = "allow-uid" if made.peers.uids else "allow-gid"
        raise refuse(
            name,
            given[name].source,
            "it is for unix sockets, and nothing listens on one. Add --listen "
            "unix:/run/awfproxy/openai.sock, or leave it out.",
        )


def _warnings(
    made: CallerSettings,
    given: AllGiven,
    places: Sequence[tuple[ProviderSettings, EndpointDescription]],
    mode_of: ModeOf,
) -> Iterator[str]:
    if made.in_force is None and made.anonymous:
        open_to_all = [str(place) for _, place in places if reach(place) is Reach.ELSEWHERE]
        if open_to_all:
            yield anonymous_warning(given[ANONYMOUS].source, " ".join(open_to_all))
    others = [str(place) for _, place in places if not place.may_be_unix]
    if made.peers and made.in_force is None and others:
        yield (
            f"--allow-uid and --allow-gid are for unix sockets alone: {' '.join(others)} can be used by "
            "every user who reaches it."
        )
    for name in (KEY_FILE,) if made.in_force is not None else ():
        file: str = given[name].value
        try:
            mode = mode_of(file)
        except OSError:
            continue
        if mode & (stat.S_IROTH | stat.S_IWOTH):
            yield (
                f"The file of the token key, {file}, is open to every user of this machine, and who has the "
                f"key can make tokens. Do: chmod 600 {file}"
            )


def _of_the_namespace(peers: Allowed, given: AllGiven, read_file: ReadFile) -> Iterator[str]:
    """Of those who may connect to unix sockets, those whom the kernel will never name so here."""
    for name, what, ids, path in (
        ("allow-uid", "user", peers.uids, UID_MAP),
        ("allow-gid", "group", peers.gids, GID_MAP),
    ):
        if not ids:
            continue
        try:
            id_map = read_file(path).decode("ascii")
            never, whole = missing(id_map, ids - {NOBODY}), is_whole(id_map)
        except (OSError, ValueError):
            continue  # without /proc, or once the process is confined
        where = f"--{name} ({given[name].source})"
        if never:
            yield (
                f"{where}: {', '.join(map(str, never))} never matches, since awfproxy runs in a user "
                f"namespace that does not have it ({path}): the kernel names each such {what} {NOBODY} "
                "here. For a unit of systemd's set PrivateUsers=no; in a container give the number inside."
            )
        if NOBODY in ids and not whole:
            yield (
                f"{where}: {NOBODY} lets in every {what} whom awfproxy's user namespace does not have "
                f"({path}). Take it out; for a unit of systemd's set PrivateUsers=no, and name the {what}."
            )


def anonymous_warning(source: str, places: str) -> str:
    """For a place that others reach, where nobody has to say who they are."""
    return (
        f"ANONYMOUS CALLERS: --{ANONYMOUS} ({source}) is in force, and {places} can be reached from other "
        f"machines: whoever reaches it uses the keys. If that is not meant: --{KEY_FILE} FILE, or --bind "
        "127.0.0.1"
    )
