"""The probe on a scripted connection: what it sends, and what it makes of each end."""

import json

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.error import SchemeNotSupported
from zope.interface import implementer

from awfproxy import __version__
from awfproxy.credentials.secret import Secret
from awfproxy.credentials.store import CredentialStore, InForce
from awfproxy.credentials.verdict import Accepted, CannotTell, Rejected, Unverified
from awfproxy.errors.egress import EgressDenied, EgressTimeout, EgressUnreachable
from awfproxy.errors.origin import IncompleteMessage, OriginClosed, OriginMalformed
from awfproxy.errors.tls import TlsUntrusted
from awfproxy.providers.openai import PROVIDER as OPENAI
from awfproxy.providers.provider import Asked
from awfproxy.service.ask import _OnlyTo
from awfproxy.service.probe import BODY_LIMIT, KeyProbe
from awfproxy.wire.target import Origin

LIMIT = 8.0
ORIGIN = Origin("api.openai.com")


class Transport(StringTransport):
    aborted = False

    def abortConnection(self):
        self.aborted = True
        self.disconnected = True


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Stands in for CONNECT and TLS; connects when told."""

    def __init__(self):
        self.transport = Transport()
        self.cancelled = False
        self.waiting = None

    def connect(self, factory):
        self.factory = factory
        self.waiting = Deferred(self._cancel)
        return self.waiting

    def _cancel(self, _):
        self.cancelled = True

    def open(self):
        self.protocol = self.factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        self.waiting.callback(self.protocol)


class Asking:
    def __init__(self, key, origin=ORIGIN, base_path=b"/v1"):
        self.clock = Clock()
        self.endpoint = Endpoint()
        self.results, self.errors = [], []
        access = OPENAI.access(Asked(target=origin, base_path=base_path))
        credentials = CredentialStore({"openai": InForce((Secret(key.encode("ascii")),))})
        probe = KeyProbe(self.clock, self.endpoint, OPENAI, access, credentials)
        self.running = Deferred.fromCoroutine(probe.attempt(LIMIT))
        self.running.addCallbacks(self.results.append, lambda failure: self.errors.append(failure.value))

    def open(self):
        self.endpoint.open()
        return self

    def receive(self, *chunks):
        for chunk in chunks:
            self.endpoint.protocol.dataReceived(chunk)

    def answer(self, status, body=b"", fields=b""):
        body = json.dumps(body).encode() if isinstance(body, dict) else body
        self.receive(b"HTTP/1.1 %d X\r\n%bContent-Length: %d\r\n\r\n" % (status, fields, len(body)), body)

    def lose(self, problem):
        self.endpoint.protocol.connectionLost(Failure(problem))

    @property
    def result(self):
        (result,) = self.results
        assert not self.clock.getDelayedCalls()
        return result


@pytest.fixture
def asking(canary):
    return Asking(canary)


def test_request_is_one_cheap_authenticated_get(asking, canary):
    asking.open()
    head, _, rest = asking.endpoint.transport.value().partition(b"\r\n\r\n")
    line, *fields = head.decode("ascii").split("\r\n")
    assert line == "GET /v1/models HTTP/1.1"
    fields = [tuple(field.split(": ", 1)) for field in fields]
    sent = {name.lower(): value for name, value in fields}
    assert len(sent) == len(fields)
    assert sent["host"] == "api.openai.com"
    assert sent["authorization"] == f"Bearer {canary}"
    assert sent["user-agent"] == f"awfproxy/{__version__}"
    assert sent["connection"] == "close"
    assert "cookie" not in sent
    assert rest == b""


@pytest.mark.parametrize(
    ("origin", "base_path", "line", "host"),
    [
        (Origin("llm.example", 8443), b"", b"GET /models HTTP/1.1", b"llm.example:8443"),
        (Origin("my_llm", 8443), b"/a%2Fb", b"GET /a%2Fb/models HTTP/1.1", b"my_llm:8443"),
        (Origin("llm.example"), b"/openai/v1", b"GET /openai/v1/models HTTP/1.1", b"llm.example"),
        (Origin("2001:db8::1", 8443), b"", b"GET /models HTTP/1.1", b"[2001:db8::1]:8443"),
    ],
)
def test_target_follows_origin_and_base_path(canary, origin, base_path, line, host):
    asking = Asking(canary, origin, base_path).open()
    sent = asking.endpoint.transport.value().split(b"\r\n")
    assert sent[0] == line
    assert b"Host: " + host in sent
    asking.running.cancel()


@pytest.mark.parametrize(
    ("uri", "allowed"),
    [
        (b"https://api.openai.com/v1/models", True),
        (b"https://API.openai.com:443/", True),
        (b"http://api.openai.com/v1/models", False),
        (b"http://api.openai.com:443/", False),
        (b"https://api.openai.com:8443/", False),
        (b"https://evil.example/", False),
    ],
)
def test_only_the_configured_origin_by_https(uri, allowed):
    factory = _OnlyTo(Origin("api.openai.com"), None)
    if allowed:
        factory.endpointForURI(URI.fromBytes(uri))
    else:
        with pytest.raises(SchemeNotSupported):
            factory.endpointForURI(URI.fromBytes(uri))


def test_success_is_accepted_at_its_head_and_the_connection_aborted(asking):
    asking.open().receive(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{")
    assert asking.result == Accepted()
    assert asking.endpoint.transport.aborted


def test_rejected_key_shows_the_providers_code(asking):
    asking.open().answer(401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}})
    assert asking.result == Rejected("invalid_api_key")
    assert asking.endpoint.transport.aborted


def test_restricted_key_is_accepted_with_a_warning(asking):
    message = "You have insufficient permissions for this operation. Missing scopes: api.model.read."
    asking.open().answer(401, {"error": {"message": message, "type": "invalid_request_error", "code": None}})
    assert isinstance(asking.result, Accepted)
    assert asking.result.note


def test_code_that_quotes_the_key_is_not_taken(asking, canary):
    asking.open().answer(401, {"error": {"message": canary, "code": f"invalid_{canary[20:32]}"}})
    assert asking.result == Rejected("")


def test_redirect_is_not_followed(asking):
    asking.open().answer(302, fields=b"Location: https://evil.example/\r\n")
    assert asking.result == Unverified(302)
    assert asking.endpoint.transport.value().count(b"GET ") == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_overload_and_failure_cannot_tell(asking, status):
    asking.open().answer(status, {"error": {"code": "busy"}})
    assert isinstance(asking.result, CannotTell)


def test_interim_response_is_passed_over(asking):
    asking.open().receive(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
    asking.answer(200)
    assert asking.result == Accepted()


def test_body_without_length_ends_with_the_connection(asking):
    asking.open().receive(b'HTTP/1.1 401 X\r\n\r\n{"error": {"code": "c"}}')
    asking.lose(ConnectionDone())
    assert asking.result == Rejected("c")


def test_body_over_the_cap_is_cut_and_has_no_code(asking):
    asking.open().receive(b'HTTP/1.1 401 X\r\n\r\n{"error": {"code": "c", "x": "', b"x" * (BODY_LIMIT + 1))
    assert asking.result == Rejected("")
    assert asking.endpoint.transport.aborted


def test_half_a_refusal_is_no_verdict(asking):
    asking.open().receive(b'HTTP/1.1 401 X\r\nContent-Length: 1000\r\n\r\n{"error": {')
    asking.lose(ConnectionLost())
    assert isinstance(asking.result, IncompleteMessage)


def test_half_a_404_is_still_a_404(asking):
    asking.open().receive(b"HTTP/1.1 404 X\r\nContent-Length: 1000\r\n\r\n{")
    asking.lose(ConnectionLost())
    assert asking.result == Unverified(404)


@pytest.mark.parametrize("error", [EgressDenied("403"), TlsUntrusted("x")])
def test_error_of_the_endpoint_comes_out_as_it_is(asking, error):
    asking.endpoint.waiting.errback(error)
    assert asking.result is error


def test_error_of_the_way_that_agent_has_wrapped_is_unwrapped(asking):
    error = TlsUntrusted("late")
    asking.open().lose(error)
    assert asking.result is error


def test_connection_that_cannot_be_made_is_an_egress_error(asking):
    asking.endpoint.waiting.errback(ConnectionRefusedError())
    assert isinstance(asking.result, EgressUnreachable)


@pytest.mark.parametrize("problem", [ConnectionDone(), ConnectionLost()])
def test_connection_closed_without_an_answer_is_the_origins(asking, problem):
    asking.open().lose(problem)
    assert isinstance(asking.result, OriginClosed)


def test_answer_that_is_no_http_is_the_origins(asking):
    asking.open().receive(b"SSH-2.0-OpenSSH\r\n")
    asking.lose(ConnectionDone())
    assert isinstance(asking.result, OriginMalformed | OriginClosed)


def test_silence_before_the_tunnel_is_an_egress_timeout(asking):
    asking.clock.advance(LIMIT - 0.1)
    assert asking.results == []
    asking.clock.advance(0.1)
    assert isinstance(asking.result, EgressTimeout)
    assert asking.endpoint.cancelled


@pytest.mark.parametrize("received", [b"", b"HTTP/1.1 401 X\r\nContent-Length: 10\r\n\r\n{"])
def test_silence_after_the_tunnel_cannot_tell(asking, received):
    asking.open().receive(received)
    asking.clock.advance(LIMIT)
    assert asking.result == CannotTell("OpenAI did not answer within 8 s")
    assert asking.endpoint.transport.aborted


@pytest.mark.parametrize("stage", ["connecting", "asked", "body"])
def test_cancelling_ends_it_in_any_stage(asking, stage):
    if stage != "connecting":
        asking.open()
    if stage == "body":
        asking.receive(b"HTTP/1.1 401 X\r\nContent-Length: 10\r\n\r\n{")
    asking.running.cancel()
    assert [type(error) for error in asking.errors] == [CancelledError]
    assert not asking.clock.getDelayedCalls()
    assert asking.endpoint.cancelled if stage == "connecting" else asking.endpoint.transport.aborted


def test_no_result_shows_the_key(asking, canary):
    asking.open().answer(403, {"error": {"message": canary, "type": canary, "code": canary}})
    assert canary[10:20] not in repr(asking.result)
