"""Readiness: would a request now succeed?"""

import pytest

from awfproxy.credentials.verdict import Accepted, CannotTell, Rejected, Unverified
from awfproxy.errors.egress import EgressDenied, EgressUnreachable
from awfproxy.errors.tls import TlsUntrusted
from awfproxy.observe.health import Health


class Wall:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def health(wall):
    return Health(wall, True)


def test_unchecked_key_is_not_ready(health):
    assert health.reason() == "The key has not been checked yet."
    assert (health.key_state, health.checked_at) == ("unchecked", None)


def test_unchecked_key_is_ready_when_nothing_is_probed(wall):
    health = Health(wall, probing=False)
    assert health.reason() is None
    assert health.key_state == "unchecked"


@pytest.mark.parametrize("verdict", [Accepted(), Accepted("restricted"), Unverified(404)])
def test_accepted_and_unverified_keys_are_ready(health, wall, verdict):
    wall.now = 1234.5
    health.key_checked(verdict)
    assert health.reason() is None
    assert (health.verdict, health.checked_at) == (verdict, 1234.5)


def test_rejected_key_is_not_ready(health):
    health.key_checked(Rejected("invalid_api_key"))
    assert health.reason() == "The provider rejects the key (invalid_api_key)."
    assert health.key_state == "rejected"


def test_rejected_key_stays_so_whatever_else_goes_well(health):
    health.key_checked(Rejected())
    health.egress_ok()
    health.succeeded()
    assert health.reason() == "The provider rejects the key."


def test_verdict_that_cannot_tell_is_not_ready(health):
    health.key_checked(CannotTell("OpenAI failed (503)"))
    assert health.reason() == "The key could not be checked yet: OpenAI failed (503)."
    assert health.key_state == "cannot_tell"


def test_success_since_says_more_than_a_probe_that_cannot_tell(health):
    health.key_checked(CannotTell("x"))
    health.succeeded()
    assert health.reason() is None
    health.key_checked(CannotTell("y"))
    assert "y" in health.reason()


def test_failed_tunnel_is_not_ready_until_the_next_success(health):
    health.key_checked(Accepted())
    health.egress_failed(EgressUnreachable("10.0.0.1:3128 refused"))
    assert health.reason() == EgressUnreachable.sentence
    assert health.egress_state == "failing"
    health.egress_failed(TlsUntrusted())
    assert health.reason() == TlsUntrusted.sentence
    health.egress_ok()
    assert health.reason() is None
    assert (health.egress_state, health.egress_error) == ("ok", None)


@pytest.mark.parametrize("probing", [True, False])
def test_success_of_a_client_clears_a_failed_tunnel(wall, probing):
    """Without a probe nothing else would, as long as tunnels stay open."""
    health = Health(wall, probing)
    health.key_checked(Accepted())
    health.egress_failed(EgressUnreachable())
    health.succeeded()
    assert health.reason() is None
    assert (health.egress_state, health.egress_error) == ("ok", None)


def test_doubt_changes_nothing_and_ends_with_the_next_check(health):
    health.key_checked(Accepted())
    assert not health.is_doubted
    health.doubt()
    assert health.is_doubted
    assert health.reason() is None
    health.succeeded()
    assert health.is_doubted, "it can have been another request's"
    health.key_checked(Accepted())
    assert not health.is_doubted


def test_failed_tunnel_counts_when_nothing_is_probed(wall):
    health = Health(wall, probing=False)
    assert health.egress_state == "unknown"
    health.egress_failed(EgressDenied())
    assert health.reason() == EgressDenied.sentence


def test_reason_holds_no_detail_of_ours(health):
    health.egress_failed(EgressUnreachable("10.0.0.1:3128"))
    assert "10.0.0.1" not in health.reason()


def test_success_is_dated(health, wall):
    assert health.last_success is None
    wall.now = 77.0
    health.succeeded()
    assert health.last_success == 77.0


def test_draining_is_not_ready_for_good(health):
    health.key_checked(Accepted())
    health.draining()
    health.egress_ok()
    health.succeeded()
    assert health.reason() == "awfproxy is stopping."
