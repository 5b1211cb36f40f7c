"""The Responses API over WebSocket (RFC 6455): a text message is a request, each event one back.

An extension that is offered is declined, which RFC 6455 9.1 leaves to the server.
"""

import base64
import hashlib
import json
import struct

from tests.kit import responses_api
from tests.kit.origin import Exchange
from tests.kit.reader import Closed

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10


class ResponsesSocket:
    """`serve` answers the upgrade of an exchange and then its messages, until the client leaves."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    @staticmethod
    def wanted(exchange: Exchange) -> bool:
        return [value.lower() for value in exchange.seen.values(b"upgrade")] == [b"websocket"]

    def serve(self) -> None:
        (key,) = self._exchange.seen.values(b"sec-websocket-key")
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
        self._exchange.head(
            101, "Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept}", "x-request-id: req_kit_1",
        )  # fmt: skip
        self._exchange.keep = False
        try:
            while self._turn():
                pass
        except Closed:  # without a close frame: nothing is missing
            pass

    def _turn(self) -> bool:
        kind, content = self._receive()
        if kind == _CLOSE:
            self._send(_CLOSE, content)
            return False
        if kind == _PING:
            self._send(_PONG, content)
        elif kind == _TEXT:
            request = json.loads(content)
            self._exchange.seen.messages.append(request)
            self._exchange.origin.note()
            for event in responses_api.response_objects(request):
                self._send(_TEXT, json.dumps(event).encode())
        return True

    def _receive(self) -> tuple[int, bytes]:
        """One message, its fragments joined; a control frame comes as it is."""
        first, content = self._frame()
        kind = first & 0x0F
        while not first & 0x80:
            first, more = self._frame()
            assert first & 0x0F == 0, "only continuations are expected inside a message here"
            content += more
        return kind, content

    def _frame(self) -> tuple[int, bytes]:
        first, second = self._read(2)
        assert second & 0x80, "a client masks"
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self._read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._read(8))
        mask, content = self._read(4), self._read(length)
        whole = mask * (length // 4 + 1)
        plain = int.from_bytes(content, "big") ^ int.from_bytes(whole[:length], "big")
        return first, plain.to_bytes(length, "big")

    def _read(self, count: int) -> bytes:
        return b"".join(self._exchange.reader.exactly(count))

    def _send(self, kind: int, content: bytes) -> None:
        length = len(content)
        if length < 126:
            size = struct.pack("!B", length)
        elif length < 65536:
            size = struct.pack("!BH", 126, length)
        else:
            size = struct.pack("!BQ", 127, length)
        self._exchange.send(bytes([0x80 | kind]) + size + content)
