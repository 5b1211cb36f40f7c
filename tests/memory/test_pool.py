"""The pool: LIFO tunnels, one FIFO of waiters, and nobody held up by an attempt that hangs."""

import gc
from itertools import pairwise

import pytest
from twisted.internet.defer import fail

from awfproxy.errors.egress import EgressDenied, EgressTimeout, EgressUnreachable
from awfproxy.errors.own import InternalError, OutOfDescriptors
from awfproxy.net.deadlines import Sweep
from awfproxy.settings.values import PoolLimits
from awfproxy.upstream.pool import Pool
from awfproxy.wire.framing import NO_BODY
from awfproxy.wire.message import RequestHead, field
from tests.memory.peers import Endpoint, Loop, answer
from tests.memory.test_connection import Sink

HEAD = RequestHead(b"GET", b"/v1/models", b"1.1", (field(b"Host", b"api.openai.com"),))


class Waiter:
    def __init__(self, pool):
        self.pool = pool
        self.connection, self.problem = None, None
        self.on_ready = lambda: None

    def tunnel_ready(self, connection):
        assert self.connection is None
        assert self.problem is None
        assert connection.reusable
        self.connection, self.sink = connection, Sink()
        connection.send(HEAD, NO_BODY, b"", True, self.sink)
        self.on_ready()

    def tunnel_failed(self, reason):
        assert self.connection is None
        assert self.problem is None
        self.problem = reason

    @property
    def waits(self):
        return self.connection is None and self.problem is None


class Bath:
    """A pool with its endpoint played by hand."""

    def __init__(self, started=True, **limits):
        self.loop = Loop()
        self.endpoint = Endpoint(self.loop, automatic=False)
        self.heard = []
        self.limits = PoolLimits(**{"warm": 0, **limits})
        self.pool = Pool(Sweep(self.loop), self.endpoint, self.limits, self.heard.append)
        if started:
            self.pool.startService()

    def acquire(self, **how):
        waiter = Waiter(self.pool)
        self.pool.acquire(waiter, **how)
        return waiter

    @property
    def attempts(self):
        return self.endpoint.attempts

    @property
    def pending(self):
        return self.endpoint.pending

    def open(self, number):
        """Opens so many tunnels that wait idle; gives their wires."""
        waiters = [self.acquire() for _ in range(number)]
        wires = [attempt.open() for attempt in list(self.pending)]
        for waiter in waiters:
            self.free(waiter)
        return wires

    def wire(self, waiter):
        return next(wire for wire in self.endpoint.origins if wire.protocol is waiter.connection)

    def free(self, waiter):
        self.wire(waiter).deliver(answer())

    def wait(self, seconds):
        self.loop.wait(seconds)

    @property
    def counts(self):
        stats = self.pool.stats()
        return {name: getattr(stats, name) for name in ("idle", "busy", "opening", "waiting")}


@pytest.fixture
def bath():
    return Bath()


def all_counts(bath, *, idle=0, busy=0, opening=0, waiting=0):
    assert bath.counts == {"idle": idle, "busy": busy, "opening": opening, "waiting": waiting}


# --- order --------------------------------------------------------------------------------------------


def test_the_last_tunnel_used_is_the_first_reused(bath):
    bath.open(3)
    newest = bath.pool._idle[-1]
    waiter = bath.acquire()
    assert waiter.connection is newest
    bath.free(waiter)
    assert bath.acquire().connection is newest


def test_waiters_are_served_first_come_first_served_by_whichever_tunnel_is_ready(bath):
    waiters = [bath.acquire() for _ in range(3)]
    assert len(bath.pending) == 3
    wire = bath.attempts[2].open()
    assert [waiter.waits for waiter in waiters] == [False, True, True]
    wire.deliver(answer())
    assert waiters[1].connection is waiters[0].connection
    bath.attempts[0].open()
    assert not waiters[2].waits


def test_a_freed_tunnel_serves_a_waiter_before_its_own_attempt_does(bath):
    first = bath.acquire()
    bath.attempts[0].open()
    second = bath.acquire()
    bath.free(first)
    assert second.connection is first.connection
    bath.attempts[1].open()
    all_counts(bath, idle=1, busy=1)


