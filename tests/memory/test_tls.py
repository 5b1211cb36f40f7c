"""TLS towards the origin, against a real TLS server in memory: nobody is told before the name is verified."""

import gc
import ssl
import weakref
from contextlib import suppress

import pytest
from twisted.internet import error
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from awfproxy.errors.configuration import ConfigError
from awfproxy.errors.tls import TlsClosed, TlsNameMismatch, TlsProtocolError, TlsUntrusted
from awfproxy.net.tls import ClientTls, TlsConnection
from awfproxy.net.trust import client_context
from awfproxy.upstream.connection import UpstreamConnection
from awfproxy.wire.framing import NO_BODY
from awfproxy.wire.message import RequestHead, field
from tests.kit.certificates import Authority
from tests.memory.peers import Loop, Wire, answer
from tests.memory.test_connection import Owner, Sink

NAME = "api.openai.com"


class Application(Protocol):
    """What stands inside TLS."""

    def __init__(self):
        self.received, self.lost = b"", None
        self.made = False

    def connectionMade(self):
        self.made = True

    def dataReceived(self, data):
        self.received += data

    def connectionLost(self, reason):
        assert self.lost is None
        self.lost = reason.type


@implementer(IHalfCloseableProtocol)
class HalfCloser(Application):
    """One that goes on when a single direction ends; `on_data` is called at each piece that comes."""

    def __init__(self):
        super().__init__()
        self.read_ended = False
        self.on_data = lambda: None

    def dataReceived(self, data):
        super().dataReceived(data)
        self.on_data()

    def readConnectionLost(self):
        assert not self.read_ended
        self.read_ended = True

    def writeConnectionLost(self):
        pass


class Server:
    """The origin's side: a TLS server over memory buffers at the far end of a wire."""

    def __init__(self, context):
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        self.done = False
        self.received = b""
        self.failure = None
        self.closed_by_client = False

    def turn(self, wire):
        """Takes what has reached it and answers; True when something moved."""
        data = wire.clear()
        self._in.write(data)
        try:
            if not self.done:
                self._tls.do_handshake()
                self.done = True
            while True:
                piece = self._tls.read(65536)
                if not piece:
                    self.closed_by_client = True
                    break
                self.received += piece
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.closed_by_client = True
        except ssl.SSLError as problem:
            self.failure = problem
        return self.flush(wire) or bool(data)

    def flush(self, wire):
        out = self._out.read()
        if out and wire.lost is None:
            wire.deliver(*(out[at : at + 65536] for at in range(0, len(out), 65536)))
        return bool(out)

    def send(self, wire, data):
        self._tls.write(data)
        self.flush(wire)

    def close_notify(self, wire=None):
        """Ends in TLS; the bytes are returned instead where there is no wire to send them on."""
        with suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        if wire is None:
            return self._out.read()
        self.flush(wire)
        return b""

    def seal(self, data):
        """The records, not sent yet."""
        self._tls.write(data)
        return self._out.read()

    @property
    def resumed(self):
        return self._tls.session_reused


class Handshake:
    """A connection to a server with that certificate, up to where it gets by itself."""

    def __init__(self, options, context, application=None, wire=Wire):
        self.application = application or Application()
        self.loop = Loop()
        self.tls = TlsConnection(options, self.application)
        self.ready, self.failed = [], []
        self.tls.ready.addCallbacks(self.ready.append, lambda failure: self.failed.append(failure.value))
        self.wire = wire(self.loop, self.tls)
        self.server = Server(context)
        self.settle()

    def settle(self):
        for _ in range(1000):
            self.loop.settle()
            if not self.server.turn(self.wire):
                return
        raise AssertionError("it never settles")

    @property
    def problem(self):
        (problem,) = self.failed
        return problem


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger CA")


@pytest.fixture
def options(authority):
    return ClientTls(NAME, client_context(str(authority.file)))


def context_for(leaf, *, alpn=("http/1.1",), version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.certificate, leaf.key)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if version:
        context.minimum_version = context.maximum_version = version
    return context


@pytest.fixture
def context(authority):
    return context_for(authority.leaf(NAME))


