"""Caller tokens: only what a key here has signed lets anyone in, wherever it stands and whatever it says."""

import hmac
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress

from awfproxy.callers.claims import ISSUER, Claims
from awfproxy.callers.presented import presented as found
from awfproxy.callers.store import CallersInForce, CallerStore
from awfproxy.callers.token import beginning, has_form, issue, read, said_providers
from awfproxy.credentials.injector import prepare_request
from awfproxy.credentials.secret import Secret
from awfproxy.errors.callers import CallerTokenInvalid, CallerTokenMissing
from awfproxy.errors.client import ClientError
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.providers.provider import Asked
from awfproxy.proxy.admission import admit
from awfproxy.wire.message import RequestHead
from awfproxy.wire.parser import RequestHeadReader
from awfproxy.wire.target import Origin

_KEY = b"fuzz-only-0123456789-0123456789-0123456789-abcdefghijklmnopqrstu"
_KEYS = (Secret(b"another-" + _KEY), Secret(_KEY))
_NOW = 1_800_000_000
_ACCESSES = [(provider.name, provider.access(Asked(instance="i"))) for provider in BUILT_IN]
_CLAIMS = Claims(
    label="job-1",
    providers=("openai",),
    issued=_NOW,
    expires=_NOW + 60,
    methods=("GET", "POST"),
    paths=("/v1/responses", "/v1/models/**"),
)
_TOKEN = issue(_CLAIMS, _KEYS[1]).encode()
_SIGNATURE = _TOKEN.rpartition(b".")[2].decode()
# Written down here again, from docs/callers.md: the code's own would agree with themselves.
_KNOWN = {"iss", "aud", "sub", "iat", "exp", "nbf", "methods", "paths"}
_FIELDS = {b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"}
_SCHEME = re.compile(rb"^(bearer|token) +", re.IGNORECASE)
_OURS = re.compile(rb"(sk-|sk-ant-|gho_)?awfproxy[-_]")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,63}")


def presented(data: bytes) -> None:
    """A request's head, in which TOKEN stands for a good one: that one is found or none, and none goes on."""
    try:
        if (whole := RequestHeadReader().feed(data.replace(b"TOKEN", _TOKEN))) is None:
            return
        admitted = admit(whole[0], Origin("api.openai.com"), 10000)
    except ClientError:
        return
    several = len(_like_tokens(admitted.head)) > 1
    callers = CallerStore(CallersInForce(_KEYS), lambda: float(_NOW))
    for name, access in _ACCESSES:
        claims, refusal = None, None
        try:
            claims = callers.identify(admitted.head, name, access)
            callers.judge(claims, admitted.head, access)
        except ClientError as problem:
            refusal = problem
        one = None
        with suppress(CallerTokenMissing, CallerTokenInvalid):
            one = found(admitted.head, access)
        assert not several or one is None, "one of them is chosen"
        if claims is not None:
            assert one == _TOKEN
            assert (name, claims) == ("openai", _CLAIMS)
        if refusal is not None:
            assert refusal.status == 403
            assert refusal.detail.isprintable()
            assert _SIGNATURE not in f"{refusal} {refusal.message} {refusal.detail}"
        keys = tuple(Secret(b"sk-INJECTED-0123456789") for _ in access.keys)
        after = prepare_request(admitted.head, admitted.framing, access=access, keys=keys)
        try:
            left = found(after, access)
        except CallerTokenMissing:
            continue
        raise AssertionError(f"{len(left)} octets leave that would be taken for a token")


def _like_tokens(head: RequestHead) -> set[bytes]:
    """All that begin as tokens do, in the fields that any provider's clients put keys in."""
    bare = {_SCHEME.sub(b"", value) for lower, _, value in head.fields if lower in _FIELDS}
    return {value for value in bare if _OURS.match(value) and b"placeholder" not in value}


def token(data: bytes) -> None:
    """A token of any text; and one whose head and claims, a line each, are any text that a key has signed."""
    for value in (data, b"sk-awfproxy-" + data):
        _read(value)
    first, _, said = data.partition(b"\n")
    parts = b".".join(_base64(part) for part in (first, said))
    signature = b"." + _base64(hmac.digest(_KEY, parts, "sha256"))
    for start in (b"sk-awfproxy-", b"sk-ant-awfproxy-", b"gho_awfproxy_", b"awfproxy-"):
        _read(start + parts + signature)


def _read(value: bytes) -> None:
    names: tuple[str, ...] = ()
    with suppress(ValueError):
        names = said_providers(value)
    assert has_form(value) or not names
    for provider in ("openai", "anthropic", "copilot", "gemini"):
        claims, why = None, ""
        try:
            claims = read(value, _KEYS, provider)
        except CallerTokenInvalid as refusal:
            why = refusal.detail
        assert why.isascii(), "what a token says may not go to a terminal as it is"
        assert why.isprintable()
        if claims is not None:
            assert provider in claims.providers
            assert names in ((), claims.providers)  # a name that no provider can have is none to tell
            _is_what_was_signed(value, claims)


def _is_what_was_signed(value: bytes, claims: Claims) -> None:
    shown, _, signature = value.rpartition(b".")
    start = beginning(claims.providers).encode()
    assert shown.startswith(start)
    right = (hmac.digest(key.reveal(), shown.removeprefix(start), "sha256") for key in _KEYS)
    assert signature in map(_base64, right), "nobody has signed it"
    head, said = (json.loads(_octets(part)) for part in shown.removeprefix(start).split(b"."))
    assert head["alg"] == "HS256"
    assert said["iss"] == ISSUER
    assert set(said) <= _KNOWN
    aud = said["aud"]
    assert claims.as_mapping() == said | {"aud": [aud] if isinstance(aud, str) else aud}
    assert _LABEL.fullmatch(claims.label)
    assert type(claims.issued) is type(claims.expires) is int
    assert bool(claims.rules) == bool(claims.methods or claims.paths), "what was narrowed is open"


def _base64(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _octets(part: bytes) -> bytes:
    return urlsafe_b64decode(part + b"=" * (-len(part) % 4))
