"""The demo's stand-in for Squid: the allowlist, its refusals, and a tunnel that passes everything on."""

import pytest
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from awfproxy.demo.egress import ConnectProxyFactory, listen

ALLOWED = {b"api.openai.com:443": ("127.0.0.1", 8443)}
CONNECT = b"CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Transport(StringTransport):
    """A StringTransport that is as lenient about producers as a real one, and can be closed by half."""

    half_closed = False

    def loseWriteConnection(self):
        self.half_closed = True

    def unregisterProducer(self):
        self.producer = None


class Tunnel:
    """A client at the proxy; `far` is the other end once the proxy has dialled."""

    def __init__(self):
        self.reactor = MemoryReactorClock()
        self.client = Transport()
        self.near = ConnectProxyFactory(self.reactor, ALLOWED).buildProtocol(None)
        self.near.makeConnection(self.client)

    def dialled(self):
        return [call[:2] for call in self.reactor.tcpClients]

    def connect(self):
        self.far = self.reactor.tcpClients[0][2].buildProtocol(None)
        self.origin = Transport()
        self.far.makeConnection(self.origin)
        return self


@pytest.fixture
def tunnel():
    return Tunnel()


@pytest.fixture
def open_tunnel(tunnel):
    tunnel.near.dataReceived(CONNECT)
    tunnel.connect()
    assert tunnel.client.value() == ESTABLISHED
    tunnel.client.clear()
    return tunnel


def test_the_allowed_authority_is_dialled_at_its_mapped_place(tunnel):
    tunnel.near.dataReceived(CONNECT)
    assert tunnel.dialled() == [("127.0.0.1", 8443)]
    assert tunnel.client.value() == b""
    tunnel.connect()
    assert tunnel.client.value() == ESTABLISHED


def test_a_head_may_come_byte_by_byte(tunnel):
    for at in range(len(CONNECT)):
        assert tunnel.dialled() == []
        tunnel.near.dataReceived(CONNECT[at : at + 1])
    assert tunnel.dialled() == [("127.0.0.1", 8443)]


@pytest.mark.parametrize(
    "line",
    [
        b"CONNECT example.com:443 HTTP/1.1",
        b"CONNECT api.openai.com:80 HTTP/1.1",
        b"CONNECT api.openai.com HTTP/1.1",
        b"CONNECT evil-api.openai.com:443 HTTP/1.1",
        b"CONNECT api.openai.com:443.example.com:443 HTTP/1.1",
        b"GET http://api.openai.com:443/ HTTP/1.1",
        b"GET api.openai.com:443 HTTP/1.1",
    ],
)
def test_everything_else_is_403_as_squid_says_it(tunnel, line):
    tunnel.near.dataReceived(line + b"\r\nHost: api.openai.com:443\r\n\r\n")
    answer = tunnel.client.value()
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"\r\nX-Squid-Error: ERR_ACCESS_DENIED 0\r\n" in answer
    assert tunnel.client.disconnecting
    assert tunnel.dialled() == []


@pytest.mark.parametrize("head", [b"\x16\x03\x01\r\n\r\n", b"CONNECT  HTTP/1.1\r\n\r\n", b"x" * 16385])
def test_what_is_not_http_is_400(tunnel, head):
    tunnel.near.dataReceived(head)
    assert tunnel.client.value().startswith(b"HTTP/1.1 400 ")
    assert tunnel.client.disconnecting


def test_an_origin_that_is_down_is_503(tunnel):
    tunnel.near.dataReceived(CONNECT)
    tunnel.reactor.tcpClients[0][2].clientConnectionFailed(None, Failure(ConnectionRefusedError()))
    answer = tunnel.client.value()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nX-Squid-Error: ERR_CONNECT_FAIL 111\r\n" in answer


def test_bytes_glued_to_the_head_reach_the_origin_first(tunnel):
    tunnel.near.dataReceived(CONNECT + b"hello")
    tunnel.connect()
    tunnel.near.dataReceived(b" again")
    assert tunnel.origin.value() == b"hello again"


