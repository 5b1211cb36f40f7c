"""`awfproxy check`: from what the validator found to the exit code and the sentence."""

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from awfproxy.callers.endpoint import parse_endpoint
from awfproxy.cli import check
from awfproxy.credentials.secret import Secret
from awfproxy.credentials.verdict import Accepted, CannotTell, Rejected, Unverified
from awfproxy.errors.egress import EgressDenied, EgressUnreachable
from awfproxy.errors.tls import TlsUntrusted
from awfproxy.providers.openai import PROVIDER as OPENAI
from awfproxy.providers.provider import Asked
from awfproxy.service.probe import Attempt, KeyProbe
from awfproxy.settings.provider import ProviderSettings
from awfproxy.settings.syntax import Egress
from awfproxy.settings.values import Probe, Settings

TCP = (parse_endpoint("tcp:0"),)


@pytest.mark.parametrize(
    ("attempt", "probe", "code", "said"),
    [
        (Accepted(), Probe.TRY, 0, "OpenAI accepts the key. The daemon would be ready."),
        (
            Accepted("OpenAI knows the key but restricts it"),
            Probe.TRY,
            0,
            "restricts it. The daemon would be ready.",
        ),
        (Unverified(404), Probe.REQUIRE, 0, "used unverified. The daemon would be ready."),
        (Rejected("invalid_api_key"), Probe.TRY, 77, "invalid_api_key"),
        (EgressDenied(), Probe.TRY, 78, "api.openai.com"),
        (TlsUntrusted(), Probe.TRY, 76, "not trusted"),
        (EgressUnreachable(), Probe.TRY, 69, "but not be ready. OpenAI: The egress proxy cannot be reached."),
        (EgressUnreachable(), Probe.REQUIRE, 69, "The egress proxy cannot be reached."),
        (
            CannotTell("no answer"),
            Probe.TRY,
            69,
            "but not be ready. The key could not be checked: no answer.",
        ),
    ],
)
def test_the_validators_decision_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, canary: str, attempt: Attempt, probe: Probe, code: int, said: str
) -> None:
    async def always(self: object, limit: float) -> Attempt:
        return attempt

    monkeypatch.setattr(KeyProbe, "attempt", always)
    one = ProviderSettings(OPENAI, OPENAI.access(Asked()), TCP, (Secret(canary.encode()),))
    settings = Settings((one,), Egress("127.0.0.1", 3128), probe=probe)
    clock = Clock()
    finding = Deferred.fromCoroutine(check._find(clock, settings))
    found: list[check._Finding] = []
    finding.addCallback(found.append)
    while not found:
        assert clock.seconds() < 100
        clock.advance(0.5)
    assert found[0].code == code
    assert said in found[0].sentence


def test_key_that_is_not_checked_is_no_hindrance_and_one_that_is_not_there_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, canary: str
) -> None:
    async def never(self: object, limit: float) -> Attempt:
        raise AssertionError("asked")

    monkeypatch.setattr(KeyProbe, "attempt", never)
    access = attrs.evolve(OPENAI.access(Asked()), probed=False)
    skipped = ProviderSettings(OPENAI, access, TCP, (Secret(canary.encode()),))
    empty = ProviderSettings(OPENAI, OPENAI.access(Asked()), TCP, (None,))
    settings = Settings((skipped, empty), Egress("127.0.0.1", 3128), probe=Probe.TRY)
    found: list[check._Finding] = []
    Deferred.fromCoroutine(check._find(Clock(), settings)).addCallback(found.append)
    assert found[0].code == 0
    assert "not checked" in found[0].sentence


@pytest.mark.parametrize(
    ("probe", "here"),
    [
        (Probe.AFTER, Probe.TRY),
        (Probe.STRICT, Probe.TRY),
        (Probe.REQUIRE, Probe.REQUIRE),
        (Probe.OFF, Probe.OFF),
    ],
)
def test_what_the_daemon_asks_afterwards_is_asked_now(probe: Probe, here: Probe) -> None:
    assert check._before_opening(probe) is here
