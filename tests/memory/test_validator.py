"""The startup validator: the table of causes, row by row, and the walk through it on a clock."""

from itertools import pairwise

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from awfproxy.credentials.verdict import Accepted, CannotTell, Rejected, Unverified
from awfproxy.errors.configuration import ConfigError
from awfproxy.errors.egress import (
    EgressAuthRequired,
    EgressDenied,
    EgressFailed,
    EgressProtocolError,
    EgressTimeout,
    EgressUnreachable,
)
from awfproxy.errors.origin import IncompleteMessage, OriginClosed, OriginMalformed
from awfproxy.errors.tls import TlsClosed, TlsNameMismatch, TlsProtocolError, TlsTimeout, TlsUntrusted
from awfproxy.observe.health import Health
from awfproxy.providers.openai import PROVIDER as OPENAI
from awfproxy.service.exit import ExitCode
from awfproxy.service.validator import (
    ATTEMPT_LIMIT,
    DOUBT_PAUSE,
    SHORTEST_ATTEMPT,
    NothingToCheck,
    Open,
    Policy,
    Retry,
    Validator,
    pause,
)
from awfproxy.settings.values import Probe
from awfproxy.wire.target import Origin

GRACE, DEADLINE = 5.0, 60.0
ORIGIN = Origin("api.openai.com")
BOTH = pytest.mark.parametrize("mode", [Probe.TRY, Probe.REQUIRE])

RETRIED = [
    EgressUnreachable("refused"),
    EgressFailed("503"),
    EgressTimeout(),
    TlsClosed(),
    TlsTimeout(),
    OriginClosed(),
    OriginMalformed(),
    IncompleteMessage(),
    CannotTell("OpenAI failed (500)"),
]


def policy(mode=Probe.TRY, origin=ORIGIN, grace=GRACE):
    return Policy(mode, grace, DEADLINE, OPENAI, origin)


# --- the table -------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "verdict", [Accepted(), Accepted("restricted"), Unverified(403, "x"), Unverified(301)]
)
@pytest.mark.parametrize("elapsed", [0.1, 100.0])
def test_key_that_is_accepted_or_unverified_opens_ready(mode, verdict, elapsed):
    assert policy(mode).decide(verdict, elapsed, 1) == Open(ready=True)


@BOTH
def test_rejected_key_is_77_with_code_and_fix(mode):
    decision = policy(mode).decide(Rejected("invalid_api_key"), 0.1, 1)
    assert decision.code == ExitCode.NO_PERMISSION == 77
    assert "invalid_api_key" in decision.sentence
    assert "OPENAI_API_KEY" in decision.sentence


@BOTH
@pytest.mark.parametrize(
    "error", [EgressDenied("CONNECT was answered 403"), EgressAuthRequired(), ConfigError("X")]
)
def test_egress_proxy_that_refuses_is_78(mode, error):
    decision = policy(mode).decide(error, 0.1, 1)
    assert decision.code == ExitCode.CONFIG == 78
    assert decision.sentence.startswith(f"OpenAI: {error}")


@pytest.mark.parametrize(
    ("origin", "line"),
    [
        (ORIGIN, "acl allowed_hosts dstdomain api.openai.com"),
        (Origin("10.1.2.3"), "acl allowed_hosts dst 10.1.2.3"),
        (Origin("2001:db8::1"), "acl allowed_hosts dst 2001:db8::1"),
        (Origin("llm.example", 8443), "acl allowed_hosts dstdomain llm.example, and acl SSL_ports port 8443"),
    ],
)
def test_denied_origin_gets_the_line_for_squid(origin, line):
    assert policy(origin=origin).decide(EgressDenied(), 0.1, 1).sentence.endswith(
        f" In squid.conf: {line}, and http_access allow CONNECT allowed_hosts. For a whole one: "
        "awfproxy squid-conf"
    )


