"""The pause after three failures in a row: how long it is, what begins and ends it, what is told in it."""

import pytest

from awfproxy.errors.egress import EgressDenied, EgressUnreachable
from awfproxy.errors.own import OutOfDescriptors
from awfproxy.upstream.cooldown import IN_A_ROW, LONGEST, Cooldown

WHY = "http://127.0.0.1:3128: connection refused"


def failed(times: int = IN_A_ROW, now: float = 100.0) -> Cooldown:
    cooldown = Cooldown()
    for _ in range(times):
        cooldown.failed(EgressUnreachable(WHY), now)
    return cooldown


def test_two_failures_stop_nothing() -> None:
    assert failed(2).refusal(100.0) is None


def test_after_three_the_last_error_is_told_and_that_it_was_not_tried() -> None:
    cooldown = failed(2)
    cooldown.failed(EgressDenied("CONNECT was answered 403"), 100.0)
    refusal = cooldown.refusal(100.0)
    assert type(refusal) is EgressDenied
    assert refusal.detail == "not tried, since 3 attempts in a row failed: CONNECT was answered 403"
    assert "not tried" not in refusal.message, "the client is told what it would be anyway"


def test_a_success_between_begins_the_count_anew() -> None:
    cooldown = failed(2)
    cooldown.succeeded()
    for _ in range(2):
        cooldown.failed(EgressUnreachable(), 100.0)
    assert cooldown.refusal(100.0) is None


def test_a_success_ends_the_pause_at_once() -> None:
    cooldown = failed()
    cooldown.succeeded()
    assert cooldown.refusal(100.0) is None


def test_the_first_pause_is_over_before_a_restart_of_squid_is() -> None:
    cooldown = failed()
    assert cooldown.refusal(100.12) is not None
    assert cooldown.refusal(100.13) is None


def test_each_failure_after_a_pause_begins_one_twice_as_long_up_to_a_second() -> None:
    cooldown, now, lengths = failed(), 100.125, [0.125]
    for _ in range(5):
        cooldown.failed(EgressUnreachable(), now)
        length = next(step / 1000 for step in range(2000) if cooldown.refusal(now + step / 1000) is None)
        lengths.append(length)
        now += length
    assert lengths == pytest.approx([0.125, 0.25, 0.5, 1.0, 1.0, 1.0], abs=0.002)
    assert max(lengths) <= LONGEST + 0.002


def test_failures_within_a_pause_do_not_lengthen_it() -> None:
    """They are of attempts begun before it: a burst of thirty would make it a second at once."""
    cooldown = failed(30)
    assert cooldown.refusal(100.13) is None
    cooldown.failed(EgressUnreachable(), 100.13)
    assert cooldown.refusal(100.37) is not None
    assert cooldown.refusal(100.39) is None


def test_a_success_makes_the_next_pause_short_again() -> None:
    cooldown = failed()
    cooldown.failed(EgressUnreachable(), 101.0)
    cooldown.failed(EgressUnreachable(), 102.0)
    cooldown.succeeded()
    for _ in range(3):
        cooldown.failed(EgressUnreachable(), 103.0)
    assert cooldown.refusal(103.13) is None


def test_own_shortage_of_descriptors_says_nothing_of_the_way() -> None:
    cooldown = Cooldown()
    for _ in range(30):
        cooldown.failed(OutOfDescriptors(WHY), 100.0)
    assert cooldown.refusal(100.0) is None


def test_own_shortage_of_descriptors_leaves_the_count_of_the_ways_failures_as_it_is() -> None:
    cooldown = failed(2)
    cooldown.failed(OutOfDescriptors(WHY), 100.0)
    assert cooldown.refusal(100.0) is None
    cooldown.failed(EgressUnreachable(WHY), 100.0)
    assert isinstance(cooldown.refusal(100.0), EgressUnreachable)
