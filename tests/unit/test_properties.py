"""Properties over generated messages: against h11 as a second opinion, and of what leaves."""

import h11
import h11._connection
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from awfproxy.credentials.injector import HOP_BY_HOP, STRIPPED, prepare_request, prepare_trailers
from awfproxy.credentials.secret import Secret
from awfproxy.errors.client import ClientError, MalformedMessage
from awfproxy.errors.own import InternalError
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.providers.provider import Access, Asked
from awfproxy.proxy.admission import admit
from awfproxy.wire.chunked import ChunkedReader, encode_chunk, encode_end
from awfproxy.wire.framing import CHUNKED, NO_BODY, Framing, Length
from awfproxy.wire.message import Field, Fields, RequestHead, field, serialise_request
from awfproxy.wire.parser import RequestHeadReader, ResponseHeadReader
from awfproxy.wire.target import Origin, join_base_path, origin_form

ORIGIN = Origin("api.openai.com")
ACCESSES = [provider.access(Asked(instance="i")) for provider in BUILT_IN]
OPENAI = ACCESSES[0]
PORT = 10000

# --- generated parts --------------------------------------------------------------------------------

TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
VISIBLE = bytes(range(0x21, 0x7F))
IN_VALUES = VISIBLE + b" \t" + bytes(range(0x80, 0x100))


def some_bytes(alphabet: bytes, least: int = 0, most: int = 20) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(alphabet), min_size=least, max_size=most).map(bytes)


methods = st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"QUERY"])
paths = some_bytes(VISIBLE).map(lambda rest: b"/" + rest.lstrip(b"/"))
authorities = st.sampled_from(
    [b"", b"", b"http://api.openai.com", b"HTTPS://API.OpenAI.com:443", b"http://a:10000"]
)
asked_targets = st.one_of(
    st.tuples(authorities, paths).map(b"".join),
    st.sampled_from([b"http://api.openai.com", b"http://a:10000?b"]),
)
"""Also in absolute-form, for the origin or our own port."""
names = some_bytes(TOKEN, 1).filter(
    lambda name: name.lower() not in (b"host", b"content-length", b"transfer-encoding", b"upgrade")
)
large_values = st.integers(1000, 4000).map(lambda size: b"v" * size)
field_values = st.one_of(some_bytes(IN_VALUES).map(lambda value: value.strip(b" \t")), large_values)
spaces = some_bytes(b" \t", most=3)
framings = st.sampled_from(
    [b"", b"Content-Length: 5", b"Content-Length: 0", b"content-length:\t17 ", b"TRANSFER-ENCODING: Chunked"]
)
expectations = st.sampled_from([b"", b"Expect: 100-continue", b"EXPECT:100-Continue"])


@st.composite
def raw_heads(draw: st.DrawFn) -> bytes:
    """A valid request head, as bytes."""
    lines = [
        name + b":" + before + value + after
        for name, before, value, after in draw(
            st.lists(st.tuples(names, spaces, field_values, spaces), max_size=6)
        )
    ]
    lines.insert(draw(st.integers(0, len(lines))), b"Host: " + draw(st.sampled_from([b"a", b"[::1]:1", b""])))
    for line in draw(framings), draw(expectations):
        if line:
            lines.insert(draw(st.integers(0, len(lines))), line)
    return draw(methods) + b" " + draw(asked_targets) + b" HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\n"


@st.composite
def cut(draw: st.DrawFn, raw: bytes) -> list[bytes]:
    """The bytes in pieces."""
    places = sorted(draw(st.sets(st.integers(1, max(1, len(raw) - 1)), max_size=12)))
    return [raw[begin:end] for begin, end in zip([0, *places], [*places, len(raw)], strict=True)]


def read_request(pieces: list[bytes]) -> tuple[RequestHead, bytes] | None:
    reader = RequestHeadReader()
    for at, piece in enumerate(pieces):
        if (read := reader.feed(piece)) is not None:
            return read[0], read[1] + b"".join(pieces[at + 1 :])
    return None