@BOTH
@pytest.mark.parametrize("error", [TlsUntrusted("self-signed"), TlsNameMismatch(), TlsProtocolError()])
def test_tls_that_cannot_be_trusted_is_76(mode, error):
    decision = policy(mode).decide(error, 0.1, 1)
    assert decision.code == ExitCode.PROTOCOL == 76
    assert decision.sentence == f"OpenAI: {error}"


@BOTH
@pytest.mark.parametrize("attempt", [*RETRIED, EgressProtocolError()], ids=repr)
def test_what_may_pass_is_retried(mode, attempt):
    assert policy(mode).decide(attempt, 0.1, 1) == Retry(0.5)
    assert policy(mode).decide(attempt, 0.1, 2) == Retry(0.75)


@pytest.mark.parametrize("attempt", RETRIED, ids=repr)
def test_after_the_grace_the_port_opens_not_ready(attempt):
    assert policy().decide(attempt, 4.9, 3) == Retry(pytest.approx(0.1))
    assert policy().decide(attempt, 5.0, 4) == Open(ready=False)
    assert policy(grace=0.0).decide(attempt, 0.0, 1) == Open(ready=False)


@pytest.mark.parametrize("attempt", RETRIED, ids=repr)
def test_required_probe_is_69_after_the_deadline(attempt):
    assert isinstance(policy(Probe.REQUIRE).decide(attempt, 59.9, 9), Retry)
    decision = policy(Probe.REQUIRE).decide(attempt, 60.2, 10)
    assert decision.code == ExitCode.UNAVAILABLE == 69
    assert "--startup-deadline" in decision.sentence
    told = attempt.reason if isinstance(attempt, CannotTell) else attempt.sentence
    assert told in decision.sentence


@pytest.mark.parametrize(("mode", "end"), [(Probe.TRY, GRACE), (Probe.REQUIRE, DEADLINE)])
def test_what_is_no_http_proxy_to_the_end_is_78(mode, end):
    decision = policy(mode).decide(EgressProtocolError("not an HTTP answer"), end, 5)
    assert decision.code == ExitCode.CONFIG
    assert "--egress-proxy" in decision.sentence


def test_pauses_grow_to_a_limit():
    pauses = [pause(n, 0.5, 1.5, 5.0) for n in (1, 2, 3, 7, 8, 100_000)]
    assert pauses == [0.5, 0.75, 1.125, 5.0, 5.0, 5.0]


# --- the walk --------------------------------------------------------------------------------------


class Walk:
    """A validator whose attempts are handed out one by one."""

    def __init__(self, mode=Probe.TRY):
        self.clock = Clock()
        self.health = Health(lambda: 1000.0 + self.clock.seconds(), mode is not Probe.OFF)
        self.limits, self.pending = [], []
        self.validator = Validator(self.clock, policy(mode), self.health, self._attempt)
        self.results, self.errors = [], []

    def _attempt(self, limit):
        self.limits.append(limit)
        self.pending.append(Deferred())
        return self.pending[-1]

    def start(self, coroutine):
        self.running = Deferred.fromCoroutine(coroutine)
        self.running.addCallbacks(self.results.append, lambda failure: self.errors.append(failure.value))

    def answer(self, attempt):
        (waiting,) = [each for each in self.pending if not each.called]
        if isinstance(attempt, Exception) and not hasattr(attempt, "hop"):
            waiting.errback(attempt)
        else:
            waiting.callback(attempt)

    @property
    def asking(self):
        return any(not each.called for each in self.pending)


@pytest.fixture
def events():
    seen = []
    globalLogPublisher.addObserver(seen.append)
    yield seen
    globalLogPublisher.removeObserver(seen.append)


def test_accepted_key_opens_at_once():
    walk = Walk()
    walk.start(walk.validator.validate())
    walk.answer(Accepted())
    assert walk.results == [Open(ready=True)]
    assert walk.health.reason() is None
    assert walk.health.egress_state == "ok"
    assert not walk.clock.getDelayedCalls()