# --- the handshake ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("alpn", [("http/1.1",), ("h2", "http/1.1"), ()])
def test_a_good_handshake_is_ready_and_carries_bytes(options, authority, version, alpn):
    shaken = Handshake(options, context_for(authority.leaf(NAME), alpn=alpn, version=version))
    assert shaken.ready == [shaken.application]
    shaken.application.transport.write(b"question")
    shaken.settle()
    assert shaken.server.received == b"question"
    shaken.server.send(shaken.wire, b"answer")
    assert shaken.application.received == b"answer"


def test_nobody_is_told_before_the_certificate_is_verified(options, context):
    application = Application()
    tls = TlsConnection(options, application)
    ready = []
    tls.ready.addCallback(ready.append)
    wire = Wire(Loop(), tls)
    assert wire.received
    assert (application.made, ready) == (False, [])
    server = Server(context)
    server.turn(wire)
    assert (application.made, ready) == (True, [application])


def test_the_handshake_in_single_bytes_is_the_same(options, context):
    tls = TlsConnection(options, Application())
    ready = []
    tls.ready.addCallback(ready.append)
    wire = Wire(Loop(), tls)
    server = Server(context)
    server._in.write(wire.clear())
    with pytest.raises(ssl.SSLWantReadError):
        server._tls.do_handshake()
    flight = server._out.read()
    wire.deliver(*(flight[at : at + 1] for at in range(len(flight))))
    assert len(ready) == 1


def refused(shaken, kind):
    """The handshake ended with that error, and nobody inside heard of it."""
    assert type(shaken.problem) is kind
    assert shaken.ready == []
    assert shaken.application.made is False
    assert shaken.application.lost is None
    assert shaken.wire.lost is not None
    assert shaken.server.received == b""
    return shaken.problem


def test_a_certificate_of_another_ca_is_refused(options, stranger):
    problem = refused(Handshake(options, context_for(stranger.leaf(NAME))), TlsUntrusted)
    assert problem.detail


def test_a_certificate_for_another_name_is_refused(options, authority):
    refused(Handshake(options, context_for(authority.leaf("evil.example"))), TlsNameMismatch)


def test_an_expired_certificate_is_refused(options, authority):
    problem = refused(Handshake(options, context_for(authority.leaf(NAME, expired=True))), TlsUntrusted)
    assert "expired" in problem.detail


def test_another_application_protocol_is_refused(options, authority):
    # A server that only knows what was not offered chooses nothing, and HTTP/1.1 it is.
    shaken = Handshake(options, context_for(authority.leaf(NAME), alpn=("h2",)))
    assert shaken.ready == [shaken.application]
    offering = ClientTls(NAME, client_context(str(authority.file)))
    offering.context.set_alpn_protocols(["h2", "http/1.1"])
    refused(Handshake(offering, context_for(authority.leaf(NAME), alpn=("h2",))), TlsProtocolError)


def test_a_client_certificate_is_never_asked_into_silence(options, authority):
    context = context_for(authority.leaf(NAME), version=ssl.TLSVersion.TLSv1_2)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.file)
    shaken = Handshake(options, context)
    assert isinstance(shaken.problem, TlsProtocolError)


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad\r\n\r\n", b"220 mail.test ESMTP\r\n", b"\0" * 100])
def test_a_peer_without_tls_is_refused(options, data):
    application = Application()
    tls = TlsConnection(options, application)
    failed = []
    tls.ready.addErrback(lambda failure: failed.append(failure.value))
    wire = Wire(Loop(), tls)
    wire.deliver(data)
    assert [type(problem) for problem in failed] == [TlsProtocolError]
    assert data[:4].decode("latin-1") not in failed[0].detail
    assert application.made is False
    assert wire.lost is not None


def test_what_waits_to_be_sent_when_it_is_aborted_is_dropped_first(options, context):
    """A whole request might, whose client has left: the origin is not to do anything for it."""
    asked = []

    class Waiting(Wire):
        def drop_unsent(self):
            asked.append("drop")

        def abortConnection(self):
            asked.append("abort")
            super().abortConnection()

    shaken = Handshake(options, context, wire=Waiting)
    shaken.tls.abortConnection()
    assert asked == ["drop", "abort"]


