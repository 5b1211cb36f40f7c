"""Reload: new keys, path rules and revocations without a restart, and without a request lost.

SIGHUP, or a change of a file that a key came from (or one on callers), reads all settings again. A new key is
judged by the same validator as at the start, before anything uses it; then the keys and rules of all
providers are put in force by one assignment. What is refused is logged and shown in /health, and the old one
stays. Anything else that has changed needs a restart, and is named.
"""

import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from awfproxy.callers.store import CallerStore
from awfproxy.credentials.store import CredentialStore, InForce
from awfproxy.credentials.verdict import Verdict
from awfproxy.errors.configuration import ConfigError
from awfproxy.observe.health import Health
from awfproxy.service.exit import ExitCode
from awfproxy.service.probe import KeyProbe
from awfproxy.service.systemd import Notifier
from awfproxy.service.validator import Quit, validator_for
from awfproxy.service.watchedfiles import Marks, WatchedFiles, file_marks
from awfproxy.settings.provider import ProviderSettings
from awfproxy.settings.restart import only_by_restart
from awfproxy.settings.values import Probe, Settings

LOOK_INTERVAL = 2.0
"""Seconds between two looks at the key files."""

RETRY_AFTER = 30.0
"""Seconds after which a key that could not be checked is tried again."""


@attrs.frozen
class Judged:
    """What the validator made of a new key: taken with this verdict, or refused."""

    taken: bool
    verdict: Verdict | None = None
    sentence: str = ""
    """Why it was refused."""

    again: bool = False
    """It was not the key's fault: another try may take it."""


Judge = Callable[[ProviderSettings], Awaitable[Judged]]
"""Tries a provider's new keys, which nothing uses yet."""


def judge_by_validator(
    clock: IReactorTime, settings: Settings, endpoints: Mapping[str, IStreamClientEndpoint]
) -> Judge:
    """The judge of a real process: what the validator would decide at a start; `endpoints` by provider.

    Where a start does not wait for the check, a reload does: the key that serves meanwhile is a good one.
    """
    if settings.probe.is_after_opening:
        settings = attrs.evolve(settings, probe=Probe.TRY)

    async def judge(one: ProviderSettings) -> Judged:
        name = one.provider.name
        health = Health(lambda: 0.0, True)
        candidate = CredentialStore({name: InForce(one.keys, one.rules)})
        probe = KeyProbe(clock, endpoints[name], one.provider, one.access, candidate)
        decision = await validator_for(clock, settings, one, probe, health).validate()
        if isinstance(decision, Quit):
            again = decision.code is not ExitCode.NO_PERMISSION
            return Judged(taken=False, sentence=decision.sentence, again=again)
        if not decision.ready:
            return Judged(taken=False, sentence=health.reason() or "It could not be checked.", again=True)
        return Judged(taken=True, verdict=health.verdict)

    return judge


