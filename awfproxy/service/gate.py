"""The gate: validate, listen, be ready, drain. It alone opens ports, and it alone ends the process.

twistd binds ports before anything asynchronous can be known, drops failures of a listening port into
the log and exits 0. So nothing listens through `StreamServerEndpointService`: the gate calls
`listen` itself, after the validator's decision, and hands every failure to `ExitStatus`.
"""

import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from enum import Enum

import attrs
from twisted.application.service import IService, Service
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

from awfproxy.callers.endpoint import EndpointDescription
from awfproxy.service.exit import ExitCode, ExitStatus
from awfproxy.service.front import Front
from awfproxy.service.places import shown, why_not
from awfproxy.service.systemd import Notifier
from awfproxy.service.together import all_of
from awfproxy.service.validator import Quit

LOOK_INTERVAL = 1.0
"""Seconds between two looks at readiness, for the log, systemd and the hint."""

UNUSED_HINT = 60.0
"""Seconds of being ready without one request, after which the log says so."""


class IDaemonReactor(IReactorCore, IReactorTime):
    """What the gate needs of a reactor."""


class State(Enum):
    """CLOSED -> OPENING -> OPEN -> DRAINING -> CLOSED; OPENING -> CLOSED when it fails or is stopped."""

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"
    DRAINING = "draining"


class CannotOpen(Exception):
    """A listener could not be opened, or must not be; the text is a sentence for the operator."""

    def __init__(self, sentence: str, code: ExitCode = ExitCode.OS_ERROR) -> None:
        super().__init__(sentence)
        self.code = code


class _Refused(Exception):
    """A validator wants the process to end."""

    def __init__(self, quit_: Quit) -> None:
        super().__init__()
        self.quit = quit_


@attrs.define
class _Readiness:
    """What is known of one front's readiness, to tell when it has changed."""

    front: Front
    reason: str | None = None