def test_serving_a_waiter_from_inside_an_ending_response_mixes_nothing(bath):
    first, second = bath.acquire(), bath.acquire()
    wire = bath.attempts[0].open()
    assert second.waits
    wire.deliver(answer(b"one"))
    assert (first.sink.story, first.sink.content) == ([200, "end"], b"one")
    assert second.sink.story == []
    wire.deliver(answer(b"two"))
    assert (first.sink.content, second.sink.content) == (b"one", b"two")
    all_counts(bath, idle=1, opening=1)


def test_a_waiter_that_gives_its_tunnel_up_at_once_leaves_the_pool_in_order(bath):
    first, second = bath.acquire(), bath.acquire()
    first.on_ready = lambda: first.connection.abort()
    bath.attempts[0].open()
    assert second.waits
    assert bath.pool.stats().busy == 0
    bath.attempts[1].open()
    assert not second.waits
    all_counts(bath, busy=1)


def test_a_retry_waits_in_front(bath):
    early = bath.acquire()
    retry = bath.acquire(fresh=True)
    bath.attempts[0].open()
    assert early.waits
    assert not retry.waits


def test_a_retry_takes_no_idle_tunnel(bath):
    bath.open(2)
    retry = bath.acquire(fresh=True)
    assert retry.waits
    bath.pending[0].open()
    assert not retry.waits


# --- limits -------------------------------------------------------------------------------------------


def test_no_more_tunnels_are_being_opened_at_once_than_the_cap():
    bath = Bath(opening=3)
    waiters = [bath.acquire() for _ in range(10)]
    for served in range(10):
        assert len(bath.pending) == min(3, 10 - served)
        bath.pending[0].open()
    assert not any(waiter.waits for waiter in waiters)
    assert len(bath.attempts) == 10


def test_no_more_tunnels_than_the_maximum():
    bath = Bath(maximum=2)
    waiters = [bath.acquire() for _ in range(4)]
    assert len(bath.attempts) == 2
    for attempt in list(bath.pending):
        attempt.open()
    all_counts(bath, busy=2, waiting=2)
    bath.free(waiters[0])
    bath.free(waiters[1])
    assert not any(waiter.waits for waiter in waiters)
    assert len(bath.attempts) == 2


@pytest.mark.parametrize("end", ["finish", "reset"])
def test_a_tunnel_that_ends_makes_room_for_another(end):
    bath = Bath(maximum=1)
    bath.acquire()
    wire = bath.attempts[0].open()
    waiting = bath.acquire()
    assert len(bath.attempts) == 1
    getattr(wire, end)()
    assert len(bath.attempts) == 2
    bath.attempts[1].open()
    assert not waiting.waits


def test_an_attempt_that_fails_makes_room_for_another():
    bath = Bath(maximum=1)
    first, second = bath.acquire(), bath.acquire()
    bath.attempts[0].fail(EgressDenied())
    assert first.problem is not None
    bath.attempts[1].open()
    assert not second.waits


# --- old tunnels --------------------------------------------------------------------------------------


def test_an_idle_tunnel_is_closed_after_the_idle_limit():
    bath = Bath(idle=10.0)
    (wire,) = bath.open(1)
    bath.wait(9.5)
    assert wire.lost is None
    bath.wait(2)
    assert wire.lost is not None
    all_counts(bath)


def test_use_begins_the_idle_limit_anew():
    bath = Bath(idle=10.0)
    (wire,) = bath.open(1)
    bath.wait(8)
    bath.free(bath.acquire())
    bath.wait(8)
    assert wire.lost is None


def test_a_tunnel_past_its_lifetime_is_closed_idle_or_after_its_response():
    bath = Bath(idle=1000.0, lifetime=20.0)
    bath.open(2)
    busy = bath.acquire()
    wire = bath.wire(busy)
    bath.wait(22)
    all_counts(bath, busy=1)
    assert wire.lost is None
    bath.free(busy)
    assert busy.sink.story == [200, "end"]
    assert wire.lost is not None
    all_counts(bath)


def test_a_tunnel_past_its_lifetime_serves_no_waiter_but_makes_room():
    bath = Bath(maximum=1, lifetime=20.0)
    old = bath.acquire()
    bath.attempts[0].open()
    waiter = bath.acquire()
    bath.wait(22)
    bath.free(old)
    assert waiter.waits
    bath.attempts[1].open()
    assert not waiter.waits


