"""Where a client presents its caller token: wherever it would put a key. Pure.

These are the places from which the injector takes every credential of the client's, so that what is read
here never goes on to the provider.
"""

import re
from collections.abc import Iterator

from awfproxy.credentials.injector import KEY_SUBPROTOCOL
from awfproxy.credentials.shape import OF_OURS
from awfproxy.errors.callers import CallerTokenInvalid, CallerTokenMissing
from awfproxy.providers.provider import Access
from awfproxy.wire.message import RequestHead
from awfproxy.wire.target import parameters

_FIELDS = frozenset({b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"})
_SCHEME = re.compile(rb"(?:bearer|token) +(.*)", re.IGNORECASE | re.DOTALL)


def presented(head: RequestHead, access: Access) -> bytes:
    """The request's token. Raises `CallerTokenMissing`, or `CallerTokenInvalid` where two are different.

    What does not begin as our tokens do is a key of the client's, and is passed over; so is a placeholder.
    """
    found = {
        value
        for value in _values(head, access)
        if OF_OURS.match(value) is not None and b"placeholder" not in value
    }
    if not found:
        raise CallerTokenMissing()
    if len(found) > 1:
        raise CallerTokenInvalid("several that differ, in one request")
    return found.pop()


def _values(head: RequestHead, access: Access) -> Iterator[bytes]:
    for lower, _, value in head.fields:
        if lower in _FIELDS or lower in access.stripped:
            scheme = _SCHEME.fullmatch(value)
            yield value if scheme is None else scheme[1]
        elif lower == b"sec-websocket-protocol":
            for part in value.split(b","):
                bare = part.strip(b" \t")
                if bare.lower().startswith(KEY_SUBPROTOCOL):
                    yield bare[len(KEY_SUBPROTOCOL) :]
    if access.without_query:
        yield from parameters(head.target, access.without_query)
