"""CONNECT through the egress proxy: what is asked, what each answer means, and that nothing stays open."""

import pytest
from twisted.internet import error
from twisted.internet.protocol import Factory, Protocol

from awfproxy.credentials.secret import Secret
from awfproxy.errors.egress import EgressAuthRequired, EgressDenied, EgressFailed, EgressProtocolError
from awfproxy.net.egress import SquidConnectEndpoint, connect_request
from awfproxy.wire.target import Origin
from tests.memory.peers import Endpoint, Loop

ORIGIN = Origin("api.openai.com")
OK = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Inside(Protocol):
    def __init__(self):
        self.received, self.lost = b"", None

    def dataReceived(self, data):
        self.received += data

    def connectionLost(self, reason):
        self.lost = reason.type


class Asking:
    """A CONNECT under way: `squid` is the wire to the proxy, played by the test."""

    def __init__(self, origin=ORIGIN, authorization=None, connected=True):
        self.loop = Loop()
        self.proxy = Endpoint(self.loop, automatic=False)
        self.opened, self.failed = [], []
        endpoint = SquidConnectEndpoint(self.proxy, origin, authorization)
        self.deferred = endpoint.connect(Factory.forProtocol(Inside))
        self.deferred.addCallbacks(self.opened.append, lambda failure: self.failed.append(failure.value))
        if connected:
            self.squid = self.proxy.attempts[0].open()

    @property
    def inside(self):
        (inside,) = self.opened
        return inside


@pytest.fixture
def asking():
    return Asking()


# --- the request --------------------------------------------------------------------------------------


def test_the_request_names_the_origin_twice_and_nothing_else(asking):
    assert asking.squid.received == (
        b"CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\n\r\n"
    )


@pytest.mark.parametrize("host", ["::1", "2001:db8::7"])
def test_an_ipv6_origin_is_in_brackets(host):
    asking = Asking(Origin(host, 8443))
    authority = f"[{host}]:8443".encode("ascii")
    assert asking.squid.received == b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (authority, authority)


def test_proxy_authorization_is_on_the_connect_and_nowhere_in_the_tunnel():
    asking = Asking(authorization=Secret(b"Basic dXNlcjpwYXNz"))
    assert asking.squid.clear().endswith(b"\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n")
    asking.squid.deliver(OK)
    asking.inside.transport.write(b"through the tunnel")
    asking.loop.settle()
    assert asking.squid.received == b"through the tunnel"


def test_the_request_has_no_key_of_the_provider(canary):
    assert b"Authorization" not in connect_request(ORIGIN, None)


# --- an open tunnel -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 201 Created\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 299 Whatever\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10000 + b"\r\n\r\n",
    ],
)
def test_any_2xx_opens_the_tunnel(asking, answer):
    asking.squid.deliver(answer)
    assert asking.inside.transport is asking.squid
    asking.squid.deliver(b"hello")
    assert asking.inside.received == b"hello"


def test_bytes_glued_to_the_answer_are_the_tunnels(asking):
    asking.squid.deliver(OK + b"BANNER")
    assert asking.inside.received == b"BANNER"


def test_an_answer_in_single_bytes_is_the_same(asking):
    data = OK + b"BANNER"
    asking.squid.deliver(*(data[at : at + 1] for at in range(len(data))))
    assert asking.inside.received == b"BANNER"


def test_the_tunnel_is_not_open_before_the_blank_line(asking):
    asking.squid.deliver(OK[:-1])
    assert asking.opened == []
    asking.squid.deliver(OK[-1:])
    assert len(asking.opened) == 1


@pytest.mark.parametrize(
    ("end", "reason"), [("finish", error.ConnectionDone), ("reset", error.ConnectionLost)]
)
def test_the_end_of_the_tunnel_reaches_who_is_inside(asking, end, reason):
    asking.squid.deliver(OK)
    getattr(asking.squid, end)()
    assert asking.inside.lost is reason


