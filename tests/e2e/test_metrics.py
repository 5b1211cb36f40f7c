"""The pages of a running daemon: what they count is what was sent, and what they name is where it is."""

import json
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.conftest import options
from tests.kit.certificates import Authority
from tests.kit.client import Client
from tests.kit.daemon import Daemon
from tests.kit.origin import Origin
from tests.kit.ports import free_port
from tests.kit.reader import poll
from tests.kit.squid import Squid

ACCEPT = b"application/openmetrics-text;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


@attrs.frozen
class Scraped:
    """Samples by name and all labels but the provider, in the order of their names."""

    samples: dict[tuple[str, ...], float]

    def __getitem__(self, key: tuple[str, ...]) -> float:
        return self.samples[key]

    def of(self, name: str) -> dict[tuple[str, ...], float]:
        return {labels[1:]: value for labels, value in self.samples.items() if labels[0] == name}


def scrape(daemon: Daemon) -> Scraped:
    answer = daemon.ask("GET", "/metrics", fields=[(b"Accept", ACCEPT)])
    assert answer.value(b"content-type") == b"text/plain; version=0.0.4; charset=utf-8"
    samples: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(answer.body.decode("ascii")):
        for sample in family.samples:
            labels = [value for name, value in sorted(sample.labels.items()) if name != "provider"]
            samples[sample.name, *labels] = sample.value
    return Scraped(samples)


def as_json(daemon: Daemon) -> Any:
    return daemon.ask("GET", "/metrics").json()


def test_the_numbers_are_those_of_what_was_sent(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str, tmp_path: Path
) -> None:
    file = tmp_path / "awfproxy.toml"
    file.write_text('[providers.openai]\nrules = ["deny * /v1/files/**"]\n')
    asked = json.dumps({"model": "gpt-5.2", "input": "hello"}).encode("ascii")
    with Daemon(
        *options(authority, own_origin, squid), "--config", str(file), env={"OPENAI_API_KEY": canary}
    ) as daemon:
        daemon.ready("/readyz")
        answered = [daemon.ask("POST", "/v1/responses", body=asked) for _ in range(3)]
        assert {answer.status for answer in answered} == {200}
        assert daemon.ask("DELETE", "/v1/files/file-1").status == 403
        with Client(daemon.port) as client:
            client.send_head("GET", "/v1/kit/stall")
            own_origin.wait_for(b"/v1/kit/stall")
            assert as_json(daemon)["gauges"]["active_requests"] == {"openai": 1}
            client.reset()
        poll(lambda: as_json(daemon)["gauges"]["active_requests"] == {"openai": 0})
        own_origin.key = b"another"
        denied = daemon.ask("GET", "/v1/models")
        assert denied.status == 401
        assert denied.error_code == ""

        content, found = as_json(daemon), scrape(daemon)
        counters = content["counters"]
        assert {name: count for name, count in counters.items() if name.startswith("requests_")} == {
            "requests_total:openai:POST:2xx": 3,
            "requests_total:openai:DELETE:4xx": 1,
            "requests_total:openai:GET:none": 1,
            "requests_total:openai:GET:4xx": 1,
            "requests_by_outcome_total:openai:completed": 4,
            "requests_by_outcome_total:openai:refused": 1,
            "requests_by_outcome_total:openai:client_left": 1,
            "requests_errors_total:openai": 0,
        }
        assert found.of("awfproxy_requests_total") == {
            ("completed", "2xx"): 3,
            ("completed", "4xx"): 1,
            ("refused", "4xx"): 1,
            ("client_left", "none"): 1,
        }
        sent, received = 3 * len(asked), sum(len(answer.body) for answer in (*answered, denied))
        assert counters["request_bytes_total:openai"] == found["awfproxy_request_bytes_total",] == sent
        assert counters["response_bytes_total:openai"] == found["awfproxy_response_bytes_total",] == received
        assert counters["rule_refusals_total:openai"] == found["awfproxy_rule_refusals_total",] == 1
        assert content["histograms"]["request_duration_ms"]["openai"]["count"] == 6
        assert found["awfproxy_phase_seconds_count", "total"] == 6
        assert found["awfproxy_phase_seconds_count", "tunnel_wait"] == 5
        assert found["awfproxy_phase_seconds_count", "time_to_head"] == 4
        assert counters["tunnels_reused_total:openai"] == found["awfproxy_tunnels_reused_total",] >= 2
        assert found["awfproxy_tunnels_opened_total",] >= 1
        assert found["awfproxy_egress_up",] == 1
        # The 401 asks for a check, and the check's verdict is the key's state.
        poll(lambda: scrape(daemon)["awfproxy_key_state", "rejected"] == 1)
        assert scrape(daemon)["awfproxy_key_state", "accepted"] == 0


