"""Clients that take their time: none of them holds more than its own connection, and that for a deadline."""

from tests.hostile.client_case import (
    ANSWER,
    ARRIVED,
    CHUNKED,
    DRIP,
    END,
    FIN,
    GET,
    GIVEN_UP,
    KEPT,
    POST,
    TRICKLE,
    Case,
    Step,
)

_HEAD = "Slowloris (2009), CVE-2007-6750; RFC 9110 15.5.9"
_BODY = "R-U-Dead-Yet, slow POST (2010); RFC 9110 15.5.9"
_READ = "slow read (S. Shekyan, 2012)"
HEAD_TIMEOUT = "408 request_head_timeout"
BODY_TIMEOUT = "408 request_body_timeout"


def _head(name: str, sent: tuple[Step, ...], answers: str = HEAD_TIMEOUT, saw: str = "") -> Case:
    return Case("slow head", name, _HEAD, sent, answers, saw)


def _body(
    name: str, sent: tuple[Step, ...], answers: str = BODY_TIMEOUT, saw: str = "POST /v1/MARK cut"
) -> Case:
    return Case("slow body", name, _BODY, sent, answers, saw)


ROWS = (
    _head("nothing at all", (), ""),
    _head("one octet", (b"G",)),
    _head("within the request line", (b"GET /v1/MARK",)),
    _head("within a field", (GET + b"X: ",)),
    _head("all but the last octet", (GET + b"\r",)),
    _head("octet by octet", (DRIP, GET + b"X: " + b"a" * 1000)),
    _head("field by field", (GET, DRIP, b"X:\r\n")),
    _head("empty lines, octet by octet", (DRIP, END), ""),
    _head("the second one", (GET + END, ANSWER, b"GET /v1/MA"), f"200, {HEAD_TIMEOUT}", "GET /v1/MARK"),
    _head("the second one, pipelined", (GET + END + b"GET /v1/MA",), f"200, {HEAD_TIMEOUT}", "GET /v1/MARK"),
    _head("no second one", (GET + END, ANSWER), "200", "GET /v1/MARK"),
    _body("none of it", (POST + b"Content-Length: 10\r\n\r\n",)),
    _body("half of it", (POST + b"Content-Length: 10\r\n\r\nabcde",)),
    _body("no chunk", (CHUNKED,)),
    _body("half a chunk", (CHUNKED + b"5\r\nab",)),
    _body("no last chunk", (CHUNKED + b"5\r\nabcde\r\n",)),
    _body("a size, octet by octet", (CHUNKED + b"5\r\nabcde\r\n", DRIP, b"0")),
    _body("an extension, octet by octet", (CHUNKED + b"5;", DRIP, b"a")),
    _body("trailers, octet by octet", (CHUNKED + b"5\r\nabcde\r\n0\r\n", DRIP, b"X: 1\r\n")),
    _body("none of it after 100",
          (b"POST /v1/kit/continue?MARK HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
           b"Content-Length: 5\r\n\r\n",),
          saw="POST /v1/kit/continue?MARK cut"),
    Case("slow body", "octet by octet, but it moves", _BODY,
         (POST + b"Content-Length: 25\r\n\r\n", TRICKLE, b"abcde" * 5), "200", "POST /v1/MARK 25", KEPT,
         not_by_h11="it is sent more than once"),
    Case("slow reader", "never reads a large answer", _READ,
         (b"GET /v1/kit/download?bytes=50000000&MARK HTTP/1.1\r\nHost: a\r\n\r\n", GIVEN_UP), "200 cut",
         "GET /v1/kit/download?bytes=50000000&MARK cut"),
    Case("slow reader", "never reads a large answer in chunks", _READ,
         (b"GET /v1/kit/download?bytes=50000000&chunked&MARK HTTP/1.1\r\nHost: a\r\n\r\n", GIVEN_UP),
         "200 cut",
         "GET /v1/kit/download?bytes=50000000&chunked&MARK cut"),
    Case("slow reader", "half-closed, and no answer comes", "RFC 9112 9.6",
         (b"GET /v1/kit/stall?MARK HTTP/1.1\r\nHost: a\r\n\r\n", ARRIVED, FIN), "504 origin_timeout",
         "GET /v1/kit/stall?MARK cut"),
)  # fmt: skip
