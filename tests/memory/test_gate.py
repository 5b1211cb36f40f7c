"""The gate: nothing listens before the decision, every failure has its code, and stopping drains."""

import errno
import os
import socket

import pytest
from twisted.application.service import MultiService, Service
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from zope.interface import implementer

from awfproxy.credentials.verdict import Accepted, CannotTell, Rejected
from awfproxy.errors.egress import EgressUnreachable
from awfproxy.observe.health import Health
from awfproxy.service.exit import ExitCode
from awfproxy.service.front import Front
from awfproxy.service.gate import UNUSED_HINT, Gate
from awfproxy.service.validator import Open, Quit

DRAIN = 20.0
ACCEPTED = Accepted()


class Port:
    def __init__(self, story, name, address):
        self.story, self.name, self.address = story, name, address
        self.closed = succeed(None)

    def getHost(self):
        return self.address

    def stopListening(self):
        self.story.append(f"close {self.name}")
        return self.closed


@implementer(IStreamServerEndpoint)
class Endpoint:
    def __init__(self, story, name, result):
        self.story, self.name, self.result = story, name, result

    def listen(self, factory):
        self.story.append(f"listen {self.name}")
        if isinstance(self.result, Exception):
            return fail(self.result)
        return self.result if isinstance(self.result, Deferred) else succeed(self.result)


class Child(Service):
    def __init__(self, story, name):
        self.story, self.called = story, name

    def startService(self):
        super().startService()
        self.story.append(f"start {self.called}")

    def stopService(self):
        super().stopService()
        self.story.append(f"stop {self.called}")


class World:
    """A gate with everything around it replaced by something that tells one common story."""

    def __init__(self):
        self.story, self.statuses, self.exits, self.events = [], [], [], []
        self.reactor = MemoryReactorClock()
        self.reactor.stop = self._stop
        self.stops = 0
        self.health = Health(lambda: 0.0, True)
        self.decision, self.watching = Deferred(), Deferred()
        self.drained = Deferred()
        self.requests = 0
        self.listeners, self.ports, self.more, self.closed, self.services = [], [], [], [], []
        self.afterwards, self.stop_limit, self.configured = [], None, True
        self.refused_place = None
        self.listens("tcp:10000:interface=127.0.0.1", IPv4Address("TCP", "127.0.0.1", 10000))

    def listens(self, description, address):
        self.ports.append(Port(self.story, description, address))
        self.listeners.append((description, Endpoint(self.story, description, self.ports[-1])))

    def listens_not(self, description, problem):
        self.listeners.append((description, Endpoint(self.story, description, problem)))

    def _stop(self):
        self.stops += 1

    def start_reactor(self):
        """`MemoryReactor.run` would call `stop` by itself."""
        self.reactor.hasRun = True
        for function, arguments, keywords in self.reactor.whenRunningHooks:
            function(*arguments, **keywords)

    # validator, site, exit status, notifier
    async def validate(self):
        self.story.append("validate")
        return await self.decision

    async def watch(self):
        self.story.append("watch")
        await self.watching

    def drain(self, deadline):
        self.story.append(f"drain {deadline:g}")
        return self.drained

    def fail(self, code, sentence):
        self.exits.append((code, sentence))

    def leave_now(self):
        self.story.append("leave")

    def ready(self):
        self.story.append("READY")

    def status(self, text):
        self.statuses.append(text)

    def stopping(self):
        self.story.append("STOPPING")

    def build(self):
        self.gate = Gate(
            self.reactor,
            fronts=[
                Front(
                    name="openai",
                    validator=self,
                    listeners=tuple(self.listeners),
                    site=self,
                    health=self.health,
                    configured=self.configured,
                    children=(Child(self.story, "pool"), Child(self.story, "log")),
                ),
                *self.more,
            ],
            closed=self.closed,
            exit_status=self,
            notifier=self,
            drain_deadline=DRAIN,
            requests_seen=lambda: self.requests,
            services=self.services,
            afterwards=self.afterwards,
            stop_limit=self.stop_limit,
            refuses_place=lambda front, description, address: self.refused_place,
        )
        self.whole = MultiService()
        self.gate.setServiceParent(self.whole)
        return self

    def run(self):
        """What both runners do, and the reactor then."""
        self.build()
        self.whole.privilegedStartService()
        self.whole.startService()
        self.start_reactor()
        return self

    def open(self, verdict=ACCEPTED):
        self.run()
        if verdict is not None:
            self.health.key_checked(verdict)
        self.decision.callback(Open(ready=self.health.reason() is None))
        return self

    def stop(self):
        """What the reactor does before its shutdown; returns whether it may go on."""
        done = []
        self.whole.stopService().addCallback(lambda _: done.append(True))
        return done

    def logged(self, event):
        return [each for each in self.events if each.get("event") == event]


