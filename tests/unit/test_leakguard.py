"""The leak guard on bytes: what leaves when, for any key, any text and any pieces."""

import re
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from awfproxy.observe.leakguard import LeakGuard, guard_of
from awfproxy.wire.message import ResponseHead, field

KEY = b"sk-proj-Q7f2Kx9ZbTmW4cPv"
STARS = b"*" * len(KEY)
TOKEN = rb"[A-Za-z0-9._~+/=-]"


def fed(key: bytes, *pieces: bytes) -> list[bytes]:
    """What leaves at each piece, and at the end."""
    guard = LeakGuard(key)
    return [*map(guard.feed, pieces), guard.end()]


# --- a body in pieces -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "leaves"),
    [
        ([b"nothing of it"], [b"nothing of it", b""]),
        ([b"a " + KEY + b" b"], [b"a " + STARS + b" b", b""]),
        ([KEY], [STARS, b""]),
        ([KEY + KEY + b"," + KEY], [STARS + STARS + b"," + STARS, b""]),
        ([b"a " + KEY[:20], KEY[20:] + b" b"], [b"a ", STARS + b" b", b""]),
        ([b"a " + KEY[:8], KEY[8:]], [b"a ", STARS, b""]),
        ([b"a " + KEY[:7], KEY[7:]], [b"a " + KEY[:7], STARS[7:], b""]),
        ([b"a " + KEY[:1], KEY[1:]], [b"a " + KEY[:1], STARS[1:], b""]),
        ([KEY[:7], KEY[7:8], KEY[8:12], KEY[12:]], [KEY[:7], b"", b"", STARS[7:], b""]),
        ([KEY[:7], b" no"], [KEY[:7], b" no", b""]),
        ([KEY[:9], b'"}'], [b"", KEY[:9] + b'"}', b""]),
        ([KEY[:9], b" " + KEY[:3]], [b"", KEY[:9] + b" " + KEY[:3], b""]),
        ([KEY[:9] + KEY[:12], KEY[12:]], [b"", KEY[:9] + STARS, b""]),
        ([KEY[:9]], [b"", KEY[:9]]),
        ([KEY[:-1]], [b"", KEY[:-1]]),
        ([b"sk-proj-" + b"x" * 15, b"x" * 3], [b"", b"sk-proj-" + b"x" * 18, b""]),
    ],
)  # fmt: skip
def test_what_leaves_at_each_piece(pieces: list[bytes], leaves: list[bytes]) -> None:
    assert fed(KEY, *pieces) == leaves


def test_a_key_byte_by_byte_shows_seven_bytes_of_it_and_the_rest_is_held_to_its_end() -> None:
    pieces = [KEY[at : at + 1] for at in range(len(KEY))]
    leaves = [*pieces[:7], *[b""] * (len(KEY) - 8), STARS[7:], b""]
    assert fed(KEY, *pieces) == leaves


@pytest.mark.parametrize(
    "event",
    [
        b"data: keys begin with sk-proj-\n\n",
        b'{"delta":"keys begin with sk-proj-"}',
        b"<b>sk-proj-Q7f2</b>",
        b"sk-proj-Q7f2 ",
    ],
)
def test_what_ends_in_a_byte_that_no_key_has_leaves_at_once(event: bytes) -> None:
    assert fed(KEY, event) == [event, b""]


def test_a_key_within_a_key_is_masked_too() -> None:
    key = b"abcabcab"
    assert fed(key, b"abcabcabcab!") == [b"***********!", b""]
    assert fed(key, b"abcabcab", b"cab!") == [b"********", b"***!", b""]


def test_a_key_with_bytes_that_tokens_have_not_is_found_across_pieces() -> None:
    key = b'{"very":"odd"}!'
    assert fed(key, b"x " + key[:8], key[8:]) == [b"x ", b"*" * len(key), b""]
    assert fed(key, b"x " + key[:3], key[3:]) == [b"x " + key[:3], b"*" * (len(key) - 3), b""]


def test_each_key_that_is_found_is_counted() -> None:
    guard = LeakGuard(KEY)
    for piece in (KEY + b" " + KEY[:9], KEY[9:] + b"\n", b"\n", KEY[:5], KEY[5:]):
        guard.feed(piece)
    assert guard.masked == 3


# --- any key, any text, any pieces ------------------------------------------------------------------------


def of(alphabet: str, smallest: int, largest: int) -> st.SearchStrategy[bytes]:
    return st.text(alphabet, min_size=smallest, max_size=largest).map(lambda text: text.encode("ascii"))