def test_a_tunnel_that_does_not_close_is_aborted():
    bath = Bath(idle=10.0)
    (wire,) = bath.open(1)
    wire.take(0)
    wire.write(b"something that is never read")
    bath.wait(12)
    assert wire.lost is None
    bath.wait(6)
    assert wire.aborted
    assert bath.pool._closing == {}


@pytest.mark.parametrize("sign", ["end", "bytes"])
def test_a_tunnel_that_rested_is_looked_at_before_it_is_reused(bath, sign):
    older, newer = bath.open(2)
    sick = next(wire for wire in (older, newer) if wire.protocol is bath.pool._idle[-1])
    if sign == "end":
        sick.vanish()
    else:
        sick.whisper(b"HTTP/1.1 408 Request Timeout\r\n")
    bath.wait(2)
    waiter = bath.acquire()
    assert waiter.connection is not None
    assert waiter.connection is not sick.protocol
    bath.loop.settle()
    assert sick.lost is not None


def test_where_all_rested_tunnels_are_dead_a_new_one_is_opened(bath):
    for wire in bath.open(3):
        wire.vanish()
    bath.wait(2)
    waiter = bath.acquire()
    assert waiter.waits
    assert len(bath.pending) == 1


def test_a_tunnel_whose_transport_is_ending_is_not_reused_however_fresh(bath):
    (wire,) = bath.open(1)
    wire.take(0)
    wire.write(b"farewell")
    wire.loseConnection()
    waiter = bath.acquire()
    assert waiter.waits


@pytest.mark.parametrize("end", ["finish", "reset"])
def test_an_idle_tunnel_that_ends_is_forgotten(bath, end):
    (wire,) = bath.open(1)
    getattr(wire, end)()
    all_counts(bath)
    assert bath.acquire().waits
    assert bath.pool._closing == {}


# --- the warm minimum ---------------------------------------------------------------------------------


def test_the_warm_minimum_is_opened_at_the_start_and_again_when_lost():
    bath = Bath(warm=2)
    bath.wait(2)
    assert len(bath.attempts) == 2
    wires = [attempt.open() for attempt in bath.attempts]
    all_counts(bath, idle=2)
    wires[0].finish()
    bath.wait(1.5)
    assert len(bath.attempts) == 3


def test_a_warm_attempt_that_fails_is_not_repeated_at_once():
    bath = Bath(warm=1)
    for failures in range(1, 4):
        assert len(bath.attempts) == failures
        bath.pending[0].fail(EgressUnreachable())
        bath.wait(1.5)
        assert len(bath.attempts) == failures
        bath.wait(1.5)
    assert [type(problem) for problem in bath.heard] == [EgressUnreachable] * 3


def test_a_warm_tunnel_serves_the_first_request_at_once():
    bath = Bath(warm=1)
    bath.attempts[0].open()
    assert not bath.acquire().waits


# --- attempts that hang -------------------------------------------------------------------------------


def test_a_connect_that_hangs_delays_no_later_request(bath):
    stuck = bath.acquire()
    bath.wait(2)
    later = bath.acquire()
    assert len(bath.pending) == 2
    bath.attempts[1].open()
    assert not stuck.waits, "the first in the queue takes what is ready first"
    assert len(bath.pending) == 2, "and the one behind it does not have to rely on what hangs"
    bath.attempts[2].open()
    assert not later.waits


def test_an_overtaken_attempt_is_relied_on_by_nobody_after(bath):
    first = bath.acquire()
    bath.wait(0.2)
    second = bath.acquire()
    bath.attempts[1].open()
    bath.free(first)
    bath.free(second)
    waiters = [bath.acquire(), bath.acquire()]
    assert len(bath.pending) == 2
    bath.attempts[2].open()
    assert not any(waiter.waits for waiter in waiters)


def test_a_burst_opens_one_tunnel_for_each_request_in_whatever_order_they_are_ready(bath):
    waiters = [bath.acquire() for _ in range(16)]
    for attempt in reversed(bath.attempts):
        attempt.open()
    assert not any(waiter.waits for waiter in waiters)
    assert len(bath.attempts) == 16


def test_a_burst_beyond_the_cap_gives_up_no_attempt_because_another_was_ready_before():
    bath = Bath(opening=4)
    waiters = [bath.acquire() for _ in range(12)]
    while bath.pending:
        bath.pending[-1].open()
    assert not any(waiter.waits for waiter in waiters)
    assert len(bath.attempts) == 12
    assert not any(attempt.cancelled for attempt in bath.attempts)