@pytest.mark.parametrize("end", ["finish", "reset"])
def test_an_end_during_the_handshake_is_told(options, end):
    tls = TlsConnection(options, Application())
    failed = []
    tls.ready.addErrback(lambda failure: failed.append(failure.value))
    getattr(Wire(Loop(), tls), end)()
    assert [type(problem) for problem in failed] == [TlsClosed]


def test_cancelling_ready_aborts_the_connection(options, logged_failures):
    tls = TlsConnection(options, Application())
    failed = []
    tls.ready.addErrback(lambda failure: failed.append(failure.type.__name__))
    wire = Wire(Loop(), tls)
    tls.ready.cancel()
    wire.loop.settle()
    assert failed == ["CancelledError"]
    assert wire.aborted
    del tls
    gc.collect()
    assert logged_failures == []


# --- the end ------------------------------------------------------------------------------------------


def test_close_notify_is_an_orderly_end(options, context):
    shaken = Handshake(options, context)
    shaken.server.send(shaken.wire, b"last words")
    shaken.server.close_notify(shaken.wire)
    shaken.settle()
    assert shaken.application.received == b"last words"
    assert shaken.application.lost is error.ConnectionDone
    assert shaken.server.closed_by_client


def test_an_end_without_close_notify_is_a_cut(options, context):
    shaken = Handshake(options, context)
    shaken.server.send(shaken.wire, b"half")
    shaken.wire.finish()
    assert (shaken.application.received, shaken.application.lost) == (b"half", error.ConnectionLost)


def test_a_reset_is_a_cut(options, context):
    shaken = Handshake(options, context)
    shaken.wire.reset()
    assert shaken.application.lost is error.ConnectionLost


def test_a_reset_after_close_notify_is_still_an_orderly_end(options, context):
    """An origin that has said all may close its socket before it has read our own farewell."""
    shaken = Handshake(options, context)
    shaken.wire.take(0)
    shaken.server.close_notify(shaken.wire)
    assert shaken.application.lost is None
    shaken.wire.connectionLost(Failure(error.ConnectionLost()))
    assert shaken.application.lost is error.ConnectionDone


def test_a_record_that_was_tampered_with_is_a_cut(options, context):
    shaken = Handshake(options, context)
    record = bytearray(shaken.server.seal(b"answer"))
    record[-1] ^= 1
    shaken.wire.deliver(bytes(record))
    assert (shaken.application.received, shaken.application.lost) == (b"", error.ConnectionAborted)


def test_losing_the_connection_says_close_notify(options, context):
    shaken = Handshake(options, context)
    shaken.application.transport.write(b"bye")
    shaken.application.transport.loseConnection()
    shaken.settle()
    assert (shaken.server.received, shaken.server.closed_by_client) == (b"bye", True)
    assert shaken.wire.lost is not None


# --- the end of one direction -------------------------------------------------------------------------


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def halves(request, options, authority):
    context = context_for(authority.leaf(NAME), version=request.param)
    shaken = Handshake(options, context, HalfCloser())
    shaken.server.send(shaken.wire, b".")
    return shaken


def test_our_end_is_a_close_notify_without_a_fin_and_the_origin_goes_on(halves):
    """Squid ends a tunnel at the first FIN."""
    halves.application.transport.write(b"all")
    halves.application.transport.loseWriteConnection()
    halves.settle()
    assert (halves.server.received, halves.server.closed_by_client) == (b"all", True)
    assert not halves.wire.ended
    halves.server.send(halves.wire, b"x" * 300000)
    assert halves.application.received == b"." + b"x" * 300000
    halves.server.close_notify(halves.wire)
    assert halves.application.read_ended
    assert halves.application.lost is None
    halves.wire.finish()
    assert halves.application.lost is error.ConnectionDone


@pytest.mark.parametrize("cut", [1, 5, 6, 100])
def test_our_end_amid_a_record_of_the_origins_loses_nothing(halves, cut):
    record = halves.server.seal(b"x" * 200)
    halves.wire.deliver(record[:cut])
    halves.application.transport.loseWriteConnection()
    halves.wire.deliver(record[cut:])
    halves.server.send(halves.wire, b"y" * 1000)
    assert halves.application.received == b"." + b"x" * 200 + b"y" * 1000


