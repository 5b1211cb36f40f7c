"""compose.yaml: valid, and what it claims about who reaches whom can be read off it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kit.container import ROOT
from tests.kit.daemon import environment
from tests.kit.squid import squid_binary
from tests.kit.tools import need

FILE = ROOT / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


def test_it_is_valid() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def reached_from(service: str) -> set[str]:
    """The services that it has a network with."""
    own = set(SERVICES[service].get("networks", ()))
    return {name for name, other in SERVICES.items() if own & set(other.get("networks", ()))} - {service}


def test_agent_reaches_awfproxy_and_nothing_else() -> None:
    assert reached_from("agent") == {"awfproxy"}
    assert list(SERVICES["agent"]["networks"]) == ["agents"]
    assert COMPOSE["networks"]["agents"]["internal"] is True


@pytest.mark.parametrize("name", ["agents", "egress"])
def test_docker_host_has_no_address_on_the_inner_networks(name: str) -> None:
    network = COMPOSE["networks"][name]
    assert network["driver_opts"] == {"com.docker.network.bridge.inhibit_ipv4": "true"}
    assert network["enable_ipv6"] is False
    assert network["internal"] is True


def test_awfproxy_has_no_way_out_but_squid() -> None:
    assert reached_from("awfproxy") == {"agent", "squid"}
    assert all(COMPOSE["networks"][name]["internal"] for name in SERVICES["awfproxy"]["networks"])
    assert [name for name, each in SERVICES.items() if "outside" in each.get("networks", ())] == ["squid"]
    assert SERVICES["awfproxy"]["environment"]["AWFPROXY_EGRESS_PROXY"] == (
        f"http://{SERVICES['squid']['networks']['egress']['ipv4_address']}:3128"
    )


def test_no_port_is_published() -> None:
    for service in SERVICES.values():
        assert "ports" not in service
        assert service.get("network_mode") != "host"


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"] == service["memswap_limit"] == "512m"
    assert service["pids_limit"] == 100
    assert not service.get("privileged")
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", ()))


def test_key_is_a_file_that_awfproxy_alone_gets() -> None:
    assert [name for name, each in SERVICES.items() if each.get("secrets")] == ["awfproxy"]
    assert list(COMPOSE["secrets"]["openai_api_key"]) == ["file"]
    for service in SERVICES.values():
        variables = service.get("environment", {})
        assert variables.get("OPENAI_API_KEY", "not-a-key") == "not-a-key"
    assert SERVICES["awfproxy"]["environment"]["AWFPROXY_KEY_FILE"] == "/run/secrets/openai_api_key"


def test_anonymous_callers_are_allowed_by_name() -> None:
    assert SERVICES["awfproxy"]["environment"]["AWFPROXY_ALLOW_ANONYMOUS"] == "true"


def test_stop_waits_for_longer_than_the_drain() -> None:
    assert SERVICES["awfproxy"]["stop_grace_period"] == "30s"


def test_squids_configuration_is_for_awfproxys_address_and_squid_takes_it(tmp_path: Path) -> None:
    need("squid")
    (command,) = SERVICES["squid-conf"]["command"]
    words, to = command.split(" > ")
    volumes = SERVICES["squid-conf"]["volumes"] + SERVICES["squid"]["volumes"]
    source, target = (volume.split(":")[:2] for volume in volumes)
    assert source[0] == target[0]
    assert source[1] == target[1] == str(Path(to).parent)
    address = SERVICES["awfproxy"]["networks"]["egress"]["ipv4_address"]
    assert f"--sidecar-src {address}" in words
    program = "import sys; from awfproxy.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, *words.split()[1:]],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    conf = tmp_path / "squid.conf"
    conf.write_text(done.stdout)
    parsed = subprocess.run(
        [str(squid_binary()), "-k", "parse", "-f", str(conf)], capture_output=True, text=True, check=False
    )
    assert parsed.returncode == 0
    assert "WARNING" not in parsed.stderr
    assert f"acl awfproxy src {address}" in done.stdout