def test_of_a_burst_the_attempt_that_hangs_is_replaced_within_a_second(bath):
    waiters = [bath.acquire() for _ in range(3)]
    bath.attempts[1].open()
    bath.attempts[2].open()
    assert [waiter.waits for waiter in waiters] == [False, False, True]
    assert len(bath.pending) == 1
    bath.wait(1.25)
    assert len(bath.pending) == 2
    bath.attempts[3].open()
    assert not waiters[2].waits


def test_an_attempt_whose_request_has_left_does_not_hold_up_the_next_one(bath):
    gone = bath.acquire()
    bath.wait(3)
    bath.pool.cancel(gone)
    waiter = bath.acquire()
    assert len(bath.pending) == 2
    bath.attempts[1].open()
    assert not waiter.waits


def test_an_attempt_whose_request_was_served_otherwise_does_not_hold_up_the_next_one(bath):
    first = bath.acquire()
    bath.attempts[0].open()
    second = bath.acquire()
    bath.free(first)
    assert not second.waits
    bath.wait(3)
    third = bath.acquire()
    assert len(bath.pending) == 2
    bath.attempts[2].open()
    assert not third.waits


def test_a_warm_attempt_that_hangs_does_not_hold_up_the_first_request():
    bath = Bath(warm=1)
    bath.wait(3)
    waiter = bath.acquire()
    assert len(bath.pending) == 2
    bath.attempts[1].open()
    assert not waiter.waits


def test_a_young_spare_attempt_is_relied_on(bath):
    """Else each burst would become a storm of handshakes."""
    gone = bath.acquire()
    bath.pool.cancel(gone)
    waiter = bath.acquire()
    assert len(bath.attempts) == 1
    bath.attempts[0].open()
    assert not waiter.waits


def test_an_attempt_that_its_own_request_still_waits_for_is_not_repeated(bath):
    bath.acquire()
    bath.wait(5)
    bath.acquire()
    assert len(bath.attempts) == 2


def test_a_hanging_attempt_that_opens_at_last_serves_who_waits(bath):
    gone = bath.acquire()
    bath.wait(3)
    bath.pool.cancel(gone)
    waiter = bath.acquire()
    bath.attempts[0].open()
    assert not waiter.waits
    bath.attempts[1].open()
    all_counts(bath, idle=1, busy=1)


@pytest.mark.parametrize("limits", [{"opening": 3}, {"opening": 30, "maximum": 3}])
def test_at_the_cap_the_oldest_attempt_that_nobody_waits_for_is_given_up(limits):
    bath = Bath(**limits)
    gone = []
    for _ in range(3):
        gone.append(bath.acquire())
        bath.wait(1)
    for each in gone:
        bath.pool.cancel(each)
    bath.wait(2)
    waiters = [bath.acquire(), bath.acquire()]
    assert [attempt.cancelled for attempt in bath.attempts] == [True, True, False, False, False]
    assert len(bath.pending) == 3
    bath.attempts[3].open()
    bath.attempts[4].open()
    assert not any(waiter.waits for waiter in waiters)
    assert bath.heard == [None, None], "what is given up has not failed"
    assert bath.pool.stats().failed == 0
    all_counts(bath, busy=2, opening=1)


@pytest.mark.parametrize("why", ["young", "waited for"])
def test_at_the_cap_an_attempt_that_is_relied_on_is_not_given_up(why):
    bath = Bath(opening=2)
    first = [bath.acquire(), bath.acquire()]
    if why == "young":
        for waiter in first:
            bath.pool.cancel(waiter)
    else:
        bath.wait(5)
    waiters = [bath.acquire() for _ in range(3)]
    assert not any(attempt.cancelled for attempt in bath.attempts)
    assert len(bath.attempts) == 2
    assert all(waiter.waits for waiter in waiters)


def test_below_the_cap_no_attempt_is_given_up(bath):
    bath.pool.cancel(bath.acquire())
    bath.wait(5)
    bath.acquire()
    assert len(bath.pending) == 2


# --- failures -----------------------------------------------------------------------------------------


def test_a_retryable_failure_is_retried_once(bath):
    waiter = bath.acquire()
    bath.attempts[0].fail(EgressUnreachable())
    assert waiter.waits
    assert len(bath.attempts) == 2
    bath.attempts[1].fail(EgressUnreachable())
    assert type(waiter.problem) is EgressUnreachable
    assert len(bath.attempts) == 2
    all_counts(bath)


