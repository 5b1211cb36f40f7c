"""`Provider`: what awfproxy has to know about a provider, as one frozen value."""

from collections.abc import Callable

import attrs

from awfproxy.errors import AwfError


@attrs.frozen
class Provider:
    """Facts about one provider; the modules beside this one hold one instance each."""

    name: str
    """Short name, used in options, logs and metrics: `openai`."""

    title: str
    """The name people use: `OpenAI`."""

    host: str
    """The origin's host unless the operator sets another."""

    port: int
    """The port that agents expect the provider on."""

    base_path: bytes
    """Prefix of every target at `host`; at any other origin there is none by default."""

    field: bytes
    """Lower-case name of the field that carries the credential; the client's own is removed."""

    inject: Callable[[bytes], tuple[tuple[bytes, bytes], ...]]
    """From the key to the fields that carry it."""

    probe_target: bytes
    """A cheap authenticated GET, before the base path rule is applied."""

    variable: str
    """Environment variable of the key."""

    target_variable: str
    base_path_variable: str

    credential_name: str
    """File name below systemd's `$CREDENTIALS_DIRECTORY`."""

    restricted_words: tuple[str, ...]
    """In a 401 or 403's error text or code: the key works, but lacks the scope the probe needs."""

    end_markers: tuple[bytes, ...]
    """Each ends a stream on the protocol's level: a client that leaves after one has all it needs."""

    error_body: Callable[[AwfError, str], bytes]
    """(error, request id) -> JSON body in the provider's own style."""