KEYS = st.one_of(
    of("ab", 8, 20),
    of("a-Z9", 8, 30),
    of('a"!', 8, 12),
    of("abcdefgh", 8, 8),
    st.just(KEY),
    of("0123456789", 9, 24),
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A key, and pieces of a text that is made of it, of parts of it and of what is like it."""
    key = draw(KEYS)
    size = len(key)
    part = st.tuples(st.integers(0, size), st.integers(0, size)).map(lambda ends: key[min(ends) : max(ends)])
    noise = of("ab-Z9", 0, 12) | st.sampled_from([b"\n", b'"', b" ", b"\xff\x00", b"*" * 9])
    like = part.map(lambda some: key[:8] + some)
    text = b"".join(draw(st.lists(st.one_of(st.just(key), part, like, noise), max_size=12)))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=20)))
    edges = [0, *cuts, len(text)]
    return key, [text[a:b] for a, b in pairwise(edges) if a < b]


def places(key: bytes, text: bytes) -> list[int]:
    return [at for at in range(len(text)) if text[at : at + len(key)] == key]


@settings(deadline=None)
@given(streams())
@example((b"aaaaaaab", [b"aaaaaaaa", b"aaaaaaab"]))
@example((b"abababab" * 2, [b"abababab" * 3, b"ab"]))
def test_no_key_passes_but_seven_bytes_of_one_that_a_border_parts_there(
    stream: tuple[bytes, list[bytes]],
) -> None:
    key, pieces = stream
    text = b"".join(pieces)
    leaves = b"".join(fed(key, *pieces))
    assert len(leaves) == len(text)
    borders, end = [], 0
    for piece in pieces:
        end += len(piece)
        borders.append(end)
    of_keys: set[int] = set()
    for at in places(key, text):
        of_keys.update(range(at, at + len(key)))
        last = max([border for border in borders if at < border < at + 8], default=at)
        assert leaves[last : at + len(key)] == b"*" * (at + len(key) - last)
    for at, octet in enumerate(leaves):
        assert octet == text[at] or (octet == ord("*") and at in of_keys)


@settings(deadline=None)
@given(streams())
def test_held_is_only_what_begins_as_the_key_does_and_less_than_all_of_it(
    stream: tuple[bytes, list[bytes]],
) -> None:
    key, pieces = stream
    guard, arrived, left = LeakGuard(key), b"", 0
    like = re.compile(re.escape(key[:8]) + b"(?:" + TOKEN + b"|[" + re.escape(key) + rb"])*\Z")
    for piece in pieces:
        arrived += piece
        left += len(guard.feed(piece))
        assert guard.held == len(arrived) - left < len(key)
        if guard.held:
            end = arrived[max(0, len(arrived) - len(key) + 1) :]
            assert like.search(end), "held without eight bytes of the key"
    assert left + len(guard.end()) == len(arrived)
    assert guard.held == 0


@settings(deadline=None)
@given(streams())
def test_where_not_even_eight_bytes_of_the_key_are_all_leaves_as_it_arrives(
    stream: tuple[bytes, list[bytes]],
) -> None:
    key, pieces = stream
    pieces = [piece.replace(key[:8], b"") or b"-" for piece in pieces]
    if key[:8] not in b"".join(pieces):
        assert fed(key, *pieces) == [*pieces, b""]


@settings(deadline=None)
@given(streams(), st.randoms(use_true_random=False))
def test_what_is_held_tells_nothing_of_the_key_behind_its_first_eight_bytes(
    stream: tuple[bytes, list[bytes]], random: object
) -> None:
    """Else guesses that the origin repeats would find it out, byte by byte."""
    key, pieces = stream
    rest = list(key[8:])
    random.shuffle(rest)  # type: ignore[attr-defined]
    other = key[:8] + bytes(rest)
    text = b"".join(pieces)
    if key not in text and other not in text:
        assert fed(key, *pieces) == fed(other, *pieces)


# --- several secrets --------------------------------------------------------------------------------------


def test_one_secret_costs_what_one_guard_costs() -> None:
    for secrets in [KEY], [KEY, KEY], [b"short", KEY]:
        assert type(guard_of(secrets)) is LeakGuard
    assert guard_of([b"short", b""]) is None


def test_a_secret_within_another_leaves_nothing_of_either() -> None:
    for secrets in [KEY, KEY[5:16]], [KEY[5:16], KEY]:
        guard = guard_of(secrets)
        assert guard is not None
        assert guard.feed(b"a " + KEY + b" " + KEY[5:16] + b"!") == b"a " + STARS + b" " + b"*" * 11 + b"!"
        assert guard.masked == 2
        assert guard.text(KEY + KEY[5:16]) == STARS + b"*" * 11


@st.composite
def streams_of_several(draw: st.DrawFn) -> tuple[list[bytes], list[bytes]]:
    """Secrets, and pieces of a text that is made of them all and of what is like them."""
    drawn = draw(st.lists(streams(), min_size=2, max_size=3))
    pieces = [piece for _, each in drawn for piece in each]
    return [key for key, _ in drawn], draw(st.permutations(pieces))


@settings(deadline=None)
@given(streams_of_several())
def test_of_several_secrets_none_passes_and_no_byte_is_lost_or_added(
    stream: tuple[list[bytes], list[bytes]],
) -> None:
    secrets, pieces = stream
    guard = guard_of(secrets)
    assert guard is not None
    left, arrived = b"", 0
    for piece in pieces:
        arrived += len(piece)
        left += guard.feed(piece)
        assert guard.held == arrived - len(left) < sum(map(len, set(secrets)))
    left += guard.end()
    assert guard.held == 0
    text = b"".join(pieces)
    assert len(left) == len(text)
    assert not any(secret in left for secret in secrets)
    of_secrets = {at + n for key in secrets for at in places(key, text) for n in range(len(key))}
    for at, octet in enumerate(left):
        assert octet == text[at] or (octet == ord("*") and at in of_secrets)


def test_heads_and_trailers_are_searched_for_each_secret() -> None:
    other = b"0123456789abcdef"
    guard = guard_of([KEY, other])
    assert guard is not None
    raw = b"HTTP/1.1 200 " + KEY + b"\r\nX: " + other + b" " + KEY + b"\r\n\r\n"
    after = guard.head(head(raw, KEY, (b"X", other + b" " + KEY)))
    assert after.reason == STARS
    assert after.fields == (field(b"X", b"*" * 16 + b" " + STARS),)
    assert guard.fields((field(b"X-Sum", other), field(b"Y", KEY))) == (
        field(b"X-Sum", b"*" * 16), field(b"Y", STARS),
    )  # fmt: skip
    assert guard.masked == 5
    before = head(b"HTTP/1.1 200 OK\r\n\r\n", b"OK")
    assert guard.head(before) is before


# --- heads and trailers -----------------------------------------------------------------------------------


def head(raw: bytes, reason: bytes, *fields: tuple[bytes, bytes]) -> ResponseHead:
    return ResponseHead(b"1.1", 200, reason, tuple(field(*each) for each in fields), None, raw)


def test_a_head_without_the_key_stays_as_it_is() -> None:
    before = head(b"HTTP/1.1 200 OK\r\nX: 1\r\n\r\n", b"OK", (b"X", b"1"))
    assert LeakGuard(KEY).head(before) is before


def test_a_head_is_masked_in_its_reason_and_in_its_fields_names_and_values() -> None:
    guard = LeakGuard(KEY)
    fields = ((b"X", b"a " + KEY + KEY), (b"X-" + KEY, b"1"), (b"Y", b"2"))
    after = guard.head(head(KEY, b"No " + KEY, *fields))
    assert after.reason == b"No " + STARS
    assert after.fields == (
        (b"x", b"X", b"a " + STARS + STARS), (b"x-" + STARS, b"X-" + STARS, b"1"), (b"y", b"Y", b"2"),
    )  # fmt: skip
    assert after.values(b"x-" + STARS) == [b"1"]
    assert (after.version, after.status) == (b"1.1", 200)
    assert guard.masked == 4


def test_framing_is_never_masked() -> None:
    key = b"123456789"
    before = head(b"Content-Length: " + key, b"OK", (b"Content-Length", key), (b"X", key))
    assert LeakGuard(key).head(before).fields == (
        field(b"Content-Length", key), field(b"X", b"*********"),
    )  # fmt: skip


def test_trailers_are_masked() -> None:
    assert LeakGuard(KEY).fields((field(b"X-Sum", KEY), field(b"Y", b"2"))) == (
        field(b"X-Sum", STARS), field(b"Y", b"2"),
    )  # fmt: skip


def test_its_repr_shows_nothing_of_the_key() -> None:
    guard = LeakGuard(KEY)
    guard.feed(KEY[:12])
    assert KEY[:8].decode() not in repr(guard) + str(guard)