def test_probe_off_opens_without_an_attempt(events):
    walk = Walk(Probe.OFF)
    walk.start(walk.validator.validate())
    assert walk.results == [Open(ready=True)]
    assert walk.limits == []
    assert walk.health.key_state == "unchecked"
    assert [event["event"] for event in events] == ["key_validation"]


def test_squid_that_starts_beside_us_is_waited_for():
    walk = Walk()
    walk.start(walk.validator.validate())
    for wait in 0.5, 0.75, 1.125:
        walk.answer(EgressUnreachable("refused"))
        assert not walk.asking
        assert walk.health.egress_state == "failing"
        walk.clock.advance(wait - 0.01)
        assert not walk.asking
        walk.clock.advance(0.01)
        assert walk.asking
    walk.answer(Accepted())
    assert walk.results == [Open(ready=True)]
    assert walk.health.reason() is None


def test_grace_ends_with_a_last_attempt_and_opens_not_ready():
    walk = Walk()
    walk.start(walk.validator.validate())
    while not walk.results:
        walk.answer(EgressUnreachable("refused"))
        if walk.clock.getDelayedCalls():
            walk.clock.advance(walk.clock.getDelayedCalls()[0].getTime() - walk.clock.seconds())
    assert walk.results == [Open(ready=False)]
    assert walk.clock.seconds() == pytest.approx(GRACE)
    assert walk.health.reason() == EgressUnreachable.sentence
    assert walk.health.key_state == "unchecked"


def test_attempt_gets_the_time_that_is_left_but_never_too_little():
    walk = Walk()
    walk.start(walk.validator.validate())
    walk.clock.advance(4.0)
    walk.answer(EgressUnreachable())
    walk.clock.advance(0.5)
    assert walk.limits == [GRACE, SHORTEST_ATTEMPT]
    walk.running.cancel()
    walk = Walk(Probe.REQUIRE)
    walk.start(walk.validator.validate())
    assert walk.limits == [ATTEMPT_LIMIT]
    walk.running.cancel()


def test_required_probe_ends_with_69():
    walk = Walk(Probe.REQUIRE)
    walk.start(walk.validator.validate())
    walk.clock.advance(DEADLINE)
    walk.answer(CannotTell("OpenAI failed (503)"))
    assert [result.code for result in walk.results] == [69]


def test_missing_answer_after_the_tunnel_is_about_the_key_not_the_egress():
    walk = Walk()
    walk.start(walk.validator.validate())
    walk.answer(OriginClosed())
    assert walk.health.egress_state == "ok"
    assert walk.health.key_state == "cannot_tell"
    walk.running.cancel()


@pytest.mark.parametrize("stage", ["attempt", "pause"])
def test_stop_ends_validation_in_any_stage(stage):
    walk = Walk()
    walk.start(walk.validator.validate())
    if stage == "pause":
        walk.answer(EgressFailed())
    walk.running.cancel()
    assert [type(error) for error in walk.errors] == [CancelledError]
    assert not walk.asking
    assert not walk.clock.getDelayedCalls()


def test_unforeseen_failure_of_an_attempt_is_not_taken_for_a_verdict():
    walk = Walk()
    walk.start(walk.validator.validate())
    walk.answer(RuntimeError("bug"))
    assert [type(error) for error in walk.errors] == [RuntimeError]


# --- the watch -------------------------------------------------------------------------------------


def watching(*before):
    walk = Walk()
    for step in before:
        step(walk.health)
    walk.start(walk.validator.watch())
    return walk


def test_watch_goes_on_with_growing_pauses_until_ready():
    walk = watching(lambda health: health.egress_failed(EgressUnreachable()))
    for wait in 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0:
        walk.clock.advance(wait - 0.01)
        assert not walk.asking
        walk.clock.advance(0.01)
        walk.answer(EgressUnreachable())
    walk.clock.advance(30)
    walk.answer(Accepted())
    assert walk.health.reason() is None
    assert set(walk.limits) == {ATTEMPT_LIMIT}
    asked = len(walk.limits)
    walk.clock.pump([1.0] * 200)
    assert len(walk.limits) == asked
    walk.running.cancel()


