"""What becomes of a message by docs/forwarding.md, written down once more for the tests; and h11 as a reader.

Nothing here asks the code under test.
"""

import re
from functools import lru_cache

import attrs
import h11
import h11._connection

HOST = b"api.openai.com"
_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"}
_CREDENTIALS = {
    b"authorization", b"proxy-authorization", b"proxy-authenticate", b"x-api-key", b"api-key",
    b"x-goog-api-key", b"chatgpt-account-id", b"cookie", b"cookie2", b"forwarded", b"via",
}  # fmt: skip
_NOT_IN_TRAILERS = {b"host", b"trailer", b"content-encoding", b"content-type", b"expect", b"content-length",
                    b"sec-websocket-protocol"}  # fmt: skip
_METHOD_OVERRIDES = {b"x-http-method-override", b"x-http-method", b"x-method-override"}
_NOT_RELAYED = {
    b"awfproxy-request-id", b"awfproxy-error", b"proxy-authenticate", b"proxy-authentication-info"
}  # fmt: skip
Pairs = list[tuple[bytes, bytes]]


@attrs.frozen
class Message:
    """A request or a response as a reader sees it; `start` is (method, target) or (status,)."""

    start: tuple[bytes, ...]
    fields: Pairs
    content: bytes
    trailers: Pairs
    complete: bool = True
    framed_trailers: bool = False
    """h11 refuses framing among the trailers, which by docs/forwarding.md is taken out."""


def alike(name: bytes) -> bytes:
    return name.lower().replace(b"_", b"-")


def upstream(sent: Message, key: bytes) -> Message:
    """What the origin gets of the client's request."""
    nominated = _nominated(sent.fields)
    fields: Pairs = []
    framed = False
    for name, value in sent.fields:
        lower, same = name.lower(), alike(name)
        if lower in (b"content-length", b"transfer-encoding"):
            if not framed:
                length = lower == b"content-length"
                framing = (name, b"%d" % int(value)) if length else (b"Transfer-Encoding", b"chunked")
                fields.append(framing)
            framed = True
        elif lower == b"host":
            fields.append((name, HOST))
        elif not (_removed(same) or same == b"content-length" or lower in nominated):
            fields.append((name, value))
    if not any(name.lower() == b"host" for name, _ in fields):
        fields.insert(0, (b"Host", HOST))
    method, target = sent.start
    trailers = [
        (name, value)
        for name, value in sent.trailers
        if not _removed(alike(name)) and alike(name) not in _NOT_IN_TRAILERS | _METHOD_OVERRIDES
    ]
    fields.append((b"Authorization", b"Bearer " + key))
    return attrs.evolve(sent, start=(method, _target(target)), fields=fields, trailers=trailers)


def downstream(sent: Message, request_id: bytes, *, until_close: bool = False) -> Message:
    """What a client of HTTP/1.1 gets of the origin's response."""
    nominated = _nominated(sent.fields)
    fields: Pairs = []
    for name, value in sent.fields:
        lower = name.lower()
        if lower == b"transfer-encoding":
            fields.append((b"Transfer-Encoding", b"chunked"))
        elif lower == b"content-length" or not (lower in _HOP | _NOT_RELAYED or lower in nominated):
            fields.append((name, value))
    if until_close:
        fields.append((b"Transfer-Encoding", b"chunked"))
    fields.append((b"awfproxy-request-id", request_id))
    trailers = [
        (name, value)
        for name, value in sent.trailers
        if name.lower() not in _HOP | _NOT_RELAYED | {b"content-length", b"trailer"}
    ]
    return Message(sent.start, fields, sent.content, trailers)


def interim(sent: Message) -> Message:
    """What a client gets of a 1xx."""
    nominated = _nominated(sent.fields)
    return attrs.evolve(
        sent,
        fields=[
            (name, value)
            for name, value in sent.fields
            if name.lower() not in _HOP | _NOT_RELAYED | {b"content-length"} and name.lower() not in nominated
        ],
    )


def _nominated(fields: Pairs) -> set[bytes]:
    return {
        item.strip(b" \t").lower()
        for name, value in fields
        if name.lower() == b"connection"
        for item in value.split(b",")
    }


def _removed(same: bytes) -> bool:
    return same in _HOP | _CREDENTIALS or same.startswith(b"x-forwarded-")


def _target(target: bytes) -> bytes:
    """In origin-form, below /v1."""
    if absolute := re.fullmatch(rb"(?i:https?)://[^/?#]*(.*)", target, re.DOTALL):
        target = absolute[1] if absolute[1].startswith(b"/") else b"/" + absolute[1]
    return target if re.match(rb"/v1([/?#]|$)", target) else b"/v1" + target


# --- h11 ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def requests(data: bytes) -> list[Message]:
    """The requests in `data`; the last may be incomplete. What is malformed, and what follows it, is none."""
    found: list[Message] = []
    while True:
        while data.startswith(b"\r\n"):
            data = data[2:]  # RFC 9112 2.2 lets a server read over empty lines; h11 does not
        server = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        server.receive_data(data)
        try:
            event = server.next_event()
        except h11.RemoteProtocolError:
            return found
        if not isinstance(event, h11.Request):
            return found
        fields = list(event.headers.raw_items())
        content, trailers, complete, framed = _body(server)
        found.append(Message((event.method, event.target), fields, content, trailers, complete, framed))
        if not complete:
            return found
        data = server.trailing_data[0]


def _body(connection: h11.Connection) -> tuple[bytes, Pairs, bool, bool]:
    """(content, trailers, whether it is complete, whether only framing among the trailers is in the way)."""
    content = b""
    try:
        while isinstance(event := connection.next_event(), h11.Data):
            content += bytes(event.data)
    except h11.RemoteProtocolError as refusal:
        # Its judgement of a whole field section, and the head's has passed.
        return content, [], False, re.search("Transfer-Encoding|Content-Length", str(refusal)) is not None
    if not isinstance(event, h11.EndOfMessage):
        return content, [], False, False
    return content, list(event.headers.raw_items()), True, False


def responses(data: bytes, methods: list[bytes]) -> tuple[list[Message], bytes]:
    """The responses to requests by these methods, interim ones among them, and what follows."""
    found: list[Message] = []
    for method in methods:
        client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        client.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"a")]))
        client.send(h11.EndOfMessage())
        client.receive_data(data)
        while isinstance(event := client.next_event(), h11.InformationalResponse):
            found.append(Message((b"%d" % event.status_code,), list(event.headers.raw_items()), b"", []))
        assert isinstance(event, h11.Response), event
        content, trailers, complete, _ = _body(client)
        assert complete
        found.append(
            Message((b"%d" % event.status_code,), list(event.headers.raw_items()), content, trailers)
        )
        data = client.trailing_data[0]
    return found, data
