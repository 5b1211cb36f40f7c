"""The connection itself: pipelines, an end of one direction, and a reset in every state.

Those in front of the origin's answer that take more than a client to bring about are `client_states`'.
"""

from tests.hostile.client_case import (
    ANSWER,
    ARRIVED,
    CHUNKED,
    CONTENT,
    END,
    FIN,
    GET,
    HEAD,
    KEPT,
    LEFT,
    MALFORMED,
    OTHERS,
    POST,
    RELEASE,
    RESET,
    SMUGGLED,
    Case,
    Step,
)

_PIPELINE = "RFC 9112 9.3.2"
_HALF = "RFC 9112 9.6"
_RESET = "RFC 9112 9.5"
_GET = GET + END
_GATED = b"GET /v1/kit/upload?gate=MARK HTTP/1.1\r\nHost: a\r\n\r\n"
_GATED_SEEN = "GET /v1/kit/upload?gate=MARK"
_BODY = POST + b"Content-Length: 10\r\n\r\nabcde"
_EXPECT = POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"


def _half(name: str, sent: tuple[Step, ...], answers: str = "", saw: str = "") -> Case:
    return Case("half-close", name, _HALF, sent, answers, saw)


def _reset(
    name: str, sent: tuple[Step, ...], answers: str = "", saw: str = "", at_most: bool = False
) -> Case:
    return Case("reset", name, _RESET, (*sent, RESET), answers, saw, LEFT, at_most=at_most)


PIPELINES = (
    Case("pipeline", "five good ones", _PIPELINE, _GET * 5, ", ".join(["200"] * 5),
         ", ".join(["GET /v1/MARK"] * 5),
         KEPT),
    Case("pipeline", "fifty good ones", _PIPELINE, _GET * 50, ", ".join(["200"] * 50),
         ", ".join(["GET /v1/MARK"] * 50), KEPT),
    Case("pipeline", "with content", _PIPELINE, (POST + b"Content-Length: 5\r\n\r\nabcde") * 3 + _GET,
         "200, 200, 200, 200", "POST /v1/MARK 5, POST /v1/MARK 5, POST /v1/MARK 5, GET /v1/MARK", KEPT),
    Case("pipeline", "good, then bad", _PIPELINE, _GET + b"GET /v1/MARK\0 HTTP/1.1\r\n\r\n" + SMUGGLED,
         "200, 400 malformed_request", "GET /v1/MARK"),
    Case("pipeline", "bad, then good", _PIPELINE, b"GET /v1/MARK\0 HTTP/1.1\r\n\r\n" + SMUGGLED, MALFORMED),
    Case("pipeline", "good, smuggling, good", _PIPELINE,
         _GET + POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
         "200, 400 malformed_request", "GET /v1/MARK"),
    Case("pipeline", "good, refused, good", _PIPELINE,
         _GET + b"TRACE /v1/MARK HTTP/1.1\r\nHost: a\r\n\r\n" + SMUGGLED,
         "200, 405 method_not_allowed", "GET /v1/MARK"),
    Case("pipeline", "a page of ours, then the origin", _PIPELINE,
         b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" + _GET,
         "200, 200", "GET /v1/MARK", KEPT, not_by_h11="the first is answered here"),
    Case("pipeline", "behind Connection: close", "RFC 9112 9.6",
         GET + b"Connection: close\r\n\r\n" + SMUGGLED, "200",
         "GET /v1/MARK"),
    Case("pipeline", "too long while one is answered", _PIPELINE,
         (_GATED, ARRIVED, SMUGGLED * 2000, OTHERS, RELEASE), "200", _GATED_SEEN),
    Case("pipeline", "waits while one is answered", _PIPELINE, (_GATED, ARRIVED, _GET * 2, OTHERS, RELEASE),
         "200, 200, 200", f"{_GATED_SEEN}, GET /v1/MARK, GET /v1/MARK", KEPT),
    Case("pipeline", "bytes behind an answer that was not awaited", _PIPELINE, (_GET, ANSWER, b"\0\0\0\0"),
         "200, 400 malformed_request", "GET /v1/MARK"),
)  # fmt: skip

