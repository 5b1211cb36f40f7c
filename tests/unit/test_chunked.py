"""The chunked coding: what is taken off, what is refused, and that no cut of the bytes matters."""

import pytest

from awfproxy.errors.client import MalformedMessage
from awfproxy.wire.chunked import ChunkedReader, encode_chunk, encode_end
from awfproxy.wire.message import field


def read(reader: ChunkedReader, pieces: list[bytes]) -> bytes:
    """The content, with `rest` gathered the way a channel does it."""
    content = b""
    for at, piece in enumerate(pieces):
        content += reader.feed(piece)
        if reader.done:
            reader.rest += b"".join(pieces[at + 1 :])
            break
    return content


def cuts(raw: bytes) -> list[list[bytes]]:
    """The bytes whole, one by one, and cut in two at each place."""
    return [
        [raw],
        [raw[at : at + 1] for at in range(len(raw))],
        *([raw[:at], raw[at:]] for at in range(1, len(raw))),
    ]


GOOD = {
    "empty": (b"0\r\n\r\n", b"", (), b""),
    "one chunk": (b"5\r\nhello\r\n0\r\n\r\n", b"hello", (), b""),
    "two chunks": (b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", b"hello!", (), b""),
    "either case": (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2, (), b""),
    "leading zeros": (b"0005\r\nhello\r\n000\r\n\r\n", b"hello", (), b""),
    "line breaks in the content": (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n", (), b""),
    "a size in the content": (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n", (), b""),
    "extensions": (b'1;a=b;c="d \xff"\r\nx\r\n0;last\r\n\r\n', b"x", (), b""),
    "trailers": (
        b"1\r\nx\r\n0\r\nX-Sum:  1 2\t\r\nx-sum:\r\n\r\n",
        b"x",
        ((b"x-sum", b"X-Sum", b"1 2"), (b"x-sum", b"x-sum", b"")),
        b"",
    ),
    "a request behind it": (b"1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\n", b"x", (), b"GET / HTTP/1.1\r\n"),
}


@pytest.mark.parametrize("name", GOOD)
def test_content_trailers_and_rest_are_the_same_however_the_bytes_are_cut(name: str) -> None:
    raw, content, trailers, rest = GOOD[name]
    for pieces in cuts(raw):
        reader = ChunkedReader()
        assert read(reader, pieces) == content, pieces
        assert reader.done
        assert reader.trailers == trailers
        assert reader.rest == rest


BAD = {
    "0x prefix": b"0x2\r\nab\r\n",
    "plus sign": b"+2\r\nab\r\n",
    "minus sign": b"-2\r\nab\r\n",
    "trailing space": b"2 \r\nab\r\n",
    "leading space": b" 2\r\nab\r\n",
    "trailing tab": b"2\t\r\nab\r\n",
    "space before the extension": b"2 ;a\r\nab\r\n",
    "no size": b"\r\nab\r\n",
    "extension alone": b";a\r\nab\r\n",
    "underscore": b"1_0\r\n0123456789abcdef\r\n",
    "not hexadecimal": b"g\r\n",
    "decimal point": b"2.0\r\nab\r\n",
    "two sizes": b"2,2\r\nab\r\n",
    "16 digits": b"0000000000000002\r\nab\r\n",
    "larger than 64 bits": b"10000000000000002\r\nab\r\n",
    "bare LF after the size": b"2\nab\r\n0\r\n\r\n",
    "bare CR after the size": b"2\rab\r\n0\r\n\r\n",
    "NUL in the size": b"2\0\r\nab\r\n",
    "bare LF in an extension": b"2;a\nb\r\nab\r\n",
    "bare CR in an extension": b"2;a\rb\r\nab\r\n",
    "NUL in an extension": b"2;\0\r\nab\r\n",
    "content longer than its size": b"2\r\nabc\r\n",
    "content followed by bare LF": b"2\r\nab\n0\r\n\r\n",
    "content followed by bare CR": b"2\r\nab\r0\r\n\r\n",
    "content followed by a size": b"2\r\nab0\r\n\r\n",
    "content followed by two other bytes": b"2\r\nabXX0\r\n\r\n",
    "content followed by CR and another byte": b"2\r\nab\rX0\r\n\r\n",
    "content followed by LF CR": b"2\r\nab\n\r0\r\n\r\n",
    "trailer without colon": b"0\r\nX\r\n\r\n",
    "trailer with space before the colon": b"0\r\nX : 1\r\n\r\n",
    "trailer without name": b"0\r\n: 1\r\n\r\n",
    "folded trailer": b"0\r\nX: 1\r\n 2\r\n\r\n",
    "trailer with bare LF": b"0\r\nX: 1\nY: 2\r\n\r\n",
    "trailer with bare CR": b"0\r\nX: 1\rY: 2\r\n\r\n",
    "trailer with NUL": b"0\r\nX: \0\r\n\r\n",
    "trailer with a control byte": b"0\r\nX: \x01\r\n\r\n",
    "bare LF at the end": b"0\r\n\n",
}


@pytest.mark.parametrize("name", BAD)
def test_broken_coding_is_refused_however_the_bytes_are_cut(name: str) -> None:
    for pieces in cuts(BAD[name]):
        with pytest.raises(MalformedMessage):
            read(ChunkedReader(), pieces)


def test_size_line_without_end_is_refused_before_it_is_stored() -> None:
    reader = ChunkedReader()
    reader.feed(b"1;" + b"a" * 4000)
    with pytest.raises(MalformedMessage):
        reader.feed(b"a" * 100)


def test_size_line_that_is_too_long_is_refused_whole_too() -> None:
    with pytest.raises(MalformedMessage):
        ChunkedReader().feed(b"1;" + b"a" * 5000 + b"\r\nx\r\n")


@pytest.mark.parametrize("line", [b"X: " + b"a" * 1000 + b"\r\n", b"X:\r\n"])
def test_trailers_without_end_are_refused(line: bytes) -> None:
    reader = ChunkedReader()
    reader.feed(b"0\r\n")
    with pytest.raises(MalformedMessage):
        reader.feed(line * 20000)


def test_content_is_given_out_before_its_chunk_is_complete() -> None:
    reader = ChunkedReader()
    assert reader.feed(b"ffffff\r\nfirst") == b"first"
    assert reader.feed(b"second") == b"second"
    assert not reader.done


def test_a_chunk_of_one_terabyte_is_counted_not_stored() -> None:
    reader = ChunkedReader()
    assert reader.feed(b"10000000000\r\nx") == b"x"
    assert not reader.done


def test_not_done_before_the_empty_line() -> None:
    reader = ChunkedReader()
    reader.feed(b"0\r\n")
    assert not reader.done
    reader.feed(b"\r\n")
    assert reader.done


def test_written_chunks_are_read_back() -> None:
    assert encode_chunk(b"a" * 26) == b"1a\r\n" + b"a" * 26 + b"\r\n"
    assert encode_end() == b"0\r\n\r\n"
    assert encode_end((field(b"X-Sum", b"1"), field(b"y", b""))) == b"0\r\nX-Sum: 1\r\ny: \r\n\r\n"
