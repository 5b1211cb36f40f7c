"""An origin's bytes on an upstream connection: one answer, the same however it is cut, and to h11."""

from collections.abc import Sequence

import attrs
import h11
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from awfproxy.errors.base import AwfError
from awfproxy.errors.origin import OriginError
from awfproxy.upstream.connection import UpstreamConnection
from awfproxy.wire.framing import NO_BODY, Framing
from awfproxy.wire.message import Fields, RequestHead, ResponseHead, serialise_response
from fuzz.cuts import ways

_METHODS = (b"GET", b"HEAD", b"POST")


@attrs.define
class _Answer:
    """What an exchange hears of one response; nothing may come after its end."""

    before: list[ResponseHead] = attrs.Factory(list)
    head: ResponseHead | None = None
    content: bytes = b""
    trailers: Fields = ()
    end: str = ""

    def interim(self, head: ResponseHead) -> None:
        assert self.head is None
        assert not self.end
        self.before.append(head)

    def response_head(self, head: ResponseHead, framing: Framing) -> None:
        assert self.head is None
        assert not self.end
        self.head = head

    def response_body(self, content: bytes) -> None:
        assert self.head is not None
        assert not self.end
        assert content
        self.content += content

    def response_end(self, trailers: Fields) -> None:
        assert self.head is not None
        assert not self.end
        self.end, self.trailers = "complete", trailers

    def upstream_failed(self, reason: AwfError) -> None:
        assert not self.end
        assert isinstance(reason, OriginError), reason
        assert reason.detail.isascii()
        assert reason.detail.isprintable() or not reason.detail
        self.end = reason.code

    def switched(self, head: ResponseHead) -> None:
        raise AssertionError("nobody asked for it")

    def flush(self) -> None:
        pass


class _Transport:
    """Takes everything, and remembers that it was ended."""

    disconnecting = False

    def write(self, data: bytes) -> None:
        pass

    def registerProducer(self, producer: object, streaming: bool) -> None:
        pass

    def unregisterProducer(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def abortConnection(self) -> None:
        self.disconnecting = True

    def loseConnection(self) -> None:
        self.disconnecting = True


class _Owner:
    """The pool's part."""

    def connection_ended(self, connection: UpstreamConnection) -> None:
        pass


def response(data: bytes) -> None:
    """What an origin sends from the request on, until it closes in order."""
    for method in _METHODS:
        heard = [_heard(method, way) for way in ways(data)]
        first = heard[0]
        for other in heard:
            assert (other.before, other.head, other.end) == (first.before, first.head, first.end)
            if first.end == "complete":
                assert (other.content, other.trailers) == (first.content, first.trailers)
            else:
                assert other.content.startswith(first.content) or first.content.startswith(other.content)
        for head in (*first.before, *([first.head] if first.head else [])):
            serialise_response(head)  # nothing in it splits what is written
        if first.end == "complete":
            _same_by_h11(method, data, first)


def _heard(method: bytes, pieces: Sequence[bytes]) -> _Answer:
    connection = UpstreamConnection(_Owner(), 0.0)
    transport = _Transport()
    connection.makeConnection(transport)
    answer = _Answer()
    connection.send(RequestHead(method, b"/", b"1.1", ()), NO_BODY, b"", True, answer)
    for piece in pieces:
        if transport.disconnecting:
            break
        connection.dataReceived(piece)
    if not transport.disconnecting:
        assert not answer.end or connection.reusable
    connection.connectionLost(Failure(ConnectionDone()))
    assert answer.end, "an exchange would wait for ever"
    return answer


def _same_by_h11(method: bytes, data: bytes, ours: _Answer) -> None:
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    client.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"a")]))
    client.send(h11.EndOfMessage())
    while data.startswith(b"\r\n"):
        data = data[2:]
    client.receive_data(data)
    client.receive_data(b"")
    before, content, head = [], b"", None
    while True:
        try:
            event = client.next_event()
        except h11.RemoteProtocolError:
            # It judges framing in interim heads and trailers too, where here it is taken out.
            others = (*ours.trailers, *(item for each in ours.before for item in each.fields))
            assert any(lower in (b"content-length", b"transfer-encoding") for lower, _, _ in others)
            return
        if isinstance(event, h11.EndOfMessage):
            break
        if isinstance(event, h11.InformationalResponse):
            before.append(event)
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            content += bytes(event.data)
        else:
            raise AssertionError(f"h11 says {event!r}")
    assert head is not None
    assert ours.head is not None
    assert [each.status_code for each in before] == [each.status for each in ours.before]
    for theirs, mine in zip([*before, head], [*ours.before, ours.head], strict=True):
        assert (theirs.status_code, theirs.http_version) == (mine.status, mine.version)
        assert [
            (name, value.lower() if name.lower() == b"transfer-encoding" else value)
            for _, name, value in mine.fields
        ] == list(theirs.headers.raw_items())
    assert content == ours.content
    assert [(name, value) for _, name, value in ours.trailers] == list(event.headers.raw_items())