def test_a_retry_that_succeeds_serves(bath):
    waiter = bath.acquire()
    bath.attempts[0].fail(EgressUnreachable())
    bath.attempts[1].open()
    assert not waiter.waits
    assert [type(problem) for problem in bath.heard] == [EgressUnreachable, type(None)]


@pytest.mark.parametrize("problem", [EgressDenied(), EgressTimeout(), RuntimeError()])
def test_what_cannot_help_or_took_long_is_not_retried(bath, problem):
    waiter = bath.acquire()
    bath.attempts[0].fail(problem)
    assert type(waiter.problem) is (InternalError if type(problem) is RuntimeError else type(problem))
    assert len(bath.attempts) == 1


def test_a_failed_attempt_fails_nobody_whom_another_attempt_will_serve(bath):
    gone = bath.acquire()
    waiter = bath.acquire()
    bath.pool.cancel(gone)
    bath.attempts[0].fail(EgressDenied())
    assert waiter.waits
    bath.attempts[1].open()
    assert not waiter.waits


def test_a_failed_attempt_that_was_overtaken_fails_nobody(bath):
    first = bath.acquire()
    bath.wait(3)
    bath.pool.cancel(first)
    waiter = bath.acquire()
    bath.attempts[0].fail(EgressTimeout())
    assert waiter.waits
    bath.attempts[1].open()
    assert not waiter.waits


def test_each_waiter_hears_of_one_failure_of_its_own(bath):
    waiters = [bath.acquire() for _ in range(3)]
    for attempt in list(bath.pending):
        attempt.fail(EgressDenied())
    assert [type(waiter.problem) for waiter in waiters] == [EgressDenied] * 3
    all_counts(bath)
    assert len(bath.attempts) == 3


def test_attempts_that_fail_at_once_tell_every_waiter_and_none_is_left(bath, logged_failures):
    """No route is such a failure; it comes back while the attempt is being begun."""
    waiters = [bath.acquire() for _ in range(1500)]
    bath.endpoint.connect = lambda factory: fail(EgressUnreachable())
    for attempt in list(bath.pending):
        attempt.fail(EgressUnreachable())
    assert {type(waiter.problem) for waiter in waiters} == {EgressUnreachable}
    all_counts(bath)
    gc.collect()
    assert logged_failures == []


def test_a_late_failure_of_an_overtaken_attempt_is_no_news(bath):
    bath.acquire()
    bath.acquire()
    bath.attempts[1].open()
    bath.attempts[0].fail(EgressTimeout())
    assert bath.heard == [None]


def test_failures_are_news_while_no_later_attempt_was_ready(bath):
    """Else clients that soon leave would keep a way out that hangs from being noticed."""
    for attempts in range(1, 4):
        gone = bath.acquire()
        assert len(bath.attempts) == attempts
        bath.wait(5)
        bath.pool.cancel(gone)
    bath.acquire()
    bath.attempts[0].fail(EgressTimeout())
    assert [type(problem) for problem in bath.heard] == [EgressTimeout]
    bath.attempts[2].open()
    bath.attempts[1].fail(EgressTimeout())
    assert bath.heard[1:] == [None]
    bath.attempts[3].fail(EgressDenied())
    assert [type(problem) for problem in bath.heard[2:]] == [EgressDenied]


def test_a_waiter_may_ask_again_from_inside_its_failure(bath):
    class Stubborn(Waiter):
        def tunnel_failed(self, reason):
            again.append(bath.acquire())

    again = []
    bath.pool.acquire(Stubborn(bath.pool))
    bath.attempts[0].fail(EgressDenied())
    assert len(bath.attempts) == 2
    bath.attempts[1].open()
    assert not again[0].waits


# --- after failures in a row ----------------------------------------------------------------------------


def fail_thrice(bath, error):
    """One request that is not tried again, three times."""
    waiters = []
    for _ in range(3):
        waiters.append(bath.acquire())
        bath.pending[0].fail(error)
    return waiters


def test_after_three_failures_in_a_row_a_request_is_told_the_last_one_and_nothing_is_tried(bath):
    assert [waiter.problem.detail for waiter in fail_thrice(bath, EgressDenied("403"))] == ["403"] * 3
    waiter = bath.acquire()
    assert type(waiter.problem) is EgressDenied
    assert waiter.problem.detail == "not tried, since 3 attempts in a row failed: 403"
    assert len(bath.attempts) == 3
    stats = bath.pool.stats()
    assert (stats.failed, stats.not_tried, stats.waiting) == (3, 1, 0)
    assert len(bath.heard) == 3, "what was not tried is no news of the way out"