# --- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind", "detail"),
    [
        (
            b"HTTP/1.1 403 Forbidden\r\nServer: squid\r\nX-Squid-Error: ERR_ACCESS_DENIED 0\r\n\r\n<html>",
            EgressDenied,
            "CONNECT was answered 403, ERR_ACCESS_DENIED",
        ),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", EgressDenied, "CONNECT was answered 403"),
        (
            b"HTTP/1.1 407 Auth\r\nx-squid-error: ERR_CACHE_ACCESS_DENIED 0\r\nVia: x\r\n\r\n",
            EgressAuthRequired,
            "CONNECT was answered 407, ERR_CACHE_ACCESS_DENIED",
        ),
        (
            b"HTTP/1.1 503 Service Unavailable\r\nX-Squid-Error: ERR_DNS_FAIL 0\r\n\r\n",
            EgressFailed,
            "CONNECT was answered 503, ERR_DNS_FAIL",
        ),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", EgressFailed, "CONNECT was answered 502"),
        (b"HTTP/1.1 504 Gateway Timeout\r\n\r\n", EgressFailed, "CONNECT was answered 504"),
        (b"HTTP/1.0 501 Unsupported method\r\n\r\n", EgressProtocolError, "CONNECT was answered 501"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", EgressProtocolError, "CONNECT was answered 404"),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", EgressProtocolError, "CONNECT was answered 302"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", EgressProtocolError, "CONNECT was answered 400"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", EgressProtocolError, "CONNECT was answered 100"),
        (b"220 mail.test ESMTP\r\n\r\n", EgressProtocolError, "not an HTTP answer"),
        (b"HTTP/2.0 200 OK\r\n\r\n", EgressProtocolError, "not an HTTP answer"),
        (b"HTTP/1.1 20 OK\r\n\r\n", EgressProtocolError, "not an HTTP answer"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", EgressProtocolError, "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\nX: y\r\n\r\n", EgressProtocolError, "not an HTTP answer"),
        (b"\x15\x03\x01\x00\x02\x02\x46", EgressProtocolError, "not an HTTP answer"),
    ],
)
@pytest.mark.parametrize("bytewise", [False, True])
def test_each_refusal_has_its_error_and_closes_the_connection(asking, answer, kind, detail, bytewise):
    asking.squid.deliver(*(answer[at : at + 1] for at in range(len(answer))) if bytewise else [answer])
    (problem,) = asking.failed
    assert (type(problem), problem.detail) == (kind, detail)
    assert asking.opened == []
    assert asking.squid.aborted


@pytest.mark.parametrize(
    "squid_error", [b"<script>EVIL", b"errEVIL", b"evil words", b"EVIL 0", b"EVIL_ERR_X", b"ERR_EVIL-1"]
)
def test_the_error_has_nothing_of_the_proxys_own_words(asking, squid_error):
    asking.squid.deliver(
        b"HTTP/1.1 503 EVIL\r\nX-Squid-Error: " + squid_error + b"\r\nX-Evil: EVIL\r\n\r\nEVIL"
    )
    assert "evil" not in asking.failed[0].detail.lower()
    assert "EVIL" not in str(asking.failed[0])


@pytest.mark.parametrize("piece", [1000, 50000])
def test_an_answer_without_end_is_refused(asking, piece):
    asking.squid.deliver(b"HTTP/1.1 200 OK\r\nX: ", *[b"x" * piece] * (50000 // piece))
    assert [type(problem) for problem in asking.failed] == [EgressProtocolError]
    assert asking.squid.aborted


def test_an_oversized_answer_that_ends_is_refused_too(asking):
    asking.squid.deliver(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 50000 + b"\r\n\r\n")
    assert [type(problem) for problem in asking.failed] == [EgressProtocolError]


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\n"])
@pytest.mark.parametrize("end", ["finish", "reset"])
def test_an_end_without_an_answer_is_an_error(asking, begun, end):
    if begun:
        asking.squid.deliver(begun)
    getattr(asking.squid, end)()
    assert [type(problem) for problem in asking.failed] == [EgressFailed]


def test_the_proxys_own_connect_error_comes_out_as_it_is():
    asking = Asking(connected=False)
    refused = error.ConnectionRefusedError()
    asking.proxy.attempts[0].fail(refused)
    assert asking.failed == [refused]


# --- cancelling ---------------------------------------------------------------------------------------


def test_cancelling_while_connecting_cancels_that():
    asking = Asking(connected=False)
    asking.deferred.cancel()
    assert asking.proxy.attempts[0].cancelled


def test_cancelling_while_asking_aborts_the_connection(asking):
    asking.deferred.cancel()
    asking.loop.settle()
    assert asking.squid.aborted
    assert [type(problem).__name__ for problem in asking.failed] == ["CancelledError"]
    assert asking.opened == []


def test_an_answer_after_cancelling_opens_nothing(asking):
    asking.deferred.cancel()
    asking.squid.protocol.dataReceived(OK)
    asking.loop.settle()
    assert asking.opened == []
    assert asking.squid.lost is error.ConnectionAborted
