"""Hostile origins: interim answers, answers too early, ends in every state, slowness."""

from tests.hostile.origin_row import (
    CHUNKED,
    CLOSED,
    EVIL,
    LENGTH_5,
    MALFORMED,
    OK,
    POST,
    SLOW,
    Exactly,
    Refused,
    Row,
    answer,
    chunk,
    cut,
)
from tests.kit.scripted import Again, Close, Fin, Gate, Left, Reset

_INTERIM = "1xx"
_EARLY = "an answer before the request's end"
_ENDS = "closed or reset before the answer"
_WITHIN = "reset within the answer"
_SLOW = "slow and silent"
_BODY = LENGTH_5 + b"\r\nhello"
_100 = b"HTTP/1.1 100 Continue\r\n\r\n"
_102 = b"HTTP/1.1 102 Processing\r\n\r\n"
_103 = b"HTTP/1.1 103 Early Hints\r\n"
_GOOD = answer(OK, LENGTH_5, b"hello")
_UPLOAD = {"method": b"POST", "fields": (b"Content-Length: 10",), "content": b"{}", "before_body": True}


def _malformed_after(before: bytes) -> Refused:
    return Refused(502, "origin_malformed", before)


def _after(before: bytes, good: Exactly = _GOOD) -> Exactly:
    return Exactly(before + good.data)


INTERIM = [
    Row("100-unasked", _INTERIM, "RFC 9110 15.2: any number may come", [_100 + OK + _BODY], _after(_100)),
    Row("16-interim", _INTERIM, "RFC 9110 15.2", [_102 * 16 + OK + _BODY], _after(_102 * 16)),
    Row("1000-interim", _INTERIM, "CWE-770; 1xx flood", [_100 * 1000 + OK + _BODY, Left()],
        _malformed_after(_100 * 16)),
    Row("interim-without-end", _INTERIM, "CWE-770", [Again(_102)], _malformed_after(_102 * 16)),
    Row("interim-without-end-slowly", _INTERIM, "each puts the deadline off, so their number is limited",
        [Again(_102, pause=0.05)], _malformed_after(_102 * 16)),
    Row("hints-of-100k", _INTERIM, "RFC 8297", [_103 + b"Link: " + b"a" * 100_000 + b"\r\n\r\n" + OK + _BODY],
        _after(_103 + b"Link: " + b"a" * 100_000 + b"\r\n\r\n")),
    Row("hints-of-200k", _INTERIM, "CWE-770", [_103 + b"Link: " + b"a" * 200_000 + b"\r\n\r\n", Left()],
        MALFORMED),
    Row("interim-framing-taken-out", _INTERIM, "RFC 9110 8.6; RFC 9112 6.1",
        [b"HTTP/1.1 103 X\r\nContent-Length: 5\r\nConnection: x-a\r\nX-A: 1\r\nX-B: 2\r\n\r\n" + OK + _BODY],
        _after(b"HTTP/1.1 103 X\r\nX-B: 2\r\n\r\n")),
    Row("interim-chunked", _INTERIM, "RFC 9112 6.1", [b"HTTP/1.1 103 X\r\n" + CHUNKED + b"\r\n" + OK + _BODY],
        _after(b"HTTP/1.1 103 X\r\n\r\n")),
    Row("interim-length-and-chunked", _INTERIM, "RFC 9112 6.3",
        [b"HTTP/1.1 103 X\r\n" + LENGTH_5 + CHUNKED + b"\r\n" + OK + _BODY, Left()], MALFORMED),
    Row("interim-unknown", _INTERIM, "RFC 9110 15: x99 is treated as x00",
        [b"HTTP/1.1 199 X\r\n\r\n" + OK + _BODY], _after(b"HTTP/1.1 199 X\r\n\r\n")),
    Row("interim-then-closed", _INTERIM, "RFC 9110 9.2.2: something was answered, so no retry",
        [_100, Close()], Refused(502, "origin_closed", _100)),
    Row("interim-by-http-1.0", _INTERIM, "RFC 9110 15.2: HTTP/1.0 has none; relayed all the same",
        [b"HTTP/1.0 100 X\r\n\r\n" + OK + _BODY], _after(b"HTTP/1.1 100 X\r\n\r\n")),
    Row("interim-bad-line", _INTERIM, "RFC 9112 4", [b"HTTP/1.1 100\0\r\n\r\n" + OK + _BODY, Left()],
        MALFORMED),
]  # fmt: skip

