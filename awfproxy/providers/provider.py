"""`Provider`: what awfproxy has to know about a provider; `Access`: what one operator's settings make of it.

Both are frozen values, and everything in them is pure. A provider's module holds one `Provider`; its `access`
turns what the operator has set into an `Access`, once at the start. Keys are passed through as bytes and
kept nowhere here.
"""

from collections.abc import Callable, Mapping

import attrs

from awfproxy.errors.base import AwfError
from awfproxy.providers.rules import NO_RULES, Rules
from awfproxy.wire.fieldname import alike
from awfproxy.wire.target import Origin

Added = tuple[tuple[bytes, bytes], ...]
"""Fields to put into a request, each with the casing in which it is sent."""


@attrs.frozen
class KeyUse:
    """One of a provider's keys: where it comes from, and how it is sent."""

    variable: str
    """Environment variable of the key."""

    credential_name: str
    """File name below systemd's `$CREDENTIALS_DIRECTORY`."""

    inject: Callable[[bytes], Added]
    """From the key to the fields that carry it."""

    beside: tuple[bytes, ...] = attrs.field(default=(), repr=False)
    """What `inject` puts in beside the key and is secret too: answers are searched for it as for the key."""


@attrs.frozen
class Asked:
    """What an operator has set for a provider; None for what was left to the provider's own rules."""

    environ: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    """For the variables that other programs share. It holds keys: only whether one is set may be asked, and
    whether it is one of the values known to stand in for none."""

    target: Origin | None = None
    base_path: bytes | None = None
    auth_field: bytes | None = None
    """Name of the field that carries the bare key, in place of the provider's own."""

    credential: Callable[[str], bytes | None] = attrs.field(default=lambda name: None, repr=False)
    """The content of the systemd credential of that name, None where there is none: to be asked as `environ`
    may be. Raises `ConfigError` for one that cannot be read."""

    instance: str = ""
    """Different for each process, for what has to tell one run from another; empty for no such thing."""

    def has(self, variable: str, credential_name: str) -> bool:
        """Whether a key is set in one of these two ways; nothing is said about what it looks like."""
        return bool(self.environ.get(variable) or self.credential(credential_name))


@attrs.frozen
class Access:
    """Where a provider is and how requests to it are authenticated: all but the keys themselves."""

    origin: Origin
    base_path: bytes
    """Prefix of every target, unless the target has it already; empty for none."""

    keys: tuple[KeyUse, ...]
    """The first is the one without which the provider is not configured; the others may be missing."""

    defaults: Callable[[bytes, bytes], Added] | None = None
    """From method and path, after the base path rule, to fields put in where the client sent none of them."""

    key_for: Callable[[bytes, bytes], int] | None = None
    """From method and path to the index of the key to use (0 where that one is missing); None: always 0."""

    without_query: frozenset[bytes] = frozenset()
    """Lower-case names of query parameters that carry a key, and are removed from the target."""

    probed: bool = True
    """Whether the answer to the provider's probe says anything about these keys at this origin."""

    models: bytes | None = None
    """Target of the list of models, before the base path rule is applied; None where there is none."""

    lists_models: bool = True
    """Whether these keys are good for asking for the list of models at this origin."""

    rules: Rules = NO_RULES
    """What may be asked, unless the operator says otherwise."""

    stripped: frozenset[bytes] = attrs.field(init=False)
    """Names, as `alike` writes them, of the fields that keys go in: a client's must not stand beside ours."""

    @stripped.default
    def _stripped(self) -> frozenset[bytes]:
        return frozenset(alike(name) for use in self.keys for name, _ in use.inject(b""))


@attrs.frozen
class ProbeRequest:
    """A cheap authenticated request, before the base path rule is applied, and what its answers mean."""

    target: bytes
    method: bytes = b"GET"
    body: bytes | None = None
    """JSON."""

    accepted: frozenset[int] = frozenset()
    """Statuses other than 2xx that say the key was taken."""

    rejected_codes: frozenset[str] = frozenset()
    """Error codes that say it was not, whatever the status; 401 does by itself."""

    silent_codes: frozenset[str] = frozenset()
    """Error codes that say nothing about the key, not even with a 401."""


def own_status(error: AwfError) -> int:
    """The status of the error's row."""
    return error.status


@attrs.frozen
class Trial:
    """The smallest request that a model answers, in the form in which agents ask: it costs a few tokens."""

    model: str | None
    """A small one, with which it is tried unless another is named; None where no model is there for all."""

    request: Callable[[str, bool], tuple[bytes, Mapping[str, object]]]
    """From the model's name, and whether the answer is to be streamed, to the target and the JSON content."""

    last_event: bytes = b""
    """What stands in a stream's last event alone, where no end marker follows it."""


@attrs.frozen
class Provider:
    """Facts about one provider; the modules beside this one hold one instance each."""

    name: str
    """Short name, used in options, logs and metrics: `openai`."""

    title: str
    """The name people use: `OpenAI`."""

    host: str
    """The origin's host unless the operator sets another; empty where there is no usual one."""

    port: int
    """The port that agents expect the provider on."""

    variable: str
    """Environment variable of the usual key."""

    further_variables: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    """Environment variables of its other keys: one set but empty is an error, as with the usual one."""

    further_credentials: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    """Their file names below systemd's `$CREDENTIALS_DIRECTORY`, likewise."""

    target_variable: str | None
    base_path_variable: str | None
    auth_field_variable: str | None
    """Environment variable for the name of the field that carries the key."""

    credential_name: str
    """File name below systemd's `$CREDENTIALS_DIRECTORY`."""

    access: Callable[[Asked], Access]
    """Raises `ValueError` with one sentence for what cannot be used, and the fix."""

    probe: ProbeRequest
    restricted_words: tuple[str, ...]
    """In a 401 or 403's error text or code: the key works, but lacks the scope the probe needs."""

    end_markers: tuple[bytes, ...]
    """Each ends a stream on the protocol's level: a client that leaves after one has all it needs."""

    error_body: Callable[[AwfError, str], bytes]
    """(error, request id) -> JSON body in the provider's own style."""

    trial: Trial | None = None
    """None where no model answers a request that is the same for every operator."""

    error_status: Callable[[AwfError], int] = own_status

    from_file: bool = False
    """Known from the configuration file alone, which is then the only place for its settings."""

    def option(self, setting: str) -> str:
        """What a setting of this provider is called on the command line, without the dashes."""
        return setting if self.name == "openai" else f"{self.name}-{setting}"

    def written(self, setting: str) -> str:
        """Where an operator gives a setting of this provider, for messages."""
        return f"{setting} in [providers.{self.name}]" if self.from_file else f"--{self.option(setting)}"


QUESTION = "Reply with the word ok."
"""What a trial asks a model."""


def chat_completion(limit: int | None) -> Callable[[str, bool], tuple[bytes, Mapping[str, object]]]:
    """A trial's request in the form of Chat Completions, with at most so many tokens in the answer."""

    def request(model: str, stream: bool) -> tuple[bytes, Mapping[str, object]]:
        content = {"model": model, "messages": [{"role": "user", "content": QUESTION}], "stream": stream}
        return b"/chat/completions", content if limit is None else {**content, "max_tokens": limit}

    return request


def bare_key(name: bytes) -> Callable[[bytes], Added]:
    """The key by itself in the field of that name."""
    return lambda key: ((name, key),)


def bearer(key: bytes) -> Added:
    """RFC 6750 2.1."""
    return ((b"Authorization", b"Bearer " + key),)
