"""Properties of the whole data path, from a client's bytes to an origin's and back, over generated messages.

`--hypothesis-profile=long` tries many more; with CI set the examples are the same in every run.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, assume, example, find, given, settings
from hypothesis import strategies as st

from tests.memory import model
from tests.memory.model import Message, Pairs
from tests.memory.peers import House, answer

CORPUS = sorted((Path(__file__).resolve().parents[2] / "fuzz/corpus/request").iterdir())
EXAMPLES = settings(max_examples=max(200, settings.default.max_examples), deadline=None)

# --- generated messages -------------------------------------------------------------------------------

TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
VISIBLE = bytes(range(0x21, 0x7F))
_GENERATED_APART = {b"host", b"content-length", b"transfer-encoding", b"upgrade", b"connection", b"expect"}


def some_bytes(alphabet: bytes, least: int = 0, most: int = 12) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(alphabet), min_size=least, max_size=most).map(bytes)


names = st.one_of(
    some_bytes(TOKEN, 1).filter(lambda name: name.lower() not in _GENERATED_APART),
    st.sampled_from(
        [b"Authorization", b"x_api_key", b"Cookie", b"X-Forwarded-For", b"TE", b"Via", b"Keep-Alive",
         b"Proxy-Authenticate",
         b"X-Gone", b"Set-Cookie", b"Content_Length", b"awfproxy-error", b"Trailer", b"X-HTTP-Method"]
    ),
)  # fmt: skip
large = st.tuples(st.sampled_from(VISIBLE), st.integers(1000, 3000)).map(
    lambda pair: bytes(pair[:1]) * pair[1]
)
values = st.one_of(some_bytes(VISIBLE + b" \t\x80\xff").map(lambda value: value.strip(b" \t")), large)
pairs = st.lists(st.tuples(names, values), max_size=5)
connections = st.sampled_from([None, b"keep-alive", b"x-gone, Authorization", b"X-GONE"])
paths = st.one_of(
    some_bytes(VISIBLE).map(lambda rest: b"/" + rest.lstrip(b"/")), st.sampled_from([b"/v1/models", b"/v1"])
)
authorities = st.sampled_from(
    [b"", b"", b"http://api.openai.com", b"HTTPS://API.openai.com:443", b"http://gateway:10000"]
)
"""In front of a path, the last by the port that is ours; with one and no path, the target is absolute too."""
targets = st.one_of(
    st.tuples(authorities, paths).map(b"".join),
    st.sampled_from([b"http://api.openai.com", b"http://api.openai.com?a=b"]),
)
contents = st.lists(
    st.tuples(st.binary(min_size=1, max_size=20), st.sampled_from([1, 1, 1, 1000])).map(
        lambda pair: pair[0] * pair[1]
    ),
    max_size=4,
)
sizes = st.sampled_from([b"%X", b"%x", b"%04x"])
extensions = st.sampled_from([b"", b";a", b';a="b c"', b";a=b;c", b';a="b;\\"c"'])
HELD = 65536
"""Octets of a pipeline that wait for the answer before them."""
METHODS = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS"]


@st.composite
def framed(draw: st.DrawFn, framings: list[str]) -> tuple[Pairs, bytes, bytes, Pairs]:
    """(the framing's field, the body's bytes, its content, its trailers)."""
    framing = draw(st.sampled_from(framings))
    pieces = draw(contents)
    content = b"".join(pieces)
    if framing == "chunked":
        trailers = draw(pairs)
        chunks = b"".join(
            draw(sizes) % len(each) + draw(extensions) + b"\r\n" + each + b"\r\n" for each in pieces
        )
        lines = b"".join(b"%b:%b\r\n" % pair for pair in trailers)
        coding = draw(st.sampled_from([b"chunked", b"CHUNKED"]))
        return [(b"Transfer-encoding", coding)], chunks + b"0\r\n" + lines + b"\r\n", content, trailers
    if framing == "length":
        return [(b"content-Length", b"%03d" % len(content))], content, content, []
    return [], content if framing == "until-close" else b"", content if framing == "until-close" else b"", []


@st.composite
def fields_with(draw: st.DrawFn, framing: Pairs, host: bool) -> Pairs:
    fields = draw(pairs)
    if connection := draw(connections):
        fields.insert(draw(st.integers(0, len(fields))), (b"Connection", connection))
    for field in framing:
        fields.insert(draw(st.integers(0, len(fields))), field)
    if host:
        fields.insert(draw(st.integers(0, len(fields))), (b"hOst", b"localhost:10000"))
    return fields


def written(start: bytes, fields: Pairs, body: bytes = b"") -> bytes:
    return start + b"\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in fields) + b"\r\n" + body


@st.composite
def a_request(draw: st.DrawFn) -> tuple[Message, bytes]:
    """(a valid request, its bytes)."""
    framing, body, content, trailers = draw(framed(["none", "length", "chunked"]))
    if framing and draw(st.booleans()):
        framing = [*framing, (b"Expect", draw(st.sampled_from([b"100-continue", b"100-Continue"])))]
    fields = draw(fields_with(framing, host=True))
    method, target = draw(st.sampled_from(METHODS)), draw(targets)
    raw = written(b"%b %b HTTP/1.1" % (method, target), fields, body)
    return Message((method, target), fields, content, trailers), raw


@st.composite
def a_response(draw: st.DrawFn) -> tuple[bytes, list[tuple[Message, bytes]], bool]:
    """(the request's method, interim responses and the final one with their bytes, until close)."""
    method = draw(st.sampled_from([b"GET", b"HEAD", b"PUT"]))
    before = []
    for status in draw(st.lists(st.sampled_from([b"100", b"103"]), max_size=3)):
        fields = draw(fields_with([], host=False))
        before.append((Message((status,), fields, b"", []), written(b"HTTP/1.1 %b X" % status, fields)))
    status = draw(st.sampled_from([b"200", b"204", b"304", b"404", b"500"]))
    bare = method == b"HEAD" or status in (b"204", b"304")
    kinds = ["none"] if bare else ["length", "chunked", "until-close"]
    framing, body, content, trailers = draw(framed(kinds))
    until_close = not bare and not framing
    fields = draw(fields_with(framing, host=False))
    raw = written(b"HTTP/1.1 %b Some reason" % status, fields, body)
    return method, [*before, (Message((status,), fields, content, trailers), raw)], until_close


@st.composite
def cut(draw: st.DrawFn, raw: bytes) -> list[bytes]:
    places = sorted(draw(st.sets(st.integers(1, max(1, len(raw) - 1)), max_size=12)))
    return [raw[begin:end] for begin, end in zip([0, *places], [*places, len(raw)], strict=True)]


SORTS: dict[str, Callable[[Message, bytes], object]] = {
    "chunk extension": lambda _, raw: re.search(rb"\r\n[0-9a-fA-F]+;", raw),
    "trailers": lambda sent, _: sent.trailers,
    "chunked and empty": lambda _, raw: raw.endswith(b"\r\n\r\n0\r\n\r\n"),
    "length of nothing": lambda _, raw: b"content-Length: 000\r\n" in raw,
    "Expect": lambda _, raw: b"\r\nExpect: " in raw,
    "absolute-form": lambda sent, _: not sent.start[1].startswith(b"/"),
    "HEAD": lambda sent, _: sent.start[0] == b"HEAD",
    "large field": lambda sent, _: any(len(value) > 1000 for _, value in sent.fields),
    "large content": lambda sent, _: len(sent.content) > 10_000,
}


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.parametrize("sort", SORTS)
def test_requests_of_each_sort_are_generated(sort: str) -> None:
    tried = settings(max_examples=2000, phases=[Phase.generate], database=None, derandomize=True)
    find(a_request(), lambda pair: bool(SORTS[sort](*pair)), settings=tried)


# --- the data path ------------------------------------------------------------------------------------


@contextmanager
def house(key: str) -> Iterator[Any]:
    made = House(key)
    try:
        yield made
    finally:
        made.close()


class Origins:
    """Reads what arrives on any tunnel as h11 does, and answers each request once it is there."""

    def __init__(self, house: Any) -> None:
        self._house = house
        self._answered: dict[Any, int] = {}
        self.continued: list[tuple[Any, int]] = []
        """The tunnel and number of each request that was answered 100 before its content was there."""

    def seen(self) -> list[Message]:
        """All requests on all tunnels, which one client's pipeline uses one after the other."""
        return [request for wire in self._house.origins for request in model.requests(wire.received)]

    def unanswered(self) -> list[Any]:
        """Tunnels on which a whole request waits for its answer."""
        return [wire for wire in self._house.origins if self._whole(wire) > self._answered.get(wire, 0)]

    def answer(self, wire: Any, *pieces: bytes) -> None:
        self._answered[wire] = self._answered.get(wire, 0) + 1
        wire.deliver(*pieces)

    def answer_all(self) -> None:
        """Each whole request; and where content is awaited behind Expect, it asks for that."""
        for wire in self._house.origins:
            requests = model.requests(wire.received)
            awaited = bool(requests) and not requests[-1].complete and (wire, len(requests))
            if awaited and awaited not in self.continued and _expects(requests[-1]):
                self.continued.append(awaited)
                wire.deliver(b"HTTP/1.1 100 Continue\r\n\r\n")
        while waiting := self.unanswered():
            self.answer(waiting[0], answer(b"number %d" % sum(self._answered.values())))

    def _whole(self, wire: Any) -> int:
        return sum(request.complete for request in model.requests(wire.received))


def _expects(request: Message) -> bool:
    return any(name == b"Expect" for name, _ in request.fields)


@EXAMPLES
@given(st.data(), st.lists(a_request(), min_size=1, max_size=4))
def test_what_the_origin_receives_is_what_was_sent_after_the_documented_transforms(
    canary: str, data: st.DataObject, sent: list[tuple[Message, bytes]]
) -> None:
    key = canary.encode("ascii")
    # More is not held behind one that is being answered (tests/hostile: "too long while one is answered").
    assume(sum(len(raw) for _, raw in sent[1:]) <= HELD)
    pieces = data.draw(cut(b"".join(raw for _, raw in sent)))
    with house(canary) as made:
        client, origins = made.client(), Origins(made)
        for piece in pieces:
            client.deliver(piece)
            origins.answer_all()
        assert (origins.seen() == [model.upstream(message, key) for message, _ in sent]) is True
        heard, rest = model.responses(client.received, [message.start[0] for message, _ in sent])
        before = [message for message in heard if message.start == (b"100",)]
        assert len(before) == len(origins.continued)
        assert [message.content for message in heard if message not in before] == [
            b"" if message.start[0] == b"HEAD" else b"number %d" % at for at, (message, _) in enumerate(sent)
        ]
        assert rest == b""
        assert client.lost is None
        assert made.outcomes == ["completed"] * len(sent)


@EXAMPLES
@given(st.data(), st.lists(a_response(), min_size=1, max_size=4))
def test_responses_arrive_as_they_were_sent_however_they_are_cut(
    canary: str,
    data: st.DataObject,
    answers: list[tuple[bytes, list[tuple[Message, bytes]], bool]],
) -> None:
    expected = []
    with house(canary) as made:
        client, origins = made.client(), Origins(made)
        client.deliver(
            b"".join(
                b"%b /v1/x HTTP/1.1\r\nHost: a\r\nX-Request-Id: id-%d\r\n\r\n" % (method, at)
                for at, (method, _, _) in enumerate(answers)
            )
        )
        for at, (_, messages, until_close) in enumerate(answers):
            (wire,) = origins.unanswered()
            origins.answer(wire, *data.draw(cut(b"".join(raw for _, raw in messages))))
            if until_close:
                wire.finish()
            expected += [model.interim(message) for message, _ in messages[:-1]]
            expected.append(model.downstream(messages[-1][0], b"id-%d" % at, until_close=until_close))
        heard, rest = model.responses(client.received, [method for method, _, _ in answers])
        assert heard == expected
        assert rest == b""
        assert made.outcomes == ["completed"] * len(answers)


CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
SPLICES = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"\x0b", b"\x7f", b"\xff", b"+",
    b"-", b"0", b"5", b"0x", b"_", b"A", b"/", b"@", b"?", b"\r\n ", b"Host: b\r\n", b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n", b"Content-Length", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding",
    b"Transfer-Encoding: gzip\r\n", b"chunked", b"identity", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0",
    b"0\r\n\r\n",
    b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", b"http://api.openai.com", b"http://evil",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Valid requests with up to four edits: a bit turned, something put in, taken out, doubled."""
    raw = b"".join(raw for _, raw in draw(st.lists(a_request(), min_size=1, max_size=3)))
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(raw)))
        end = draw(st.integers(begin, min(len(raw), begin + draw(st.sampled_from([0, 1, 2, 30])))))
        turned = bytes(byte ^ 1 << draw(st.integers(0, 7)) for byte in raw[begin : begin + 1])
        other = draw(st.sampled_from(CORPUS)).read_bytes()
        at = draw(st.integers(0, len(other)))
        put = draw(st.sampled_from([b"", turned, raw[begin:end] * 2, other[at:], other[:at], *SPLICES]))
        raw = raw[:begin] + put + raw[end:]
    return raw