EARLY = [
    Row("before-the-body", _EARLY, "RFC 9112 9.5", [OK + _BODY, Left()], _GOOD, **_UPLOAD),
    Row("before-the-body-and-more", _EARLY, "RFC 9112 9.5", [OK + _BODY + EVIL, Left()], _GOOD, **_UPLOAD),
    Row("before-the-body-then-reset", _EARLY, "RFC 9112 9.5", [OK + _BODY, Gate(), Reset()], _GOOD,
        **_UPLOAD),
    Row("malformed-before-the-body", _EARLY, "RFC 9112 4", [b"no HTTP\r\n\r\n", Left()], MALFORMED,
        **_UPLOAD),
    Row("closed-before-the-body", _EARLY, "RFC 9110 9.2.2: a POST is never sent twice", [Close()], CLOSED,
        **_UPLOAD),
    Row("reset-before-the-body", _EARLY, "RFC 9110 9.2.2", [Reset()], CLOSED, **_UPLOAD),
    Row("408-before-the-body", _EARLY, "RFC 9110 15.5.9: an idle server's word",
        [b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n" + _BODY, Close()],
        answer(b"HTTP/1.1 408 Request Timeout\r\n", LENGTH_5, b"hello"), **_UPLOAD),
    Row("408-on-the-idle-connection", _EARLY, "RFC 9110 15.5.9: said to nobody",
        [OK + _BODY, Gate(), b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", Close()], _GOOD),
]  # fmt: skip

ENDS = [
    *(
        Row(f"{name}-without-an-answer", _ENDS, "RFC 9110 9.2.2: GET is retried once, on a fresh tunnel",
            [how], CLOSED, requests=2)
        for name, how in [("closed", Close()), ("fin", Fin()), ("reset", Reset())]
    ),
    *(
        Row(f"{name}-without-an-answer-to-post", _ENDS, "RFC 9110 9.2.2: a POST is never sent twice", [how],
            CLOSED, **POST)
        for name, how in [("closed", Close()), ("fin", Fin()), ("reset", Reset())]
    ),
    Row("closed-after-a-byte", _ENDS, "answered, so no retry", [b"H", Close()], CLOSED),
    Row("closed-in-the-status-line", _ENDS, "RFC 9112 8", [b"HTTP/1.1 20", Close()], CLOSED),
    Row("closed-in-the-head", _ENDS, "RFC 9112 8", [OK + b"X-A: b\r\n", Close()], CLOSED),
    Row("reset-in-the-head", _ENDS, "RFC 9112 8", [OK + b"X-A: b\r\n", Reset()], CLOSED),
    Row("reset-after-the-head", _WITHIN, "RFC 9112 8", [OK + LENGTH_5 + b"\r\n", Gate(), Reset()],
        cut(OK, LENGTH_5)),
    Row("reset-after-the-answer", _WITHIN, "RFC 9112 9.5", [OK + _BODY, Gate(), Reset()], _GOOD),
    Row("closed-after-the-answer", _WITHIN, "RFC 9112 9.5: an idle close that was not announced",
        [OK + _BODY, Gate(), Close()], _GOOD),
    Row("kept-though-close-was-said", _WITHIN, "RFC 9112 9.6",
        [OK + b"Connection: close\r\n" + _BODY, Left()], _GOOD),
]  # fmt: skip

SLOWNESS = [
    Row("no-answer", _SLOW, "RFC 9110 15.6.5", [Left()], SLOW),
    Row("no-answer-to-post", _SLOW, "RFC 9110 15.6.5", [Left()], SLOW, **POST),
    Row("head-stalls", _SLOW, "RFC 9110 15.6.5", [OK + b"X-A: b", Left()], SLOW),
    Row("head-drips-without-end", _SLOW, "slow loris, from the other side",
        [OK + b"X-A: ", Again(b"a", pause=0.05)], SLOW),
    Row("body-stalls", _SLOW, "RFC 9112 8", [OK + LENGTH_5 + b"\r\nhel", Left()],
        cut(OK, LENGTH_5, b"hel", "origin_silent")),
    Row("chunk-size-drips-without-end", _SLOW, "bytes of framing do not put the deadline off",
        [OK + CHUNKED + b"\r\n" + chunk(b"good") + b"5;", Again(b"a", pause=0.05)],
        cut(OK, CHUNKED, chunk(b"good"), "origin_silent")),
    Row("trailers-drip-without-end", _SLOW, "bytes of framing do not put the deadline off",
        [OK + CHUNKED + b"\r\n" + chunk(b"good") + b"0\r\n", Again(b"X: y\r\n", pause=0.05)],
        cut(OK, CHUNKED, chunk(b"good"), "origin_silent")),
    Row("answer-byte-by-byte", _SLOW, "RFC 9112 2", [*(bytes([byte]) for byte in OK + _BODY)], _GOOD),
]  # fmt: skip

ROWS = [*INTERIM, *EARLY, *ENDS, *SLOWNESS]
