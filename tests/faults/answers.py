"""What a client has received, in the words of a table: the answers' statuses and codes, and what was cut."""

import attrs


@attrs.frozen
class Answer:
    """One final answer; of a 101, `content` is all that came behind it."""

    status: int
    code: str
    closes: bool
    complete: bool
    content: bytes

    @property
    def ends_nothing(self) -> bool:
        """It is whole, and the connection goes on as HTTP behind it."""
        return self.complete and not self.closes and self.status != 101

    def __str__(self) -> str:
        words = [str(self.status), *([self.code] if self.code else []), *([] if self.complete else ["cut"])]
        return " ".join(words)


def answers(data: bytes) -> list[Answer]:
    """The final answers in `data`, in order; the last may be cut. Interim ones are passed over."""
    found = []
    while data:
        head, mark, data = data.partition(b"\r\n\r\n")
        start, *lines = head.split(b"\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}
        status = int(start.split(b" ")[1])
        if not mark:
            content, complete, data = b"", False, b""
        elif 100 <= status < 200 and status != 101:
            continue
        elif b"transfer-encoding" in fields:
            content, complete, data = _chunked(data)
        elif status == 101:
            content, complete, data = data, True, b""
        else:
            length = int(fields.get(b"content-length", b"0"))
            content, complete, data = data[:length], len(data) >= length, data[length:]
        code = fields.get(b"awfproxy-error", b"").decode("ascii")
        found.append(Answer(status, code, fields.get(b"connection") == b"close", complete, content))
    return found


def _chunked(data: bytes) -> tuple[bytes, bool, bytes]:
    """Content, whether it is all, and what follows."""
    content = b""
    while True:
        size, mark, rest = data.partition(b"\r\n")
        if not mark or len(rest) < int(size, 16) + 2:
            return content, False, b""
        if not int(size, 16):
            return content, True, rest[2:]
        content += rest[: int(size, 16)]
        data = rest[int(size, 16) + 2 :]
