"""The site: makes a channel for each client, knows all of them, and lets them end in peace."""

import secrets
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocol, IReactorTime
from twisted.logger import Logger
from twisted.web.http import HTTPFactory
from twisted.web.resource import Resource

from awfproxy.errors.own import OutOfDescriptors, TooManyConnections
from awfproxy.net.deadlines import Sweep
from awfproxy.observe.accesslog import AccessLog
from awfproxy.observe.metrics import Metrics
from awfproxy.providers.provider import Provider
from awfproxy.proxy.channel import Channel
from awfproxy.proxy.crossorigin import NO_OTHERS, TrustedOrigins
from awfproxy.proxy.responses import error_response
from awfproxy.settings.values import Deadlines
from awfproxy.wire.target import Origin

_OVER_LIMIT = 64
"""So many connections beyond the limit hear a 503; any further one is closed unheard."""
_SAY_EVERY = 60.0
"""Seconds between two lines about connections beyond the limit."""


class ProxySite(HTTPFactory):
    """What all channels of one listener share. Twisted's own access log stays off: it prints queries.

    Not twisted.web's Site, of which our channels would use `resource` alone: sessions, templates and
    Perspective Broker, which it imports, take 1.9 MB and 8 ms.
    """

    noisy = False
    _log = Logger()

    def __init__(
        self,
        resource: Resource,
        *,
        reactor: IReactorTime,
        sweep: Sweep,
        provider: Provider,
        origin: Origin,
        deadlines: Deadlines,
        websocket: bool = True,
        access_log: AccessLog,
        metrics: Metrics,
        max_connections: int,
        request_id_field: bytes | None = None,
        trusted: TrustedOrigins = NO_OTHERS,
    ) -> None:
        super().__init__(reactor=reactor)
        self.protocol = Channel  # type: ignore[method-assign, assignment]
        self.resource = resource
        self.sweep = sweep
        self.provider = provider
        self.origin = origin
        self.deadlines = deadlines
        self.websocket = websocket
        self.access_log = access_log
        self.request_id_field = request_id_field
        self.trusted = trusted
        self._reactor: Any = reactor
        self._max_connections = max_connections
        self._channels: set[Channel] = set()
        random = secrets.token_hex(9)
        # In the form of a UUID of version 4 (RFC 9562 5.4), which some tools look for.
        self._id_prefix = f"{random[:8]}-{random[8:12]}-4{random[12:15]}-8{random[15:]}-".encode("ascii")
        self._requests = 0
        self._metrics = metrics
        self._refused = 0
        """Since the last line that said so."""
        self._say_at = 0.0
        self._drained: Deferred[None] | None = None

    def startFactory(self) -> None:
        """Not HTTPFactory's, which would keep the date for its access log by a timer, each second."""

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:  # type: ignore[override]
        if self._drained is not None:
            return None
        over = len(self._channels) - self._max_connections
        if over >= 0:
            self._refuse_one()
            if over >= _OVER_LIMIT:
                return None
        channel = Channel(self)
        channel.over_limit = over >= 0
        return channel

    def _refuse_one(self) -> None:
        """One beyond the limit is counted, and said once a minute: whoever connects must not fill the log."""
        self._metrics.connection_refused(TooManyConnections.code)
        self._refused += 1
        now = self._reactor.seconds()
        if now < self._say_at:
            return
        self._say_at = now + _SAY_EVERY
        self._log.warn(
            "{provider}: {limit} clients are connected, as many as may be; {refused} more refused. "
            "Close some, or raise --max-connections. For a minute further ones are only counted.",
            event="too_many_connections",
            provider=self.provider.name,
            limit=self._max_connections,
            refused=self._refused,
        )
        self._refused = 0

    def refusal(self) -> bytes:
        """For a client who comes when there is no descriptor for another: the answer to whatever it asks.

        Each call counts one such client.
        """
        self._metrics.connection_refused(OutOfDescriptors.code)
        return error_response(OutOfDescriptors(), self.provider, self.new_request_id(), b"close", b"GET")

    def new_request_id(self) -> bytes:
        """An id that no other request has: random for this process, counted within it."""
        self._requests += 1
        return b"%b%012x" % (self._id_prefix, self._requests)

    def connection_made(self, channel: Channel) -> None:
        """A channel has its client."""
        self._channels.add(channel)
        self.sweep.add(channel)

    def connection_lost(self, channel: Channel) -> None:
        """It has it no more."""
        self._channels.discard(channel)
        self.sweep.discard(channel)
        self._check_drained()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._channels)

    async def drain(self, deadline: float) -> None:
        """Ends idle connections, waits for responses under way, aborts the rest after `deadline` seconds.

        It waits for the connections' ends, not the responses': only then have all bytes left.
        """
        self._drained = Deferred()
        expiry = self._reactor.callLater(deadline, self.cut)
        for channel in list(self._channels):
            channel.drain()
        self._check_drained()
        try:
            await self._drained
        finally:
            if expiry.active():
                expiry.cancel()

    def cut(self) -> None:
        """Ends all that is under way: with a 503 where no head has been sent, else with a reset."""
        for channel in list(self._channels):
            channel.drain_deadline_passed()

    def _check_drained(self) -> None:
        if self._drained is not None and not self._channels and not self._drained.called:
            self._drained.callback(None)
