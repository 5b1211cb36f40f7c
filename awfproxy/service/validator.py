"""The startup validator: what an attempt at the provider means for the process.

The key's shape and the settings are judged earlier, before twistd daemonises. Here the way and the key
are tried. `Policy.decide` is the whole table, pure: from one attempt and the time spent to open the
port, try again, or end with a code. (With `--probe after` or `strict` all of this comes once the port is
open, and what would end the process is only told.) `Validator` walks it with real attempts, and after
the port is open goes on trying whenever the process is not ready; then it only tells `Health`, and nothing
ends the process.

`EgressProtocolError` (what answers CONNECT is no HTTP proxy) is in neither row of the table of causes.
A port forwarder in front of a Squid that is still starting can look like that, so it is retried for as
long as an unreachable proxy is; after that it is what it looks like, a wrong `--egress-proxy`: 78.
"""

from collections.abc import Awaitable, Callable

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger, LogLevel

from awfproxy.credentials.verdict import (
    Accepted,
    CannotTell,
    Rejected,
    Unverified,
    describe,
    key_state,
    sidecar_state,
)
from awfproxy.errors.base import AwfError, Hop
from awfproxy.errors.configuration import ConfigError
from awfproxy.errors.egress import EgressAuthRequired, EgressDenied, EgressProtocolError
from awfproxy.errors.origin import OriginConnectTimeout, OriginUnreachable
from awfproxy.errors.tls import TlsNameMismatch, TlsProtocolError, TlsUntrusted
from awfproxy.observe.health import Health
from awfproxy.providers.provider import Provider
from awfproxy.service.exit import ExitCode
from awfproxy.service.probe import Attempt, KeyProbe
from awfproxy.settings.provider import ProviderSettings
from awfproxy.settings.values import Probe, Settings
from awfproxy.wire.target import Origin

ATTEMPT_LIMIT = 30.0
"""Seconds for one attempt, all stages together: above the endpoint's own deadlines, which know the stage."""

SHORTEST_ATTEMPT = 2.0
"""An attempt gets at least this long, so the last one may go over the time that is left by as much."""

RETRY_FIRST, RETRY_GROWTH, RETRY_LONGEST = 0.5, 1.5, 5.0
"""Pauses between attempts before the port is open."""

WATCH_FIRST, WATCH_GROWTH, WATCH_LONGEST = 1.0, 2.0, 30.0
"""Pauses between attempts after it, while not ready; while ready, it is looked at every WATCH_FIRST."""

DOUBT_PAUSE = 60.0
"""Seconds at least between checks that the provider's 401s in service ask for."""


@attrs.frozen
class Open:
    """Open the port; `ready` is whether a request would succeed as far as is known."""

    ready: bool


@attrs.frozen
class Retry:
    """Try again after so many seconds."""

    after: float


@attrs.frozen
class Quit:
    """End the process with this code; the sentence names the cause and the fix, on one line."""

    code: ExitCode
    sentence: str


Decision = Open | Retry | Quit


