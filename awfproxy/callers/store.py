"""`CallerStore`: the token keys and revoked labels in force; here alone is judged who may call."""

from collections.abc import Callable
from hashlib import sha256

import attrs

from awfproxy.callers import token
from awfproxy.callers.claims import Claims
from awfproxy.callers.presented import presented
from awfproxy.credentials.secret import Secret
from awfproxy.errors.callers import CallerTokenExpired, CallerTokenInvalid, CallerTokenRevoked
from awfproxy.providers.provider import Access
from awfproxy.wire.message import RequestHead
from awfproxy.wire.target import join_base_path

REMEMBERED = 1024
"""Tokens whose signature need not be verified again: that takes ten times as long as all the rest."""

LEEWAY = 5
"""Seconds by which the issuer's clock may be ahead of ours. None at the end: expired is expired."""


@attrs.frozen
class CallersInForce:
    """The keys (a token is good by any of them), and the labels that no token has any more."""

    keys: tuple[Secret, ...]
    revoked: frozenset[str] = frozenset()


class CallerStore:
    """Asked at the head of each request: `identify` says who it is, `judge` whether it may be now.

    All providers share one. `replace` puts others in force, at a reload.
    """

    def __init__(self, in_force: CallersInForce, now: Callable[[], float]) -> None:
        """`now`: seconds since the epoch, by the wall clock."""
        token.prepare()
        self._in_force = in_force
        self._now = now
        # By digest: how long it takes to find a digest says nothing about a token.
        self._known: dict[tuple[str, bytes], Claims] = {}

    def replace(self, in_force: CallersInForce) -> None:
        """Puts others in force; nothing that was known by the old ones is known any more."""
        self._in_force = in_force
        self._known = {}

    def identify(self, head: RequestHead, provider: str, access: Access) -> Claims:
        """Who calls, or `CallerTokenMissing`, `CallerTokenInvalid`."""
        value = presented(head, access)
        key = (provider, sha256(value).digest())
        claims = self._known.get(key)
        if claims is None:
            claims = token.read(value, self._in_force.keys, provider)
            if len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[key] = claims
        return claims

    def judge(self, claims: Claims, head: RequestHead, access: Access) -> None:
        """Whether this request may be made with them now: else one of the `ClientError`s that say why not."""
        now = self._now()
        if now >= claims.expires:
            raise CallerTokenExpired()
        if max(claims.issued, claims.not_before or 0) > now + LEEWAY:
            raise CallerTokenInvalid("not good yet, by this machine's clock")
        if claims.label in self._in_force.revoked:
            raise CallerTokenRevoked()
        if claims.rules:
            target = join_base_path(access.base_path, head.target)
            claims.enforce(head.method, target, [name for name, _, _ in head.fields])