def test_our_end_from_inside_a_delivery_loses_nothing_of_what_waits_behind_it(halves):
    """OpenSSL would fail on unread content at hand, and never read again."""
    transport = halves.application.transport
    halves.application.on_data = transport.loseWriteConnection
    halves.wire.deliver(halves.server.seal(b"x" * 1000000))
    halves.settle()
    assert halves.application.received == b"." + b"x" * 1000000
    assert halves.server.closed_by_client
    halves.server.send(halves.wire, b"more")
    assert halves.application.received.endswith(b"xmore")


def test_the_origins_end_leaves_our_direction_open(halves):
    halves.server.send(halves.wire, b"last words")
    halves.server.close_notify(halves.wire)
    halves.settle()
    assert halves.application.received == b".last words"
    assert halves.application.read_ended
    assert halves.application.lost is None
    halves.application.transport.write(b"still here")
    halves.settle()
    assert (halves.server.received, halves.server.closed_by_client) == (b"still here", False)
    halves.application.transport.loseConnection()
    halves.settle()
    assert halves.server.closed_by_client
    assert halves.application.lost is error.ConnectionDone


def test_what_follows_the_origins_end_is_read_over(halves):
    halves.server.close_notify(halves.wire)
    halves.wire.deliver(b"no record at all", b"and more")
    assert halves.application.received == b"."
    assert halves.application.lost is None
    halves.wire.reset()
    assert halves.application.lost is error.ConnectionDone


def test_without_the_origins_own_end_it_stays_a_cut(halves):
    halves.application.transport.loseWriteConnection()
    halves.wire.finish()
    assert halves.application.lost is error.ConnectionLost


def test_what_is_written_after_our_end_goes_nowhere(halves):
    halves.application.transport.loseWriteConnection()
    halves.application.transport.write(b"late")
    halves.application.transport.loseWriteConnection()
    halves.settle()
    assert halves.server.received == b""
    halves.application.transport.loseConnection()
    halves.settle()
    assert halves.wire.lost is not None


@pytest.mark.parametrize("orderly", [True, False])
def test_what_has_ended_is_freed_without_the_collector(options, context, orderly):
    """Each holds tens of kB of OpenSSL's, and the collector may come late."""
    gc.collect()
    gc.disable()
    try:
        shaken = Handshake(options, context)
        shaken.server.send(shaken.wire, b"answer")
        held = weakref.ref(shaken.application.transport._tls)  # a native class has no weak references
        if orderly:
            shaken.application.transport.loseConnection()
        else:
            shaken.wire.reset()
        shaken.settle()
        assert shaken.application.lost is not None
        shaken.wire.protocol = None  # as our own transport does
        del shaken
        assert held() is None
    finally:
        gc.enable()


# --- after the end ------------------------------------------------------------------------------------


def test_what_is_written_after_the_end_goes_nowhere(options, context):
    shaken = Handshake(options, context)
    transport = shaken.application.transport
    transport.loseConnection()
    transport.write(b"late")
    shaken.settle()
    transport.write(b"later")
    assert shaken.server.received == b""


# --- as the transport of an upstream connection -------------------------------------------------------


def upstream(options, context):
    connection = UpstreamConnection(Owner(), 0.0)
    shaken = Handshake(options, context, connection)
    return shaken, connection


def ask(shaken, connection):
    sink = Sink()
    connection.send(RequestHead(b"GET", b"/", b"1.1", (field(b"Host", b"x"),)), NO_BODY, b"", True, sink)
    shaken.settle()
    return sink


def test_an_answer_with_close_notify_behind_it_does_not_free_the_connection(options, context):
    """The next request would go into a connection that is known to be closed; a POST could not be retried."""
    shaken, connection = upstream(options, context)
    sink = ask(shaken, connection)
    shaken.wire.deliver(shaken.server.seal(answer(b"ok")) + shaken.server.close_notify())
    assert (sink.story, sink.content) == ([200, "end"], b"ok")
    assert "free" not in connection._owner.told


def test_a_close_notify_while_idle_makes_the_connection_unusable_at_once(options, context):
    shaken, connection = upstream(options, context)
    ask(shaken, connection)
    shaken.wire.deliver(shaken.server.seal(answer(b"ok")))
    assert connection.reusable
    shaken.wire.take(0)
    shaken.wire.deliver(shaken.server.close_notify())
    assert shaken.wire.lost is None
    assert not connection.reusable


