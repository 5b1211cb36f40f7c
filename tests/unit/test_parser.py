"""Heads out of bytes: what is read exactly, what is refused, and with which error."""

import time

import pytest

from awfproxy.errors.base import AwfError
from awfproxy.errors.client import (
    ClientError,
    HeadTooLarge,
    MalformedMessage,
    MethodUnknown,
    TargetTooLong,
    VersionNotSupported,
)
from awfproxy.wire import parser
from awfproxy.wire.message import RequestHead, ResponseHead
from awfproxy.wire.parser import Limits, RequestHeadReader, ResponseHeadReader

START = b"GET / HTTP/1.1\r\nHost: a\r\n"


def pieces_of(raw: bytes) -> list[list[bytes]]:
    """The bytes whole, one by one, and cut in two at each place."""
    return [
        [raw],
        [raw[at : at + 1] for at in range(len(raw))],
        *([raw[:at], raw[at:]] for at in range(1, len(raw))),
    ]


def request(pieces: list[bytes]) -> tuple[RequestHead, bytes] | None:
    reader = RequestHeadReader()
    for at, piece in enumerate(pieces):
        if (read := reader.feed(piece)) is not None:
            return read[0], read[1] + b"".join(pieces[at + 1 :])
    return None


def response(pieces: list[bytes]) -> tuple[ResponseHead, bytes] | None:
    reader = ResponseHeadReader()
    for at, piece in enumerate(pieces):
        if (read := reader.feed(piece)) is not None:
            return read[0], read[1] + b"".join(pieces[at + 1 :])
    return None


def refusal(raw: bytes) -> type[AwfError]:
    with pytest.raises(ClientError) as caught:
        request([raw])
    return type(caught.value)


# --- what is read -----------------------------------------------------------------------------------


def test_head_is_read_byte_by_byte_exact_however_it_is_cut() -> None:
    raw = (
        b"POST /v1/a?b=%2F HTTP/1.1\r\nHost: a:10000\r\nX-Twice: 1\r\nx-TWICE:\t 2 3 \t\r\nEmpty:\r\n"
        b"Obs: \xff\x80\r\nContent-Length: 3\r\n\r\nabcGET"
    )
    fields = (
        (b"host", b"Host", b"a:10000"),
        (b"x-twice", b"X-Twice", b"1"),
        (b"x-twice", b"x-TWICE", b"2 3"),
        (b"empty", b"Empty", b""),
        (b"obs", b"Obs", b"\xff\x80"),
        (b"content-length", b"Content-Length", b"3"),
    )
    for pieces in pieces_of(raw):
        assert request(pieces) == (RequestHead(b"POST", b"/v1/a?b=%2F", b"1.1", fields), b"abcGET"), pieces


@pytest.mark.parametrize("name", [bytes([byte]) for byte in b"!#$%&'*+-.^_`|~0aZ"])
def test_every_character_of_a_token_may_be_in_a_name(name: bytes) -> None:
    read = request([START + name + b": v\r\n\r\n"])
    assert read is not None
    assert read[0].fields[1:] == ((name.lower(), name, b"v"),)


