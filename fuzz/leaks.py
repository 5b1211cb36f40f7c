"""The leak guard: whatever key, text and pieces, as many bytes leave as arrive, without the key in them."""

from itertools import accumulate

from awfproxy.observe.leakguard import SHORTEST, LeakGuard
from awfproxy.wire.message import field
from fuzz.cuts import ways

_KEY = b"sk-proj-Q7f2Kx9ZbTmW4cPv"
_TELLING = 8
"""Octets of a key's beginning: as many as decide what is held."""
_BORDER = b"\xff"


def leakguard(data: bytes) -> None:
    """A first line that could be a key is the key. What follows is the body: 0xFF ends a piece of it.

    For the key and its parts there are bytes of their own, which no mutation has to guess: 0xC0 is all of it,
    0x80 to 0x9F its first 0 to 31 bytes, 0xA0 to 0xBF what comes behind these.
    """
    first, newline, rest = data.partition(b"\n")
    key, body = (first, rest) if newline and _may_be(first) else (_KEY, data)
    pieces = [piece for piece in _written_out(body, key).split(_BORDER) if piece]
    if not pieces:
        return
    text = b"".join(pieces)
    for way in (pieces, *ways(text)):
        _check(key, way)
    value = LeakGuard(key).fields((field(b"X", text),))[0][2]
    assert len(value) == len(text)
    assert key not in value


def _may_be(line: bytes) -> bool:
    """The stars of a key that has some would be no other than those that mask it."""
    return SHORTEST <= len(line) <= 64 and all(0x20 < octet < 0x7F for octet in line) and b"*" not in line


def _written_out(body: bytes, key: bytes) -> bytes:
    parts = {0xC0: key}
    parts |= {0x80 + at: key[:at] for at in range(32)} | {0xA0 + at: key[at:] for at in range(32)}
    return b"".join(parts.get(octet, bytes([octet])) for octet in body)


def _check(key: bytes, way: list[bytes]) -> None:
    text = b"".join(way)
    guard, left, arrived = LeakGuard(key), [], 0
    for piece in way:
        left.append(guard.feed(piece))
        arrived += len(piece)
        assert guard.held == arrived - sum(map(len, left)) < len(key)
    left.append(guard.end())
    assert guard.held == 0
    leaves = b"".join(left)
    assert len(leaves) == len(text), "the framing would be another"
    assert key not in leaves
    places = _places(key, text)
    assert guard.masked == len(places)
    borders = {*accumulate(map(len, way))}
    of_keys: set[int] = set()
    for at in places:
        end = at + len(key)
        of_keys.update(range(at, end))
        last = next((at + n for n in range(_TELLING - 1, 0, -1) if at + n in borders), at)
        assert leaves[last:end] == b"*" * (end - last), "more of it than a border lets out"
    changed = [at for at in range(len(text)) if leaves[at] != text[at]]
    assert of_keys.issuperset(changed), "more than the key is masked"
    other = key[:_TELLING] + key[_TELLING:][::-1]
    if not guard.masked and other not in text:
        another = LeakGuard(other)
        assert left == [*map(another.feed, way), another.end()], "what is held tells of the key"


def _places(key: bytes, text: bytes) -> list[int]:
    return [at for at in range(len(text)) if text.startswith(key, at)]