@pytest.fixture
def world():
    made = World()
    globalLogPublisher.addObserver(made.events.append)
    yield made
    globalLogPublisher.removeObserver(made.events.append)
    assert not made.reactor.getDelayedCalls()


def settle(world):
    """Stop it, so that nothing is left."""
    world.drained.callback(None)
    assert world.stop() == [True]


# --- opening ---------------------------------------------------------------------------------------


def test_nothing_happens_before_the_reactor_runs(world):
    world.build()
    world.whole.privilegedStartService()
    world.whole.startService()
    assert world.story == []


def test_nothing_listens_before_the_decision(world):
    world.run()
    assert world.story == ["validate"]
    assert world.gate.addresses == []
    assert world.statuses == ["checking the way to the provider and the key"]
    assert world.stop() == [True]


def test_order_of_opening(world):
    world.open()
    assert world.story == [
        "validate", "start pool", "start log", "listen tcp:10000:interface=127.0.0.1", "READY", "watch",
    ]  # fmt: skip
    assert world.gate.addresses == [IPv4Address("TCP", "127.0.0.1", 10000)]
    assert world.statuses[-1] == "openai: serving on http://127.0.0.1:10000"
    assert world.exits == []
    settle(world)


def test_services_that_need_open_ports_start_after_the_last_and_stop_before_the_drain(world):
    world.services.append(Child(world.story, "reload"))
    world.open()
    assert world.story.index("start reload") > world.story.index("listen tcp:10000:interface=127.0.0.1")
    world.stop()
    assert world.story.index("stop reload") < world.story.index("drain 20")
    world.drained.callback(None)


def test_each_listener_is_named_in_the_log(world):
    world.listens("tcp6:10001", IPv6Address("TCP", "::1", 10001))
    world.listens("unix:/run/awf.sock", UNIXAddress(b"/run/awf.sock"))
    world.open()
    assert [event["address"] for event in world.logged("serving")] == [
        "http://127.0.0.1:10000", "http://[::1]:10001", "unix:/run/awf.sock",
    ]  # fmt: skip
    (started,) = world.logged("startup_complete")
    assert started["ready"] is True
    settle(world)


def test_open_but_not_ready_is_said(world):
    world.health.egress_failed(EgressUnreachable())
    world.open(verdict=None)
    assert "READY" in world.story
    assert (
        world.statuses[-1]
        == "openai: serving on http://127.0.0.1:10000, not ready: The egress proxy cannot be reached"
    )
    (started,) = world.logged("startup_complete")
    assert (started["ready"], started["log_level"].name) == (False, "warn")
    settle(world)


def test_stop_before_the_reactor_runs_opens_nothing(world):
    world.build()
    world.whole.startService()
    assert world.stop() == [True]
    world.start_reactor()
    assert world.story == []


@pytest.mark.parametrize(
    "code", [ExitCode.UNAVAILABLE, ExitCode.PROTOCOL, ExitCode.NO_PERMISSION, ExitCode.CONFIG]
)
def test_quit_ends_with_code_and_sentence_and_no_port(world, code):
    world.run()
    world.decision.callback(Quit(code, "Cause. Fix."))
    assert world.exits == [(code, "Cause. Fix.")]
    assert world.statuses[-1] == "Cause. Fix."
    assert world.stops == 1
    assert world.story == ["validate"]
    assert world.stop() == [True]
    assert world.story == ["validate"]


def test_decision_at_once_works_as_well(world):
    world.decision.callback(Quit(ExitCode.CONFIG, "No."))
    world.run()
    assert (world.exits, world.stops) == ([(78, "No.")], 1)
    assert world.stop() == [True]


def test_quit_while_a_signal_has_stopped_the_reactor_already(world):
    def stopped():
        raise ReactorNotRunning

    world.run()
    world.reactor.stop = stopped
    world.decision.callback(Quit(ExitCode.CONFIG, "No."))
    assert world.exits == [(78, "No.")]


