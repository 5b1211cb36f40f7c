"""/metrics: the numbers are those of what has passed, in JSON and in Prometheus's formats alike."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from awfproxy import __version__
from awfproxy.credentials.verdict import Accepted, Rejected
from awfproxy.errors.egress import EgressDenied, EgressUnreachable
from awfproxy.observe.health import Health
from awfproxy.observe.metrics import Metrics
from awfproxy.observe.part import PagePart
from awfproxy.providers.anthropic import PROVIDER as ANTHROPIC
from awfproxy.providers.openai import PROVIDER as OPENAI
from awfproxy.providers.provider import Asked
from awfproxy.providers.rules import parse_rules
from awfproxy.proxy.pages import LocalPages
from awfproxy.wire.message import RequestHead
from tests.memory.peers import answer, get, post, responses

RULES = parse_rules(["deny * /v1/files/**"], "a test's")


def ask(house, target=b"/metrics", *fields, method=b"GET"):
    client = house.client()
    client.deliver(get(target, *fields, method=method))
    ((status, fields, content),) = responses(client.received)
    assert status == 200
    return fields[b"content-type"], content


def as_json(house):
    content_type, content = ask(house)
    assert content_type == b"application/json"
    return json.loads(content)


def samples(text, parse=parse_text):
    """{name: {labels but the provider, in the order of their names: value}}."""
    found = {}
    for family in parse(text.decode("ascii")):
        for sample in family.samples:
            labels = tuple(value for name, value in sorted(sample.labels.items()) if name != "provider")
            assert sample.labels.get("provider", "openai") == "openai"
            assert labels not in found.setdefault(sample.name, {}), sample
            found[sample.name][labels] = sample.value
    return found


def as_text(house):
    return samples(ask(house, b"/metrics?format=prometheus")[1])


@pytest.fixture
def used(build):
    """A house in which one request each was answered, answered 401, refused by a rule, and left."""
    house = build(rules=RULES)
    house.health.key_checked(Accepted(""))
    house.client().deliver(post(3, b"abc"))
    house.origin.deliver(answer(b"0123456789"))
    house.client().deliver(get())
    house.origin.deliver(answer(b"no", status=b"401 Unauthorized"))
    house.client().deliver(get(b"/v1/files/x", method=b"DELETE"))
    leaving = house.client()
    leaving.deliver(get())
    leaving.reset()
    return house


# --- JSON -------------------------------------------------------------------------------------------


def test_counters_have_the_sidecars_names_and_labels(used):
    counters = as_json(used)["counters"]
    assert {name: counters.pop(name) for name in list(counters) if name.startswith("requests_total")} == {
        "requests_total:openai:POST:2xx": 1,
        "requests_total:openai:GET:4xx": 1,
        "requests_total:openai:DELETE:4xx": 1,
        "requests_total:openai:GET:none": 1,
    }
    assert counters == {
        "requests_by_outcome_total:openai:completed": 2,
        "requests_by_outcome_total:openai:refused": 1,
        "requests_by_outcome_total:openai:client_left": 1,
        "requests_errors_total:openai": 0,
        "request_bytes_total:openai": 3,
        "response_bytes_total:openai": 12,
        "rule_refusals_total:openai": 1,
        "leaks_masked_total:openai": 0,
        "connections_refused_total:openai:out_of_descriptors": 0,
        "connections_refused_total:openai:too_many_connections": 0,
        "connections_refused_total:openai:peer_not_allowed": 0,
        "tunnels_opened_total:openai": 1,
        "tunnels_reused_total:openai": 2,
        "tunnels_not_tried_total:openai": 0,
        "reloads_total:ok": 0,
        "reloads_total:refused": 0,
        "log_lines_lost_total": 0,
    }


def test_histograms_have_quantiles_count_sum_and_buckets_that_grow(used):
    duration = as_json(used)["histograms"]["request_duration_ms"]["openai"]
    assert set(duration) == {"p50", "p90", "p99", "count", "sum", "buckets"}
    assert duration["count"] == 4
    assert list(duration["buckets"]) == [
        "10", "50", "100", "250", "500", "1000", "2500", "5000", "10000", "30000", "+Inf"
    ]  # fmt: skip
    assert duration["buckets"]["+Inf"] == 4


def test_phases_are_timed(house):
    client = house.client()
    client.deliver(get())
    house.wait(2)
    house.origin.deliver(answer())
    histograms = as_json(house)["histograms"]
    assert histograms["time_to_head_ms"]["openai"]["sum"] == 2000
    assert histograms["time_to_head_ms"]["openai"]["buckets"]["1000"] == 0
    assert histograms["time_to_head_ms"]["openai"]["buckets"]["2500"] == 1
    assert histograms["tunnel_wait_ms"]["openai"]["buckets"]["10"] == 1
    assert histograms["request_duration_ms"]["openai"]["p50"] == 1750


def test_gauge_of_active_requests_falls_back_to_nought(house):
    client = house.client()
    client.deliver(get())
    assert as_json(house)["gauges"]["active_requests"] == {"openai": 1}
    house.origin.deliver(answer())
    house.wait(3)
    assert as_json(house)["gauges"] == {"active_requests": {"openai": 0}, "uptime_seconds": 3}


def test_failed_tunnels_are_counted_by_cause(build):
    house = build(automatic=False)
    for error in EgressUnreachable(), EgressUnreachable(), EgressDenied():
        if not house.endpoint.pending:
            house.client().deliver(get())
        house.endpoint.pending[0].fail(error)
    assert as_json(house)["counters"]["tunnels_not_tried_total:openai"] == 0
    house.client().deliver(get())
    house.wait(0.25)
    house.client().deliver(get())
    house.endpoint.pending[0].fail(EgressDenied())
    counters = as_json(house)["counters"]
    assert counters["tunnels_failed_total:openai:egress_denied"] == 2
    assert counters["tunnels_failed_total:openai:egress_unreachable"] == 2
    assert counters["tunnels_not_tried_total:openai"] == 1
    assert counters["requests_errors_total:openai"] == 4
    assert as_text(house)["awfproxy_tunnels_not_tried_total"] == {(): 1}
    failed = as_text(house)["awfproxy_tunnels_failed_total"]
    assert failed == {("egress_denied",): 2, ("egress_unreachable",): 2}


def test_the_page_counts_neither_itself_nor_other_pages(house):
    for target in b"/metrics", b"/reflect", b"/health":
        house.client().deliver(get(target))
    assert not [name for name in as_json(house)["counters"] if name.startswith("requests_total")]
    assert house.lines == []


# --- Prometheus --------------------------------------------------------------------------------------


def test_prometheus_gets_the_same_numbers(used):
    found = as_text(used)
    assert found["awfproxy_requests_total"] == {
        ("completed", "2xx"): 1,
        ("completed", "4xx"): 1,
        ("refused", "4xx"): 1,
        ("client_left", "none"): 1,
    }
    assert found["awfproxy_request_bytes_total"] == {(): 3}
    assert found["awfproxy_response_bytes_total"] == {(): 12}
    assert found["awfproxy_rule_refusals_total"] == {(): 1}
    assert found["awfproxy_active_requests"] == {(): 0}
    assert found["awfproxy_tunnels_opened_total"] == {(): 1}
    assert found["awfproxy_tunnels_reused_total"] == {(): 2}
    assert found["awfproxy_reloads_total"] == {("ok",): 0, ("refused",): 0}
    assert found["awfproxy_build_info"] == {(__version__,): 1}
    assert found["awfproxy_phase_seconds_count"] == {
        ("tunnel_wait",): 3, ("time_to_head",): 2, ("total",): 4
    }  # fmt: skip


def test_phases_are_histograms_in_seconds(house):
    house.client().deliver(get())
    house.wait(2)
    house.origin.deliver(answer())
    found = as_text(house)
    buckets = {bound: value for (bound, phase), value in found["awfproxy_phase_seconds_bucket"].items()
               if phase == "time_to_head"}  # fmt: skip
    assert (buckets["1.0"], buckets["2.5"], buckets["+Inf"]) == (0, 1, 1)
    assert found["awfproxy_phase_seconds_sum"]["time_to_head",] == 2


def test_tunnels_and_who_waits_for_one_are_gauges(build):
    house = build(automatic=False)
    house.client().deliver(get())
    assert as_text(house)["awfproxy_tunnels"] == {("idle",): 0, ("busy",): 0, ("opening",): 1}
    assert as_text(house)["awfproxy_waiting_requests"] == {(): 1}
    house.endpoint.pending[0].open()
    assert as_text(house)["awfproxy_tunnels"] == {("idle",): 0, ("busy",): 1, ("opening",): 0}


def test_one_state_of_the_key_is_one(house):
    states = {("unchecked",): 1, ("accepted",): 0, ("rejected",): 0, ("unverified",): 0, ("cannot_tell",): 0}
    assert as_text(house)["awfproxy_key_state"] == states
    house.health.key_checked(Rejected("invalid_api_key"))
    assert as_text(house)["awfproxy_key_state"] == {**states, ("unchecked",): 0, ("rejected",): 1}


def test_egress_is_up_or_down_once_it_is_known(house):
    assert "awfproxy_egress_up" not in as_text(house)
    house.health.egress_ok()
    assert as_text(house)["awfproxy_egress_up"] == {(): 1}
    house.health.egress_failed(EgressUnreachable())
    assert as_text(house)["awfproxy_egress_up"] == {(): 0}


def test_refused_connections_are_counted_by_reason(house):
    for reason in "too_many_connections", "peer_not_allowed", "too_many_connections":
        house.metrics.connection_refused(reason)
    counts = {("out_of_descriptors",): 0, ("too_many_connections",): 2, ("peer_not_allowed",): 1}
    assert as_text(house)["awfproxy_connections_refused_total"] == counts
    assert as_json(house)["counters"]["connections_refused_total:openai:too_many_connections"] == 2


def test_lost_lines_of_the_log_are_those_that_the_log_has_lost(house):
    assert as_text(house)["awfproxy_log_lines_lost_total"] == {(): 0}
    house.lines_lost = 7
    assert as_text(house)["awfproxy_log_lines_lost_total"] == {(): 7}
    assert as_json(house)["counters"]["log_lines_lost_total"] == 7


def test_reloads_are_counted_as_taken_or_refused(house):
    house.process.reloads_ok += 2
    house.process.reloads_refused += 1
    assert as_text(house)["awfproxy_reloads_total"] == {("ok",): 2, ("refused",): 1}
    assert as_json(house)["counters"]["reloads_total:refused"] == 1


@pytest.mark.parametrize(
    ("fields", "content_type", "parse"),
    [
        ((b"Accept: text/plain;version=0.0.4",), b"text/plain; version=0.0.4; charset=utf-8", parse_text),
        (
            (b"Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",),
            b"application/openmetrics-text; version=1.0.0; charset=utf-8",
            parse_openmetrics,
        ),
    ],
)
def test_accept_chooses_the_format(used, fields, content_type, parse):
    given, content = ask(used, b"/metrics", *fields)
    assert given == content_type
    assert samples(content, parse)["awfproxy_requests_total"]["completed", "2xx"] == 1


def test_head_is_answered_like_get_without_the_content(used):
    client = used.client()
    client.deliver(get(b"/metrics?format=prometheus", method=b"HEAD"))
    head = client.received
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4")
    assert head.endswith(b"\r\n\r\n")
    assert b"Content-Length: 0" not in head
    assert b"Cache-Control: no-store" in head


def test_nothing_of_a_peers_is_in_it(build):
    house = build()
    house.client().deliver(get(b"/v1/zzpath?zzquery", b"Zzfield: zzvalue", b"X-Request-Id: zzid"))
    house.origin.deliver(answer(b"zzcontent", b"x-request-id: zzid", b"zzname: zzvalue", status=b"299 Zz"))
    house.client().deliver(get(b"/zz", method=b"ZZMETHOD"))
    house.client().deliver(get(b"/zz", method=b"PROPFIND"))
    house.origin.deliver(answer())
    house.client().deliver(b"zz\r\n\r\n")
    for target in b"/metrics?zz", b"/metrics?format=prometheus&zz":
        content = ask(house, target, b"Accept: zz/zz")[1].lower()
        assert b"zz" not in content
        assert b"propfind" not in content


# --- several providers ------------------------------------------------------------------------------


@pytest.fixture
def two(house):
    """The pages of a process that serves OpenAI and Anthropic."""
    parts = tuple(
        PagePart(provider, provider.access(Asked()), Health(lambda: 0.0, True), Metrics(), house.pool)
        for provider in (OPENAI, ANTHROPIC)
    )
    parts[1].metrics.begun()
    return LocalPages("", "direct", parts, house.forwarding.credentials, house.process, house.models,
                      lambda name: None)  # fmt: skip


def test_the_page_is_on_the_first_providers_port_alone_and_is_about_all(two):
    assert b"/metrics" not in two.by_path(ANTHROPIC)
    page = two.by_path(OPENAI)[b"/metrics"]
    content = json.loads(page(RequestHead(b"GET", b"/metrics", b"1.1", ())).content)
    assert content["gauges"]["active_requests"] == {"openai": 0, "anthropic": 1}
    assert "request_bytes_total:anthropic" in content["counters"]
    text = page(RequestHead(b"GET", b"/metrics?format=prometheus", b"1.1", ())).content.decode("ascii")
    labelled = [
        sample.labels["provider"]
        for family in parse_text(text)
        for sample in family.samples
        if sample.name == "awfproxy_active_requests"
    ]
    assert labelled == ["openai", "anthropic"]


# --- the documentation ------------------------------------------------------------------------------

DOCUMENTATION = Path(__file__).resolve().parents[2] / "docs" / "observing.md"


@pytest.fixture
def everything(used):
    """A house in which each metric has a sample."""
    used.health.egress_ok()
    used.metrics.callers["job-1"] = used.metrics.caller_refusals["caller_token_expired"] = 1
    waiting = used.client()
    waiting.deliver(get())
    used.endpoint.automatic = False
    used.client().deliver(get())
    used.endpoint.pending[0].fail(EgressDenied())
    return used


def row(family):
    name = {"counter": f"{family.name}_total", "info": f"{family.name}_info"}.get(family.type, family.name)
    labels = dict.fromkeys(label for sample in family.samples for label in sample.labels if label != "le")
    shown = ", ".join(f"`{label}`" for label in sorted(labels))
    return f"| `{name}` | {family.type} | {shown} | {family.documentation} |"


def test_each_metric_has_its_row_and_no_row_is_about_one_that_is_gone(everything):
    _, content = ask(everything, b"/metrics", b"Accept: application/openmetrics-text")
    rows = [row(family) for family in parse_openmetrics(content.decode("ascii"))]
    given = re.findall(r"^\| `awfproxy_.*$", DOCUMENTATION.read_text(), re.MULTILINE)
    assert given == rows


def test_each_name_in_the_json_is_explained_and_none_that_is_gone(everything):
    content = as_json(everything)
    names = {name.partition(":")[0] for name in content["counters"]}
    names |= {*content["histograms"], *content["gauges"]}
    table = DOCUMENTATION.read_text().partition("| in JSON |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z_]+)", table)) == names
