"""Requests: read alike however they are cut and as h11 reads them; of what is forwarded, no credential."""

from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

import h11
import h11._connection

from awfproxy.credentials.injector import prepare_request, prepare_trailers
from awfproxy.credentials.secret import Secret
from awfproxy.errors.client import ClientError, MalformedMessage
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.providers.provider import Asked
from awfproxy.proxy.admission import Admitted, admit
from awfproxy.wire.chunked import ChunkedReader
from awfproxy.wire.framing import CHUNKED, Length, body_reader
from awfproxy.wire.message import Fields, RequestHead, serialise_request
from awfproxy.wire.parser import RequestHeadReader
from awfproxy.wire.target import Origin
from fuzz.cuts import ways

KEY = b"sk-INJECTED-0123456789"
_ORIGIN = Origin("api.openai.com")
_PORT = 10000
_ACCESSES = tuple(provider.access(Asked(instance="i")) for provider in BUILT_IN)
# Written down here again, from docs/forwarding.md: the code's own lists would agree with themselves.
_NEVER = {
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"proxy-authorization",
    b"proxy-authenticate", b"chatgpt-account-id", b"cookie", b"cookie2", b"forwarded", b"via",
}  # fmt: skip
_CARRIERS = {b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"}
_KEY_PARAMETERS = {b"key", b"apikey", b"api_key", b"access_token", b"oauth_token"}

_Body = tuple[bytes, Fields, bytes]


def request(data: bytes) -> None:
    """A connection's first request, and its body."""
    while data.startswith(b"\r\n"):
        data = data[2:]  # RFC 9112 2.2 lets a server read over empty lines; h11 does not
    read = [each for way in ways(data) if (each := _read(way)) is not None]
    if not read:
        return
    head, admitted, body = read[0]
    assert all(other == read[0] for other in read), "the cut matters"
    theirs = _by_h11(data, body[1])
    assert theirs[:3] == (_as_h11(head), *_framed(admitted)), "h11 reads the head otherwise"
    same = theirs[3] is None or theirs[3] == (body[0], _pairs(body[1]), body[2])
    assert same, "h11 reads the body otherwise"


def forward(data: bytes) -> None:
    """What leaves for each provider, of whatever is admitted."""
    read = _read([data])
    if read is None:
        return
    _, admitted, (_, trailers, _) = read
    for access in _ACCESSES:
        keys = tuple(Secret(KEY) for _ in access.keys)
        after = prepare_request(admitted.head, admitted.framing, access=access, keys=keys)
        written = serialise_request(after)
        assert written.count(KEY) == 1, "the key is not there once"
        server = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        server.receive_data(written)
        event = server.next_event()
        assert isinstance(event, h11.Request)
        assert server.trailing_data[0] == b""
        assert (event.method, event.target) == (admitted.head.method, after.target)
        assert after.target.startswith(b"/")
        names = [_alike(name) for name, _ in event.headers.raw_items()]
        assert not _NEVER.intersection(names), "a field that may not leave"
        assert not any(name.startswith(b"x-forwarded-") for name in names)
        carriers = [name for name in names if name in _CARRIERS]
        assert len(carriers) == 1, "a credential of the client's"
        assert names.count(b"host") == 1
        framed = [name for name in names if name in (b"content-length", b"transfer-encoding")]
        assert len(framed) <= 1
        assert h11._connection._body_framing(event.method, event)[0] == (
            "chunked" if admitted.framing is CHUNKED else "content-length"
        )
        for name, value in event.headers.raw_items():
            if _alike(name) == b"sec-websocket-protocol":
                items = [item.strip(b" \t").lower() for item in value.split(b",")]
                assert not any(item.startswith(b"openai-insecure-api-key.") for item in items)
        if access.without_query:
            assert not _KEY_PARAMETERS.intersection(_parameters(after.target))
        left = {_alike(name) for name, _, _ in prepare_trailers(trailers, access)}
        assert not left & (_NEVER | _CARRIERS | {b"host", b"content-length", b"transfer-encoding"})


def chunks(data: bytes) -> None:
    """The chunked coding alone, as a request's body."""
    read = [each for way in ways(data) if (each := _chunked(way)) is not None]
    if not read:
        return
    assert all(other == read[0] for other in read), "the cut matters"
    content, trailers, rest = read[0]
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    server.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    server.next_event()
    theirs = _body_by_h11(server, trailers)
    if theirs is not None:
        assert theirs == (content, _pairs(trailers), rest)


def _read(pieces: Sequence[bytes]) -> tuple[RequestHead, Admitted, _Body] | None:
    """What a channel makes of them; None while incomplete or where it is refused."""
    reader = RequestHeadReader()
    try:
        for at, piece in enumerate(pieces):
            if (read := reader.feed(piece)) is None:
                continue
            head, rest = read
            admitted = admit(head, _ORIGIN, _PORT)
            body = body_reader(admitted.framing)
            following = [rest, *pieces[at + 1 :]]
            content, more = b"", 0
            while not body.done and more < len(following):
                content += body.feed(following[more])
                more += 1
            if not body.done:
                return None
            return head, admitted, (content, body.trailers, body.rest + b"".join(following[more:]))
    except ClientError:
        pass
    return None


def _chunked(pieces: Sequence[bytes]) -> _Body | None:
    reader, content = ChunkedReader(), b""
    try:
        for at, piece in enumerate(pieces):
            content += reader.feed(piece)
            if reader.done:
                return content, reader.trailers, reader.rest + b"".join(pieces[at + 1 :])
    except MalformedMessage:
        pass
    return None


_H11Body = tuple[bytes, list[tuple[bytes, bytes]], bytes]
_Head = tuple[bytes, bytes, bytes, list[tuple[bytes, bytes]]]


def _by_h11(data: bytes, trailers: Fields) -> tuple[_Head, str, int, _H11Body | None]:
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    server.receive_data(data)
    event = server.next_event()
    assert isinstance(event, h11.Request), f"h11 says {event!r}"
    kind, sizes = h11._connection._body_framing(event.method, event)
    head = (event.method, event.target, event.http_version, list(event.headers.raw_items()))
    return head, kind, sizes[0] if sizes else 0, _body_by_h11(server, trailers)


def _body_by_h11(server: h11.Connection, trailers: Fields) -> _H11Body | None:
    """None where h11 refuses the trailers: it judges framing among them, which here is taken out later."""
    content = b""
    try:
        while isinstance(event := server.next_event(), h11.Data):
            content += bytes(event.data)
    except h11.RemoteProtocolError:
        assert any(name in (b"content-length", b"transfer-encoding") for name, _, _ in trailers)
        return None
    assert isinstance(event, h11.EndOfMessage), f"h11 says {event!r}"
    return content, list(event.headers.raw_items()), server.trailing_data[0]


def _framed(admitted: Admitted) -> tuple[str, int]:
    framing = admitted.framing
    if framing is CHUNKED:
        return "chunked", 0
    return "content-length", framing.octets if isinstance(framing, Length) else 0


def _as_h11(head: RequestHead) -> _Head:
    """The head as h11 gives it, which writes the coding in lower case. The target is as it came."""
    pairs = [
        (name, value.lower() if lower == b"transfer-encoding" else value)
        for lower, name, value in head.fields
    ]
    return head.method, head.target, head.version, pairs


def _pairs(fields: Fields) -> list[tuple[bytes, bytes]]:
    return [(name, value) for _, name, value in fields]


def _alike(name: bytes) -> bytes:
    return name.lower().replace(b"_", b"-")


def _parameters(target: bytes) -> set[bytes]:
    query = target.partition(b"?")[2]
    return {
        unquote_to_bytes(part.partition(b"=")[0].replace(b"+", b" ")).lower() for part in query.split(b"&")
    }
