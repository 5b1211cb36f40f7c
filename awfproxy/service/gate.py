"""The gate: validate, listen, be ready, drain. It alone opens ports, and it alone ends the process.

twistd binds ports before anything asynchronous can be known, drops failures of a listening port into
the log and exits 0. So nothing listens through `StreamServerEndpointService`: the gate calls
`listen` itself, after the validator's decision, and hands every failure to `ExitStatus`.
"""

import errno
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from twisted.application.service import IService, Service
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IReactorCore,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from awfproxy.observe.health import Health
from awfproxy.service.exit import ExitCode, ExitStatus
from awfproxy.service.systemd import Notifier
from awfproxy.service.validator import Open, Quit

if TYPE_CHECKING:
    from awfproxy.proxy.site import ProxySite

LOOK_INTERVAL = 1.0
"""Seconds between two looks at readiness, for the log, systemd and the hint."""

UNUSED_HINT = 60.0
"""Seconds of being ready without one request, after which the log says so."""


class IDaemonReactor(IReactorCore, IReactorTime):
    """What the gate needs of a reactor."""


class Starter(Protocol):
    """The validator, as the gate sees it."""

    def validate(self) -> Awaitable[Open | Quit]: ...
    def watch(self) -> Awaitable[None]: ...


class State(Enum):
    """CLOSED -> OPENING -> OPEN -> DRAINING -> CLOSED; OPENING -> CLOSED when it fails or is stopped."""

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"
    DRAINING = "draining"


class CannotOpen(Exception):
    """A listener could not be opened; the text is a sentence for the operator."""


