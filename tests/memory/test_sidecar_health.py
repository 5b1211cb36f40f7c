"""The sidecar's /health: 200 whatever the state, its keys and types, and the truth beside them."""

import json

import attrs
import pytest

from awfproxy.credentials.secret import Secret
from awfproxy.credentials.store import CredentialStore, InForce
from awfproxy.credentials.verdict import Accepted, CannotTell, Rejected, Unverified
from awfproxy.errors.egress import EgressUnreachable
from awfproxy.observe.accesslog import AccessRecord
from awfproxy.observe.health import Health
from awfproxy.observe.metrics import Metrics, ProcessMetrics
from awfproxy.observe.models import ModelLists
from awfproxy.observe.part import PagePart
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.providers.google import KEYS_NOT_TAKEN
from awfproxy.providers.provider import Asked
from awfproxy.proxy.pages import LocalPages
from awfproxy.proxy.sidecar_health import SidecarHealth
from awfproxy.wire.message import RequestHead

BY_NAME = {provider.name: provider for provider in BUILT_IN}


class Pages:
    """All five providers, those named configured."""

    def __init__(self, *configured, egress="http://172.30.0.10:3128", probing=True, not_honoured=()):
        self.models = ModelLists()
        self.complete = False
        self.parts = {
            provider.name: PagePart(
                provider, provider.access(Asked()), Health(lambda: 0.0, probing), Metrics(), None
            )
            for provider in BUILT_IN
        }
        health = SidecarHealth(
            egress, configured.__contains__, self.models, lambda: self.complete, not_honoured
        )
        self.pages = LocalPages(
            prefix="",
            egress="",
            parts=tuple(self.parts.values()),
            credentials=CredentialStore({name: InForce((Secret(b"k"),)) for name in configured}),
            process=ProcessMetrics(lambda: 0.0, lambda: 0),
            models=self.models,
            place=lambda name: None,
            health=health.page,
        )

    def text(self, name="openai"):
        answer = self.pages.by_path(BY_NAME[name])[b"/health"](RequestHead(b"GET", b"/health", b"1.1", ()))
        return answer.status, answer.content.decode("ascii")

    def get(self, name="openai"):
        status, text = self.text(name)
        return status, json.loads(text)

    def health(self, name):
        return self.parts[name].health


def test_management_page_is_200_and_compact_with_no_key_at_all():
    status, text = Pages().text()
    assert status == 200
    for part in '"status":"healthy"', '"service":"awf-api-proxy"', '"openai":false', '"rate_limits":{}':
        assert part in text
    assert text == json.dumps(json.loads(text), separators=(",", ":"))


def test_management_page_has_the_sidecars_keys_and_types():
    pages = Pages("openai", "anthropic")
    _, content = pages.get()
    assert list(content)[:8] == [
        "status", "service", "squid_proxy", "providers", "key_validation", "models_fetch_complete",
        "metrics_summary", "rate_limits",
    ]  # fmt: skip
    assert content["squid_proxy"] == "http://172.30.0.10:3128"
    assert content["providers"] == {
        "openai": True, "anthropic": True, "copilot": False, "gemini": False, "vertex": False
    }  # fmt: skip
    assert content["key_validation"]["complete"] is False
    assert set(content["key_validation"]["results"]) == {"openai", "anthropic"}
    assert set(content["key_validation"]["results"]["openai"]) == {"status", "message"}
    assert content["models_fetch_complete"] is False
    assert {type(value) for value in content["metrics_summary"].values()} <= {int, float}
    assert list(content["metrics_summary"]) == [
        "total_requests", "total_errors", "active_requests", "avg_latency_ms"
    ]  # fmt: skip
    pages.complete = pages.models.complete = True
    _, content = pages.get()
    assert (content["key_validation"]["complete"], content["models_fetch_complete"]) == (True, True)


def test_no_further_key_has_a_providers_name_with_a_truth_value():
    pages = Pages("openai", "gemini")
    pages.health("openai").key_checked(Rejected("invalid_api_key"))
    _, text = pages.text()
    assert text.count('"openai":true') == 1
    assert '"openai":false' not in text
    assert text.count('"anthropic":false') == 1


VERTEX = "vertex"


@pytest.mark.parametrize(
    ("verdict", "word"),
    [
        (None, "pending"),
        (Accepted(), "valid"),
        (Accepted("restricted"), "valid"),
        (Unverified(400), "valid"),
        (Rejected("invalid_api_key"), "auth_rejected"),
        (Unverified(403), "auth_rejected"),
        (Unverified(404), "inconclusive"),
        (CannotTell("OpenAI failed (500)", 500), "inconclusive"),
        (CannotTell("OpenAI limits the rate (429)", 429), "inconclusive"),
        (CannotTell("OpenAI did not answer within 10 s"), "network_error"),
    ],
)
def test_results_are_in_the_sidecars_words(verdict, word):
    pages = Pages("openai")
    if verdict is not None:
        pages.health("openai").key_checked(verdict)
    assert pages.get()[1]["key_validation"]["results"]["openai"]["status"] == word


