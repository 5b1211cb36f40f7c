"""What a channel needs of the site that made it."""

from typing import Any
from typing import Protocol as Interface

from awfproxy.net.deadlines import Sweep
from awfproxy.observe.accesslog import AccessLog
from awfproxy.providers.provider import Provider
from awfproxy.proxy.crossorigin import TrustedOrigins
from awfproxy.settings.values import Deadlines
from awfproxy.wire.target import Origin


class ChannelSite(Interface):
    """One listener's site: what its channels share, and who counts them."""

    sweep: Sweep
    provider: Provider
    origin: Origin
    deadlines: Deadlines
    websocket: bool
    """Whether clients may ask for one."""
    trusted: TrustedOrigins
    """The web pages that may call."""
    access_log: AccessLog
    request_id_field: bytes | None
    """A second field for request ids, beside our own."""
    resource: Any
    """Renders every request: a leaf, so that nothing is looked up on the hot path."""

    def new_request_id(self) -> bytes:
        """An id that no other request of this process has."""

    def connection_made(self, channel: Any) -> None:
        """The channel has its client."""

    def connection_lost(self, channel: Any) -> None:
        """It has it no more."""
