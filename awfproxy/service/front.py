"""`Front`: one provider's part of the daemon, as the gate opens, watches and closes it."""

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Protocol

import attrs
from twisted.application.service import IService
from twisted.internet.interfaces import IStreamServerEndpoint

from awfproxy.callers.endpoint import EndpointDescription
from awfproxy.observe.health import Health
from awfproxy.service.validator import Open, Quit

if TYPE_CHECKING:
    from awfproxy.proxy.site import ProxySite


class Starter(Protocol):
    """The validator, as the gate sees it."""

    def validate(self) -> Awaitable[Open | Quit]: ...
    def watch(self) -> Awaitable[None]: ...


@attrs.frozen
class Front:
    """What agents reach of one provider, and what stands behind it."""

    name: str
    validator: Starter
    listeners: tuple[tuple[EndpointDescription, IStreamServerEndpoint], ...]
    """Each endpoint with its description."""

    site: "ProxySite"
    health: Health
    configured: bool = True
    """Without a key the port only says that there is none."""

    setting: str = "--port"
    """Where an operator gives what it listens on, for messages."""

    children: tuple[IService, ...] = ()
    """Services that need an open way but no port (the pool): started after all decisions and before the first
    listener, stopped after the drain in reverse order."""