def test_connections_beyond_the_limit_are_counted_and_said_once(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    name = "connections_refused_total:openai:too_many_connections"
    with (
        Daemon(
            *options(authority, own_origin, squid), "--max-connections", "1", env={"OPENAI_API_KEY": canary}
        ) as daemon,
        ExitStack() as stack,
    ):
        daemon.ready("/readyz")
        first = poll(lambda: admitted(daemon))
        stack.callback(first.close)
        before = first.request("GET", "/metrics").json()["counters"][name]
        crowd = [stack.enter_context(Client(daemon.port)) for _ in range(70)]
        assert crowd[0].request("GET", "/healthz").error_code == "too_many_connections"
        assert poll(lambda: crowd[-1].closed()), "nobody reads what it would ask"
        after = first.request("GET", "/metrics").json()["counters"][name]
        assert after - before == 70
        assert daemon.output().count("clients are connected") == 1


def admitted(daemon: Daemon) -> Client | None:
    """A client within the limit; one who has just left may still count."""
    client = Client(daemon.port)
    if client.request("GET", "/healthz").status == 200:
        return client
    client.close()
    return None


def test_tunnel_that_cannot_be_opened_is_counted_by_its_cause(
    authority: Authority, squid: Squid, canary: str
) -> None:
    with Daemon(
        "--egress-proxy", squid.url, "--ca-file", str(authority.file), "--target", "elsewhere.example:443",
        "--probe", "off", "--pool-warm", "0", env={"OPENAI_API_KEY": canary},
    ) as daemon:  # fmt: skip
        daemon.ready()
        assert daemon.ask("GET", "/v1/models").error_code == "egress_denied"
        found = scrape(daemon)
        failed = found["awfproxy_tunnels_failed_total", "egress_denied"]
        assert as_json(daemon)["counters"]["tunnels_failed_total:openai:egress_denied"] == failed >= 1
        assert found.of("awfproxy_requests_total") == {("upstream_failed", "4xx"): 1}
        assert found["awfproxy_egress_up",] == 0


def test_reloads_are_counted_as_taken_or_refused(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str, tmp_path: Path
) -> None:
    file = tmp_path / "awfproxy.toml"
    file.write_text('[providers.openai]\nrules = ["deny * /v1/files/**"]\n')
    with Daemon(
        *options(authority, own_origin, squid), "--config", str(file), env={"OPENAI_API_KEY": canary}
    ) as daemon:
        daemon.ready("/readyz")
        daemon.running.send_signal(signal.SIGHUP)
        poll(lambda: as_json(daemon)["counters"]["reloads_total:ok"] == 1)
        file.write_text('[providers.openai]\nrules = ["deny nothing"]\n')
        daemon.running.send_signal(signal.SIGHUP)
        poll(lambda: as_json(daemon)["counters"]["reloads_total:refused"] == 1)
        assert scrape(daemon).of("awfproxy_reloads_total") == {("ok",): 1, ("refused",): 1}


def test_reflect_names_the_ports_that_are_open_and_is_the_same_on_each(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    other = free_port()
    with Daemon(
        *options(authority, own_origin, squid), "--probe", "off", "--anthropic-port", str(other),
        env={"OPENAI_API_KEY": canary, "ANTHROPIC_API_KEY": f"sk-ant-{canary[8:]}"},
    ) as daemon:  # fmt: skip
        daemon.ready()
        content = daemon.ask("GET", "/reflect").json()
        with Client(other) as client:
            assert client.request("GET", "/reflect?from=there").json() == content
        endpoints = {endpoint["provider"]: endpoint for endpoint in content["endpoints"]}
        assert endpoints["openai"]["base_url"] == f"http://127.0.0.1:{daemon.port}"
        assert endpoints["anthropic"]["base_url"] == f"http://127.0.0.1:{other}"
        assert [name for name, one in endpoints.items() if one["configured"]] == ["openai", "anthropic"]
        path = endpoints["openai"]["models_url"].removeprefix(endpoints["openai"]["base_url"])
        assert daemon.ask("GET", path).status == 200