@pytest.mark.parametrize(("orderly", "told"), [(True, "end"), (False, "IncompleteMessage")])
def test_an_until_close_response_is_complete_only_with_close_notify(options, context, orderly, told):
    shaken, connection = upstream(options, context)
    sink = ask(shaken, connection)
    shaken.server.send(shaken.wire, b"HTTP/1.1 200 OK\r\n\r\nto the end")
    if orderly:
        shaken.server.close_notify(shaken.wire)
    if shaken.wire.lost is None:
        shaken.wire.finish()
    assert sink.content == b"to the end"
    assert getattr(sink.story[-1], "__name__", sink.story[-1]) == told


# --- much data ----------------------------------------------------------------------------------------


def test_much_data_passes_in_both_directions(options, context):
    shaken = Handshake(options, context)
    data = bytes(range(256)) * 8192
    shaken.application.transport.write(data)
    shaken.settle()
    assert shaken.server.received == data
    shaken.server.send(shaken.wire, data)
    assert shaken.application.received == data


def test_records_in_single_bytes_arrive_whole(options, context):
    shaken = Handshake(options, context)
    records = shaken.server.seal(b"answer") + shaken.server.seal(b" and more")
    shaken.wire.deliver(*(records[at : at + 1] for at in range(len(records))))
    assert shaken.application.received == b"answer and more"


def test_connections_of_one_configuration_do_not_mix_their_bytes(options, context):
    """They share a buffer, so what one delivers must be out of it before another reads."""
    one, other = Handshake(options, context), Handshake(options, context)
    records = other.server.seal(b"B" * 70000)

    def nested(data):
        one.application.received += data
        if records:
            other.wire.protocol.dataReceived(records)

    one.application.dataReceived = nested
    one.wire.deliver(one.server.seal(b"A" * 200))
    assert one.application.received == b"A" * 200
    assert other.application.received == b"B" * 70000


def test_a_paused_connection_reads_no_more(options, context):
    shaken = Handshake(options, context)
    shaken.application.transport.pauseProducing()
    shaken.server.send(shaken.wire, b"waits")
    assert shaken.application.received == b""
    shaken.application.transport.resumeProducing()
    shaken.loop.settle()
    assert shaken.application.received == b"waits"


# --- sessions and trust -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_second_connection_resumes_the_first_ones_session(options, authority, version):
    context = context_for(authority.leaf(NAME), version=version)
    first = Handshake(options, context)
    first.server.send(first.wire, b"answer")
    assert not first.server.resumed
    second = Handshake(options, context)
    assert second.ready
    assert second.server.resumed
    second.server.send(second.wire, b"answer")
    assert Handshake(options, context).server.resumed


def test_a_session_of_another_server_is_no_obstacle(options, authority):
    first = Handshake(options, context_for(authority.leaf(NAME)))
    first.server.send(first.wire, b"answer")
    second = Handshake(options, context_for(authority.leaf(NAME)))
    assert second.ready
    assert not second.server.resumed


class Counting(ssl.SSLObject):
    """Counts how often it is asked for its session: each time costs 6 KB for ever (CPython gh-116810)."""

    asked = 0

    @property
    def session(self):
        Counting.asked += 1
        return super().session

    @session.setter
    def session(self, session):
        raise AssertionError("it is given at the start")


@pytest.fixture
def counted(authority, monkeypatch):
    """Options whose clock stands at `now`, and the count."""
    monkeypatch.setattr(Counting, "asked", 0)
    now = [1000.0]
    options = ClientTls(NAME, client_context(str(authority.file)), seconds=lambda: now[0])
    options.context.sslobject_class = Counting
    return options, now


def answered(options, context):
    shaken = Handshake(options, context)
    shaken.server.send(shaken.wire, b"answer")
    assert shaken.application.received == b"answer"
    return shaken.server.resumed


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_is_asked_for_while_the_last_one_is_taken_up(counted, authority, version):
    options, now = counted
    context = context_for(authority.leaf(NAME), version=version)
    assert [answered(options, context) for _ in range(4)] == [False, True, True, True]
    now[0] += 1000
    assert answered(options, context)
    assert Counting.asked == 1