def test_own_shortage_of_descriptors_refuses_nobody_once_it_is_over(bath):
    waiters = [bath.acquire() for _ in range(5)]
    while bath.pending:
        bath.pending[0].fail(OutOfDescriptors())
    assert {type(waiter.problem) for waiter in waiters} == {OutOfDescriptors}
    waiter = bath.acquire()
    bath.pending[0].open()
    assert not waiter.waits
    assert bath.pool.stats().not_tried == 0


def test_after_two_a_request_is_tried(bath):
    for _ in range(2):
        bath.acquire()
        bath.pending[0].fail(EgressDenied())
    assert bath.acquire().waits
    assert len(bath.pending) == 1


def test_once_the_pause_is_over_a_request_is_tried_and_its_success_opens_the_way_for_all(bath):
    fail_thrice(bath, EgressDenied())
    bath.wait(0.25)
    first, second = bath.acquire(), bath.acquire()
    bath.pending[0].open()
    assert not first.waits
    third = bath.acquire()
    assert [second.waits, third.waits] == [True, True]
    assert len(bath.pending) == 2
    assert bath.pool.stats().not_tried == 0


def test_once_the_pause_is_over_the_first_failure_is_told_to_all_that_come_after(bath):
    fail_thrice(bath, EgressDenied())
    bath.wait(0.25)
    bath.acquire()
    bath.pending[0].fail(EgressUnreachable())
    assert type(bath.acquire().problem) is EgressUnreachable
    assert bath.pool.stats().not_tried == 1


def test_a_request_is_never_refused_for_longer_than_a_second_without_a_try(bath):
    fail_thrice(bath, EgressDenied())
    tried_at = []
    for _ in range(40):
        bath.acquire()
        for attempt in list(bath.pending):
            tried_at.append(bath.loop.seconds())
            attempt.fail(EgressDenied())
        bath.wait(0.25)
    pauses = [after - before for before, after in pairwise(tried_at)]
    assert max(pauses) == 1.0
    assert len(tried_at) >= 10


def test_the_third_failure_is_not_tried_again_for_its_own_request(bath):
    first = bath.acquire()
    bath.pending[0].fail(EgressUnreachable("refused"))
    bath.pending[0].fail(EgressUnreachable("refused"))
    second = bath.acquire()
    bath.pending[0].fail(EgressUnreachable("refused"))
    assert [first.problem.detail, second.problem.detail] == ["refused"] * 2
    assert len(bath.attempts) == 3


def test_of_a_burst_those_without_an_attempt_of_their_own_are_told_at_once():
    bath = Bath(opening=3)
    waiters = [bath.acquire() for _ in range(50)]
    for attempt in bath.attempts[:3]:
        attempt.fail(EgressDenied())
    assert [waiter.waits for waiter in waiters].count(True) == len(bath.pending) == 2
    assert waiters[3].waits, "who came first waits for those"
    assert bath.pool.stats().not_tried == 45
    bath.pending[0].fail(EgressDenied())
    bath.pending[0].fail(EgressDenied())
    all_counts(bath)


def test_idle_tunnels_serve_whatever_fails_beside_them(bath):
    bath.open(1)
    taken = bath.acquire()
    fail_thrice(bath, EgressDenied())
    bath.free(taken)
    assert bath.acquire().connection is not None


def test_who_waits_for_a_tunnel_because_there_may_be_no_more_waits_on(bath):
    bath = Bath(maximum=2)
    held = bath.acquire()
    bath.attempts[0].open()
    fail_thrice(bath, EgressDenied())
    bath.wait(0.25)
    bath.acquire()
    bath.pending[0].open()
    waiter = bath.acquire()
    assert waiter.waits
    bath.free(held)
    assert waiter.connection is not None


def test_a_tunnel_that_opens_in_the_pause_ends_it(bath):
    early = [bath.acquire() for _ in range(4)]
    for _ in range(3):
        bath.pending[0].fail(EgressDenied())
    assert bath.acquire().problem is not None
    bath.pending[0].open()
    assert early[3].connection is not None
    assert bath.acquire().waits
    assert len(bath.pending) == 1