@pytest.mark.parametrize(
    "attempt",
    [Rejected("invalid_api_key"), EgressDenied(), TlsUntrusted(), CannotTell("x"), EgressProtocolError()],
)
def test_no_verdict_after_opening_ends_anything(attempt):
    walk = watching()
    walk.clock.advance(1)
    walk.answer(attempt)
    assert walk.health.reason() is not None
    assert walk.results == walk.errors == []
    walk.clock.advance(4)
    assert walk.asking
    walk.running.cancel()


def test_watch_tries_again_when_a_tunnel_fails_later():
    walk = watching(lambda health: health.key_checked(Accepted()))
    walk.clock.pump([1.0] * 10)
    assert walk.limits == []
    walk.health.egress_failed(EgressFailed())
    walk.clock.advance(1)
    walk.answer(Accepted())
    assert walk.health.reason() is None
    walk.running.cancel()


def accepted(health):
    health.egress_ok()
    health.key_checked(Accepted())


def test_watch_probes_no_ready_process_that_sees_no_401():
    walk = watching(accepted)
    for _ in range(600):
        walk.clock.advance(1)
        walk.health.succeeded()
    assert walk.limits == []
    walk.running.cancel()


def test_watch_checks_a_doubted_key_and_goes_by_the_verdict():
    walk = watching(accepted)
    walk.clock.advance(100)
    walk.health.doubt()
    walk.clock.advance(1)
    assert walk.asking
    assert walk.health.reason() is None, "until the check has said so"
    walk.answer(Rejected("invalid_api_key"))
    assert walk.health.reason() == "The provider rejects the key (invalid_api_key)."
    walk.clock.advance(2)
    walk.answer(Accepted())
    assert walk.health.reason() is None
    walk.running.cancel()


def test_watch_leaves_a_doubted_key_in_service_that_the_check_accepts():
    walk = watching(accepted)
    walk.health.doubt()
    walk.clock.advance(1)
    walk.answer(Accepted())
    assert walk.health.reason() is None
    walk.clock.pump([1.0] * 200)
    assert len(walk.limits) == 1
    walk.running.cancel()


def test_watch_checks_a_doubted_key_no_more_than_once_a_minute():
    walk = watching(accepted)
    asked = []
    for second in range(1, 301):
        walk.health.doubt()
        walk.clock.advance(1)
        if walk.asking:
            asked.append(second)
            walk.answer(Accepted())
    assert len(asked) in (4, 5)
    assert all(later - before >= DOUBT_PAUSE for before, later in pairwise(asked))
    walk.running.cancel()


def test_watch_survives_its_own_failure(events):
    walk = watching()
    walk.clock.advance(1)
    walk.answer(RuntimeError("quotes something"))
    walk.clock.advance(2)
    assert walk.asking
    walk.running.cancel()
    (event,) = events
    assert (event["kind"], event["event"]) == ("RuntimeError", "key_validation")
    assert "quotes" not in str(event)


def test_watch_without_probing_ends_at_once():
    walk = Walk(Probe.OFF)
    walk.start(walk.validator.watch())
    assert walk.results == [None]
    assert not walk.clock.getDelayedCalls()


def test_stop_ends_the_watch():
    walk = watching()
    walk.clock.advance(1)
    walk.running.cancel()
    assert [type(error) for error in walk.errors] == [CancelledError]
    assert not walk.clock.getDelayedCalls()