def read_by_h11(
    raw: bytes,
) -> tuple[tuple[bytes, bytes, bytes, list[tuple[bytes, bytes]]], Framing, bytes] | None:
    """((method, target, version, fields), framing, what follows), or None while incomplete."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(raw)
    event = server.next_event()
    if event is h11.NEED_DATA:
        return None
    assert isinstance(event, h11.Request)
    kind, sizes = h11._connection._body_framing(event.method, event)
    framing = CHUNKED if kind == "chunked" else Length(sizes[0]) if sizes and sizes[0] else NO_BODY
    head = (event.method, event.target, event.http_version, list(event.headers.raw_items()))
    return head, framing, server.trailing_data[0]


def as_h11(head: RequestHead) -> tuple[bytes, bytes, bytes, list[tuple[bytes, bytes]]]:
    """The head as h11 gives it, which writes the coding in lower case."""
    pairs = [
        (name, value.lower() if lower == b"transfer-encoding" else value)
        for lower, name, value in head.fields
    ]
    return head.method, head.target, head.version, pairs


# --- heads ------------------------------------------------------------------------------------------


@given(st.data(), raw_heads(), st.binary(max_size=20))
def test_valid_head_is_read_the_same_whole_cut_and_by_h11(
    data: st.DataObject, raw: bytes, behind: bytes
) -> None:
    whole = read_request([raw + behind])
    assert whole is not None
    assert whole[1] == behind
    assert all(lower == name.lower() for lower, name, _ in whole[0].fields)
    assert read_request(data.draw(cut(raw + behind))) == whole
    theirs = read_by_h11(raw + behind)
    assert theirs is not None
    assert (as_h11(whole[0]), behind) == (theirs[0], theirs[2])
    assert admit(whole[0], ORIGIN, PORT).framing == theirs[1]


INTERESTING = (
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\0", b" ", b"\t", b":", b",", b";", b"\x0b", b"\x0c",
    b"\x7f", b"\xa0", b"\xff", b"+", b"-", b"0", b"5", b"0x", b"_", b"A", b"/", b"\\", b'"', b"@", b"?",
    b"*", b"\r\n ", b"\r\n\t", b"Host: b\r\n", b"Host", b"Content-Length: 5\r\n",
    b"Content-Length: 6\r\n", b"Content-Length", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n", b"Transfer-Encoding", b"chunked", b"gzip, ", b"identity",
    b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"1.0", b"GET / HTTP/1.1\r\n", b"http://",
)  # fmt: skip


# Without what would be a trailer for framing: h11 refuses some, and ours are taken out later.
NO_FIELDS = tuple(each for each in INTERESTING if b"-" not in each or each == b"-")


@st.composite
def mutated_heads(draw: st.DrawFn) -> bytes:
    """A valid head with up to four edits: something put in, taken out, written over, or doubled."""
    raw = draw(raw_heads())
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(raw)))
        end = draw(st.integers(begin, min(len(raw), begin + draw(st.sampled_from([0, 1, 2, 20])))))
        put = draw(st.one_of(st.sampled_from(INTERESTING), st.just(b""), st.just(raw[begin:end] * 2)))
        raw = raw[:begin] + put + raw[end:]
    return raw


@given(st.data(), mutated_heads())
@example(None, b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\nTransfer-Encoding: chunked\r\n\r\n")
@example(None, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
@example(None, b"GET / HTTP/1.1\r\n\r\n")
@example(None, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n")
@example(None, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n")
def test_what_h11_refuses_we_refuse_and_what_both_take_we_read_the_same(
    data: st.DataObject | None, raw: bytes
) -> None:
    while raw.startswith(b"\r\n"):
        raw = raw[2:]  # RFC 9112 2.2 lets a server read over empty lines; h11 does not
    try:
        theirs = read_by_h11(raw)
        refused = False
    except h11.RemoteProtocolError:
        theirs, refused = None, True
    pieces = [raw] if data is None else data.draw(cut(raw))
    for each in ([raw], pieces):
        try:
            ours = read_request(each)
            admitted = None if ours is None else admit(ours[0], ORIGIN, PORT)
        except ClientError:
            continue
        if ours is None or admitted is None:
            continue
        assert not refused, "h11 refuses it"
        assert theirs is not None, "h11 waits for more"
        assert as_h11(ours[0]) == theirs[0]
        assert (admitted.framing, ours[1]) == theirs[1:]


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_no_bytes_whatever_raise_anything_but_a_refusal(pieces: list[bytes]) -> None:
    for reader in (RequestHeadReader(), ResponseHeadReader()):
        try:
            for piece in pieces:
                if reader.feed(piece) is not None:
                    break
        except ClientError:
            pass


@given(some_bytes(b"/:@?#[]\\.%0123456789ahtps" + b"\xff", most=40))
@example(b"http://a:" + b"1" * 5000 + b"/")
def test_no_target_whatever_raises_anything_but_a_refusal_or_leaves_as_no_path(target: bytes) -> None:
    for given_target in (target, b"http://" + target, b"http://a:10000" + target):
        try:
            path = origin_form(given_target, ORIGIN, PORT)
        except ClientError:
            continue
        assert path.startswith(b"/")
        assert not path.startswith(b"//")
        assert given_target.endswith((path, path[1:]))


# --- the chunked coding -----------------------------------------------------------------------------

trailer_fields = st.lists(st.tuples(names, field_values), max_size=3).map(
    lambda pairs: tuple(field(name, value) for name, value in pairs)
)


def read_chunked(pieces: list[bytes]) -> tuple[bytes, Fields, bytes] | None:
    reader = ChunkedReader()
    content = b""
    for at, piece in enumerate(pieces):
        content += reader.feed(piece)
        if reader.done:
            return content, reader.trailers, reader.rest + b"".join(pieces[at + 1 :])
    return None


@given(
    st.data(), st.lists(st.binary(min_size=1, max_size=40), max_size=6), trailer_fields, st.binary(max_size=9)
)
def test_chunked_coding_round_trips_however_it_is_cut(
    data: st.DataObject, chunks: list[bytes], trailers: Fields, behind: bytes
) -> None:
    raw = b"".join(map(encode_chunk, chunks)) + encode_end(trailers) + behind
    assert read_chunked(data.draw(cut(raw))) == (b"".join(chunks), trailers, behind)


@st.composite
def raw_chunks(draw: st.DrawFn, chunks: list[bytes]) -> bytes:
    """As a client may write them: sizes in either case and with zeros in front, and extensions."""
    sizes = st.sampled_from([b"%x", b"%X", b"%05x"])
    extensions = st.sampled_from([b"", b";a", b";a=b;c", b';a="b c"', b';a="b;\\"c"', b";" + b"a" * 1000])
    return b"".join(draw(sizes) % len(each) + draw(extensions) + b"\r\n" + each + b"\r\n" for each in chunks)


@given(
    st.data(), st.lists(st.binary(min_size=1, max_size=40), max_size=6), trailer_fields, st.binary(max_size=9)
)
def test_chunks_with_extensions_are_read_for_their_content_however_they_are_cut(
    data: st.DataObject, chunks: list[bytes], trailers: Fields, behind: bytes
) -> None:
    raw = data.draw(raw_chunks(chunks)) + encode_end(trailers)
    assert read_chunked(data.draw(cut(raw + behind))) == (b"".join(chunks), trailers, behind)
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + raw)
    server.next_event()
    content = b""
    while isinstance(event := server.next_event(), h11.Data):
        content += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert content == b"".join(chunks)


@given(st.data(), st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=4))
def test_coding_that_was_tampered_with_is_refused_or_read_as_h11_reads_it(
    data: st.DataObject, chunks: list[bytes]
) -> None:
    raw = b"".join(map(encode_chunk, chunks)) + encode_end()
    begin = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(begin, min(len(raw), begin + 3)))
    raw = raw[:begin] + data.draw(st.sampled_from([*NO_FIELDS, b""])) + raw[end:]
    whole, pieces = [raw], data.draw(cut(raw))
    results = []
    for each in (whole, pieces):
        try:
            results.append(read_chunked(each))
        except MalformedMessage:
            results.append(None)
    if results[0] is not None and results[1] is not None:
        assert results[0] == results[1]
    if results[0] is None:
        return
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + raw)
    server.next_event()
    content = b""
    while isinstance(event := server.next_event(), h11.Data):
        content += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert (content, server.trailing_data[0]) == (results[0][0], results[0][2])


# --- the base path ----------------------------------------------------------------------------------

base_paths = st.sampled_from([b"", b"/v1", b"/openai/v1", b"/a/b/c", b"/v1beta"])
targets = st.one_of(
    paths,
    st.tuples(
        base_paths, st.sampled_from([b"", b"/", b"?", b"#", b"x", b"/v1", b"%2F"]), some_bytes(VISIBLE)
    ).map(b"".join),
).filter(lambda target: target.startswith(b"/"))  # fmt: skip


@given(base_paths, targets)
def test_base_path_is_joined_once(base_path: bytes, target: bytes) -> None:
    joined = join_base_path(base_path, target)
    assert join_base_path(base_path, joined) == joined
    assert joined in (target, base_path + target)
    assert joined.startswith(base_path)
    if base_path:
        assert not joined.startswith(base_path * 2 + b"/") or target.startswith(base_path * 2 + b"/")


# --- what leaves ------------------------------------------------------------------------------------

CLIENTS = b"of-the-client"
REMOVED = {*STRIPPED, *HOP_BY_HOP, b"x-forwarded-for", b"x-forwarded-proto", b"content-length"}


@st.composite
def respelled(draw: st.DrawFn, name: bytes) -> bytes:
    """The name in any case, and with `_` for any `-`."""
    return bytes(
        draw(st.sampled_from(b"-_"))
        if byte == ord("-")
        else draw(st.sampled_from([byte, ord(chr(byte).upper())]))
        for byte in name
    )


@st.composite
def any_fields(draw: st.DrawFn) -> list[Field]:
    """Fields of all sorts; those called X-Keep-… may not be touched, credentials hold `CLIENTS`."""
    sorts = st.one_of(
        st.sampled_from(sorted(REMOVED)).flatmap(respelled).map(lambda name: field(name, CLIENTS)),
        st.sampled_from([b"Authorization", b"AUTHORIZATION"]).map(
            lambda name: field(name, b"Bearer " + CLIENTS)
        ),
        st.sampled_from([b"Host", b"HOST"]).map(lambda name: field(name, b"evil")),
        st.sampled_from([b"5", b"0", b"7, 7"]).map(lambda value: field(b"Content-Length", value)),
        st.sampled_from([b"chunked", b"gzip"]).map(lambda value: field(b"Transfer-Encoding", value)),
        st.sampled_from([b"authorization", b"Host, content-length", b"close, x-gone, transfer-encoding"]).map(
            lambda value: field(b"Connection", value)
        ),
        respelled(b"sec-websocket-protocol").map(
            lambda name: field(name, b"a, OpenAI-insecure-api-key." + CLIENTS + b",b")
        ),
        st.tuples(st.integers(0, 3), field_values).map(lambda pair: field(b"X-Keep-%d" % pair[0], pair[1])),
    )
    return draw(st.lists(sorts, max_size=12))


def normal(name: bytes) -> bytes:
    return name.lower().replace(b"_", b"-")


framing_choices = st.sampled_from([NO_BODY, CHUNKED, Length(5), Length(10**17)])


@given(st.sampled_from(ACCESSES), methods, targets, any_fields(), framing_choices)
def test_what_leaves_has_our_key_once_and_nothing_of_the_clients(
    canary: str, access: Access, method: bytes, target: bytes, fields: list[Field], framing: Framing
) -> None:
    head = RequestHead(method, target, b"1.1", tuple(fields))
    after = prepare_request(head, framing, access=access, keys=(Secret(canary.encode()),))
    ((carrier, content),) = access.keys[0].inject(canary.encode())
    names_left = [normal(name) for _, name, _ in after.fields]
    keys = [value for _, name, value in after.fields if normal(name) == carrier.lower()]
    assert (keys == [content]) is True
    assert [value for lower, _, value in after.fields if lower == b"host"] == [access.origin.host_field]
    framed = [name for name in names_left if name in (b"content-length", b"transfer-encoding")]
    assert len(framed) <= 1
    assert not {*names_left} & (REMOVED - {carrier.lower(), b"content-length", b"transfer-encoding"})
    assert not any(name.startswith(b"x-forwarded-") for name in names_left)
    assert not any(CLIENTS in value for _, _, value in after.fields)
    assert [each for each in after.fields if each[1].startswith(b"X-Keep-")] == [
        each for each in fields if each[1].startswith(b"X-Keep-")
    ]
    read = read_request([serialise_request(after)])
    assert read is not None
    assert (read[0] == after) is True


@given(raw_heads())
def test_an_admitted_request_is_framed_upstream_as_it_was_read(raw: bytes) -> None:
    read = read_request([raw])
    assert read is not None
    before = admit(read[0], ORIGIN, PORT)
    after = prepare_request(before.head, before.framing, access=OPENAI, keys=(Secret(b"k"),))
    written = serialise_request(after)
    theirs = read_by_h11(written)
    assert theirs is not None
    assert theirs[1:] == (before.framing, b"")
    again = read_request([written])
    assert again is not None
    assert admit(again[0], ORIGIN, PORT).framing == before.framing


@given(any_fields())
def test_no_trailer_carries_a_credential_or_framing(fields: list[Field]) -> None:
    kept = prepare_trailers(tuple(fields), OPENAI)
    assert not any(CLIENTS in value for _, _, value in kept)
    assert not {normal(name) for _, name, _ in kept} & {*REMOVED, b"host", b"sec-websocket-protocol"}


@given(st.sampled_from([b"\r\n", b"\n", b"\r", b"\0"]), st.integers(0, 3))
def test_no_line_break_is_ever_written_into_a_head(bad: bytes, place: int) -> None:
    parts = [b"POST", b"/a", b"X", b"v"]
    parts[place] += bad + b"Injected: 1"
    head = RequestHead(parts[0], parts[1], b"1.1", (field(parts[2], parts[3]),))
    with pytest.raises(InternalError):
        serialise_request(head)
