"""The walk: each hop from the agent's side to the provider's answer, until one fails.

The hops up to the key are tried from here, with the daemon's settings and its own endpoint; request and
stream then go through the daemon's port. A daemon that says of itself that it is not ready does not end the
walk: that is a symptom, and the hop that makes it so comes later.
"""

import os
import ssl
import time
from collections.abc import Awaitable, Sequence
from typing import Any

import attrs
from twisted.internet import defer, error
from twisted.internet.defer import Deferred

from awfproxy.callers.allowed import Allowed, Peer
from awfproxy.callers.claims import Claims
from awfproxy.callers.token import issue
from awfproxy.credentials.injector import secrets_of
from awfproxy.credentials.secret import Secret
from awfproxy.credentials.store import CredentialStore
from awfproxy.doctor import judge
from awfproxy.doctor.client import PLACEHOLDER, Answer, Client, was_cut
from awfproxy.doctor.door import Door
from awfproxy.doctor.step import Outcome, State, Step, failed, ok, skipped
from awfproxy.doctor.way import try_way
from awfproxy.errors.base import AwfError
from awfproxy.net.ready import origin_endpoint
from awfproxy.net.tls import ClientTls
from awfproxy.providers.provider import Provider
from awfproxy.service.exit import ExitCode
from awfproxy.service.probe import KeyProbe
from awfproxy.settings.provider import ProviderSettings
from awfproxy.settings.values import Settings, in_force

LOCAL_LIMIT = 5.0
"""Seconds for what awfproxy answers from memory."""

KEY_LIMIT = 30.0
REQUEST_LIMIT = 90.0
"""A model may think first, and the provider be busy: longer than that nobody looks at a terminal."""

_TOKEN_LIFETIME = 600
NO_DOOR = "Its address is not known here (systemd's, or port 0): give it with --host, and --port."
OTHER_SIDE = "Only tried where awfproxy runs."


class Stopped(Exception):
    """The cause is found: there is no use in walking on."""


@attrs.frozen
class Wishes:
    """What the operator asks of the walk."""

    model: str | None = None
    requests: bool = True
    """Whether to try what costs a few tokens."""

    token: bytes = attrs.field(default=PLACEHOLDER, repr=False)
    """What is sent in place of a key, where the settings do not say how caller tokens are signed."""


class Listener:
    """Who is told of the walk as it goes; this one lets it pass."""

    def begun(self, name: str, provider: str) -> None:
        """This step is waited for now."""

    def waiting(self) -> None:
        """It still is, and some time has passed."""

    def done(self, step: Step) -> None:
        """It is over."""


