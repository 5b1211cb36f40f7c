"""The key of an exchange, taken out of what the origin answers: pure, bytes in and as many bytes out.

An origin that repeats what it was sent (an error page, a debugging endpoint, a mirror) would hand the key to
the agent. So each answer is searched for the raw bytes of the key that this exchange has sent, and every
occurrence, overlapping ones too, leaves as stars: legal in field names and values and in JSON's strings, and
as many, so that no framing changes.

A body arrives in pieces, and the key may be split over any number of them. Nothing waits for longer than it
has to:

- What ends in fewer than eight bytes of the key's beginning leaves as it arrives. It is remembered, and if
  the next pieces turn out to be the rest of the key, that rest is masked: at most seven bytes of it are seen.
- What ends in the first eight bytes of the key, or in these and what follows them, is held back until it can
  be told: until it is as long as the key, a byte comes that keys have not (as a quote, a brace or a line's
  end, so events and JSON are never held), or nothing more comes. Then it leaves, masked or as it was.

Whether the bytes behind those eight are right plays no part in it. Else whoever can make the origin say what
he likes could see from what is held back whether he has guessed one byte more of the key, and so find all of
it, byte by byte; eight at once he cannot guess, and eight that are no secret (`sk-proj-`) tell him nothing.

Not found are parts of a key, and a key in another form: compressed, encoded, escaped, in another case, or
with the framing of WebSocket messages in its midst.
"""

from collections.abc import Iterable
from typing import Final

from awfproxy.wire.message import Field, Fields, ResponseHead

SHORTEST: Final = 8
"""Octets of a key below which it is not guarded: so short a text stands in innocent answers."""
_TELLING: Final = 8
"""Octets of a key's beginning that are enough to hold back what ends in them."""
_SPACE: Final = 0x20
_ALPHABET: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-._~+/="
"""What bearer tokens are made of (RFC 6750 2.1)."""


class LeakGuard:
    """One response's: heads, body piece by piece, trailers. After a 101 what the origin sends is the body."""

    __slots__ = ("_beginning", "_key", "_tail", "held", "masked")

    def __init__(self, key: bytes) -> None:
        """`key` has at least `SHORTEST` octets, all of them visible ASCII (awfproxy.credentials.shape)."""
        self._key = key
        self._beginning = key[:_TELLING]
        self._tail = b""
        """The end of what has arrived, as it was, from where a key may have begun; shorter than the key."""
        self.held = 0
        """Octets at the end of the tail that have not left."""
        self.masked = 0
        """How often the key was found."""

    def feed(self, data: bytes) -> bytes:
        """What may leave now of the body, of which `data` (not empty) is the next piece; may be empty."""
        key, last = self._key, data[-1]
        # The common case: one search (by `find`, since `in` tries a number first and costs twice as much) and
        # a last byte that is in no key; or one that is not in the beginning, with the beginning nowhere near.
        if not self._tail and data.find(key) < 0:
            if last <= _SPACE or (last not in _ALPHABET and last not in key):
                return data
            beginning = self._beginning
            if last not in beginning and data.find(beginning, -len(key)) < 0:
                return data
        return self._look_at(self._tail + data)

    def end(self) -> bytes:
        """The body is complete: what was held (`held` octets) was not the key."""
        held = self._tail[len(self._tail) - self.held :]
        self._tail, self.held = b"", 0
        return held

    def text(self, text: bytes) -> bytes:
        """A text that is there as a whole, without the key."""
        shown, _ = self._masked(text)
        return shown

    def head(self, head: ResponseHead) -> ResponseHead:
        """The head without the key. Content-Length stays in any case: it is framing."""
        raw: bytes | None = head.raw
        return head if raw is None or raw.find(self._key) < 0 else self._masked_head(head)

    def _masked_head(self, head: ResponseHead) -> ResponseHead:
        fields = self.fields(head.fields)
        names = {lower for lower, _, _ in fields}
        return ResponseHead(head.version, head.status, self.text(head.reason), fields, names)

    def fields(self, fields: Fields) -> Fields:
        """A head's fields, or trailers, without the key."""
        return tuple([self._field(item) for item in fields])

    def _field(self, item: Field) -> Field:
        lower, name, value = item
        if self._key in name:
            name = self.text(name)
            lower = name.lower()
        if self._key in value and lower != b"content-length":
            value = self.text(value)
        return (lower, name, value)

    def _look_at(self, text: bytes) -> bytes:
        """What may leave of `text`: the tail and what came behind it."""
        left = len(self._tail) - self.held
        begin = self._tail_of(text)
        shown, until = self._masked(text)
        # What is masked needs not be held, though another key may begin in it.
        holds = len(text) - begin >= _TELLING
        leaving = max(begin, until, left) if holds else len(text)
        self._tail = text[begin:]
        self.held = len(text) - leaving
        return shown[left:leaving]

    def _masked(self, text: bytes) -> tuple[bytes, int]:
        """`text` with stars for each key, and the end of the last one."""
        key, until = self._key, 0
        at = text.find(key)
        if at < 0:
            return text, 0
        shown = bytearray(text)
        stars = b"*" * len(key)
        while at >= 0:
            self.masked += 1
            until = at + len(key)
            shown[at:until] = stars
            at = text.find(key, at + 1)
        return bytes(shown), until

    def _tail_of(self, text: bytes) -> int:
        """Where, at the end of `text`, a key may have begun; its length where none has."""
        key, size = self._key, len(text)
        lowest = max(0, size - len(key) + 1)
        beginning, alphabet = self._beginning, _ALPHABET + key
        at = text.find(beginning, lowest)
        while at >= 0:
            if not text[at + _TELLING :].translate(None, alphabet):
                return at
            at = text.find(beginning, at + 1)
        at = max(lowest, size - _TELLING + 1)
        while at < size and not beginning.startswith(text[at:]):
            at += 1
        return at


class SeveralGuards(LeakGuard):
    """Where more than the key is secret: a guard for each, one behind the other."""

    __slots__ = ("_guards",)

    def __init__(self, secrets: list[bytes]) -> None:
        # The longest first: one may be a part of another, of which the rest would be seen.
        secrets = sorted(secrets, key=len, reverse=True)
        super().__init__(secrets[0])
        self._guards = [LeakGuard(secret) for secret in secrets]

    def feed(self, data: bytes) -> bytes:
        for guard in self._guards:
            if data:
                data = guard.feed(data)
        self._add_up()
        return data

    def end(self) -> bytes:
        left = b""
        for guard in self._guards:
            if left:
                left = guard.feed(left)
            left += guard.end()
        self._add_up()
        return left

    def text(self, text: bytes) -> bytes:
        for guard in self._guards:
            text = guard.text(text)
        self._add_up()
        return text

    def head(self, head: ResponseHead) -> ResponseHead:
        raw: bytes | None = head.raw
        if raw is not None:
            for guard in self._guards:
                if raw.find(guard._key) >= 0:
                    head = guard._masked_head(head)
            self._add_up()
        return head

    def fields(self, fields: Fields) -> Fields:
        for guard in self._guards:
            fields = guard.fields(fields)
        self._add_up()
        return fields

    def _add_up(self) -> None:
        held = masked = 0
        for guard in self._guards:
            held += guard.held
            masked += guard.masked
        self.held, self.masked = held, masked


def guard_of(secrets: Iterable[bytes]) -> LeakGuard | None:
    """For all of them that are long enough; None where none is."""
    guarded = [secret for secret in dict.fromkeys(secrets) if len(secret) >= SHORTEST]
    if len(guarded) > 1:
        return SeveralGuards(guarded)
    return LeakGuard(guarded[0]) if guarded else None