@attrs.frozen
class Policy:
    """The settings that the table depends on, and the table."""

    probe: Probe
    grace: float
    deadline: float
    provider: Provider
    origin: Origin
    says_nothing: bool = False
    """No answer to the probe would say anything about this key at this origin: it is not asked."""

    @property
    def is_off(self) -> bool:
        return self.probe is Probe.OFF or self.says_nothing

    @property
    def patience(self) -> float:
        """Seconds for which what may pass by itself is tried again."""
        return self.deadline if self.probe is Probe.REQUIRE else self.grace

    def decide(self, attempt: Attempt, elapsed: float, attempts: int) -> Decision:
        """What follows from the attempt that ended `elapsed` seconds after the start, as the nth of them."""
        match attempt:
            case Accepted() | Unverified():
                return Open(ready=True)
            case Rejected():
                return Quit(
                    ExitCode.NO_PERMISSION,
                    f"{describe(self.provider, attempt)}. Give a valid key: {self.provider.variable}, "
                    f"{self.provider.written('key-file')}, or systemd's credential "
                    f"{self.provider.credential_name}.",
                )
            case EgressDenied():
                said = f"{self._named(attempt)} In squid.conf: {self._allowlist_line()}"
                return Quit(ExitCode.CONFIG, said)
            case EgressAuthRequired() | ConfigError():
                return Quit(ExitCode.CONFIG, self._named(attempt))
            case TlsUntrusted() | TlsNameMismatch() | TlsProtocolError():
                return Quit(ExitCode.PROTOCOL, self._named(attempt))
            case _:
                return self._wait(attempt, elapsed, attempts)

    def _wait(self, attempt: CannotTell | AwfError, elapsed: float, attempts: int) -> Decision:
        left = self.patience - elapsed
        if left > 0:
            return Retry(min(pause(attempts, RETRY_FIRST, RETRY_GROWTH, RETRY_LONGEST), left))
        if isinstance(attempt, EgressProtocolError):
            return Quit(ExitCode.CONFIG, self._named(attempt))
        if self.probe is Probe.REQUIRE:
            cause = self._named(attempt)
            if isinstance(attempt, CannotTell):
                cause = f"{describe(self.provider, attempt)}."
            return Quit(
                ExitCode.UNAVAILABLE,
                f"{cause} Gave up after {elapsed:.0f} s (--startup-deadline, --probe require).",
            )
        return Open(ready=False)

    def _named(self, problem: CannotTell | AwfError) -> str:
        """With the provider: others may have been tried beside it, and the sentence says "the provider"."""
        return f"{self.provider.title}: {problem}"

    def _allowlist_line(self) -> str:
        host = self.origin.host
        kind = "dst" if ":" in host or host.replace(".", "").isdigit() else "dstdomain"
        port = "" if self.origin.port == 443 else f", and acl SSL_ports port {self.origin.port}"
        return (
            f"acl allowed_hosts {kind} {host}{port}, and http_access allow CONNECT allowed_hosts. For a "
            "whole one: awfproxy squid-conf"
        )


def pause(attempts: int, first: float, growth: float, longest: float) -> float:
    """The pause after the nth attempt."""
    return min(first * growth ** min(attempts - 1, 50), longest)