def test_unforeseen_failure_is_70_and_quotes_nothing(world, canary):
    world.run()
    world.decision.errback(RuntimeError(canary))
    ((code, sentence),) = world.exits
    assert code == ExitCode.INTERNAL == 70
    assert "RuntimeError" in sentence
    assert canary not in sentence
    assert world.stops == 1
    (event,) = world.logged("startup_error")
    assert "in validate" in event["stack"]
    assert canary not in str(event)


# --- several providers -----------------------------------------------------------------------------


class Other:
    """A second provider's front, with a decision of its own."""

    def __init__(self, world, name="anthropic", port=10001, problem=None):
        self.decision, self.ended = Deferred(lambda _: self.ended.append(True)), []
        self.health = Health(lambda: 0.0, True)
        self.drained = Deferred()
        self.world, self.name = world, name
        self.port = Port(world.story, f"tcp:{port}", IPv4Address("TCP", "127.0.0.1", port))
        world.more.append(
            Front(
                name=name,
                validator=self,
                listeners=((f"tcp:{port}", Endpoint(world.story, f"tcp:{port}", problem or self.port)),),
                site=self,
                health=self.health,
                setting=f"--{name}-port",
                children=(Child(world.story, f"{name}'s pool"),),
            )
        )

    async def validate(self):
        self.world.story.append(f"validate {self.name}")
        return await self.decision

    async def watch(self):
        await Deferred()

    def drain(self, deadline):
        self.world.story.append(f"drain {self.name}")
        return self.drained


def test_all_are_checked_at_once_and_none_listens_before_all_have_decided(world):
    other = Other(world)
    world.open()
    assert world.story == ["validate", "validate anthropic"]
    other.health.key_checked(ACCEPTED)
    other.decision.callback(Open(ready=True))
    assert world.story == [
        "validate", "validate anthropic", "start pool", "start log", "start anthropic's pool",
        "listen tcp:10000:interface=127.0.0.1", "listen tcp:10001", "READY", "watch",
    ]  # fmt: skip
    other.drained.callback(None)
    settle(world)


def test_startup_line_says_for_each_provider_whether_it_is_served_ready_or_configured(world):
    world.closed = ["copilot", "vertex"]
    other = Other(world)
    other.health.egress_failed(EgressUnreachable())
    world.open()
    other.decision.callback(Open(ready=False))
    (started,) = world.logged("startup_complete")
    assert started["state"] == (
        "openai: serving on http://127.0.0.1:10000; anthropic: serving on http://127.0.0.1:10001, not ready: "
        "The egress proxy cannot be reached; copilot: not configured; vertex: not configured"
    )
    assert started["ready"] is False
    other.drained.callback(None)
    settle(world)


def test_addresses_of_a_provider_are_its_own_and_known_while_it_listens(world):
    other = Other(world)
    world.open()
    assert world.gate.addresses_of("anthropic") == []
    other.decision.callback(Open(ready=True))
    assert [address.port for address in world.gate.addresses_of("anthropic")] == [10001]
    assert [address.port for address in world.gate.addresses_of("openai")] == [10000]
    assert world.gate.addresses_of("gemini") == []
    other.drained.callback(None)
    settle(world)
    assert world.gate.addresses_of("openai") == []


def test_one_refused_provider_ends_the_process_and_the_check_of_the_others(world):
    other = Other(world)
    ended = other.ended
    world.run()
    world.decision.callback(Quit(ExitCode.NO_PERMISSION, "OpenAI rejects the key."))
    assert world.exits == [(77, "OpenAI rejects the key.")]
    assert ended == [True]
    assert world.story == ["validate", "validate anthropic"]
    assert world.stops == 1


def test_readiness_of_one_provider_is_logged_with_its_name(world):
    other = Other(world)
    world.open()
    other.health.key_checked(ACCEPTED)
    other.decision.callback(Open(ready=True))
    other.health.key_checked(Rejected("invalid"))
    world.reactor.advance(1)
    (event,) = world.logged("readiness")
    assert (event["provider"], event["ready"]) == ("anthropic", False)
    other.drained.callback(None)
    settle(world)


def test_all_are_drained_at_once(world):
    other = Other(world)
    world.open()
    other.decision.callback(Open(ready=True))
    done = world.stop()
    assert world.story[-2:] == ["drain 20", "drain anthropic"]
    world.drained.callback(None)
    assert done == []
    other.drained.callback(None)
    assert done == [True]
    assert world.story[-3:] == ["stop anthropic's pool", "stop log", "stop pool"]


# --- listening fails -------------------------------------------------------------------------------


def cannot(number, port=10001, interface="127.0.0.1"):
    return CannotListenError(interface, port, OSError(number, os.strerror(number)))


