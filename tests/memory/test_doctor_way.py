"""The one attempt at the way, by stages: which are told of, and at which it fails."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError

from awfproxy.doctor.way import try_way
from awfproxy.errors.base import AwfError
from awfproxy.errors.egress import EgressDenied, EgressTimeout, EgressUnreachable
from awfproxy.errors.origin import OriginUnreachable
from awfproxy.errors.tls import TlsProtocolError, TlsTimeout
from awfproxy.net.tls import ClientTls
from awfproxy.net.trust import client_context
from awfproxy.settings.syntax import Egress
from awfproxy.settings.values import Deadlines
from awfproxy.wire.target import Origin
from tests.memory.peers import Endpoint, Loop

ORIGIN = Origin("api.openai.com")
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Attempt:
    """Starts it; the test plays the peers through `wire`."""

    def __init__(self, egress=Egress("squid", 3128), automatic=True):  # noqa: B008
        self.loop = Loop()
        self.endpoint = Endpoint(self.loop, automatic)
        self.passed, self.dialled, self.results = [], [], []
        tls = ClientTls(ORIGIN.host, client_context())
        work = try_way(self.loop, ORIGIN, egress, tls, Deadlines(), self.passed.append, self._dial)
        self.running = Deferred.fromCoroutine(work)
        self.running.addBoth(self.results.append)
        self.loop.settle()

    def _dial(self, reactor, host, port):
        self.dialled.append((host, port))
        return self.endpoint

    @property
    def wire(self):
        (wire,) = self.endpoint.origins
        return wire

    @property
    def error(self):
        (failure,) = self.results
        assert isinstance(failure.value, AwfError)
        return type(failure.value)


def test_stages_are_told_of_as_they_are_passed():
    attempt = Attempt(automatic=False)
    assert (attempt.dialled, attempt.passed) == ([("squid", 3128)], [])
    attempt.endpoint.attempts[0].open()
    assert attempt.passed == ["egress"]
    assert attempt.wire.received.startswith(b"CONNECT api.openai.com:443 HTTP/1.1\r\n")
    attempt.wire.deliver(OPEN)
    assert attempt.passed == ["egress", "connect"]
    assert not attempt.results
    attempt.running.cancel()
    attempt.loop.settle()
    assert attempt.wire.lost
    attempt.wire.close_handles()


def test_direct_has_no_egress_stage():
    attempt = Attempt(egress=None)
    assert attempt.dialled == [("api.openai.com", 443)]
    assert attempt.passed == ["connect"]
    attempt.running.cancel()
    attempt.loop.settle()


@pytest.mark.parametrize(
    ("egress", "error"), [(Egress("squid", 3128), EgressUnreachable), (None, OriginUnreachable)]
)
def test_refused_connection_passes_no_stage(egress, error):
    attempt = Attempt(egress, automatic=False)
    attempt.endpoint.attempts[0].fail(ConnectionRefusedError())
    assert (attempt.passed, attempt.error) == ([], error)


def test_denied_tunnel_fails_behind_the_egress_stage():
    attempt = Attempt()
    attempt.wire.deliver(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    assert (attempt.passed, attempt.error) == (["egress"], EgressDenied)
    assert attempt.wire.lost


def test_silent_proxy_meets_the_daemons_deadline():
    attempt = Attempt()
    attempt.loop.wait(Deadlines().connect)
    assert (attempt.passed, attempt.error) == (["egress"], EgressTimeout)


def test_origin_without_tls_fails_at_the_last_stage():
    attempt = Attempt()
    attempt.wire.deliver(OPEN, b"220 mail.test ESMTP\r\n")
    attempt.loop.settle()
    assert (attempt.passed, attempt.error) == (["egress", "connect"], TlsProtocolError)


def test_silent_origin_meets_the_daemons_deadline():
    attempt = Attempt()
    attempt.wire.deliver(OPEN)
    attempt.loop.wait(Deadlines().tls)
    assert (attempt.passed, attempt.error) == (["egress", "connect"], TlsTimeout)
    assert attempt.wire.lost