@EXAMPLES
@given(st.data(), mutated())
@example(None, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
@example(None, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd")
@example(None, CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n")
@example(None, CHUNKED + b"3\r\nabcXX0\r\n\r\n")
@example(None, CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n")
@example(None, CHUNKED + b"3\r\nabc\r\n0\r\nA: b\r\nTransfer-Encoding: gzip\r\n\r\n")
@example(None, CHUNKED + b"3;\n\r\nabc\r\n0\r\n\r\n")
@example(None, b"GET / HTTP/1.1\r\nHost: a\r\nX: b\nHost: c\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
def test_of_mutated_requests_the_origin_sees_nothing_or_what_h11_reads(
    canary: str, data: st.DataObject | None, raw: bytes
) -> None:
    key = canary.encode("ascii")
    theirs = [model.upstream(message, key) for message in model.requests(raw)]
    for pieces in ([raw], [raw] if data is None else data.draw(cut(raw))):
        with house(canary) as made:
            client, origins = made.client(), Origins(made)
            for piece in pieces:
                client.deliver(piece)
                origins.answer_all()
            client.finish()
            seen = origins.seen()
            unread = bool(theirs) and theirs[-1].framed_trailers
            assert len(seen) <= len(theirs) or unread, "a request that h11 does not read"
            for ours, other in zip(seen, theirs, strict=False):
                assert (ours.start, ours.fields) == (other.start, other.fields), "read otherwise"
                if other.framed_trailers:
                    assert ours.content == other.content or not ours.complete
                    assert not {b"transfer-encoding", b"content-length"} & {
                        model.alike(name) for name, _ in ours.trailers
                    }
                elif ours.complete:
                    assert (ours == other) is True, "another body"
                else:
                    assert other.content.startswith(ours.content)
