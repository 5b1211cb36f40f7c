"""The daemon's settings as frozen values: what all other parts are given. `load` makes them."""

from enum import Enum

import attrs

from awfproxy.credentials.store import InForce
from awfproxy.settings.callers import CallerSettings
from awfproxy.settings.profile import DEFAULT as DEFAULT_PROFILE
from awfproxy.settings.profile import Profile
from awfproxy.settings.provider import ProviderSettings
from awfproxy.settings.syntax import Egress


class Probe(Enum):
    """When path and key are tried, and what follows."""

    TRY = "try"
    REQUIRE = "require"
    OFF = "off"
    AFTER = "after"
    """Once the ports are open; nothing ends the process."""

    STRICT = "strict"
    """As `AFTER`, but a key that is rejected then ends it."""

    @property
    def is_after_opening(self) -> bool:
        """The ports do not wait for it."""
        return self in (Probe.AFTER, Probe.STRICT)


@attrs.frozen
class Deadlines:
    """Seconds for each phase; each is the option of its name with `-deadline`."""

    head: float = 10.0
    idle: float = 75.0
    body: float = 60.0
    connect: float = 10.0
    tls: float = 10.0
    response: float = 900.0
    silence: float = 900.0
    acquire: float = 30.0
    drain: float = 20.0


@attrs.frozen
class WebSocketLimits:
    """Seconds: without a byte in either direction, and in all."""

    idle: float = 1800.0
    lifetime: float = 86400.0


@attrs.frozen
class PoolLimits:
    maximum: int = 1024
    opening: int = 32
    warm: int = 1
    idle: float = 50.0
    lifetime: float = 600.0


@attrs.frozen
class Entry:
    """One line of `awfproxy check --show`."""

    name: str
    shown: str
    source: str


@attrs.frozen
class Settings:
    providers: tuple[ProviderSettings, ...]
    """Those whose ports open, in the order of their ports."""

    egress: Egress | None
    """None only where the operator said `direct`, or the profile does."""

    closed: tuple[str, ...] = ()
    """Names of the providers that have no key, and so no port."""

    profile: Profile = DEFAULT_PROFILE
    roots_file: str | None = None
    """In place of the system's trusted roots; `extra_ca_files` are trusted beside them."""

    extra_ca_files: tuple[str, ...] = ()
    probe: Probe = Probe.TRY
    startup_grace: float = 5.0
    startup_deadline: float = 60.0
    deadlines: Deadlines = Deadlines()
    pool: PoolLimits = PoolLimits()
    websocket_limits: WebSocketLimits = WebSocketLimits()
    max_connections: int = 2048
    local_pages: str | None = ""
    """The prefix of /health and the others; None where they are off."""

    leak_guard: bool = True
    """Answers are searched for the key that was sent."""

    allowed_origins: frozenset[bytes] = frozenset()
    """Of web pages that may call, as in `Origin`; or `SCHEME://*` for all of a scheme."""

    callers: CallerSettings = attrs.field(factory=CallerSettings)
    reuse_port: bool = False
    """Other processes may open the same TCP ports."""

    log_format: str = "text"
    config_file: str | None = None
    confine: bool = True
    """Landlock and seccomp, once it has started."""

    dumpable: bool = False
    """Profilers and debuggers may look into the process."""

    entries: tuple[Entry, ...] = ()
    warnings: tuple[str, ...] = ()


def in_force(settings: Settings) -> dict[str, InForce]:
    """What the settings put in force for each provider that has a key."""
    return {
        one.provider.name: InForce(one.keys, one.rules) for one in settings.providers if one.configured
    }