class Validator:
    """Walks the policy with real attempts. The gate calls it; it calls the probe and tells `Health`."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        policy: Policy,
        health: Health,
        attempt: Callable[[float], Awaitable[Attempt]],
    ) -> None:
        """`attempt` is `KeyProbe.attempt`: given its limit in seconds, it returns what it found."""
        self._clock = clock
        self._policy = policy
        self._health = health
        self._attempt = attempt
        self._last_seen: tuple[object, ...] | None = None
        self.first_checked: Deferred[None] = Deferred()
        """Fires when the first check is over that comes after the opening, whatever it found."""

    async def validate(self) -> Open | Quit:
        """Try until the policy says open or quit. Cancelling it ends the attempt or the pause."""
        if self._policy.is_off:
            asked_for = self._policy.probe is Probe.OFF
            self._log.emit(
                LogLevel.warn if asked_for else LogLevel.info,
                "The way to {origin} and the key are not checked ({why})",
                event="key_validation",
                provider=self._policy.provider.name,
                origin=self._policy.origin.authority.decode("ascii"),
                state="unchecked",
                status="skipped",
                why="--probe off" if asked_for else "no answer would say anything about this key there",
            )
            return Open(ready=True)
        if self._policy.probe.is_after_opening:
            return Open(ready=False)
        return await self._try()

    async def _try(self) -> Open | Quit:
        started = self._clock.seconds()
        attempts = 0
        while True:
            left = self._policy.patience - (self._clock.seconds() - started)
            attempt = await self._attempt(min(ATTEMPT_LIMIT, max(SHORTEST_ATTEMPT, left)))
            attempts += 1
            self._record(attempt)
            decision = self._policy.decide(attempt, self._clock.seconds() - started, attempts)
            if not isinstance(decision, Retry):
                return decision
            await deferLater(self._clock, decision.after)

    async def watch(self) -> None:
        """While not ready, or the key in doubt, try again and tell `Health`. It ends by being cancelled."""
        if self._policy.is_off:
            return
        if self._policy.probe.is_after_opening:
            try:
                await self._try()
            except CancelledError:
                raise
            except Exception as problem:
                self._failed(problem)
            self.first_checked.callback(None)
        attempts = 1
        checked = self._clock.seconds() - DOUBT_PAUSE
        while True:
            await deferLater(self._clock, pause(attempts, WATCH_FIRST, WATCH_GROWTH, WATCH_LONGEST))
            if self._health.reason() is None:
                attempts = 1
                doubted = self._health.is_doubted and self._clock.seconds() - checked >= DOUBT_PAUSE
                if not doubted:
                    continue
            checked = self._clock.seconds()
            attempts += 1
            try:
                self._record(await self._attempt(ATTEMPT_LIMIT))
            except CancelledError:
                raise
            except Exception as problem:
                self._failed(problem)

    def _failed(self, problem: Exception) -> None:
        # Only the type: the text of a library's exception is not ours to vouch for.
        self._log.error(
            "The check of the key failed by itself: {kind}",
            event="key_validation",
            provider=self._policy.provider.name,
            state="failed",
            kind=type(problem).__name__,
        )

    def _record(self, attempt: Attempt) -> None:
        if isinstance(attempt, AwfError):
            self._record_error(attempt)
            return
        self._health.egress_ok()
        self._health.key_checked(attempt)
        state = key_state(attempt)
        code = attempt.code if isinstance(attempt, (Rejected, Unverified)) else ""
        quiet = isinstance(attempt, Accepted) and not attempt.note
        if self._is_new(state, code, getattr(attempt, "reason", "")):
            self._log.emit(
                LogLevel.info if quiet else LogLevel.warn,
                "{sentence}",
                event="key_validation",
                provider=self._policy.provider.name,
                state=state,
                status=sidecar_state(self._policy.provider, attempt),
                code=code,
                sentence=describe(self._policy.provider, attempt),
            )

    def _record_error(self, problem: AwfError) -> None:
        if problem.hop is Hop.ORIGIN and not isinstance(problem, OriginUnreachable | OriginConnectTimeout):
            # The tunnel stood; what is missing is the answer.
            self._health.egress_ok()
            self._health.key_checked(CannotTell(problem.code))
        else:
            self._health.egress_failed(problem)
        if self._is_new(problem.code, problem.detail):
            self._log.warn(
                "{title}: {sentence}",
                event="path_validation",
                title=self._policy.provider.title,
                provider=self._policy.provider.name,
                hop=problem.hop.value,
                code=problem.code,
                sentence=str(problem),
            )

    def _is_new(self, *seen: object) -> bool:
        """An unchanged state is not logged again."""
        changed = seen != self._last_seen
        self._last_seen = seen
        return changed


class NothingToCheck:
    """Stands where a validator would, for a provider without a key, whose port is open all the same."""

    async def validate(self) -> Open | Quit:
        return Open(ready=True)

    async def watch(self) -> None:
        """Nothing."""


def validator_for(
    clock: IReactorTime,
    settings: Settings,
    one: ProviderSettings,
    probe: KeyProbe,
    health: Health,
) -> Validator:
    """The validator of one provider of a real process."""
    policy = Policy(
        probe=settings.probe,
        grace=settings.startup_grace,
        deadline=settings.startup_deadline,
        provider=one.provider,
        origin=one.access.origin,
        says_nothing=not one.access.probed,
    )
    return Validator(clock, policy, health, probe.attempt)
