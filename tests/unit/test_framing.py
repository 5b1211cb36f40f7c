"""How long a body is: one answer or a refusal, never a guess."""

import pytest

from awfproxy.errors.client import MalformedMessage
from awfproxy.wire.chunked import ChunkedReader
from awfproxy.wire.framing import (
    CHUNKED,
    NO_BODY,
    UNTIL_CLOSE,
    Framing,
    Length,
    LengthReader,
    UntilCloseReader,
    body_reader,
    request_framing,
    response_framing,
)
from awfproxy.wire.message import Fields, RequestHead, ResponseHead, field

CL, TE = b"Content-Length", b"Transfer-Encoding"


def fields(*pairs: tuple[bytes, bytes]) -> Fields:
    return tuple(field(name, value) for name, value in pairs)


def request(*pairs: tuple[bytes, bytes], version: bytes = b"1.1") -> RequestHead:
    return RequestHead(b"POST", b"/", version, fields(*pairs))


def response(status: int, *pairs: tuple[bytes, bytes], version: bytes = b"1.1") -> ResponseHead:
    return ResponseHead(version, status, b"", fields(*pairs))


@pytest.mark.parametrize(
    ("head", "framing"),
    [
        (request(), NO_BODY),
        (request(version=b"1.0"), NO_BODY),
        (request((CL, b"0")), NO_BODY),
        (request((CL, b"5")), Length(5)),
        (request((b"content-LENGTH", b"5"), version=b"1.0"), Length(5)),
        (request((CL, b"02")), Length(2)),
        (request((CL, b"9" * 18)), Length(10**18 - 1)),
        (request((TE, b"chunked")), CHUNKED),
        (request((b"transfer-encoding", b"CHUNKED")), CHUNKED),
        (request((b"Content_Length", b"5"), (b"Transfer_Encoding", b"chunked")), NO_BODY),
    ],
)
def test_request_framing(head: RequestHead, framing: Framing) -> None:
    assert request_framing(head) == framing


