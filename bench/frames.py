"""WebSocket frames (RFC 6455 5.2) of one size; both the origin and the load know their shape."""

_BINARY = 0x82
_MASKED = 0x80


def _head(size: int, bits: int) -> bytes:
    if size < 126:
        return bytes((_BINARY, bits | size))
    return bytes((_BINARY, bits | 126)) + size.to_bytes(2, "big")


def server_frame(size: int) -> bytes:
    return _head(size, 0) + b"x" * size


def client_frame(size: int) -> bytes:
    """The masking key is zero, so that the content stays as it is: no candidate looks at it."""
    return _head(size, _MASKED) + bytes(4) + b"x" * size


def client_frame_bytes(size: int) -> int:
    return len(_head(size, _MASKED)) + 4 + size