def test_failures_of_warm_attempts_count_for_nothing_since_nobody_had_asked():
    bath = Bath(warm=1)
    for _ in range(4):
        bath.pending[0].fail(EgressUnreachable())
        waiter = bath.acquire()
        assert waiter.waits
        bath.pool.cancel(waiter)
        bath.wait(3)


def test_a_waiter_that_asks_again_from_inside_a_refusal_is_told_again_and_ends(bath):
    class Stubborn(Waiter):
        def tunnel_failed(self, reason):
            super().tunnel_failed(reason)
            if len(again) < 5000:
                again.append(Stubborn(self.pool))
                self.pool.acquire(again[-1])

    again = []
    fail_thrice(bath, EgressDenied())
    bath.pool.acquire(Stubborn(bath.pool))
    assert len(again) == 5000
    assert not any(waiter.waits for waiter in again)
    assert len(bath.attempts) == 3


# --- leaving and stopping -----------------------------------------------------------------------------


def test_a_waiter_that_cancels_is_never_called(bath):
    gone, stays = bath.acquire(), bath.acquire()
    bath.pool.cancel(gone)
    bath.attempts[0].open()
    assert gone.waits
    assert not stays.waits
    bath.attempts[1].open()
    all_counts(bath, idle=1, busy=1)


def test_cancelling_twice_or_after_the_end_is_harmless(bath):
    waiter = bath.acquire()
    bath.pool.cancel(waiter)
    bath.pool.cancel(waiter)
    bath.attempts[0].open()
    bath.pool.cancel(waiter)
    all_counts(bath, idle=1)


def test_stopping_closes_tunnels_gives_up_attempts_and_leaves_no_timer():
    bath = Bath(idle=10.0)
    wires = bath.open(2)
    busy = bath.acquire()
    lingering = bath.open(2)
    bath.acquire(fresh=True)
    assert bath.pending
    bath.pool.stopService()
    bath.loop.settle()
    assert bath.pending == []
    assert all(wire.lost is not None for wire in [*wires, *lingering])
    assert busy.sink.story == []
    assert bath.loop.getDelayedCalls() == []
    assert bath.pool._closing == {}


def test_stopping_aborts_what_is_still_closing():
    bath = Bath(idle=10.0)
    (wire,) = bath.open(1)
    wire.take(0)
    wire.write(b"never read")
    bath.wait(12)
    assert wire.lost is None
    bath.pool.stopService()
    bath.loop.settle()
    assert wire.aborted


def test_attempts_given_up_while_stopping_are_no_failures():
    bath = Bath()
    bath.acquire()
    bath.pool.stopService()
    assert bath.heard == []
    assert bath.pool.stats().failed == 0


def test_a_tunnel_that_opens_after_the_stop_is_closed():
    bath = Bath()
    bath.acquire()
    attempt = bath.attempts[0]
    bath.pool._open = False
    wire = attempt.open()
    bath.loop.settle()
    assert wire.lost is not None


def test_a_pool_that_was_not_started_opens_nothing():
    bath = Bath(started=False)
    assert bath.acquire().waits
    assert bath.attempts == []


def test_stats_count_attempts_since_the_start(bath):
    bath.open(2)
    bath.acquire(fresh=True)
    bath.pending[0].fail(EgressDenied())
    stats = bath.pool.stats()
    assert (stats.opened, stats.failed, stats.idle) == (2, 1, 2)


def test_failures_are_counted_by_cause(bath):
    for error in EgressDenied(), EgressDenied(), ValueError("a bug"):
        bath.acquire()
        bath.pending[0].fail(error)
    stats = bath.pool.stats()
    assert dict(stats.failures) == {"egress_denied": 2, "internal_error": 1}
    assert stats.failed == 3


def test_tunnel_that_has_served_a_request_before_counts_as_reused(bath):
    first = bath.acquire()
    bath.pending[0].open()
    assert bath.pool.stats().reused == 0
    bath.free(first)
    second = bath.acquire()
    assert bath.pool.stats().reused == 1
    waiting = bath.acquire()
    bath.free(second)
    assert not waiting.waits
    assert bath.pool.stats().reused == 2


def test_warm_tunnel_is_not_reused_by_its_first_request():
    bath = Bath(warm=1)
    bath.pending[0].open()
    bath.acquire()
    assert bath.pool.stats().reused == 0