AMBIGUOUS: dict[str, tuple[tuple[bytes, bytes], ...]] = {
    "length, then coding": ((CL, b"5"), (TE, b"chunked")),
    "coding, then length": ((TE, b"chunked"), (CL, b"5")),
    "coding and length 0": ((TE, b"chunked"), (CL, b"0")),
    "two lengths that differ": ((CL, b"5"), (CL, b"6")),
    "two equal lengths": ((CL, b"5"), (CL, b"5")),
    "two equal lengths of other case": ((CL, b"5"), (b"content-length", b"5")),
    "a list of lengths": ((CL, b"2, 2"),),
    "plus sign": ((CL, b"+2"),),
    "minus sign": ((CL, b"-2"),),
    "empty length": ((CL, b""),),
    "hexadecimal length": ((CL, b"0x2"),),
    "space inside": ((CL, b"2 2"),),
    "underscore": ((CL, b"1_0"),),
    "point": ((CL, b"2.0"),),
    "digits that are not ASCII": ((CL, "٢".encode()),),
    "superscript": ((CL, b"\xb2"),),
    "19 digits": ((CL, b"1" * 19),),
    "5,000 digits": ((CL, b"1" * 5000),),
    "5,000 zeros": ((CL, b"0" * 5000),),
    "gzip, chunked": ((TE, b"gzip, chunked"),),
    "chunked, gzip": ((TE, b"chunked, gzip"),),
    "chunked twice in one": ((TE, b"chunked, chunked"),),
    "chunked twice": ((TE, b"chunked"), (TE, b"chunked")),
    "gzip and chunked on two lines": ((TE, b"gzip"), (TE, b"chunked")),
    "identity": ((TE, b"identity"),),
    "identity beside chunked": ((TE, b"identity"), (TE, b"chunked")),
    "empty coding": ((TE, b""),),
    "comma": ((TE, b"chunked,"),),
    "parameter": ((TE, b"chunked;q=1"),),
    "quoted": ((TE, b'"chunked"'),),
    "xchunked": ((TE, b"xchunked"),),
    "vertical tab": ((TE, b"\x0bchunked"),),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_ambiguous_request_is_refused(name: str) -> None:
    with pytest.raises(MalformedMessage):
        request_framing(request(*AMBIGUOUS[name]))


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_ambiguous_response_is_refused(name: str) -> None:
    with pytest.raises(MalformedMessage):
        response_framing(b"GET", response(200, *AMBIGUOUS[name]))


@pytest.mark.parametrize("name", AMBIGUOUS)
@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
def test_ambiguous_length_is_refused_where_there_is_no_body(method: bytes, status: int, name: str) -> None:
    """It would be relayed, to a client that may think otherwise of there being none."""
    with pytest.raises(MalformedMessage):
        response_framing(method, response(status, *AMBIGUOUS[name]))


def test_coding_in_http_1_0_is_refused_both_ways() -> None:
    with pytest.raises(MalformedMessage):
        request_framing(request((TE, b"chunked"), version=b"1.0"))
    with pytest.raises(MalformedMessage):
        response_framing(b"GET", response(200, (TE, b"chunked"), version=b"1.0"))


@pytest.mark.parametrize(
    ("method", "head", "framing"),
    [
        (b"GET", response(200, (CL, b"5")), Length(5)),
        (b"GET", response(200, (CL, b"0")), NO_BODY),
        (b"GET", response(200, (TE, b"chunked")), CHUNKED),
        (b"GET", response(200), UNTIL_CLOSE),
        (b"GET", response(200, version=b"1.0"), UNTIL_CLOSE),
        (b"GET", response(205), UNTIL_CLOSE),
        (b"GET", response(500, (CL, b"5")), Length(5)),
        (b"HEAD", response(200, (CL, b"5")), NO_BODY),
        (b"HEAD", response(200, (TE, b"chunked")), NO_BODY),
        (b"HEAD", response(200), NO_BODY),
        (b"HEAD", response(404, (CL, b"5")), NO_BODY),
        *((b"GET", response(status, (CL, b"5")), NO_BODY) for status in (100, 101, 103, 199, 204, 304)),
        *((b"POST", response(status, (TE, b"chunked")), NO_BODY) for status in (100, 204, 304)),
        *((b"POST", response(status), NO_BODY) for status in (100, 204, 304)),
    ],
)
def test_response_framing(method: bytes, head: ResponseHead, framing: Framing) -> None:
    assert response_framing(method, head) == framing


def test_known_length_is_counted_off_and_the_rest_kept() -> None:
    reader = LengthReader(5)
    assert reader.feed(b"hel") == b"hel"
    assert not reader.done
    assert reader.feed(b"lo, GET") == b"lo"
    assert reader.done
    assert reader.rest == b", GET"
    assert reader.trailers == ()


def test_known_length_that_is_met_exactly_leaves_nothing() -> None:
    reader = LengthReader(5)
    assert reader.feed(b"hello") == b"hello"
    assert reader.done
    assert reader.rest == b""


def test_length_zero_is_done_at_once() -> None:
    reader = body_reader(NO_BODY)
    assert reader.done
    assert reader.feed(b"next") == b""
    assert reader.rest == b"next"


def test_until_close_is_never_done_by_itself() -> None:
    reader = UntilCloseReader()
    assert reader.feed(b"0\r\n\r\n") == b"0\r\n\r\n"
    assert not reader.done


@pytest.mark.parametrize(
    ("framing", "kind"),
    [
        (CHUNKED, ChunkedReader),
        (UNTIL_CLOSE, UntilCloseReader),
        (Length(1), LengthReader),
        (NO_BODY, LengthReader),
    ],
)
def test_each_framing_has_its_reader(framing: Framing, kind: type) -> None:
    assert isinstance(body_reader(framing), kind)