@pytest.mark.parametrize(
    "target",
    [
        b"/v1/files/a:b%2Fc?", b"/a/../b", b"/%00", b"/\\[", b"/a?", b"/a;?x", b"/a;", b"/%41%zz%", b"//x",
        b"/a//b/./", b"/\"<>^`{|}[]'", b"/?a?b#c", b"/a@b:c", b"*", b"http://h:1/x?y", b"/" + b"a" * 16383,
    ],
)  # fmt: skip
def test_target_is_kept_byte_by_byte(target: bytes) -> None:
    method = b"OPTIONS" if target == b"*" else b"GET"
    read = request([method + b" " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n"])
    assert read is not None
    assert read[0].target == target


@pytest.mark.parametrize("byte", range(0x21, 0x7F))
def test_every_visible_ascii_character_may_be_in_a_target(byte: int) -> None:
    target = b"/a" + bytes([byte]) + b"b"
    read = request([b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n"])
    assert read is not None
    assert read[0].target == target


@pytest.mark.parametrize(
    "method",
    [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"QUERY", b"PROPFIND", b"TRACE"],
)
def test_method_is_kept(method: bytes) -> None:
    read = request([method + b" / HTTP/1.1\r\nHost: a\r\n\r\n"])
    assert read is not None
    assert read[0].method == method


def test_http_1_0_without_fields_is_read() -> None:
    assert request([b"GET / HTTP/1.0\r\n\r\n"]) == (RequestHead(b"GET", b"/", b"1.0", ()), b"")


def test_head_that_asks_for_an_upgrade_ends_like_any_other() -> None:
    read = request([START + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00"])
    assert read is not None
    assert read[1] == b"\x81\x00"


def test_pipelined_requests_are_read_one_by_one() -> None:
    first = request([START + b"\r\n" + START + b"X: 2\r\n\r\n"])
    assert first is not None
    second = request([first[1]])
    assert second is not None
    assert second[0].fields[-1] == (b"x", b"X", b"2")


def test_empty_lines_in_front_of_a_request_are_read_over() -> None:
    raw = b"\r\n\r\n\r\n" + START + b"\r\n\r\n"
    for pieces in pieces_of(raw):
        read = request(pieces)
        assert read is not None
        assert read[0] == RequestHead(b"GET", b"/", b"1.1", ((b"host", b"Host", b"a"),))
        assert read[1] == b"\r\n"


def test_reader_says_whether_a_head_has_begun() -> None:
    reader = RequestHeadReader()
    for piece in b"\r", b"\n", b"\r\n\r":
        reader.feed(piece)
        assert not reader.begun, "that is an empty line in front of a head"
    reader.feed(b"\nG")
    assert reader.begun


# --- what is refused --------------------------------------------------------------------------------

HEADS = {
    "bare LF everywhere": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare LF after the request line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "bare LF after the target, with a version behind": b"GET /a\nX:y HTTP/1.1\r\nHost: a\r\n\r\n",
    "bare LF after a target of HTTP/1.0": b"GET /a\nX:y HTTP/1.0\r\n\r\n",
    "bare LF after a field": b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "bare LF at the end": START + b"\n",
    "bare LF as the empty line, with more behind": START + b"\nX: y\r\n\r\n",
    "bare LF before a body that ends like a head": START + b"Content-Length: 9\r\n\n01234\r\n\r\n",
    "bare CR in a value": START + b"X: a\rb\r\n\r\n",
    "bare CR before a line's end": START + b"X: a\r\r\n\r\n",
    "NUL in a value": START + b"X: a\0b\r\n\r\n",
    "LF in a value": START + b"X: a\nb\r\n\r\n",
    "control byte in a value": START + b"X: a\x01b\r\n\r\n",
    "escape in a value": START + b"X: \x1b[0m\r\n\r\n",
    "DEL in a value": START + b"X: a\x7fb\r\n\r\n",
    "space before the colon": START + b"X : b\r\n\r\n",
    "tab before the colon": START + b"X\t: b\r\n\r\n",
    "space before the colon of a length": START + b"Content-Length : 5\r\n\r\n",
    "space before the colon of a coding": START + b"Transfer-Encoding : chunked\r\n\r\n",
    "no name": START + b": b\r\n\r\n",
    "no colon": START + b"X\r\n\r\n",
    "NUL in a name": START + b"X\0: b\r\n\r\n",
    "non-ASCII name": START + b"X\xe9: b\r\n\r\n",
    "space in a name": START + b"X Y: b\r\n\r\n",
    "obs-fold": START + b"X: a\r\n b\r\n\r\n",
    "obs-fold by tab": START + b"X: a\r\n\tb\r\n\r\n",
    "obs-fold with nothing in it": START + b"X: a\r\n \r\n\r\n",
    "obs-fold in a coding": START + b"Transfer-Encoding:\r\n chunked\r\n\r\n",
    "obs-fold in a length": START + b"Content-Length:\r\n 5\r\n\r\n",
    "fold before the first field": b"GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n",
    "length, then coding": START + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "coding, then length": START + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    "two lengths that differ": START + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "two equal lengths": START + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
    "a list of lengths": START + b"Content-Length: 2, 2\r\n\r\n",
    "plus sign": START + b"Content-Length: +2\r\n\r\n",
    "empty length": START + b"Content-Length:\r\n\r\n",
    "length of 5,000 digits": START + b"Content-Length: " + b"1" * 5000 + b"\r\n\r\n",
    "identity": START + b"Transfer-Encoding: identity\r\n\r\n",
    "two spaces after the method": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces before the version": b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
    "space after the version": b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "tab for space": b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "control byte in the target": b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "DEL in the target": b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
    "non-ASCII target": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: a\r\n\r\n",
    "target without slash": b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    "target of a query alone": b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n",
    "space in front": b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "LF in front": b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "CR in front": b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "CR CR LF in front": b"\r\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "another protocol": b"GET / RTSP/1.0\r\nHost: a\r\n\r\n",
    "ICE": b"SOURCE / ICE/1.0\r\nHost: a\r\n\r\n",
    "lower-case protocol": b"GET / http/1.1\r\nHost: a\r\n\r\n",
    "two digits in the version": b"GET / HTTP/1.10\r\nHost: a\r\n\r\n",
    "TLS client hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "SOCKS 5": b"\x05\x01\x00",
    "PROXY protocol, binary": b"\r\n\r\n\x00\r\nQUIT\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("name", HEADS)
def test_malformed_head_is_refused_however_it_is_cut(name: str) -> None:
    raw = HEADS[name]
    for pieces in pieces_of(raw) if len(raw) < 500 else [[raw]]:
        with pytest.raises(ClientError) as caught:
            request(pieces)
        assert caught.value.status == 400, pieces


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", VersionNotSupported),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", VersionNotSupported),
        (b"GET /\r\n\r\n", VersionNotSupported),
        (b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n", MethodUnknown),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", MethodUnknown),
        (b"Get / HTTP/1.1\r\nHost: a\r\n\r\n", MethodUnknown),
        (b"GETX / HTTP/1.1\r\nHost: a\r\n\r\n", MethodUnknown),
        (b"\r\nBREW / HTTP/1.1\r\nHost: a\r\n\r\n", MethodUnknown),
        (b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", MalformedMessage),
        (b"GET /" + b"a" * 16384 + b" HTTP/1.1\r\nHost: a\r\n\r\n", TargetTooLong),
        (b"GET /" + b"a" * 16384, TargetTooLong),
        (b"GET /" + b"a" * 100000, TargetTooLong),
        (START + b"X: " + b"a" * 65536 + b"\r\n\r\n", HeadTooLarge),
        (START + b"X: " + b"a" * 65536, HeadTooLarge),
        (START + b"a" * 65536, HeadTooLarge),
        (START + b"X: 1\r\n" * 256 + b"\r\n", HeadTooLarge),
        (START + b"X: 1\r\n" * 257, HeadTooLarge),
        (b"\r\n" * 32769, HeadTooLarge),
    ],
)
def test_each_refusal_has_its_own_error(raw: bytes, error: type[AwfError]) -> None:
    assert refusal(raw) is error


def test_limits_are_met_exactly() -> None:
    limits = Limits(head=100, target=10, fields=2)
    head = b"GET /23456789 HTTP/1.1\r\nHost: a\r\nX: "
    head += b"x" * (100 - len(head) - 4) + b"\r\n\r\n"
    assert len(head) == 100
    assert RequestHeadReader(limits).feed(head + b"rest") is not None
    with pytest.raises(HeadTooLarge):
        RequestHeadReader(limits).feed(head[:-4] + b"y\r\n\r\n")
    with pytest.raises(TargetTooLong):
        RequestHeadReader(limits).feed(b"GET /2345678901 HTTP/1.1\r\nHost: a\r\n\r\n")
    with pytest.raises(HeadTooLarge):
        RequestHeadReader(limits).feed(b"GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n")


@pytest.mark.parametrize("unit", [b"\r\n", b"\r\n\r\n"])
def test_empty_lines_without_end_cost_no_time(unit: bytes) -> None:
    began = time.process_time()
    reader = RequestHeadReader()
    with pytest.raises(HeadTooLarge):
        reader.feed(unit * (70000 // len(unit)))
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("unit", [b"\r\n", b"X:\r\n", b"a"])
def test_a_head_that_comes_byte_by_byte_costs_time_in_proportion(unit: bytes) -> None:
    raw = b"GET / HTTP/1.1\r\n" + unit * (30000 // len(unit)) if unit != b"\r\n" else unit * 15000
    reader = RequestHeadReader(Limits(fields=30000))
    began = time.process_time()
    for at in range(len(raw)):
        reader.feed(raw[at : at + 1])
    assert time.process_time() - began < 1.0


# --- responses --------------------------------------------------------------------------------------


def test_response_head_is_read_exactly_however_it_is_cut() -> None:
    raw = b"HTTP/1.1 404 Nicht \xfc da\r\nX-A: 1\r\nx-a: 2 \r\nContent-Length: 5\r\n\r\nhello"
    fields = (
        (b"x-a", b"X-A", b"1"),
        (b"x-a", b"x-a", b"2"),
        (b"content-length", b"Content-Length", b"5"),
    )
    for pieces in pieces_of(raw):
        assert response(pieces) == (ResponseHead(b"1.1", 404, b"Nicht \xfc da", fields), b"hello")


@pytest.mark.parametrize(
    ("line", "version", "status", "reason"),
    [
        (b"HTTP/1.0 200 OK", b"1.0", 200, b"OK"),
        (b"HTTP/1.1 200 ", b"1.1", 200, b""),
        (b"HTTP/1.1 200", b"1.1", 200, b""),
        (b"HTTP/1.1 999 x", b"1.1", 999, b"x"),
        (b"HTTP/1.1 100 Continue", b"1.1", 100, b"Continue"),
        (b"HTTP/1.1 204 No Content", b"1.1", 204, b"No Content"),
    ],
)
def test_status_line(line: bytes, version: bytes, status: int, reason: bytes) -> None:
    assert response([line + b"\r\nX: 1\r\n\r\nrest"]) == (
        ResponseHead(version, status, reason, ((b"x", b"X", b"1"),)),
        b"rest",
    )


RESPONSES = {
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "HTTP/0.9": b"<html>\r\n\r\n",
    "two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status 0xx": b"HTTP/1.1 099 OK\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nX: 1\n\n",
    "bare LF after a field": b"HTTP/1.1 200 OK\r\nX: 1\nY: 2\r\n\r\n",
    "bare LF at the end": b"HTTP/1.1 200 OK\r\nX: 1\r\n\n",
    "bare CR in the reason": b"HTTP/1.1 200 O\rK\r\n\r\n",
    "NUL in the reason": b"HTTP/1.1 200 O\0K\r\n\r\n",
    "control byte in the reason": b"HTTP/1.1 200 O\x01K\r\n\r\n",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n",
    "obs-fold": b"HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\n\r\n",
    "space before the colon": b"HTTP/1.1 200 OK\r\nX : 1\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
    "length and coding": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two spaces": b"HTTP/1.1  200 OK\r\n\r\n",
    "a request": START + b"\r\n",
    "too large": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 131072 + b"\r\n\r\n",
    "too many fields": b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 513 + b"\r\n",
}


@pytest.mark.parametrize("name", RESPONSES)
def test_malformed_response_head_is_refused(name: str) -> None:
    raw = RESPONSES[name]
    with pytest.raises(ClientError):
        response([raw])
    with pytest.raises(ClientError):
        response([raw[at : at + 100] for at in range(0, len(raw), 100)])


def test_switch_of_protocols_is_read_and_what_follows_it_kept() -> None:
    read = response([b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00"])
    assert read is not None
    assert (read[0].status, read[1]) == (101, b"\x81\x00")


def test_each_head_has_its_own_reader_so_an_interim_one_changes_nothing() -> None:
    first = response([b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nX: 1\r\n\r\n"])
    assert first is not None
    assert first[0].interim
    second = response([first[1]])
    assert second is not None
    assert (second[0].status, second[0].fields) == (200, ((b"x", b"X", b"1"),))


@pytest.mark.parametrize(
    ("start", "error"),
    [
        (b"QUIT\r\n", MethodUnknown),
        (b"GET /" + b"a" * 100 + b" HTTP/1.1\r\n", TargetTooLong),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", VersionNotSupported),
    ],
)
@pytest.mark.parametrize("empty", [b"", b"\r\n", b"\r\n\r\n\r\n"])
def test_error_is_the_same_behind_empty_lines_and_however_it_is_cut(
    empty: bytes, start: bytes, error: type[AwfError]
) -> None:
    def read(pieces: list[bytes]) -> None:
        reader = RequestHeadReader(Limits(target=50))
        for piece in pieces:
            reader.feed(piece)

    for pieces in pieces_of(empty + start):
        with pytest.raises(error):
            read(pieces)


def test_lines_are_remembered_only_where_they_hold_no_credential_and_only_so_many() -> None:
    known = parser._known_fields
    for number in range(2000):
        lines = b"User-Agent: %d\r\nAuthorization: Bearer %d\r\nX-Odd: %d\r\n" % ((number,) * 3)
        request([START + lines + b"\r\n"])
        assert len(known) <= 512
    assert {name for name, _, _ in known.values()} <= parser._HOLD_NO_CREDENTIAL
    assert b"User-Agent: 1999" in known
    request([START + b"User-Agent: " + b"a" * 300 + b"\r\n\r\n"])
    assert max(map(len, known)) <= 256