class Gate(Service):
    """The one service that opens and closes the ports; a runner starts and stops it.

    `children` are services that need an open way but no port (the pool): started after the decision,
    before the first listener, and stopped after the drain, in reverse order.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IDaemonReactor,
        *,
        validator: Starter,
        listeners: Sequence[tuple[str, IStreamServerEndpoint]],
        site: "ProxySite",
        health: Health,
        exit_status: ExitStatus,
        notifier: Notifier,
        drain_deadline: float,
        requests_seen: Callable[[], int],
        children: Sequence[IService] = (),
    ) -> None:
        self._reactor = reactor
        self._validator = validator
        self._listeners = tuple(listeners)
        self._site = site
        self._health = health
        self._exit_status = exit_status
        self._notifier = notifier
        self._drain_deadline = drain_deadline
        self._requests_seen = requests_seen
        self._children = tuple(children)
        self._state = State.CLOSED
        self._opening: Deferred[None] | None = None
        self._watching: Deferred[None] | None = None
        self._ports: list[IListeningPort] = []
        self._started: list[IService] = []
        self._reason: str | None = None
        self._ready_since: float | None = None
        self._hinted = False
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    @property
    def addresses(self) -> list[IAddress]:
        """Where it listens now; empty while it does not."""
        return [port.getHost() for port in self._ports]

    def privilegedStartService(self) -> None:
        """Nothing: the ports are opened later, and above 1024 need no privilege."""

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        # Never earlier: before the reactor runs it cannot be stopped.
        self._reactor.callWhenRunning(self._begin)

    def stopService(self) -> Deferred[None] | None:
        super().stopService()  # type: ignore[no-untyped-call]
        if self._state is State.OPENING and self._opening is not None:
            opening = self._opening
            opening.cancel()
            return opening
        if self._state is State.OPEN:
            return Deferred.fromCoroutine(self._drain())
        return None

    # --- opening -------------------------------------------------------------------------------

    def _begin(self) -> None:
        if not self.running or self._state is not State.CLOSED:
            return  # stopped before the reactor ran
        self._state = State.OPENING
        opening = Deferred.fromCoroutine(self._open())
        opening.addErrback(self._opening_failed)
        if self._state is State.OPENING:
            self._opening = opening

    async def _open(self) -> None:
        self._log.info("Checking the way to the provider and the key", event="startup")
        self._notifier.status("checking the way to the provider and the key")
        decision = await self._validator.validate()
        if isinstance(decision, Quit):
            self._end(decision.code, decision.sentence)
            return
        try:
            for child in self._children:
                child.startService()
                self._started.append(child)
            for description, endpoint in self._listeners:
                self._ports.append(await self._listen(description, endpoint))
        except Exception:
            await self._close_ports()
            await self._stop_children()
            raise
        self._opened()

    async def _listen(self, description: str, endpoint: IStreamServerEndpoint) -> IListeningPort:
        try:
            port = await endpoint.listen(self._site)
        except CancelledError:
            raise
        except (CannotListenError, OSError) as problem:
            raise CannotOpen(_why_not(description, problem)) from problem
        self._log.info(
            "Serving on {address} ({description})",
            event="serving",
            address=_shown(port.getHost()),
            description=description,
        )
        return port

    def _opened(self) -> None:
        self._state = State.OPEN
        self._opening = None
        self._reason = self._health.reason()
        self._ready_since = self._reactor.seconds() if self._reason is None else None
        self._log.emit(
            LogLevel.info if self._reason is None else LogLevel.warn,
            "Started: {state}",
            event="startup_complete",
            state=self._state_text(),
            ready=self._reason is None,
        )
        self._notifier.ready()
        self._notifier.status(self._state_text())
        self._looking.start(LOOK_INTERVAL, now=False).addErrback(self._task_failed)
        self._watching = Deferred.fromCoroutine(_awaited(self._validator.watch()))
        self._watching.addErrback(self._task_failed)

    def _opening_failed(self, failure: Failure) -> None:
        problem = failure.value
        if isinstance(problem, CancelledError):
            self._state = State.CLOSED
            self._opening = None
            self._log.info("Stopped while starting; no port was opened", event="shutdown")
        elif isinstance(problem, CannotOpen):
            self._end(ExitCode.OS_ERROR, str(problem))
        else:
            # Type and places only: the text of an unforeseen exception is not ours to vouch for.
            kind = type(problem).__name__
            self._log.critical(
                "Starting failed: {kind}\n{stack}", event="startup_error", kind=kind, stack=_stack(failure)
            )
            self._end(
                ExitCode.INTERNAL, f"awfproxy itself failed while starting ({kind}). Please report its log."
            )

    def _end(self, code: ExitCode, sentence: str) -> None:
        self._state = State.CLOSED
        self._opening = None
        self._exit_status.fail(code, sentence)
        self._notifier.status(sentence)
        with suppress(ReactorNotRunning):  # a signal was faster
            self._reactor.stop()

    # --- open ----------------------------------------------------------------------------------

    def _look(self) -> None:
        """Tell log and systemd when readiness has changed; give the hint once."""
        reason, now = self._health.reason(), self._reactor.seconds()
        if reason != self._reason:
            self._reason = reason
            self._notifier.status(self._state_text())
            if reason is None:
                self._log.info("Ready", event="readiness", ready=True, reason="")
            else:
                self._log.warn("Not ready: {reason}", event="readiness", ready=False, reason=reason)
        if reason is not None:
            self._ready_since = None
        elif self._ready_since is None:
            self._ready_since = now
        elif not self._hinted and now - self._ready_since >= UNUSED_HINT:
            self._hinted = True
            if not self._requests_seen():
                self._log.warn(
                    "Ready for {seconds} s and no request seen: the client is probably not pointed here "
                    '({addresses}); see README, "Point your agent at it"',
                    event="no_request_seen",
                    seconds=int(UNUSED_HINT),
                    addresses=self._places(),
                )

    def _task_failed(self, failure: Failure) -> None:
        if not isinstance(failure.value, CancelledError):
            self._log.error(
                "A task of the gate ended: {kind}\n{stack}",
                event="internal_error",
                kind=type(failure.value).__name__,
                stack=_stack(failure),
            )

    def _state_text(self) -> str:
        if self._reason is None:
            return f"ready on {self._places()}"
        return f"listening on {self._places()}, not ready: {self._reason}"

    def _places(self) -> str:
        return ", ".join(_shown(address) for address in self.addresses)

    # --- closing -------------------------------------------------------------------------------

    async def _drain(self) -> None:
        self._state = State.DRAINING
        self._notifier.stopping()
        self._notifier.status("stopping")
        self._health.draining()
        self._log.info(
            "Stopping: running exchanges get {deadline} s", event="shutdown", deadline=self._drain_deadline
        )
        if self._looking.running:
            self._looking.stop()
        if self._watching is not None:
            self._watching.cancel()
        await self._close_ports()
        try:
            await self._site.drain(self._drain_deadline)
        except CancelledError:
            raise
        except Exception:
            self._task_failed(Failure())
        await self._stop_children()
        self._state = State.CLOSED
        self._log.info("Stopped", event="shutdown_complete")

    async def _close_ports(self) -> None:
        """All are closed at once; then each is waited for."""
        ports, self._ports = self._ports, []
        for closing in [maybeDeferred(port.stopListening) for port in ports]:
            try:
                await closing
            except Exception:  # also when cancelled: what was begun is ended
                self._task_failed(Failure())

    async def _stop_children(self) -> None:
        while self._started:
            try:
                await maybeDeferred(self._started.pop().stopService)
            except Exception:
                self._task_failed(Failure())


async def _awaited(work: Awaitable[None]) -> None:
    await work


def _stack(failure: Failure) -> str:
    return "".join(traceback.format_tb(failure.getTracebackObject()))


def _shown(address: IAddress) -> str:
    match address:
        case IPv4Address():
            return f"http://{address.host}:{address.port}"
        case IPv6Address():
            return f"http://[{address.host}]:{address.port}"
        case UNIXAddress():
            return f"unix:{_text(address.name)}"
    return str(address)


def _text(name: bytes | str | None) -> str:
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)


def _why_not(description: str, problem: CannotListenError | OSError) -> str:
    """Cause and fix in one sentence, with the port."""
    if isinstance(problem, CannotListenError):
        cause, place = problem.socketError, _place(problem)
    else:
        cause, place = problem, description
    number = getattr(cause, "errno", None)
    if number == errno.EADDRINUSE:
        return f"Cannot listen on {place}: it is in use. Stop what holds it, or choose another: --port."
    if number in (errno.EACCES, errno.EPERM):
        return f"Cannot listen on {place}: not permitted. Choose a port above 1023, or another path."
    if number == errno.EADDRNOTAVAIL:
        return f"Cannot listen on {place}: this machine has no such address. Check --bind."
    reason = getattr(cause, "strerror", None) or type(cause).__name__
    return f"Cannot listen on {place}: {reason}. Check --port, --bind and --listen."


def _place(problem: CannotListenError) -> str:
    if not isinstance(problem.port, int):
        return f"unix socket {_text(problem.port)}"
    return f"port {problem.port} of {problem.interface or 'all addresses'}"
