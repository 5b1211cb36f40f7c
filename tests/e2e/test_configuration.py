"""Where settings come from, as a running daemon shows it: command line, environment, file; trust; logs."""

import http.client
import json
import ssl
from pathlib import Path

import pytest

from tests.e2e.conftest import NAME, Stack, options
from tests.kit.certificates import Authority
from tests.kit.daemon import RUNNERS, Daemon
from tests.kit.origin import Origin
from tests.kit.ports import free_port
from tests.kit.squid import Squid


def test_all_from_the_environment(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    env = {
        "OPENAI_API_KEY": canary,
        "HTTPS_PROXY": squid.url,
        "OPENAI_API_TARGET": f"{NAME}:{own_origin.port}",
        "OPENAI_API_BASE_PATH": "/v9",
        "SSL_CERT_FILE": str(authority.file),
        "AWFPROXY_PROBE": "off",
    }
    with Daemon(env=env) as daemon:
        daemon.ready()
        assert daemon.ask("GET", "/models").json()["head"].startswith("GET /v9/models ")


def test_file_gives_way_to_the_environment_and_that_to_the_command_line(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str, tmp_path: Path
) -> None:
    file = tmp_path / "awfproxy.toml"
    file.write_text(
        f'egress-proxy = "{squid.url}"\ntarget = "{NAME}:{own_origin.port}"\nca-file = "{authority.file}"\n'
        'base-path = "/file"\nlocal-pages = "/file"\nlog-format = "json"\nprobe = "off"\n'
    )
    env = {"OPENAI_API_KEY": canary, "AWFPROXY_BASE_PATH": "/env", "AWFPROXY_LOCAL_PAGES": "/env"}
    with Daemon("--config", str(file), "--local-pages", "/line", env=env) as daemon:
        daemon.ready("/line/healthz")
        assert daemon.ask("GET", "/x").json()["head"].startswith("GET /env/x ")
        assert json.loads(daemon.stdout.read_text().splitlines()[0])


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"])
def test_trust_from_the_usual_variables(
    variable: str, authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    env = {"OPENAI_API_KEY": canary, variable: str(authority.file)}
    arguments = ("--egress-proxy", squid.url, "--target", f"{NAME}:{own_origin.port}")
    with Daemon(*arguments, env=env) as daemon:
        daemon.ready("/readyz")
        assert daemon.ask("GET", "/v1/models").status == 200


@pytest.mark.parametrize("runner", RUNNERS)
def test_listener_with_twisteds_own_tls(
    runner: str, authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    """Without such a listener Twisted's TLS is not even imported."""
    leaf, port = authority.leaf("localhost"), free_port()
    listen = f"ssl:{port}:privateKey={leaf.key}:certKey={leaf.certificate}:interface=127.0.0.1"
    arguments = (*options(authority, own_origin, squid), "--listen", listen)
    with Daemon(*arguments, env={"OPENAI_API_KEY": canary}, runner=runner) as daemon:
        daemon.wait_for_output("Started: ")
        context = ssl.create_default_context(cafile=str(authority.file))
        client = http.client.HTTPSConnection("localhost", port, timeout=10, context=context)
        client.request("GET", "/v1/over-tls", headers={"Connection": "close"})
        answer = client.getresponse()
        assert answer.status == 200
        assert json.loads(answer.read())["head"].startswith("GET /v1/over-tls ")
        client.close()
        assert daemon.terminate() == 143


def test_daemon_that_serves_has_one_openssl(stack: Stack) -> None:
    """The standard library's; the other one would take a fifth of all memory."""
    assert stack.daemon.ask("GET", "/v1/one-openssl").status == 200
    maps = Path(f"/proc/{stack.daemon.running.pid}/maps").read_text().splitlines()
    assert [line for line in maps if "/_ssl." in line], "the standard library's ssl has another name now"
    assert not [line for line in maps if "/cryptography/" in line]


def test_key_file_that_others_can_read_is_a_warning(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text(canary)
    file.chmod(0o644)
    with Daemon(*options(authority, own_origin, squid), "--key-file", str(file)) as daemon:
        daemon.ready("/readyz")
        daemon.wait_for_output(str(file))


@pytest.mark.parametrize("runner", RUNNERS)
def test_json_log_is_one_object_a_line(
    runner: str, authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    with Daemon(
        *options(authority, own_origin, squid), "--log-format", "json",
        env={"OPENAI_API_KEY": canary}, runner=runner,
    ) as daemon:  # fmt: skip
        daemon.ready("/readyz")
        daemon.ask("GET", "/v1/models?not-shown")
        daemon.wait_for_output("request_complete")
        assert daemon.terminate() == 143
    lines = [json.loads(line) for line in daemon.stdout.read_text().splitlines()]
    assert all({"timestamp", "level", "event"} <= set(line) for line in lines)
    (access,) = [line for line in lines if line["event"] == "request_complete"]
    assert (access["method"], access["path"], access["status"]) == ("GET", "/v1/models", 200)
    assert "not-shown" not in daemon.output()


def test_no_key_byte_at_the_lowest_log_level(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    """The session's search of all output looks for the key; here there is as much output as can be had."""
    with Daemon(
        *options(authority, own_origin, squid), env={"OPENAI_API_KEY": canary}, runner="twist",
        runner_options=["--log-level=debug", "--log-format=json"],
    ) as daemon:  # fmt: skip
        daemon.ready("/readyz")
        for target in ("/v1/models", "/v1/kit/garbage", "/v1/kit/no-answer", "//"):
            daemon.ask("GET", target)
        own_origin.key = b"another"
        assert daemon.ask("GET", "/v1/models").status == 401
        assert daemon.terminate() == 143
    assert canary not in daemon.output()


def test_health_has_the_keys_that_readers_know(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    with Daemon(*options(authority, own_origin, squid), env={"OPENAI_API_KEY": canary}) as daemon:
        daemon.ready("/readyz")
        daemon.ask("GET", "/v1/models")
        answer = daemon.ask("GET", "/health")
        health = answer.json()
        assert b'"status":"healthy"' in answer.body
        assert b'"service":"awf-api-proxy"' in answer.body
        assert set(health) >= {
            "squid_proxy", "providers", "key_validation", "models_fetch_complete", "metrics_summary",
            "rate_limits",
        }  # fmt: skip
        assert health["providers"] == {
            "openai": True, "anthropic": False, "copilot": False, "gemini": False, "vertex": False,
        }  # fmt: skip
        assert health["key_validation"]["complete"] is True
        assert health["key_validation"]["results"]["openai"]["status"] == "accepted"
        assert health["metrics_summary"]["total_requests"] == 1
        assert "reason" not in health
