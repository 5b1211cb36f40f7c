"""Server-sent events as a model sends them, one chunk each; both the origin and the load know their shape."""

MARK = b"~"
"""Once in each event and nowhere else, chunk framing included: counting it counts the events."""
LAST = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
SMALL = 256
RECORD = 16384 - 8
"""With its chunk's framing one full TLS record."""

_BEFORE = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"'
_AFTER = MARK + b'"}\n\n'


def event(size: int) -> bytes:
    """A chunk whose content has `size` bytes."""
    filled = _BEFORE + b"x" * (size - len(_BEFORE) - len(_AFTER)) + _AFTER
    return b"%x\r\n%b\r\n" % (size, filled)