class Gate(Service):
    """The one service that opens and closes the ports; a runner starts and stops it.

    Nothing listens before every front's validator has decided; the first that wants to end the process does.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IDaemonReactor,
        *,
        fronts: Sequence[Front],
        closed: Sequence[str],
        exit_status: ExitStatus,
        notifier: Notifier,
        drain_deadline: float,
        requests_seen: Callable[[], int],
        services: Sequence[IService] = (),
        afterwards: Sequence[Callable[[], Awaitable[None]]] = (),
        stop_limit: float | None = None,
        refuses_place: Callable[[Front, EndpointDescription, IAddress], str | None] = lambda *_: None,
    ) -> None:
        """`closed` are names of providers that are not configured: for the log alone.

        `services` need open ports: they are started after the last listener and stopped before the drain.
        What is in `afterwards` is begun then too, and ends by being cancelled at the latest. With
        `stop_limit` the process ends so many seconds after it began to stop, whatever is still open.
        `refuses_place` says why it must not be listened at an address, which for some descriptions only the
        open socket tells; None where it may.
        """
        self._reactor = reactor
        self._fronts = tuple(fronts)
        self._closed = tuple(closed)
        self._exit_status = exit_status
        self._notifier = notifier
        self._drain_deadline = drain_deadline
        self._requests_seen = requests_seen
        self._services = tuple(services)
        self._afterwards = tuple(afterwards)
        self._stop_limit = stop_limit
        self._refuses_place = refuses_place
        self._state = State.CLOSED
        self._opening: Deferred[None] | None = None
        self._watching: list[Deferred[None]] = []
        self._ports: list[tuple[Front, IListeningPort]] = []
        self._started: list[IService] = []
        self._known = [_Readiness(front) for front in self._fronts]
        self._ready_since: float | None = None
        self._hinted = False
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    @property
    def addresses(self) -> list[IAddress]:
        """Where it listens now; empty while it does not."""
        return [port.getHost() for _, port in self._ports]

    def addresses_of(self, name: str) -> list[IAddress]:
        """Where that provider's front listens now."""
        return [port.getHost() for front, port in self._ports if front.name == name]

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

    def cut(self) -> None:
        """Ends all exchanges now, as at the drain's deadline; the process is about to end."""
        for front in self._fronts:
            front.site.cut()

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
        checked = "the way to the provider and the key"
        if len(self._fronts) > 1:
            checked = "the ways to the providers and the keys"
        self._log.info("Checking {checked}", event="startup", checked=checked)
        self._notifier.status(f"checking {checked}")
        try:
            await all_of([self._validate(front) for front in self._fronts])
        except _Refused as refused:
            self._end(refused.quit.code, refused.quit.sentence)
            return
        try:
            for child in [child for front in self._fronts for child in front.children]:
                child.startService()
                self._started.append(child)
            for front in self._fronts:
                for description, endpoint in front.listeners:
                    self._ports.append((front, await self._listen(front, description, endpoint)))
        except Exception:
            await self._close_ports()
            await self._stop_children()
            raise
        self._opened()

    async def _validate(self, front: Front) -> None:
        decision = await front.validator.validate()
        if isinstance(decision, Quit):
            raise _Refused(decision)

    async def _listen(
        self, front: Front, description: EndpointDescription, endpoint: IStreamServerEndpoint
    ) -> IListeningPort:
        try:
            port = await endpoint.listen(front.site)
        except CancelledError:
            raise
        except (CannotListenError, OSError) as problem:
            raise CannotOpen(why_not(str(description), problem, front.setting)) from problem
        refusal = self._refuses_place(front, description, port.getHost())
        if refusal is not None:
            await maybeDeferred(port.stopListening)
            raise CannotOpen(refusal, ExitCode.CONFIG)
        self._log.info(
            "Serving {provider} on {address} ({description})",
            event="serving",
            provider=front.name,
            address=shown(port.getHost()),
            description=str(description),
        )
        return port

    def _opened(self) -> None:
        self._state = State.OPEN
        self._opening = None
        for known in self._known:
            known.reason = known.front.health.reason()
        ready = self._is_ready()
        self._ready_since = self._reactor.seconds() if ready else None
        self._log.emit(
            LogLevel.info if ready else LogLevel.warn,
            "Started: {state}",
            event="startup_complete",
            state=self._state_text(),
            ready=ready,
        )
        self._notifier.ready()
        self._notifier.status(self._state_text())
        self._looking.start(LOOK_INTERVAL, now=False).addErrback(self._task_failed)
        for service in self._services:
            service.startService()
        for work in (*(front.validator.watch for front in self._fronts), *self._afterwards):
            watching = Deferred.fromCoroutine(_awaited(work()))
            self._watching.append(watching.addErrback(self._task_failed))

    def _opening_failed(self, failure: Failure) -> None:
        problem = failure.value
        if isinstance(problem, CancelledError):
            self._state = State.CLOSED
            self._opening = None
            self._log.info("Stopped while starting; no port was opened", event="shutdown")
        elif isinstance(problem, CannotOpen):
            self._end(problem.code, str(problem))
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
        now = self._reactor.seconds()
        for known in self._known:
            reason = known.front.health.reason()
            if reason != known.reason:
                known.reason = reason
                self._notifier.status(self._state_text())
                self._log_readiness(known)
        if not self._is_ready():
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

    def _log_readiness(self, known: _Readiness) -> None:
        if known.reason is None:
            self._log.info(
                "{provider}: ready", event="readiness", provider=known.front.name, ready=True, reason=""
            )
        else:
            self._log.warn(
                "{provider}: not ready: {reason}",
                event="readiness",
                provider=known.front.name,
                ready=False,
                reason=known.reason,
            )

    def _task_failed(self, failure: Failure) -> None:
        if not isinstance(failure.value, CancelledError):
            self._log.error(
                "A task of the gate ended: {kind}\n{stack}",
                event="internal_error",
                kind=type(failure.value).__name__,
                stack=_stack(failure),
            )

    def _is_ready(self) -> bool:
        served = [known for known in self._known if known.front.configured]
        return bool(served) and all(known.reason is None for known in served)

    def _state_text(self) -> str:
        """For each provider: serving (and if so, whether a request would succeed), or not configured."""
        serving = [self._state_of(known) for known in self._known]
        return "; ".join([*serving, *(f"{name}: not configured" for name in self._closed)])

    def _state_of(self, known: _Readiness) -> str:
        name, places = known.front.name, self._places(known.front)
        if not known.front.configured:
            return f"{name}: not configured, and {places} says so"
        not_ready = "" if known.reason is None else f", not ready: {known.reason.removesuffix('.')}"
        return f"{name}: serving on {places}{not_ready}"

    def _places(self, front: Front | None = None) -> str:
        return ", ".join(shown(port.getHost()) for of, port in self._ports if front in (None, of))

    # --- closing -------------------------------------------------------------------------------

    async def _drain(self) -> None:
        self._state = State.DRAINING
        self._notifier.stopping()
        self._notifier.status("stopping")
        for front in self._fronts:
            front.health.draining()
        self._log.info(
            "Stopping: running exchanges get {deadline} s; a second signal ends it at once",
            event="shutdown",
            deadline=self._drain_deadline,
        )
        limit = None
        if self._stop_limit is not None:
            limit = self._reactor.callLater(self._stop_limit, self._force)
        if self._looking.running:
            self._looking.stop()
        for watching in self._watching:
            watching.cancel()
        for service in self._services:
            await maybeDeferred(service.stopService)
        await self._close_ports()
        await all_of([self._drain_site(front) for front in self._fronts])
        await self._stop_children()
        if limit is not None and limit.active():
            limit.cancel()
        self._state = State.CLOSED
        self._log.info("Stopped", event="shutdown_complete")

    def _force(self) -> None:
        self._log.warn(
            "Ended by force, {seconds} s after the stop began",
            event="shutdown_force_exit",
            seconds=self._stop_limit,
        )
        self._exit_status.leave_now()

    async def _drain_site(self, front: Front) -> None:
        try:
            await front.site.drain(self._drain_deadline)
        except CancelledError:
            raise
        except Exception:
            self._task_failed(Failure())

    async def _close_ports(self) -> None:
        """All are closed at once; then each is waited for."""
        ports, self._ports = self._ports, []
        for closing in [maybeDeferred(port.stopListening) for _, port in ports]:
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
