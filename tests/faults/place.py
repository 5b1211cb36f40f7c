"""`Place`: the whole data path on the test's own reactor, between a client's socket and a scripted way out.

All is real but the peers: loopback sockets, the listener, CONNECT, TLS. What is held can be looked at.
"""

import gc
import json
import select
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import serverFromString
from twisted.logger import LogEvent, globalLogPublisher

from awfproxy.credentials.secret import Secret
from awfproxy.credentials.store import CredentialStore, InForce
from awfproxy.credentials.verdict import Accepted
from awfproxy.errors.base import AwfError
from awfproxy.net.deadlines import Sweep
from awfproxy.net.hub import Hub
from awfproxy.net.listener import ListeningEndpoint
from awfproxy.net.ready import OriginEndpoint
from awfproxy.net.tls import ClientTls, TlsConnection
from awfproxy.net.transport import StreamTransport
from awfproxy.net.trust import client_context
from awfproxy.observe.accesslog import AccessLine, AccessLog
from awfproxy.observe.health import Health
from awfproxy.observe.metrics import Metrics, ProcessMetrics
from awfproxy.observe.models import ModelLists
from awfproxy.observe.part import PagePart
from awfproxy.observe.snapshot import snapshot
from awfproxy.providers.openai import PROVIDER as OPENAI
from awfproxy.providers.provider import Asked
from awfproxy.providers.rules import NO_RULES
from awfproxy.proxy.channel import Channel
from awfproxy.proxy.exchange import Exchange, Forwarding
from awfproxy.proxy.pages import LocalPages
from awfproxy.proxy.resource import ReverseProxyResource
from awfproxy.proxy.site import ProxySite
from awfproxy.proxy.tunnel import Tunnel
from awfproxy.settings.syntax import Egress
from awfproxy.settings.values import Deadlines, PoolLimits, WebSocketLimits
from awfproxy.upstream.connection import UpstreamConnection
from awfproxy.upstream.pool import Pool
from tests.faults.tlspeer import TlsPeer
from tests.kit.certificates import Authority
from tests.kit.sockets import Peer, eventually, open_sockets, turns
from tests.memory.peers import get

NAME = "api.openai.com"
SHORT = 0.5
"""Seconds of every deadline: a stall is seen within `SHORT` and one sweep."""
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_HELD = (StreamTransport, TlsConnection, UpstreamConnection, Channel, Exchange, Tunnel)

Serve = Callable[["Place", Peer], Awaitable[None]]


