"""`python -m tests.soak.origin PORT CERTIFICATE KEYFILE`: a TLS origin that answers, streams, and breaks off.

The credential to accept comes in SOAK_KEY. Beside a small answer there is a stream of events, one each few
milliseconds, as an answer's body or behind a 101, without an end of its own: the client leaves it, or the
origin ends it as the request says. Of an upload it says when its beginning is here, and waits for the rest.
"""

import json
import os
import socket
import ssl
import struct
import sys
import time

from bench.events import event
from bench.origin.answers import head
from bench.origin.server import Link, Server

REQUESTS, STREAMS, UPLOADS, SOCKETS = "/v1/responses", "/v1/chat/completions", "/v1/files", "/v1/realtime"
_ANSWER = json.dumps({"id": "resp_1", "object": "response", "output": "x" * 930}).encode("ascii")
_MODELS = b'{"object":"list","data":[]}'
_EVENT = event(256)
_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
_INTERVAL = 0.005
_LONGEST = 2000
"""Events in a stream: should nobody break it off, that is an error which ends."""
_RESET = struct.pack("ii", 1, 0)


class Request:
    """Waits for a request; after a small answer it waits again, after a stream never."""

    wants_room = False

    def __init__(self, link: Link, key: bytes) -> None:
        self._link = link
        self._key = key
        self._stored = b""
        self._begun = False

    def received(self, data: memoryview) -> None:
        self._stored += data
        request, separator, body = self._stored.partition(b"\r\n\r\n")
        if not separator:
            return
        lines = request.split(b"\r\n")
        pairs = (line.split(b":", 1) for line in lines[1:])
        fields = {name.lower(): value.strip() for name, value in pairs}
        target = lines[0].split(b" ")[1].decode("latin-1")
        if len(body) < int(fields.get(b"content-length", b"0")):
            if target == UPLOADS and body and not self._begun:
                self._begun = True
                self._link.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        self._stored = b""
        if fields.get(b"authorization") != b"Bearer " + self._key:
            self._link.write(head(b"401 Unauthorized", b"application/json", 2) + b"{}")
        elif target == STREAMS:
            Stream(self._link, _STREAM, json.loads(body)["origin"])
        elif target.startswith(SOCKETS):
            Stream(self._link, _SWITCHED, target.partition("?origin=")[2])
        else:
            answer = _ANSWER if target == REQUESTS else _MODELS
            self._link.write(head(b"200 OK", b"application/json", len(answer)) + answer)

    def room(self) -> None:
        """Nothing is written here but whole answers."""


class Stream:
    """Events until one of both ends it. `end`: what the origin does after the third: stay, close, reset."""

    wants_room = False

    def __init__(self, link: Link, head: bytes, end: str) -> None:
        self._link = link
        self._end = end
        self._sent = 0
        link.job = self
        link.write(head)
        self._next()

    def received(self, data: memoryview) -> None:
        """What a client says on a WebSocket is read over."""

    def room(self) -> None:
        """Nothing waits for room: the clock decides."""

    def _next(self) -> None:
        if self._link.closed:
            return
        if self._sent == 3 and self._end == "reset":
            self._link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        if self._sent == (_LONGEST if self._end == "stay" else 3):
            self._link.close()
            return
        self._sent += 1
        self._link.write(_EVENT)
        try:
            self._link.flush()
        except OSError:
            self._link.close()
            return
        self._link.server.later(time.monotonic() + _INTERVAL, self._next)


def main(port: int, certificate: str, keyfile: str) -> None:
    key = os.environ["SOAK_KEY"].encode("ascii")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, keyfile)
    Server(port, context, lambda link: Request(link, key)).run()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