def test_port_in_use_is_told_by_the_providers_own_option(world):
    other = Other(world, problem=cannot(errno.EADDRINUSE))
    world.open()
    other.decision.callback(Open(ready=True))
    ((code, sentence),) = world.exits
    assert code == ExitCode.OS_ERROR == 71
    assert sentence.endswith("choose another: --anthropic-port.")


def test_address_that_only_the_open_socket_tells_and_that_must_not_be_is_78_and_closed(world):
    world.listeners.clear()
    world.listens("systemd:domain=INET:index=0", IPv4Address("TCP", "0.0.0.0", 10001))
    world.refused_place = "Not there."
    world.open()
    settle(world)
    assert world.exits == [(ExitCode.CONFIG, "Not there.")]
    assert not world.logged("serving")
    assert not world.gate.addresses
    assert "close systemd:domain=INET:index=0" in world.story
    assert "READY" not in world.story


@pytest.mark.parametrize(
    ("problem", "parts"),
    [
        (cannot(errno.EADDRINUSE), ["port 10001 of 127.0.0.1", "in use", "--port"]),
        (cannot(errno.EACCES, 80, ""), ["port 80 of all addresses", "not permitted"]),
        (cannot(errno.EADDRNOTAVAIL, 10001, "192.0.2.7"), ["192.0.2.7", "no such address", "--bind"]),
        (
            CannotListenError("", 10001, socket.gaierror(-2, "Name not known")),
            ["port 10001", "Name not known"],
        ),
        (
            CannotListenError("any", "/run/x.sock", OSError(errno.EADDRINUSE, "x")),
            ["unix socket /run/x.sock"],
        ),
        (PermissionError(errno.EACCES, "Permission denied"), ["tcp:10001", "not permitted"]),
        (OSError(errno.ENOENT, "No such file or directory"), ["tcp:10001", "No such file or directory"]),
    ],
)
def test_port_that_cannot_be_opened_is_71_and_named(world, problem, parts):
    world.listens_not("tcp:10001", problem)
    world.listens("tcp:10002", IPv4Address("TCP", "127.0.0.1", 10002))
    world.open()
    ((code, sentence),) = world.exits
    assert code == ExitCode.OS_ERROR == 71
    for part in parts:
        assert part in sentence
    assert world.stops == 1


def test_listeners_that_were_open_are_closed_again(world):
    world.listens_not("tcp:10001", cannot(errno.EADDRINUSE))
    world.open()
    assert world.story == [
        "validate", "start pool", "start log", "listen tcp:10000:interface=127.0.0.1", "listen tcp:10001",
        "close tcp:10000:interface=127.0.0.1", "stop log", "stop pool",
    ]  # fmt: skip
    assert world.gate.addresses == []
    assert "READY" not in world.story
    assert world.stop() == [True]


# --- stopping while opening ------------------------------------------------------------------------


def test_stop_during_validation_is_clean(world):
    cancelled = []
    world.decision = Deferred(lambda _: cancelled.append(True))
    world.run()
    assert world.stop() == [True]
    assert cancelled == [True]
    assert world.exits == []
    assert world.stops == 0
    assert world.story == ["validate"]
    assert world.logged("shutdown")


def test_stop_while_a_listener_opens_closes_the_others_and_is_waited_for(world):
    world.listens_not("slow", Deferred())
    world.ports[0].closed = Deferred()
    world.open()
    done = world.stop()
    assert world.story[-2:] == ["listen slow", "close tcp:10000:interface=127.0.0.1"]
    assert done == []
    world.ports[0].closed.callback(None)
    assert done == [True]
    assert world.story[-2:] == ["stop log", "stop pool"]
    assert world.exits == []


# --- draining --------------------------------------------------------------------------------------


def test_order_of_stopping(world):
    world.listens("tcp6:10001", IPv6Address("TCP", "::1", 10001))
    world.open()
    before = len(world.story)
    world.ports[0].closed = Deferred()
    done = world.stop()
    assert world.story[before:] == ["STOPPING", "close tcp:10000:interface=127.0.0.1", "close tcp6:10001"]
    assert world.health.reason() == "awfproxy is stopping."
    assert world.statuses[-1] == "stopping"
    world.ports[0].closed.callback(None)
    assert world.story[-1] == "drain 20"
    assert done == []
    world.drained.callback(None)
    assert world.story[-3:] == ["drain 20", "stop log", "stop pool"]
    assert done == [True]
    assert len(world.logged("shutdown")) == len(world.logged("shutdown_complete")) == 1


