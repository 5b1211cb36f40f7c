"""`--profile gh-aw`: a daemon with the sidecar's environment, as its container would start it."""

import json
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest
from websockets.exceptions import InvalidStatus

from awfproxy.providers.builtin import BUILT_IN
from tests.e2e.conftest import NAME
from tests.kit.certificates import Authority
from tests.kit.client import Client, Response, ask
from tests.kit.daemon import RUNNERS, Daemon, never_listens_until_end
from tests.kit.origin import Exchange, Origin
from tests.kit.ports import free_port
from tests.kit.reader import Closed, poll
from tests.kit.squid import Squid
from tests.kit.tools import need
from tests.kit.websocket import connect

PLACEHOLDER = (b"Authorization", b"Bearer sk-placeholder-for-api-proxy")
NAMES = [provider.name for provider in BUILT_IN]


@attrs.frozen
class Sidecar:
    """The daemon with its five ports, of which four are whichever the kernel gave."""

    daemon: Daemon

    @property
    def ports(self) -> Mapping[str, int]:
        self.daemon.wait_for_output('"event":"startup_complete"')
        opened = [line for line in self.events() if line["event"] == "server_start"]
        return {str(line["provider"]): int(str(line["address"]).rpartition(":")[2]) for line in opened}

    def ask(self, name: str, method: str, target: str, *fields: tuple[bytes, bytes]) -> Response:
        return ask(self.ports[name], method, target, fields=fields)

    def health(self, name: str = "openai") -> tuple[int, dict[str, object]]:
        answer = self.ask(name, "GET", "/health")
        content = answer.json()
        assert isinstance(content, dict)
        return answer.status, content

    def result(self, name: str) -> str:
        content = self.health()[1]["key_validation"]
        assert isinstance(content, dict)
        return str(content["results"][name]["status"])

    def checked(self) -> "Sidecar":
        """Once all keys have had their first check and all lists of models have been asked for."""

        def complete() -> bool:
            content: dict[str, dict[str, bool]] = self.health()[1]  # type: ignore[assignment]
            return bool(content["key_validation"]["complete"] and content["models_fetch_complete"])

        poll(complete, 20, 0.02)
        return self

    def events(self) -> list[dict[str, object]]:
        """Every line on standard output; each has to be an object of the sidecar's form."""
        written = self.daemon.stdout.read_text().rpartition("\n")[0]
        lines = [json.loads(line) for line in written.splitlines()]
        for line in lines:
            assert list(line)[:3] == ["timestamp", "level", "event"]
        return lines


def sidecar(env: Mapping[str, str], *options: str, runner: str = "twistd") -> Sidecar:
    places = {f"AWFPROXY_{name.upper()}_PORT": "0" for name in NAMES[1:]}
    return Sidecar(Daemon("--profile", "gh-aw", *options, env={**places, **env}, runner=runner))


def way(authority: Authority, origin: Origin, squid: Squid) -> tuple[dict[str, str], tuple[str, ...]]:
    """The variables that the sidecar has, and where the origin is played."""
    env = {"HTTPS_PROXY": squid.url, "NODE_EXTRA_CA_CERTS": str(authority.file)}
    return env, ("--target", f"{NAME}:{origin.port}")


# --- no key at all ----------------------------------------------------------------------------------


def test_with_no_key_at_all_five_ports_answer_and_health_is_200() -> None:
    made = sidecar({"OPENAI_API_KEY": "", "COPILOT_PROVIDER_API_KEY": "ghu_" + "a" * 36, "AWF_MAX_RUNS": "5"})
    with made.daemon as daemon:
        daemon.ready()
        answer = made.ask("openai", "GET", "/health")
        assert answer.status == 200
        for part in b'"status":"healthy"', b'"service":"awf-api-proxy"', b'"openai":false':
            assert part in answer.body
        assert b"DIRECT EGRESS" in answer.body
        statuses = {name: made.ask(name, "POST", "/v1/x", PLACEHOLDER).status for name in NAMES}
        assert statuses == {"openai": 404, "anthropic": 403, "copilot": 403, "gemini": 503, "vertex": 503}
        for name in NAMES[1:]:
            status, content = made.health(name)
            assert (status, content["status"]) == (503, "not_configured")
        warnings = [line for line in made.events() if line["event"] == "configuration_warning"]
        assert [str(warning["message"])[:6] for warning in warnings] == ["DIRECT", "NOT HO", "ANONYM"]
        assert daemon.terminate() == 0