def test_nothing_is_read_while_the_origin_is_dialled(tunnel):
    tunnel.near.dataReceived(CONNECT)
    assert tunnel.client.producerState == "paused"
    tunnel.connect()
    assert tunnel.client.producerState == "producing"


def test_a_client_that_left_while_the_origin_was_dialled_leaves_no_connection(tunnel):
    tunnel.near.dataReceived(CONNECT)
    tunnel.near.connectionLost(Failure(ConnectionLost()))
    tunnel.near.connected = 0
    tunnel.connect()
    assert tunnel.origin.disconnected


def test_bytes_pass_both_ways_unchanged(open_tunnel):
    open_tunnel.near.dataReceived(b"\x00\xff up")
    open_tunnel.far.dataReceived(b"\x00\xff down")
    assert open_tunnel.origin.value() == b"\x00\xff up"
    assert open_tunnel.client.value() == b"\x00\xff down"


def test_a_full_origin_stops_reading_from_the_client(open_tunnel):
    open_tunnel.origin.producer.pauseProducing()
    assert open_tunnel.client.producerState == "paused"
    assert open_tunnel.origin.producerState == "producing"
    open_tunnel.origin.producer.resumeProducing()
    assert open_tunnel.client.producerState == "producing"


def test_a_full_client_stops_reading_from_the_origin(open_tunnel):
    open_tunnel.client.producer.pauseProducing()
    assert open_tunnel.origin.producerState == "paused"
    assert open_tunnel.client.producerState == "producing"


def test_the_end_of_the_client_s_bytes_is_passed_on_and_the_answer_still_comes(open_tunnel):
    open_tunnel.near.readConnectionLost()
    assert open_tunnel.origin.half_closed
    assert not open_tunnel.client.disconnecting
    open_tunnel.far.dataReceived(b"late")
    assert open_tunnel.client.value() == b"late"


def test_a_reset_is_passed_on_as_a_reset(open_tunnel):
    open_tunnel.near.connectionLost(Failure(ConnectionLost()))
    assert open_tunnel.origin.disconnected


def test_an_orderly_close_is_passed_on_as_one(open_tunnel):
    open_tunnel.far.connectionLost(Failure(ConnectionDone()))
    assert open_tunnel.client.disconnecting
    assert not open_tunnel.client.disconnected


@implementer(IHalfCloseableProtocol)
class Peer(Protocol):
    """Collects all it gets, up to the other side's end."""

    def __init__(self):
        self.received = b""
        self.ended = Deferred()
        self.lost = Deferred()

    def dataReceived(self, data):
        self.received += data

    def readConnectionLost(self):
        self.ended.callback(self.received)

    def writeConnectionLost(self):
        pass

    def connectionLost(self, reason):
        self.lost.callback(None)


async def test_a_megabyte_each_way_and_both_half_closes_arrive_over_sockets():
    from twisted.internet import reactor

    accepted = Deferred()
    served = Factory.forProtocol(Peer)
    build = served.buildProtocol
    served.buildProtocol = lambda addr: accepted.callback(peer := build(addr)) or peer
    origin = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(served)
    proxy = listen(reactor, {b"api.openai.com:443": ("127.0.0.1", origin.getHost().port)})
    try:
        near = await TCP4ClientEndpoint(reactor, "127.0.0.1", proxy.getHost().port).connect(
            Factory.forProtocol(Peer)
        )
        near.transport.write(CONNECT + b"u" * 1_000_000)
        near.transport.loseWriteConnection()
        far = await accepted
        assert await far.ended == b"u" * 1_000_000
        far.transport.write(b"d" * 1_000_000)
        far.transport.loseWriteConnection()
        assert await near.ended == ESTABLISHED + b"d" * 1_000_000
        near.transport.loseConnection()
        far.transport.loseConnection()
        await gatherResults([near.lost, far.lost])
    finally:
        await proxy.stopListening()
        await origin.stopListening()