class Place:
    """One daemon's data path and the way out of it, which `serve` plays for each connection to "Squid"."""

    def __init__(self, authority: Authority, context: ssl.SSLContext, key: str) -> None:
        from twisted.internet import reactor

        self._reactor: Any = reactor
        self._context = context
        self._sockets = open_sockets()
        self._objects = held_objects()
        self.squid = socket.create_server(("127.0.0.1", 0))
        self.squid_address = self.squid.getsockname()
        self.squid.setblocking(False)
        self.hub = Hub(reactor)
        self.sweep = Sweep(reactor)
        self.deadlines = Deadlines(
            head=SHORT, idle=5.0, body=SHORT, connect=SHORT, tls=SHORT, response=SHORT, silence=SHORT,
            acquire=5.0, drain=SHORT,
        )  # fmt: skip
        access = OPENAI.access(Asked())
        endpoint = OriginEndpoint(
            self.hub,
            access.origin,
            Egress("127.0.0.1", self.squid_address[1]),
            ClientTls(NAME, client_context(str(authority.file))),
            self.deadlines,
        )
        self.health = Health(lambda: 0.0, True)
        self.health.key_checked(Accepted())
        self.pool = Pool(self.sweep, endpoint, PoolLimits(warm=0), self._heard)
        self.metrics = Metrics()
        credentials = CredentialStore({"openai": InForce((Secret(key.encode("ascii")),), NO_RULES)})
        self.lines: list[dict[str, Any]] = []
        self.failed_hops: list[str] = []
        log = AccessLog("openai", self.metrics, self._write)
        forwarding = Forwarding(
            provider=OPENAI,
            access=access,
            credentials=credentials,
            pool=self.pool,
            deadlines=self.deadlines,
            websocket_limits=WebSocketLimits(idle=SHORT, lifetime=60.0),
            health=self.health,
            log=log,
        )
        self._part = PagePart(OPENAI, access, self.health, self.metrics, self.pool)
        self._process = ProcessMetrics(reactor.seconds, lambda: 0)  # type: ignore[attr-defined]
        pages = LocalPages(
            prefix="", egress="http://127.0.0.1", parts=(self._part,), credentials=credentials,
            process=self._process, models=ModelLists(), place=lambda name: None, host=None,
        )  # fmt: skip
        self.site = ProxySite(
            ReverseProxyResource(forwarding, pages.by_path(OPENAI)),
            reactor=self._reactor,
            sweep=self.sweep,
            provider=OPENAI,
            origin=access.origin,
            deadlines=self.deadlines,
            access_log=log,
            metrics=self.metrics,
            max_connections=100,
        )
        self._port: Any = None
        self.address = ("", 0)
        self._serving: list[Deferred[None]] = []
        self._peers: list[Peer] = []
        self._waiting: list[socket.socket] = []
        self.served = 0
        """Connections to "Squid" so far."""

    def _heard(self, error: AwfError | None) -> None:
        if error is None:
            self.health.egress_ok()
        else:
            self.health.egress_failed(error)

    def _write(self, line: Any) -> None:
        assert isinstance(line, AccessLine)
        self.lines.append(line.values)

    def _observe(self, event: LogEvent) -> None:
        if event.get("event") == "request_error":
            self.failed_hops.append(f"{event['hop']} {event['error']}")

    # --- life ------------------------------------------------------------------------------------

    async def open(self) -> "Place":
        globalLogPublisher.addObserver(self._observe)
        self.pool.startService()
        await self.listen()
        return self

    async def listen(self) -> None:
        """At the same port again, where it has listened before."""
        description = f"tcp:{self.address[1]}:interface=127.0.0.1"
        endpoint = ListeningEndpoint(self.hub, serverFromString(self._reactor, description))
        self._port = await endpoint.listen(self.site)
        self.address = ("127.0.0.1", self._port.getHost().port)

    async def stop_listening(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            await port.stopListening()

    def serve(self, serve: Serve) -> None:
        """From now on each connection to "Squid" is played by `serve`; it is closed when that returns."""
        for each in self._serving:
            each.cancel()
        self._serving = [self._run(self._accept(serve))]

    def _run(self, work: Any) -> "Deferred[None]":
        running: Deferred[None] = Deferred.fromCoroutine(work)
        return running.addErrback(lambda failure: failure.trap(CancelledError, EOFError, OSError) and None)

    async def _accept(self, serve: Serve) -> None:
        door = Peer(self.squid)
        while True:
            await door.ready()
            with suppress(BlockingIOError):
                peer = Peer(self.squid.accept()[0])
                # A reset throws away what waits for an acknowledgement.
                peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
                self._peers.append(peer)
                self.served += 1
                self._serving.append(self._run(self._play(serve, peer)))

    async def _play(self, serve: Serve, peer: Peer) -> None:
        try:
            await serve(self, peer)
        finally:
            peer.close()

    def close_squid(self) -> None:
        """Nothing listens there any more."""
        for each in self._serving:
            each.cancel()
        self._serving = []
        self.squid.close()

    def open_squid(self) -> None:
        """Something does again, at the same address."""
        if self.squid.fileno() < 0:
            self.squid = socket.create_server(self.squid_address)
            self.squid.setblocking(False)

    def fill_backlog(self) -> None:
        """Connecting to Squid neither succeeds nor fails from now on."""
        for each in self._serving:
            each.cancel()
        self._serving = []
        self.squid.listen(0)
        while True:
            waiting = socket.socket()
            self._waiting.append(waiting)
            waiting.setblocking(False)
            waiting.connect_ex(self.squid_address)
            poll = select.poll()
            poll.register(waiting, select.POLLOUT)
            if not poll.poll(100):
                return

    def drain_backlog(self) -> None:
        """It succeeds again."""
        for waiting in self._waiting:
            waiting.close()
        self._waiting = []
        self.squid.listen(128)

    # --- the peers -------------------------------------------------------------------------------

    def client(self) -> Peer:
        peer = Peer(socket.create_connection(self.address))
        self._peers.append(peer)
        return peer

    async def asked(self, peer: Peer) -> Peer:
        """Reads the CONNECT."""
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            piece = await peer.some()
            if not piece:
                raise EOFError(data)
            data += piece
        assert data.startswith(b"CONNECT api.openai.com:443 HTTP/1.1\r\n"), data
        return peer

    async def connected(self, peer: Peer) -> Peer:
        """Opens the tunnel."""
        await self.asked(peer)
        await peer.send(ESTABLISHED)
        return peer

    async def shaken(self, peer: Peer) -> TlsPeer:
        """Does the handshake."""
        return await TlsPeer(peer, self._context).handshake()

    async def tls(self, peer: Peer) -> TlsPeer:
        """Opens the tunnel and does the handshake."""
        return await self.shaken(await self.connected(peer))

    async def requested(self, peer: Peer) -> TlsPeer:
        """The same, and reads a request's head."""
        tls = await self.tls(peer)
        await tls.until(b"\r\n\r\n")
        return tls

    # --- what has come of it ---------------------------------------------------------------------

    def counters(self) -> Counter[str]:
        """All of /metrics that is not nought: its counters, and how many each histogram has."""
        shown: Any = snapshot([self._part], self._process)
        assert shown["gauges"]["active_requests"] == {"openai": 0}
        found = {name.replace(":openai", ""): count for name, count in shown["counters"].items()}
        found |= {name: each["openai"]["count"] for name, each in shown["histograms"].items()}
        return +Counter(found)

    async def egress_health(self) -> dict[str, Any]:
        """What /health says of the way out; /readyz has to say the same in short."""
        page, ready = [await self._page(name) for name in (b"/health", b"/readyz")]
        reason = page.get("reason")
        assert ready == ({"status": "ready"} if reason is None else {"status": "not ready", "reason": reason})
        return {**page["egress"], "reason": reason}

    async def _page(self, name: bytes) -> dict[str, Any]:
        peer = self.client()
        await peer.send(get(name, b"Connection: close"))
        head, _, content = (await peer.rest()).partition(b"\r\n\r\n")
        peer.close()
        found: dict[str, Any] = json.loads(content)
        assert head.startswith(b"HTTP/1.1 503 " if "reason" in found else b"HTTP/1.1 200 ")
        return found

    async def settled(self) -> None:
        """Nothing is under way: no client, no exchange, no attempt, no tunnel but idle ones."""
        await eventually(lambda: not self.site.connections)
        assert self.metrics.active_requests == 0
        await eventually(lambda: not self.pool.stats().opening)  # which goes on when its client has left
        stats = self.pool.stats()
        assert (stats.busy, stats.opening, stats.waiting) == (0, 0, 0), stats
        await eventually(lambda: not self.pool._closing)
        watched = list(self.hub._watched.values())
        names = sorted(type(each).__name__ for each in watched)
        assert names == ["Listener", *["StreamTransport"] * stats.idle], "a socket is held"
        assert not any(getattr(each, "unsent", 0) for each in watched), "bytes are held"

    async def close(self) -> None:
        """Ends all, and looks whether anything is left: a socket, a timer, an object with its bytes."""
        globalLogPublisher.removeObserver(self._observe)
        for each in self._serving:
            each.cancel()
        for each in [*(peer.sock for peer in self._peers), *self._waiting]:
            each.close()
        await eventually(lambda: not self.site.connections)
        await self.stop_listening()
        self.pool.stopService()
        self.squid.close()
        await eventually(lambda: self.hub.fileno() == -1)
        assert self.sweep._next is None, "a timer is left"
        self._serving, self._peers, self._waiting = [], [], []
        await turns()
        gc.collect()
        assert open_sockets() <= self._sockets, "a socket is left"
        left = held_objects() - self._objects
        assert not left, f"objects are left, with what they hold: {left}"


def held_objects() -> Counter[str]:
    """How many of the data path's objects there are: each that is left would hold its connection's bytes."""
    # By type: isinstance asks a weak proxy for its object, which may be gone.
    return Counter(type(each).__name__ for each in gc.get_objects() if issubclass(type(each), _HELD))