@pytest.mark.parametrize("name", NAMES)
def test_websocket_at_a_port_without_a_key_is_503_and_closed(name: str) -> None:
    made = sidecar({})
    with made.daemon as daemon:
        daemon.ready()
        with Client(made.ports[name]) as client:
            client.send_head(
                "GET", "/v1/responses",
                [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"), (b"Sec-WebSocket-Version", b"13"),
                 (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==")],
            )  # fmt: skip
            answer = client.answer()
            assert (answer.status, answer.body) == (503, b"")
            with pytest.raises(Closed):
                client.reader.more()


@pytest.mark.parametrize("how", ["SIGHUP", "watched file"])
def test_first_key_by_a_reload_opens_websocket_too(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str, tmp_path: Path, how: str
) -> None:
    file = tmp_path / "key"
    file.touch(0o600)
    env, options = way(authority, own_origin, squid)
    made = sidecar(env, *options, "--key-file", str(file))
    with made.daemon as daemon:
        daemon.ready()
        with pytest.raises(InvalidStatus) as refused:
            connect(daemon.port)
        assert (refused.value.response.status_code, refused.value.response.body) == (503, b"")
        file.write_text(canary)
        if how == "SIGHUP":
            daemon.running.send_signal(signal.SIGHUP)
        daemon.wait_for_output('"event":"reload_complete"')
        assert made.ask("openai", "GET", "/v1/kit/length").status == 200
        with connect(daemon.port) as socket_:
            socket_.send("hello")
            assert socket_.recv(timeout=20) == "hello"
        assert "reload_needs_restart" not in daemon.output()


@pytest.mark.parametrize("host", [b"api-proxy:10000", b"172.30.0.30:10000", b"host.docker.internal:10000"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_old_clients_and_any_host_are_answered(host: bytes, version: bytes) -> None:
    """As BusyBox's wget asks."""
    made = sidecar({})
    with made.daemon as daemon:
        daemon.ready()
        for page in "/health", "/reflect":
            with Client(made.ports["openai"]) as client:
                client.send_head("GET", page, [(b"Host", host), (b"Connection", b"close")], version)
                answer = client.answer()
                assert (answer.status, b"providers" in answer.body) == (200, True)


# --- one key ----------------------------------------------------------------------------------------


def test_one_key_works_through_squid_with_the_agents_environment(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str, tmp_path: Path
) -> None:
    env, options = way(authority, own_origin, squid)
    made = sidecar(
        {**env, "OPENAI_API_KEY": f"  Bearer {canary}\n", "AWF_API_PROXY_LOG_DIR": str(tmp_path),
         "AWF_REQUESTED_MODEL": "no-such-model"},
        *options,
    )  # fmt: skip
    with made.daemon as daemon:
        daemon.ready()
        made.checked()
        status, content = made.health()
        assert (status, content["ready"]) == (200, True)
        assert content["squid_proxy"] == squid.url
        assert made.result("openai") == "valid"
        for target in "/responses?a=1", "/v1/responses?a=2":
            answer = ask(
                made.ports["openai"], "POST", target,
                fields=[PLACEHOLDER, (b"X-Request-ID", b"trace-1")], body=b'{"model":"m","input":"hi"}',
            )  # fmt: skip
            assert answer.status == 200
            assert answer.values(b"x-request-id") == [b"trace-1"]
        first, second = own_origin.find(b"/v1/responses")
        for seen in first, second:
            assert seen.target.startswith(b"/v1/responses?a=")
            assert seen.values(b"authorization") == [b"Bearer THE-KEY"]
            assert seen.values(b"x-request-id") == [b"trace-1"]
        file = json.loads((tmp_path / "models.json").read_text())
        assert file["providers"]["openai"]["configured"] is True
        reflected = made.ask("gemini", "GET", "/reflect").json()
        assert reflected["models_fetch_complete"] is True
        endpoint = {each["provider"]: each for each in reflected["endpoints"]}
        assert endpoint["openai"]["models"]
        assert endpoint["openai"]["models"] == file["providers"]["openai"]["models"]
        assert [name for name in NAMES if endpoint[name]["configured"]] == ["openai"]
        assert made.ask("anthropic", "POST", "/v1/messages").status == 403
        assert daemon.terminate() == 0
    events = [line["event"] for line in made.events()]
    for event in (
        "startup", "server_start", "startup_complete", "key_validation", "models_json_written",
        "request_start", "request_complete", "shutdown",
    ):  # fmt: skip
        assert event in events
    (complete, *_) = [line for line in made.events() if line["event"] == "request_complete"]
    for name in "request_id", "provider", "method", "path", "status", "duration_ms", "request_bytes":
        assert name in complete
    assert complete["upstream_host"] == NAME
    assert squid.connects(f"{NAME}:{own_origin.port}")


def test_without_a_proxy_it_goes_direct(authority: Authority, canary: str) -> None:
    with Origin(authority.leaf("localhost"), canary) as origin:
        made = sidecar(
            {"OPENAI_API_KEY": canary, "NODE_EXTRA_CA_CERTS": str(authority.file),
             "https_proxy": "http://127.0.0.1:9"},
            "--target", f"localhost:{origin.port}",
        )  # fmt: skip
        with made.daemon as daemon:
            daemon.ready()
            assert made.ask("openai", "GET", "/kit/length").status == 200
            assert made.result("openai") == "skipped"
            daemon.wait_for_output("DIRECT EGRESS")


def test_egress_that_refuses_is_a_502_that_says_which_hop(authority: Authority, canary: str) -> None:
    env = {"OPENAI_API_KEY": canary, "HTTPS_PROXY": f"http://user:Secr3tWord@127.0.0.1:{free_port()}"}
    made = sidecar(env)
    with made.daemon as daemon:
        daemon.ready()
        answer = made.ask("openai", "POST", "/v1/responses")
        assert answer.status == 502
        content = answer.json()
        assert (content["error"], content["hop"]) == ("Proxy error", "egress")
        assert "egress proxy" in content["message"]
        poll(lambda: made.result("openai") == "network_error", 10, 0.02)
        assert made.health()[0] == 200
    assert "Secr3tWord" not in daemon.output()


# --- verdicts ---------------------------------------------------------------------------------------


def test_rejected_key_keeps_its_port_and_health_says_so(
    authority: Authority, squid: Squid, canary: str
) -> None:
    with Origin(authority.leaf(NAME), "another-key") as origin:
        env, options = way(authority, origin, squid)
        made = sidecar({**env, "OPENAI_API_KEY": canary}, *options)
        with made.daemon as daemon:
            daemon.ready()
            made.checked()
            status, content = made.health()
            assert (status, content["status"], content["ready"]) == (200, "healthy", False)
            assert made.result("openai") == "auth_rejected"
            answer = made.ask("openai", "GET", "/v1/models", PLACEHOLDER)
            assert (answer.status, answer.error_code) == (401, "")
            assert daemon.terminate() == 0
        events = [line["event"] for line in made.events()]
        assert "key_validation_failed" in events
        assert "upstream_auth_error" in events


@pytest.mark.parametrize("runner", RUNNERS)
def test_strict_ends_with_1_for_a_rejected_key(
    authority: Authority, squid: Squid, canary: str, runner: str
) -> None:
    with Origin(authority.leaf(NAME), "another-key") as origin:
        env, options = way(authority, origin, squid)
        env |= {"OPENAI_API_KEY": canary, "AWF_VALIDATE_KEYS": "strict"}
        made = sidecar(env, *options, runner=runner)
        with made.daemon as daemon:
            assert daemon.exit_code() == 1
            assert "openai" in daemon.last_line
        assert "key_validation_strict_exit" in daemon.output()


def test_strict_goes_on_where_the_network_fails(canary: str) -> None:
    env = {"OPENAI_API_KEY": canary, "AWF_VALIDATE_KEYS": "strict",
           "HTTPS_PROXY": f"http://127.0.0.1:{free_port()}"}  # fmt: skip
    made = sidecar(env, "--startup-grace", "0.2")
    with made.daemon as daemon:
        daemon.ready()
        made.checked()
        assert made.result("openai") == "network_error"
        assert daemon.terminate() == 0


def held_back(exchange: Exchange) -> None:
    exchange.options["gate"] = "verdict"
    exchange.step()
    exchange.answer(200, {"data": [{"id": "gpt-5"}]})


def test_health_does_not_wait_for_the_checks(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    own_origin.models_answer = held_back
    env, options = way(authority, own_origin, squid)
    made = sidecar({**env, "OPENAI_API_KEY": canary}, *options)
    with made.daemon as daemon:
        daemon.ready()
        own_origin.wait_for(b"/v1/models")
        status, content = made.health()
        assert status == 200
        assert content["key_validation"] == {
            "complete": False,
            "results": {"openai": {"status": "pending", "message": "The key has not been checked yet"}},
        }
        own_origin.gate("verdict").release(10)
        made.checked()
        assert made.result("openai") == "valid"


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("key", ["sk-a\x01b", '"sk-abc"', "${OPENAI_API_KEY}"])
def test_malformed_key_is_78_and_no_port(runner: str, key: str) -> None:
    made = sidecar({"OPENAI_API_KEY": key}, runner=runner)
    with made.daemon as daemon:
        assert never_listens_until_end(daemon)
        assert daemon.exit_code() == 78


# --- an origin that repeats what it was sent ----------------------------------------------------------


def echoing(exchange: Exchange) -> None:
    """The whole credential as it came, and the key's end, as names of models."""
    given = b"".join(exchange.seen.values(b"authorization")).decode("latin-1")
    key = exchange.origin.key.decode("ascii")
    assert given == f"Bearer {key}" or given == "Bearer THE-KEY"
    exchange.answer(200, {"data": [{"id": f"echo {key}"}, {"id": f"end-{key[-12:]}"}, {"id": "gpt-5"}]})


def test_key_in_a_list_of_models_is_on_no_page_in_no_file_and_in_no_log(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str, tmp_path: Path
) -> None:
    own_origin.models_answer = echoing
    env, options = way(authority, own_origin, squid)
    env |= {"OPENAI_API_KEY": canary, "AWF_API_PROXY_LOG_DIR": str(tmp_path), "AWF_REQUESTED_MODEL": "gpt-9"}
    made = sidecar(env, *options)
    with made.daemon as daemon:
        daemon.ready()
        made.checked()
        daemon.wait_for_output('"event":"model_unavailable_at_startup"')
        page = made.ask("openai", "GET", "/reflect")
        counters = made.ask("openai", "GET", "/metrics").json()["counters"]
        assert daemon.terminate() == 0
    file, log = (tmp_path / "models.json").read_text(), daemon.output()
    stars = "*" * len(canary)
    (openai,) = [each for each in page.json()["endpoints"] if each["provider"] == "openai"]
    assert openai["models"] == [f"echo {stars}", "gpt-5"]
    assert json.loads(file)["providers"]["openai"]["models"] == [f"echo {stars}", "gpt-5"]
    assert f"Available: echo {stars}, gpt-5" in log
    assert counters["leaks_masked_total:openai"] == 2
    assert (tmp_path / "models.json").stat().st_mode & 0o777 == 0o600
    for text in page.body.decode(), file, log:
        assert not any(canary[at : at + 8] in text for at in range(8, len(canary) - 7))


# --- stopping ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("runner", RUNNERS)
def test_sigterm_ends_at_once_with_0_where_only_idle_clients_are_left(runner: str) -> None:
    made = sidecar({}, runner=runner)
    with made.daemon as daemon, Client(daemon.ready().port) as idle:
        assert idle.request("GET", "/health").status == 200
        began = time.monotonic()
        assert daemon.terminate() == 0
        assert time.monotonic() - began < 2


def test_sigterm_ends_with_0_within_the_timeout_whatever_is_under_way(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    need("squid")
    env, options = way(authority, own_origin, squid)
    env |= {"OPENAI_API_KEY": canary, "AWF_API_PROXY_SHUTDOWN_TIMEOUT_MS": "2000"}
    made = sidecar(env, *options)
    with made.daemon as daemon, Client(daemon.ready().port) as client:
        client.send_head("GET", "/v1/kit/stall_body")
        assert client.final_head().status == 200
        began = time.monotonic()
        assert daemon.terminate() == 0
        assert time.monotonic() - began < 3


def test_request_under_way_is_finished_before_the_end(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    env, options = way(authority, own_origin, squid)
    made = sidecar({**env, "OPENAI_API_KEY": canary}, *options)
    with made.daemon as daemon, Client(daemon.ready().port) as client:
        client.send_head("GET", "/v1/kit/drip?events=1&gate=end")
        own_origin.wait_for(b"gate=end")
        assert client.final_head().status == 200
        daemon.running.terminate()
        daemon.wait_for_output('"event":"shutdown"')
        own_origin.gate("end").release(10)
        assert daemon.exit_code() == 0
        assert b"[DONE]" in b"".join(client.reader.chunks())