class Walk:
    """Gathers `steps`; each method that walks raises `Stopped` at the first cause."""

    def __init__(self, reactor: Any, wishes: Wishes, listener: Listener) -> None:
        self._reactor = reactor
        self._wishes = wishes
        self._listener = listener
        self._began = 0.0
        self._peers = Allowed()
        self.steps: list[Step] = []

    # --- steps ---

    def note(self, name: str, provider: str, outcome: Outcome, seconds: float = 0.0) -> None:
        """A step that is over; raises `Stopped` where it is a cause."""
        step = Step(name, provider, outcome, seconds)
        self.steps.append(step)
        self._listener.done(step)
        if outcome.state is State.FAILED and not outcome.symptom:
            raise Stopped

    def timed(self, name: str, provider: str, outcome: Outcome) -> None:
        """`note`, with the time since `begin`."""
        self.note(name, provider, outcome, self._reactor.seconds() - self._began)

    async def _step(self, name: str, provider: str, work: Awaitable[Outcome]) -> None:
        self.begin(name, provider)
        self.timed(name, provider, await work)

    def begin(self, name: str, provider: str) -> None:
        """This step is waited for from now on."""
        self._began = self._reactor.seconds()
        self._listener.begun(name, provider)

    # --- one provider, where the daemon runs ---

    async def through(
        self, settings: Settings, context: ssl.SSLContext, one: ProviderSettings, doors: Sequence[Door]
    ) -> None:
        """All hops of one provider; `context` is the one of all."""
        name = one.provider.name
        self._peers = settings.callers.peers
        await self._reach(one.provider, doors, settings.local_pages, len(one.listen) > len(doors))
        await self._way(settings, context, one)
        if one.access.probed:
            await self._step("key", name, self._key(settings, context, one))
        else:
            self.note("key", name, skipped("No answer of the provider's would say anything about this key."))
        await self._ask(one, doors, _own_token(settings, name) or self._wishes.token)

    async def from_outside(self, one: ProviderSettings, door: Door, local_pages: str | None) -> None:
        """What an agent's side can see: `one` needs neither key nor anything but its provider."""
        name = one.provider.name
        await self._reach(one.provider, [door], local_pages, False)
        for step in "egress", "connect", "tls", "key":
            self.note(step, name, skipped(OTHER_SIDE))
        await self._ask(one, [door], self._wishes.token)

    # --- the daemon's port ---

    async def _reach(
        self, provider: Provider, doors: Sequence[Door], local_pages: str | None, hidden: bool
    ) -> None:
        name = provider.name
        if not doors:
            self.note("port", name, skipped(NO_DOOR))
            self.note("health", name, skipped(NO_DOOR))
            return
        await self._step("port", name, self._port(doors, hidden))
        if local_pages is None:
            self.note("health", name, skipped("There is no such page: --local-pages off."))
            return
        await self._step("health", name, self._health(doors[0], f"{local_pages}/health".encode("ascii")))

    async def _port(self, doors: Sequence[Door], hidden: bool) -> Outcome:
        for door in doors:
            try:
                await self._within(LOCAL_LIMIT, Client(self._reactor, door).connect())
            except Exception as problem:
                return _no_connection(door, problem)
        return ok(f"{', '.join(map(str, doors))} takes connections." + (" The rest: " + NO_DOOR) * hidden)

    async def _health(self, door: Door, target: bytes) -> Outcome:
        try:
            return judge.health(await self._within(LOCAL_LIMIT, Client(self._reactor, door).get(target)))
        except Exception as problem:
            return self._no_answer(door, problem, LOCAL_LIMIT)

    # --- the way out ---

    async def _way(self, settings: Settings, context: ssl.SSLContext, one: ProviderSettings) -> None:
        """Three steps of one attempt; the one that is under way when it fails is the one that failed."""
        name, origin = one.provider.name, one.access.origin
        place = origin.authority.decode("ascii")
        if settings.egress is None:
            self.note("egress", name, skipped("--egress-proxy direct."))
            said = {"connect": f"{place} takes connections."}
            step = "connect"
        else:
            said = {
                "egress": f"{settings.egress} takes connections.",
                "connect": f"It opens a tunnel to {place}.",
            }
            step = "egress"
        following = {"egress": "connect", "connect": "tls"}

        def passed(which: str) -> None:
            nonlocal step
            self.timed(which, name, ok(said[which]))
            step = following[which]
            self.begin(step, name)

        tls = ClientTls(origin.host, context)
        self.begin(step, name)
        try:
            shown = await try_way(self._reactor, origin, settings.egress, tls, settings.deadlines, passed)
        except AwfError as problem:
            self.timed(step, name, judge.attempt(problem, one))
            raise AssertionError from problem  # an error's step is a cause
        self.timed(step, name, judge.certificate(shown, one))

    async def _key(self, settings: Settings, context: ssl.SSLContext, one: ProviderSettings) -> Outcome:
        endpoint = origin_endpoint(self._reactor, settings, one.access.origin, context)
        credentials = CredentialStore(in_force(settings))
        probe = KeyProbe(self._reactor, endpoint, one.provider, one.access, credentials)
        return judge.attempt(await probe.attempt(KEY_LIMIT), one)

    # --- as the agent asks ---

    async def _ask(self, one: ProviderSettings, doors: Sequence[Door], token: bytes) -> None:
        name, trial = one.provider.name, one.provider.trial
        model = self._wishes.model or (trial.model if trial is not None else None)
        why = ""
        if not self._wishes.requests:
            why = "--no-request."
        elif not doors:
            why = NO_DOOR
        elif trial is None:
            why = "There is no request that is the same for every operator."
        elif model is None:
            why = "Name a model of its: --model NAME."
        if why:
            self.note("request", name, skipped(why))
            self.note("stream", name, skipped(why))
            return
        assert trial is not None
        assert model is not None
        origin = one.access.origin
        # The daemon's keys, and what was sent to it in their place.
        keys = (*map(Secret, secrets_of(one.access, one.keys)), Secret(token))

        async def whole() -> Outcome:
            found = await self._post(doors[0], token, *trial.request(model, False))
            if isinstance(found, Outcome):
                return found
            return judge.answer(found, one.provider, origin, model, keys)

        async def streamed() -> Outcome:
            found = await self._post(doors[0], token, *trial.request(model, True))
            if isinstance(found, Outcome):
                return found
            return judge.stream(found, one.provider, origin, trial, model, keys)

        await self._step("request", name, whole())
        await self._step("stream", name, streamed())

    async def _post(self, door: Door, token: bytes, target: bytes, content: Any) -> Answer | Outcome:
        try:
            client = Client(self._reactor, door, token)
            found: Answer = await self._within(REQUEST_LIMIT, client.post(target, content))
            return found
        except Exception as problem:
            return self._no_answer(door, problem, REQUEST_LIMIT)

    def _no_answer(self, door: Door, problem: Exception, limit: float) -> Outcome:
        if isinstance(problem, defer.TimeoutError):
            return judge.no_answer(f"No whole answer at {door} within {limit:g} s.")
        if not was_cut(problem):
            return _no_connection(door, problem)
        if door.path and self._peers:
            # As the kernel tells it to whoever accepts the connection.
            own = Peer(os.geteuid(), frozenset({os.getegid(), *os.getgroups()}))
            return judge.cut_at_unix_socket(door, self._peers, own)
        return judge.no_answer(f"What came back at {door} was no whole answer.")

    async def _within(self, limit: float, work: Any) -> Any:
        return await Deferred.fromCoroutine(work).addTimeout(limit, self._reactor)