def test_a_session_that_is_not_taken_up_is_replaced_once_in_five_minutes(counted, authority):
    options, now = counted
    assert not answered(options, context_for(authority.leaf(NAME)))
    other = context_for(authority.leaf(NAME))
    now[0] += 299
    assert [answered(options, other) for _ in range(3)] == [False, False, False]
    assert Counting.asked == 1
    now[0] += 1
    assert [answered(options, other) for _ in range(3)] == [False, True, True]
    assert Counting.asked == 2


def test_a_server_without_tickets_is_asked_once_in_five_minutes(counted, authority):
    options, _ = counted
    context = context_for(authority.leaf(NAME))
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    for _ in range(3):
        assert not answered(options, context)
    assert options.session is None
    assert Counting.asked == 1


def test_a_session_does_not_outweigh_a_wrong_certificate(options, authority, stranger):
    first = Handshake(options, context_for(authority.leaf(NAME)))
    first.server.send(first.wire, b"answer")
    refused(Handshake(options, context_for(stranger.leaf(NAME))), TlsUntrusted)


# --- several origins, one context -------------------------------------------------------------------

OTHER = "api.anthropic.com"


@pytest.fixture
def two(authority):
    """Two origins of one process."""
    context = client_context(str(authority.file))
    return ClientTls(NAME, context), ClientTls(OTHER, context)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_of_one_origin_is_never_offered_to_another(two, authority, version):
    """Whoever holds it could pass for the other: no certificate is verified where a session is resumed."""
    one, other = two
    context = context_for(authority.leaf(NAME), version=version)
    answered(one, context)
    assert answered(one, context)
    assert other.session is None
    refused(Handshake(other, context), TlsNameMismatch)
    assert answered(one, context)


def test_each_origin_resumes_its_own_session(two, authority):
    contexts = [context_for(authority.leaf(each.server_name)) for each in two]
    for resumed in False, True, True:
        assert [answered(*pair) for pair in zip(two, contexts, strict=True)] == [resumed, resumed]


def test_each_origin_asks_by_its_own_name_and_expects_it(two, authority):
    one, other = two
    asked = []
    contexts = {each.server_name: context_for(authority.leaf(each.server_name)) for each in two}
    for context in contexts.values():
        context.sni_callback = lambda tls, name, own: asked.append(name)
    assert Handshake(one, contexts[NAME]).ready
    assert Handshake(other, contexts[OTHER]).ready
    refused(Handshake(one, contexts[OTHER]), TlsNameMismatch)
    refused(Handshake(other, contexts[NAME]), TlsNameMismatch)
    assert asked == [NAME, OTHER, NAME, OTHER]


def test_handshakes_of_two_origins_under_way_at_once_do_not_mix(two, authority):
    one, other = two
    right, wrong = context_for(authority.leaf(NAME)), context_for(authority.leaf(NAME))
    begun = TlsConnection(one, Application())
    wire = Wire(Loop(), begun)
    refused(Handshake(other, wrong), TlsNameMismatch)
    server, ready = Server(right), []
    begun.ready.addCallback(ready.append)
    while server.turn(wire):
        wire.loop.settle()
    assert ready


def test_the_extra_ca_is_added_to_the_roots(authority, stranger):
    options = ClientTls(NAME, client_context(str(authority.file), (str(stranger.file),)))
    for each in authority, stranger:
        assert Handshake(options, context_for(each.leaf(NAME))).ready


def test_the_systems_roots_do_not_trust_our_ca(authority):
    refused(Handshake(ClientTls(NAME, client_context()), context_for(authority.leaf(NAME))), TlsUntrusted)


@pytest.mark.parametrize("content", [None, b"", b"no certificate\n"])
@pytest.mark.parametrize("extra", [False, True])
def test_a_ca_file_that_cannot_be_used_is_a_configuration_error(tmp_path, authority, content, extra):
    name = tmp_path / "ca.pem"
    if content is not None:
        name.write_bytes(content)
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        client_context(*([str(authority.file), (str(name),)] if extra else [str(name)]))


def test_tls_older_than_1_2_is_not_spoken(options):
    assert options.context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert options.context.check_hostname
    assert options.context.verify_mode == ssl.CERT_REQUIRED