HALVES = (
    _half("before anything", (FIN,)),
    _half("within the request line", (b"GET /v1/MA", FIN)),
    _half("within a field", (GET + b"X: ", FIN)),
    _half("before the head's last LF", (GET + b"\r", FIN)),
    _half("behind the head", (_GET, FIN), "200", "GET /v1/MARK"),
    _half("behind two requests", (_GET * 2, FIN), "200, 200", "GET /v1/MARK, GET /v1/MARK"),
    _half("within the second request", (_GET + b"GET /v1/MA", FIN), "200", "GET /v1/MARK"),
    _half("while the answer is awaited", (_GATED, ARRIVED, FIN, OTHERS, RELEASE), "200", _GATED_SEEN),
    _half("between requests", (_GET, ANSWER, FIN), "200", "GET /v1/MARK"),
    _half("within content of known length", (_BODY, ARRIVED, FIN), "", "POST /v1/MARK cut"),
    _half("within a chunk", (CHUNKED + b"5\r\nabc", ARRIVED, FIN), "", "POST /v1/MARK cut"),
    _half("between chunks", (CHUNKED + b"5\r\nabcde\r\n", ARRIVED, FIN), "", "POST /v1/MARK cut"),
    _half("within trailers", (CHUNKED + b"5\r\nabcde\r\n0\r\nX: 1", ARRIVED, FIN), "", "POST /v1/MARK cut"),
    _half("while 100 is awaited", (_EXPECT, ARRIVED, FIN), "", "POST /v1/MARK cut"),
    _half("within content behind Expect", (_EXPECT + b"ab", CONTENT, FIN), "", "POST /v1/MARK cut"),
    _half("behind content that did not await 100", (_EXPECT + b"abcde", FIN), "200", "POST /v1/MARK 5"),
)  # fmt: skip

_STREAM = b"GET /v1/kit/stall-body?MARK HTTP/1.1\r\nHost: a\r\n\r\n"
_LARGE = b"GET /v1/kit/download?bytes=50000000&MARK HTTP/1.1\r\nHost: a\r\n\r\n"
_AFTER_100 = (
    b"POST /v1/kit/continue?MARK HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nab"
)

RESETS = (
    _reset("before anything", ()),
    _reset("within the request line", (b"GET /v1/MA",)),
    _reset("within a field", (GET + b"X: ",)),
    _reset("at the end of the head", (_GET,), "", "GET /v1/MARK", at_most=True),
    _reset("behind a pipeline", (_GET * 20,), "", ", ".join(["GET /v1/MARK"] * 20), at_most=True),
    _reset("within content of known length", (_BODY, CONTENT), "", "POST /v1/MARK cut"),
    _reset("before content", (POST + b"Content-Length: 10\r\n\r\n", ARRIVED), "", "POST /v1/MARK cut"),
    _reset("within a size line", (CHUNKED + b"5\r\nabcde\r\n5", CONTENT), "", "POST /v1/MARK cut"),
    _reset("within a chunk", (CHUNKED + b"5\r\nabcde\r\n5\r\nab", CONTENT), "", "POST /v1/MARK cut"),
    _reset("within trailers", (CHUNKED + b"5\r\nabcde\r\n0\r\nX: 1", CONTENT), "", "POST /v1/MARK cut"),
    _reset("while 100 is awaited", (_EXPECT, ARRIVED), "", "POST /v1/MARK cut"),
    _reset("within content after 100", (_AFTER_100, CONTENT), "", "POST /v1/kit/continue?MARK cut"),
    _reset("while the answer is awaited", (b"GET /v1/kit/stall?MARK HTTP/1.1\r\nHost: a\r\n\r\n", ARRIVED),
           "",
           "GET /v1/kit/stall?MARK cut"),
    _reset("while the answer is awaited, others behind it",
           (b"GET /v1/kit/stall?MARK HTTP/1.1\r\nHost: a\r\n\r\n" + SMUGGLED * 3, ARRIVED), "",
           "GET /v1/kit/stall?MARK cut"),
    _reset("within a stream", (_STREAM, HEAD), "200 cut", "GET /v1/kit/stall-body?MARK cut"),
    _reset("within a large answer", (_LARGE, HEAD), "200 cut",
           "GET /v1/kit/download?bytes=50000000&MARK cut"),
    _reset("between requests", (_GET, ANSWER), "200", "GET /v1/MARK"),
    _reset("right behind a refusal", (b"TRACE /v1/MARK HTTP/1.1\r\nHost: a\r\n\r\n", ANSWER),
           "405 method_not_allowed"),
)  # fmt: skip

ROWS = (*PIPELINES, *HALVES, *RESETS)
