"""sd_notify(3): readiness, status and signs of life for systemd, as datagrams to `$NOTIFY_SOCKET`.

Without that variable, and on any failure, nothing happens: the service manager's convenience never
stops the proxy. The environment is passed in.
"""

import re
import socket
import time
from collections.abc import Mapping

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall


@attrs.frozen
class Notifier:
    """Sends notifications to `address`; does nothing if it is None."""

    address: bytes | None = None

    def ready(self) -> None:
        """The port is open."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """One line that `systemctl status` shows."""
        self._send("STATUS=" + " ".join(text.split()))

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it. Type=notify-reload takes it only with the time."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def alive(self) -> None:
        """The reactor runs; to be said again before WatchdogSec= is over."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The drain has begun."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if self.address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto(text.encode("utf-8", "replace"), self.address)
        except (OSError, ValueError):
            pass  # nobody listens, the queue is full, or the address is not one


def notify(environ: Mapping[str, str]) -> Notifier:
    """The notifier for this environment; a leading `@` names an abstract socket."""
    name = environ.get("NOTIFY_SOCKET", "")
    if not name.startswith(("/", "@")):
        return Notifier()
    address = name.encode("utf-8", "surrogateescape")
    return Notifier(b"\0" + address[1:] if name.startswith("@") else address)


def watchdog_interval(environ: Mapping[str, str], pid: int) -> float | None:
    """Seconds between two signs of life: half of what systemd allows (sd_watchdog_enabled(3)).

    None where it does not ask for them, or asks another process.
    """
    allowed = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid) or not re.fullmatch(r"[0-9]{1,18}", allowed):
        return None
    return int(allowed) / 2_000_000 or None


def keep_alive(clock: IReactorTime, notifier: Notifier, interval: float) -> LoopingCall:
    """Give signs of life for as long as the reactor runs; a drain is life too, so nothing else ends it.

    They come from the reactor itself: one that hangs gives none, and is ended and started again.
    """
    looping = LoopingCall(notifier.alive)
    looping.clock = clock
    looping.start(interval)
    return looping
