"""What follows from the first checks of all keys."""

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from awfproxy.credentials.verdict import Accepted, CannotTell, Rejected, Unverified
from awfproxy.errors.egress import EgressDenied
from awfproxy.observe.health import Health
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.service.firstchecks import Checked, FirstChecks

OPENAI, ANTHROPIC = BUILT_IN[:2]


class Round:
    """Two keys being checked."""

    def __init__(self, strict):
        self.exits, self.events, self.errors = [], [], []
        self.each = [
            Checked(provider, Health(lambda: 0.0, True), Deferred()) for provider in (OPENAI, ANTHROPIC)
        ]
        self.checks = FirstChecks(self.each, strict, lambda *how: self.exits.append(how))
        globalLogPublisher.addObserver(self.events.append)
        self.running = Deferred.fromCoroutine(self.checks.run())

    def over(self, *verdicts):
        for each, verdict in zip(self.each, verdicts, strict=True):
            if isinstance(verdict, EgressDenied):
                each.health.egress_failed(verdict)
            else:
                each.health.key_checked(verdict)
            each.first_checked.callback(None)
        globalLogPublisher.removeObserver(self.events.append)
        return self

    def named(self, event):
        return [each["provider"] for each in self.events if each.get("event") == event]


def test_they_are_complete_when_the_last_is_over():
    checks = Round(strict=False)
    checks.each[1].first_checked.callback(None)
    assert not checks.checks.complete
    checks.each[0].first_checked.callback(None)
    assert checks.checks.complete
    globalLogPublisher.removeObserver(checks.events.append)


def test_with_no_key_to_check_they_are_complete_at_once():
    checks = FirstChecks((), True, lambda *how: pytest.fail("ended"))
    Deferred.fromCoroutine(checks.run())
    assert checks.complete


@pytest.mark.parametrize("verdict", [Rejected("invalid_api_key"), Unverified(403)])
def test_rejected_key_is_named_in_the_log_and_ends_nothing(verdict):
    checks = Round(strict=False).over(Accepted(), verdict)
    assert checks.named("key_validation_failed") == ["anthropic"]
    assert checks.exits == []


@pytest.mark.parametrize("verdict", [Rejected("invalid_api_key"), Unverified(403)])
def test_strict_ends_with_1_for_a_rejected_key_and_names_it(verdict):
    checks = Round(strict=True).over(verdict, Accepted())
    ((code, sentence),) = checks.exits
    assert code == 1
    assert "openai" in sentence
    (event,) = [each for each in checks.events if each.get("event") == "key_validation_strict_exit"]
    assert event["providers"] == "openai"


@pytest.mark.parametrize(
    "other",
    [Accepted(), Unverified(404), CannotTell("no answer"), CannotTell("failed (500)", 500), EgressDenied()],
)
def test_strict_goes_on_for_whatever_is_no_rejection(other):
    checks = Round(strict=True).over(Accepted(), other)
    assert checks.exits == []
    assert checks.named("key_validation_failed") == []