def test_state_is_logged_when_it_changes(events):
    walk = watching()
    told = [
        EgressUnreachable(), EgressUnreachable(), CannotTell("x"), CannotTell("x"), CannotTell("y"),
        Rejected("c"), Rejected("c"), Accepted("note"),
    ]  # fmt: skip
    for attempt in told:
        walk.clock.advance(30)
        walk.answer(attempt)
    walk.running.cancel()
    assert [(event["event"], event.get("state"), event["log_level"].name) for event in events] == [
        ("path_validation", None, "warn"),
        ("key_validation", "cannot_tell", "warn"),
        ("key_validation", "cannot_tell", "warn"),
        ("key_validation", "rejected", "warn"),
        ("key_validation", "accepted", "warn"),
    ]


# --- after the opening -----------------------------------------------------------------------------

LATER = pytest.mark.parametrize("mode", [Probe.AFTER, Probe.STRICT])


@LATER
def test_checks_after_the_opening_hold_up_no_port(mode):
    walk = Walk(mode)
    walk.start(walk.validator.validate())
    assert walk.results == [Open(ready=False)]
    assert walk.limits == []
    assert walk.health.reason() == "The key has not been checked yet."


@LATER
@pytest.mark.parametrize(
    "attempt", [Rejected("invalid_api_key"), EgressDenied(), TlsUntrusted(), ConfigError("x"), Accepted()]
)
def test_first_check_comes_at_once_then_and_ends_nothing(mode, attempt):
    walk = Walk(mode)
    over = []
    walk.validator.first_checked.addCallback(over.append)
    walk.start(walk.validator.watch())
    assert walk.asking
    assert not over
    walk.answer(attempt)
    assert over == [None]
    assert not walk.results
    assert not walk.errors
    walk.running.cancel()


def test_first_check_waits_for_a_squid_that_starts_beside_us():
    walk = Walk(Probe.AFTER)
    over = []
    walk.validator.first_checked.addCallback(over.append)
    walk.start(walk.validator.watch())
    walk.answer(EgressUnreachable("refused"))
    assert not over
    walk.clock.advance(0.5)
    walk.answer(Accepted())
    assert over == [None]
    assert walk.health.reason() is None
    walk.running.cancel()


def test_first_check_is_over_after_the_grace_whatever_it_found_and_checking_goes_on():
    walk = Walk(Probe.AFTER)
    over = []
    walk.validator.first_checked.addCallback(over.append)
    walk.start(walk.validator.watch())
    while not over:
        walk.answer(EgressUnreachable("refused"))
        if walk.clock.getDelayedCalls() and not over:
            walk.clock.advance(walk.clock.getDelayedCalls()[0].getTime() - walk.clock.seconds())
    assert walk.clock.seconds() == pytest.approx(GRACE)
    walk.clock.advance(1.0)
    walk.answer(Accepted())
    assert walk.health.reason() is None
    walk.running.cancel()


def test_first_check_that_fails_by_itself_is_over_too(events):
    walk = Walk(Probe.AFTER)
    over = []
    walk.validator.first_checked.addCallback(over.append)
    walk.start(walk.validator.watch())
    walk.answer(ZeroDivisionError())
    assert over == [None]
    assert [event["kind"] for event in events if event.get("state") == "failed"] == ["ZeroDivisionError"]
    walk.running.cancel()


@pytest.mark.parametrize("mode", [Probe.TRY, Probe.REQUIRE, Probe.AFTER, Probe.STRICT])
def test_key_of_which_no_answer_says_anything_is_never_sent_in_a_probe(mode, events):
    walk = Walk(mode)
    silent = Policy(mode, GRACE, DEADLINE, OPENAI, ORIGIN, says_nothing=True)
    walk.validator = Validator(walk.clock, silent, walk.health, walk._attempt)
    walk.start(walk.validator.validate())
    assert walk.results == [Open(ready=True)]
    walk.start(walk.validator.watch())
    walk.clock.advance(100)
    assert walk.limits == []
    assert [event["status"] for event in events] == ["skipped"]


def test_without_a_key_there_is_nothing_to_check():
    results = []
    for work in NothingToCheck().validate(), NothingToCheck().watch():
        Deferred.fromCoroutine(work).addCallback(results.append)
    assert results == [Open(ready=True), None]