class Reloader(Service):
    """Reads settings again when told to or when a key file changes; the gate starts and stops it."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        *,
        settings: Settings,
        load: Callable[[], Settings],
        judge: Judge,
        credentials: CredentialStore,
        health: Mapping[str, Health],
        notifier: Notifier,
        counted: Callable[[bool], None] = lambda taken: None,
        callers: CallerStore | None = None,
        marks: Callable[[Iterable[str]], Marks] = file_marks,
    ) -> None:
        """`health` by provider; `counted` hears of each reload whether all of it was taken.

        `callers` is where token keys and revoked labels are put in force, None where no token is wanted.
        """
        self._clock = clock
        self._settings = settings
        self._load = load
        self._judge = judge
        self._credentials = credentials
        self._health = health
        self._notifier = notifier
        self._counted = counted
        self._callers = callers
        # Marked now, not at the start of the service: that waits for the way to the providers.
        self._files = WatchedFiles(key_files(settings), marks)
        self._running: Deferred[None] | None = None
        self._asked: str | None = None
        self._retry_at: float | None = None
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._looking.start(LOOK_INTERVAL, now=False).addErrback(self._failed)

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]
        if self._looking.running:
            self._looking.stop()
        self._asked = None
        if self._running is not None:
            self._running.cancel()

    def reload(self, cause: str) -> None:
        """Begins one, or has the one under way followed by another; before the start it does nothing."""
        if not self.running:
            return
        if self._running is not None:
            self._asked = cause
            return
        self._retry_at = None
        running = Deferred.fromCoroutine(self._reload(cause)).addErrback(self._failed)
        running.addCallback(self._ended)
        if not running.called:
            self._running = running

    def _ended(self, _: object) -> None:
        self._running = None
        asked, self._asked = self._asked, None
        if asked is not None:
            self._clock.callLater(0, self.reload, asked)

    def _look(self) -> None:
        if self._files.have_changed():
            self.reload("a key file has changed")
        elif self._retry_at is not None and self._clock.seconds() >= self._retry_at:
            self.reload("the last one could not be checked")

    async def _reload(self, cause: str) -> None:
        self._log.info("Reloading: {cause}", event="reload", cause=cause)
        self._notifier.reloading()
        try:
            taken = await self._take()
        finally:
            if self._asked is None:  # else whoever asked last waits for the one that follows
                self._notifier.ready()
        self._counted(taken)

    async def _take(self) -> bool:
        """Judges what is new and puts in force what is good; whether that is all of it."""
        settings = self._read_settings()
        if settings is None:
            return False
        self._say_what_needs_a_restart(settings)
        # At once: a revocation does not wait for keys to be judged.
        self._put_callers_in_force(settings)
        given = {one.provider.name: one for one in settings.providers}
        judged = {name: await self._judged(name, given.get(name)) for name in self._health}
        self._put_keys_and_rules_in_force(given, judged)
        self._tell(judged)
        if any(result.again for result in judged.values()):
            self._retry_at = self._clock.seconds() + RETRY_AFTER
        return all(result.taken for result in judged.values())

    def _read_settings(self) -> Settings | None:
        """The settings as they are now, and their files watched from now on; None where they are refused."""
        before = self._files.marks()
        try:
            settings = self._load()
        except ConfigError as error:
            for health in self._health.values():
                health.refused_reload = str(error)
            self._log.error(
                "Reload refused, all stays as it was: {sentence}", event="reload_refused", sentence=str(error)
            )
            return None
        # With the marks of before the reading: what has changed during it is read again.
        self._files.replace(key_files(settings), before)
        return settings

    def _put_callers_in_force(self, settings: Settings) -> None:
        """Where other files are named, or none, what was wanted of callers is wanted still: only a restart
        changes that."""
        callers = settings.callers
        if self._callers is not None and callers.in_force and callers.files == self._settings.callers.files:
            self._callers.replace(callers.in_force)

    def _put_keys_and_rules_in_force(
        self, given: Mapping[str, ProviderSettings], judged: Mapping[str, Judged]
    ) -> None:
        """Those of all providers by one assignment."""
        in_force = dict(self._credentials.every())
        for name, result in judged.items():
            one, current = given.get(name), in_force.get(name)
            if one is None or self._has_moved(one):
                continue
            if result.taken and one.configured:
                in_force[name] = InForce(one.keys, one.rules)
            elif current is not None:  # no path stays open because of a key
                in_force[name] = InForce(current.keys, one.rules)
        self._credentials.replace(in_force)

    async def _judged(self, name: str, one: ProviderSettings | None) -> Judged:
        current = self._credentials.current(name)
        if one is None or not one.configured:
            if current is None:
                return Judged(taken=True)
            return Judged(taken=False, sentence="There is no key any more. The one before stays in use.")
        if self._has_moved(one):
            if current is not None and (one.keys, one.rules) == (current.keys, current.rules):
                return Judged(taken=True)
            return Judged(
                taken=False,
                sentence="Where the key goes has changed too (origin, base path or field), which only a "
                "restart puts in force. Key and rules stay as they were.",
            )
        if current is not None and one.keys == current.keys:
            return Judged(taken=True)
        return await self._judge(one)

    def _has_moved(self, one: ProviderSettings) -> bool:
        """Its key is for another place than the one that requests go to until a restart."""
        return any(
            _place(one) != _place(before)
            for before in self._settings.providers
            if before.provider.name == one.provider.name
        )

    def _tell(self, judged: Mapping[str, Judged]) -> None:
        """Each provider's health, and the log."""
        for name, result in judged.items():
            self._tell_of(name, result)
        self._log.info(
            "Reloaded: {providers}",
            event="reload_complete",
            providers="; ".join(
                f"{name}: {'in force' if result.taken else 'refused'}" for name, result in judged.items()
            ),
        )

    def _tell_of(self, name: str, result: Judged) -> None:
        health = self._health[name]
        health.refused_reload = None if result.taken else result.sentence
        if result.verdict is not None and result.taken:
            health.key_checked(result.verdict)
        if not result.taken:
            self._log.error(
                "{provider}: the new key is refused, the one before stays in use: {sentence}",
                event="reload_refused",
                provider=name,
                sentence=result.sentence,
            )

    def _say_what_needs_a_restart(self, settings: Settings) -> None:
        if changed := only_by_restart(self._settings, settings):
            self._log.warn(
                "Changed since the start, but only a restart puts it in force: {names}",
                event="reload_needs_restart",
                names=", ".join(changed),
            )

    def _failed(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            # Only the type: the text of a library's exception is not ours to vouch for.
            self._log.error(
                "A reload failed by itself: {kind}", event="internal_error", kind=failure.type.__name__
            )


def _place(one: ProviderSettings) -> object:
    access = one.access
    return access.origin, access.base_path, access.stripped, tuple(use.variable for use in access.keys)


def key_files(settings: Settings) -> list[str]:
    """The files that keys came from, and those on callers."""
    return [*(name for one in settings.providers for name in one.key_files), *settings.callers.files]


def on_hangup(reactor: Any, heard: Callable[[], None]) -> None:
    """From now on SIGHUP calls `heard` on the reactor's thread; until then it ends the process."""
    signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(heard))