def _own_token(settings: Settings, provider: str) -> bytes | None:
    """Where awfproxy runs the key that signs caller tokens is known: one of its own, good for the walk."""
    if settings.callers.in_force is None:
        return None
    now = int(time.time())
    claims = Claims(label="doctor", providers=(provider,), issued=now, expires=now + _TOKEN_LIFETIME)
    return issue(claims, settings.callers.in_force.keys[0]).encode("ascii")


def _no_connection(door: Door, problem: Exception) -> Outcome:
    if isinstance(problem, error.ConnectionRefusedError) or _is_missing(problem):
        return failed(
            f"Nothing listens at {door}.",
            "Start awfproxy with these options: twistd -n --pidfile= awfproxy. Why it would not start, "
            "awfproxy check says.",
            ExitCode.UNAVAILABLE,
        )
    return failed(
        f"No connection to {door}: {_name(problem)}.",
        "Check the address, the network between, and for a unix socket its permissions.",
        ExitCode.OS_ERROR,
    )


def _is_missing(problem: Exception) -> bool:
    """For a unix socket: it is not there, or nobody has it open."""
    return getattr(problem, "osError", None) == 2 or isinstance(problem, error.UnknownHostError)


def _name(problem: Exception) -> str:
    """Only the kind: the text of a library's exception is not ours to vouch for."""
    if isinstance(problem, defer.TimeoutError | error.TimeoutError):
        return "it took too long"
    if isinstance(problem, error.DNSLookupError):
        return "its name does not resolve"
    return type(problem).__name__