def test_stopping_ends_the_watch(world):
    cancelled = []
    world.watching = Deferred(lambda _: cancelled.append(True))
    world.open()
    settle(world)
    assert cancelled == [True]
    assert not world.logged("internal_error")


def test_failure_of_one_step_skips_no_other(world):
    world.open()
    world.ports[0].closed = fail(RuntimeError("x"))
    done = world.stop()
    world.drained.errback(RuntimeError("y"))
    assert world.story[-2:] == ["stop log", "stop pool"]
    assert done == [True]
    assert len(world.logged("internal_error")) == 2


def test_watch_that_fails_is_logged_and_ends_nothing(world):
    world.open()
    world.watching.errback(RuntimeError("x"))
    assert [event["kind"] for event in world.logged("internal_error")] == ["RuntimeError"]
    assert world.exits == []
    assert world.stops == 0
    settle(world)


# --- readiness and the hint ------------------------------------------------------------------------


def test_change_of_readiness_is_logged_once_and_told_to_systemd(world):
    world.open()
    world.reactor.advance(1)
    assert world.logged("readiness") == []
    world.health.key_checked(Rejected("invalid_api_key"))
    world.reactor.pump([1, 1, 1])
    world.health.key_checked(Accepted())
    world.reactor.pump([1, 1, 1])
    assert [event["ready"] for event in world.logged("readiness")] == [False, True]
    assert "invalid_api_key" in world.statuses[-2]
    assert world.statuses[-1] == "openai: serving on http://127.0.0.1:10000"
    settle(world)


def test_no_request_after_a_minute_of_readiness_is_said_once(world):
    world.open()
    world.reactor.pump([1.0] * (int(UNUSED_HINT) - 1))
    assert world.logged("no_request_seen") == []
    world.reactor.advance(1)
    (event,) = world.logged("no_request_seen")
    assert event["addresses"] == "http://127.0.0.1:10000"
    assert 'README, "Point your agent at it"' in event["log_format"]
    world.reactor.pump([1.0] * 200)
    assert len(world.logged("no_request_seen")) == 1
    settle(world)


def test_hint_is_not_given_once_a_request_was_seen(world):
    world.open()
    world.requests = 1
    world.reactor.pump([1.0] * 200)
    assert world.logged("no_request_seen") == []
    settle(world)


def test_hint_counts_from_readiness(world):
    world.open(CannotTell("x"))
    world.reactor.pump([1.0] * 100)
    assert world.logged("no_request_seen") == []
    world.health.key_checked(Accepted())
    world.reactor.pump([1.0] * 60)
    assert world.logged("no_request_seen") == []
    world.reactor.advance(1)
    assert len(world.logged("no_request_seen")) == 1
    settle(world)


def test_every_event_has_a_name(world):
    world.open()
    world.reactor.pump([1.0] * 61)
    settle(world)
    assert len(world.events) == 6
    assert all(event.get("event") for event in world.events)


def test_cancelled_error_is_an_ordinary_exception_here():
    """What the gate's `except Exception` rests on."""
    assert issubclass(CancelledError, Exception)


# --- the gh-aw profile's -----------------------------------------------------------------------------


def test_work_for_afterwards_begins_after_the_opening_and_ends_with_the_stop(world):
    cancelled = []

    async def work():
        world.story.append("afterwards")
        await Deferred(lambda _: cancelled.append(True))

    world.afterwards = [work]
    world.open()
    assert world.story.index("afterwards") > world.story.index("READY")
    settle(world)
    assert cancelled == [True]
    assert world.logged("internal_error") == []


def test_stop_that_takes_too_long_is_ended_by_force(world):
    world.stop_limit = 8.0
    world.open()
    world.stop()
    world.reactor.advance(7.9)
    assert "leave" not in world.story
    world.reactor.advance(0.2)
    assert world.story[-1] == "leave"
    assert len(world.logged("shutdown_force_exit")) == 1
    world.drained.callback(None)


def test_stop_in_time_needs_no_force(world):
    world.stop_limit = 8.0
    world.open()
    settle(world)
    world.reactor.advance(60)
    assert "leave" not in world.story


def test_provider_without_a_key_is_not_counted_as_ready(world):
    world.configured = False
    world.open()
    (started,) = world.logged("startup_complete")
    assert started["ready"] is False
    assert world.statuses[-1] == "openai: not configured, and http://127.0.0.1:10000 says so"
    settle(world)
