"""A request read and judged; which answer it gets."""

import json
from collections.abc import Callable

from bench.origin import answers
from bench.origin.server import Link

_REFUSAL = b'{"error":{"code":"invalid_api_key","message":"wrong credentials"}}'


class Request:
    """Waits for a head, and for the body of whatever is not an upload. After each answer it waits again."""

    wants_room = False

    def __init__(self, link: Link, key: bytes) -> None:
        self._link = link
        self._key = key
        self._stored = bytearray()

    def received(self, data: memoryview) -> None:
        self._stored += data
        head, separator, body = bytes(self._stored).partition(b"\r\n\r\n")
        if not separator:
            return
        lines = head.split(b"\r\n")
        method, target, _ = lines[0].split(b" ")
        pairs = (line.split(b":", 1) for line in lines[1:])
        fields = {name.lower(): value.strip() for name, value in pairs}
        length = int(fields.get(b"content-length", b"0"))
        upload = method == b"POST" and target.startswith(b"/v1/files")
        if len(body) < length and not upload:
            return
        self._stored.clear()
        if not self._right(fields):
            self._link.write(answers.head(b"401 Unauthorized", b"application/json", len(_REFUSAL)) + _REFUSAL)
        elif upload:
            answers.Sink(self._link, self._again, length, slow=target.endswith(b"?slow")).received(
                memoryview(body)
            )
        elif fields.get(b"upgrade", b"").lower() == b"websocket":
            answers.Echo(self._link, fields[b"sec-websocket-key"], int(target.rpartition(b"=")[2]))
        elif b"/content" in target:
            answers.Download(self._link, self._again, int(target.rpartition(b"=")[2]))
        elif method == b"POST":
            self._stream(json.loads(body))
        else:
            small = b'{"object":"list","data":[]}'
            self._link.write(answers.head(b"200 OK", b"application/json", len(small)) + small)

    def room(self) -> None:
        """Nothing is written here but whole answers."""

    def _again(self) -> None:
        self._link.wants_room = False
        self._link.job = self

    def _right(self, fields: dict[bytes, bytes]) -> bool:
        """The injected key, and none of what a candidate should have removed."""
        return (
            fields.get(b"authorization") == b"Bearer " + self._key
            and b"x-api-key" not in fields
            and b"cookie" not in fields
        )

    def _stream(self, wanted: dict[str, float]) -> None:
        count, size, interval = int(wanted["events"]), int(wanted["bytes"]), wanted["interval"]
        again: Callable[[], None] = self._again
        if interval:
            answers.SlowEvents(self._link, again, count, size, interval)
        else:
            answers.FastEvents(self._link, again, count, size)
