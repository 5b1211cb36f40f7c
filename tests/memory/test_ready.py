"""The whole way out: TCP, CONNECT and TLS as one connect, each failure with its own error and deadline."""

import errno
import gc

import pytest
from twisted.internet import error
from twisted.internet.defer import CancelledError
from twisted.internet.protocol import Factory

from awfproxy.errors.egress import EgressDenied, EgressFailed, EgressTimeout, EgressUnreachable
from awfproxy.errors.origin import OriginConnectTimeout, OriginUnreachable
from awfproxy.errors.own import InternalError, OutOfDescriptors
from awfproxy.errors.tls import TlsClosed, TlsNameMismatch, TlsProtocolError, TlsTimeout
from awfproxy.net.ready import OriginEndpoint
from awfproxy.net.tls import ClientTls
from awfproxy.net.trust import client_context
from awfproxy.settings.syntax import Egress
from awfproxy.settings.values import Deadlines
from awfproxy.wire.target import Origin
from tests.kit.certificates import Authority
from tests.memory.peers import Endpoint, Loop
from tests.memory.test_egress import OK
from tests.memory.test_tls import NAME, Application, Server, context_for

DEADLINES = Deadlines(connect=4.0, tls=6.0)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


class Way:
    """One connect under way; `wire` is the TCP connection, played by the test."""

    def __init__(self, authority, egress=True):
        self.loop = Loop()
        self.dialled = []
        self.tcp = Endpoint(self.loop, automatic=False)
        endpoint = OriginEndpoint(
            self.loop,
            Origin(NAME),
            Egress("squid.test", 3128, None) if egress else None,
            ClientTls(NAME, client_context(str(authority.file))),
            DEADLINES,
            self._dial,
        )
        self.opened, self.failed = [], []
        self.deferred = endpoint.connect(Factory.forProtocol(Application))
        self.deferred.addCallbacks(self.opened.append, lambda failure: self.failed.append(failure.value))

    def _dial(self, reactor, host, port):
        self.dialled.append((host, port))
        return self.tcp

    def connect(self):
        self.wire = self.tcp.attempts[0].open()
        return self.wire

    def tunnel(self):
        self.connect().clear()
        self.wire.deliver(OK)
        return self.wire

    def shake(self, context):
        server = Server(context)
        while server.turn(self.wire):
            self.loop.settle()
        return server

    @property
    def problem(self):
        (problem,) = self.failed
        return problem


@pytest.fixture
def way(authority):
    return Way(authority)


def test_it_fires_once_the_certificate_is_verified(way, authority):
    way.tunnel()
    assert way.opened == []
    server = way.shake(context_for(authority.leaf(NAME)))
    (application,) = way.opened
    application.transport.write(b"hello")
    way.loop.settle()
    server.turn(way.wire)
    assert server.received == b"hello"
    assert way.loop.getDelayedCalls() == [], "no deadline is left"


def test_the_egress_proxy_is_dialled_and_not_the_origin(way):
    assert way.dialled == [("squid.test", 3128)]


def test_going_direct_dials_the_origin_with_the_same_tls(authority):
    way = Way(authority, egress=False)
    assert way.dialled == [(NAME, 443)]
    assert not way.connect().received.startswith(b"CONNECT")
    way.shake(context_for(authority.leaf(NAME)))
    assert len(way.opened) == 1


def test_going_direct_verifies_too(authority):
    way = Way(authority, egress=False)
    way.connect()
    way.shake(context_for(authority.leaf("evil.example")))
    assert type(way.problem) is TlsNameMismatch


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (error.ConnectionRefusedError(), EgressUnreachable),
        (error.NoRouteError(), EgressUnreachable),
        (error.ConnectError(osError=OSError(errno.EMFILE, "")), OutOfDescriptors),
        (error.ConnectError(osError=OSError(errno.ENFILE, "")), OutOfDescriptors),
        (error.DNSLookupError("squid.test"), EgressUnreachable),
        (error.TimeoutError(), EgressTimeout),
        (error.TCPTimedOutError(), EgressTimeout),
        (error.ConnectionLost(), EgressFailed),
        (RuntimeError("a word of somebody's"), InternalError),
    ],
)
def test_each_failure_to_connect_is_an_error_of_ours(way, cause, kind):
    way.tcp.attempts[0].fail(cause)
    assert type(way.problem) is kind
    assert "somebody" not in str(way.problem)
    assert way.loop.getDelayedCalls() == []


def test_a_failure_to_connect_names_the_place(way):
    way.tcp.attempts[0].fail(error.ConnectionRefusedError())
    assert "squid.test:3128: connection refused" in str(way.problem)


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (error.ConnectionRefusedError(), OriginUnreachable),
        (error.DNSLookupError(NAME), OriginUnreachable),
        (error.TimeoutError(), OriginConnectTimeout),
    ],
)
def test_going_direct_blames_no_egress_proxy(authority, cause, kind):
    way = Way(authority, egress=False)
    way.tcp.attempts[0].fail(cause)
    assert type(way.problem) is kind
    assert f"{NAME}:443" in str(way.problem)


def test_a_refusal_of_the_proxy_comes_through(way):
    way.connect().deliver(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    assert type(way.problem) is EgressDenied
    assert way.wire.aborted
    assert way.loop.getDelayedCalls() == []


def test_a_proxy_that_does_not_take_the_connection_is_a_timeout(way):
    way.loop.wait(3.75)
    assert way.failed == []
    way.loop.wait(0.5)
    assert type(way.problem) is EgressTimeout
    assert way.tcp.attempts[0].cancelled


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n"])
def test_a_proxy_that_does_not_answer_is_a_timeout_over_tcp_and_connect(way, said):
    way.loop.wait(2)
    way.connect()
    if said:
        way.wire.deliver(said)
    way.loop.wait(2.25)
    assert type(way.problem) is EgressTimeout
    assert way.wire.aborted
    assert way.loop.getDelayedCalls() == []


def test_an_origin_that_is_silent_is_a_tls_timeout(way):
    way.tunnel()
    way.loop.wait(5.75)
    assert way.failed == []
    way.loop.wait(0.5)
    assert type(way.problem) is TlsTimeout
    assert way.wire.aborted
    assert way.loop.getDelayedCalls() == []


def test_an_origin_that_closes_is_told_apart_from_the_proxy(way):
    way.tunnel().finish()
    assert type(way.problem) is TlsClosed


@pytest.mark.parametrize("glued", [True, False])
def test_an_origin_without_tls_is_told(way, glued):
    way.connect()
    way.wire.deliver(*([OK + b"220 mail.test\r\n"] if glued else [OK, b"220 mail.test\r\n"]))
    assert type(way.problem) is TlsProtocolError
    assert way.wire.lost is not None


@pytest.mark.parametrize("stage", ["dialling", "asking", "shaking"])
def test_cancelling_leaves_no_socket_and_no_deadline(way, stage, logged_failures):
    if stage == "asking":
        way.connect()
    elif stage == "shaking":
        way.tunnel()
    way.deferred.cancel()
    way.loop.settle()
    assert isinstance(way.problem, CancelledError)
    assert way.opened == []
    if stage == "dialling":
        assert way.tcp.attempts[0].cancelled
    else:
        assert way.wire.aborted
    assert way.loop.getDelayedCalls() == []
    gc.collect()
    assert logged_failures == []


def test_a_failed_attempt_leaves_no_unheard_failure(way, authority, logged_failures):
    way.tunnel()
    way.shake(context_for(authority.leaf("evil.example")))
    assert type(way.problem) is TlsNameMismatch
    way.deferred = None
    gc.collect()
    assert logged_failures == []