def test_way_that_fails_is_network_error_and_never_the_keys_fault():
    pages = Pages("openai")
    pages.health("openai").egress_failed(EgressUnreachable())
    found = pages.get()[1]["key_validation"]["results"]["openai"]
    assert found == {"status": "network_error", "message": EgressUnreachable.sentence}


def test_answer_that_no_api_key_could_better_is_inconclusive():
    pages = Pages(VERTEX)
    pages.health(VERTEX).key_checked(Unverified(401, KEYS_NOT_TAKEN))
    assert pages.get()[1]["key_validation"]["results"][VERTEX]["status"] == "inconclusive"


def test_key_that_is_not_checked_is_skipped():
    _, content = Pages("openai", probing=False).get()
    assert content["key_validation"]["results"]["openai"]["status"] == "skipped"


def test_truth_of_readiness_is_beside_the_200():
    pages = Pages("openai", "gemini")
    pages.health("openai").key_checked(Rejected("invalid_api_key"))
    pages.health("gemini").key_checked(Accepted())
    status, content = pages.get()
    assert (status, content["status"], content["ready"]) == (200, "healthy", False)
    assert content["reason"] == "openai: The provider rejects the key (invalid_api_key)."
    pages.health("openai").key_checked(Accepted())
    _, content = pages.get()
    assert content["ready"] is True
    assert "reason" not in content


def test_no_key_at_all_is_not_ready():
    _, content = Pages().get()
    assert (content["ready"], content["reason"]) == (False, "No provider has a key.")


def test_direct_egress_is_said_loudly():
    _, content = Pages("openai", egress=None).get()
    assert content["squid_proxy"] == "not configured"
    assert content["egress"]["direct"] is True
    assert "DIRECT EGRESS" in content["egress"]["note"]


def test_variables_that_are_not_honoured_are_named():
    assert Pages(not_honoured=("AWF_MAX_RUNS",)).get()[1]["not_honoured"] == ["AWF_MAX_RUNS"]


def test_summary_is_over_all_providers():
    pages = Pages("openai", "gemini")
    for name, milliseconds in ("openai", 100.0), ("gemini", 300.0):
        pages.parts[name].metrics.begun()
        record = AccessRecord(b"i", "c", b"GET", b"/", 0.0, status=200)
        pages.parts[name].metrics.ended(record, "completed", name == "gemini", milliseconds)
    pages.parts["openai"].metrics.begun()
    assert pages.get()[1]["metrics_summary"] == {
        "total_requests": 3, "total_errors": 1, "active_requests": 1, "avg_latency_ms": 200.0
    }  # fmt: skip


@pytest.mark.parametrize("name", ["anthropic", "copilot", "gemini", "vertex"])
def test_other_ports_say_healthy_under_their_own_name(name):
    status, content = Pages(name).get(name)
    assert status == 200
    assert (content["status"], content["service"]) == ("healthy", f"awf-api-proxy-{name}")


@pytest.mark.parametrize("name", ["anthropic", "copilot", "gemini", "vertex"])
def test_other_ports_without_a_key_are_503_not_configured(name):
    status, content = Pages("openai").get(name)
    assert status == 503
    assert (content["status"], content["service"]) == ("not_configured", f"awf-api-proxy-{name}")
    assert BY_NAME[name].variable in content["error"]


def test_port_without_a_key_is_never_ready():
    pages = Pages("openai", probing=False)
    for name, status in ("openai", 200), ("gemini", 503):
        page = pages.pages.by_path(BY_NAME[name])[b"/readyz"]
        assert page(RequestHead(b"GET", b"/readyz", b"1.1", ())).status == status


def test_usual_health_page_is_as_it_was_where_the_profile_has_none():
    pages = Pages("openai")
    usual = attrs.evolve(pages.pages, health=None)
    pool = type("Pool", (), {"stats": lambda self: _Stats()})()
    parts = tuple(attrs.evolve(part, pool=pool) for part in usual.parts)
    page = attrs.evolve(usual, parts=parts).by_path(BY_NAME["openai"])[b"/health"]
    answer = page(RequestHead(b"GET", b"/health", b"1.1", ()))
    assert answer.status == 503
    assert json.loads(answer.content)["providers"]["anthropic"] is False


@attrs.frozen
class _Stats:
    idle: int = 0
