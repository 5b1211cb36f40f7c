"""The sweep: one timer for all deadlines, met up to one interval late."""

from twisted.internet.task import Clock

from awfproxy.net.deadlines import INTERVAL, NEVER, Sweep


class Member:
    def __init__(self, deadline, then=None):
        self.deadline, self.passed = deadline, 0
        self._then = then

    def deadline_passed(self):
        self.passed += 1
        if self._then is not None:
            self._then()


def sweeping(clock, seconds):
    for _ in range(round(seconds / INTERVAL)):
        clock.advance(INTERVAL)


def test_a_deadline_is_met_at_most_one_interval_late():
    clock = Clock()
    sweep, member = Sweep(clock), Member(1.0)
    sweep.add(member)
    sweeping(clock, 0.75)
    assert member.passed == 0
    clock.advance(INTERVAL)
    assert member.passed == 1


def test_a_deadline_that_is_not_moved_passes_again():
    clock = Clock()
    sweep, member = Sweep(clock), Member(0.0)
    sweep.add(member)
    sweeping(clock, 1)
    assert member.passed == 4


def test_never_is_never():
    clock = Clock()
    sweep, member = Sweep(clock), Member(NEVER)
    sweep.add(member)
    sweeping(clock, 10)
    assert member.passed == 0


def test_there_is_one_timer_for_all_and_none_for_nobody():
    clock = Clock()
    sweep, members = Sweep(clock), [Member(NEVER) for _ in range(100)]
    for member in members:
        sweep.add(member)
    assert len(clock.getDelayedCalls()) == 1
    for member in members:
        sweep.discard(member)
    assert clock.getDelayedCalls() == []
    sweep.discard(members[0])
    sweep.add(members[0])
    assert len(clock.getDelayedCalls()) == 1


def test_members_may_leave_and_join_while_it_sweeps():
    clock = Clock()
    sweep = Sweep(clock)
    late = Member(0.0)

    def change():
        sweep.discard(first)
        sweep.add(late)

    first = Member(0.0, change)
    sweep.add(first)
    clock.advance(INTERVAL)
    assert (first.passed, late.passed) == (1, 0)
    clock.advance(INTERVAL)
    assert (first.passed, late.passed) == (1, 1)


def test_the_last_member_may_leave_while_it_sweeps():
    clock = Clock()
    sweep = Sweep(clock)
    member = Member(0.0, lambda: sweep.discard(member))
    sweep.add(member)
    clock.advance(INTERVAL)
    assert clock.getDelayedCalls() == []


def test_one_that_left_during_the_sweep_is_not_called_any_more():
    clock = Clock()
    sweep = Sweep(clock)
    members = []

    def leave():
        for member in members:
            sweep.discard(member)

    members += [Member(0.0, leave) for _ in range(10)]
    for member in members:
        sweep.add(member)
    clock.advance(INTERVAL)
    assert sum(member.passed for member in members) == 1


def test_one_that_fails_does_not_keep_the_others_from_their_deadlines(logged_failures):
    clock = Clock()
    sweep = Sweep(clock)

    def fail():
        raise RuntimeError("broken")

    members = [Member(0.0, fail) for _ in range(5)]
    for member in members:
        sweep.add(member)
    clock.advance(INTERVAL)
    assert [member.passed for member in members] == [1] * 5
    assert [event["log_failure"].type for event in logged_failures] == [RuntimeError] * 5
    logged_failures.clear()
