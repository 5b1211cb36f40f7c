"""deploy/healthcheck, the image's: it passes where every provider that is served would answer now."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress

import attrs
import pytest

from tests.e2e.conftest import NAME
from tests.kit.anthropic_origin import AnthropicExchange
from tests.kit.certificates import Authority
from tests.kit.client import ask
from tests.kit.container import ROOT
from tests.kit.daemon import Daemon
from tests.kit.origin import Origin
from tests.kit.ports import free_port
from tests.kit.squid import Squid
from tests.kit.tools import need

ANTHROPIC = "api.anthropic.com"
NAMES = ("", "ANTHROPIC_", "COPILOT_", "GEMINI_", "VERTEX_")


def check(env: Mapping[str, str]) -> tuple[bool, str]:
    """Whether it is healthy, and what the engine would show."""
    done = subprocess.run(
        [ROOT / "deploy" / "healthcheck"], env={"PATH": os.environ["PATH"], **env},
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    return done.returncode == 0, done.stdout + done.stderr


@attrs.frozen
class Two:
    """Two providers' origins, and what a container in front of them has in its environment."""

    openai: Origin
    anthropic: Origin
    env: Mapping[str, str]

    def daemon(self, **more: str) -> Daemon:
        return Daemon(env={**self.env, **more}, port=int(self.env["AWFPROXY_PORT"]))


@pytest.fixture
def two(authority: Authority, own_origin: Origin, canary: str) -> Iterator[Two]:
    need("squid", "curl")
    anthropic = Origin(authority.leaf(ANTHROPIC), canary, exchange=AnthropicExchange).start()
    # All five, so that nobody else's port is asked.
    ports = {f"AWFPROXY_{name}PORT": str(free_port()) for name in NAMES}
    with Squid([NAME, ANTHROPIC]) as squid:
        env = {
            "OPENAI_API_KEY": canary,
            "ANTHROPIC_API_KEY": canary,
            "AWFPROXY_EGRESS_PROXY": squid.url,
            "AWFPROXY_CA_FILE": str(authority.file),
            "AWFPROXY_TARGET": f"{NAME}:{own_origin.port}",
            "AWFPROXY_ANTHROPIC_TARGET": f"{ANTHROPIC}:{anthropic.port}",
        }
        yield Two(own_origin, anthropic, env | ports)
    with suppress(OSError):  # where the test has closed it
        anthropic.close()


def test_it_is_healthy_where_both_are_ready(two: Two) -> None:
    assert check(two.env) == (False, "No port of awfproxy's is open at 127.0.0.1.\n")
    with two.daemon() as daemon:
        daemon.ready("/readyz")
        assert check(two.env) == (True, "")


def test_one_of_two_that_is_not_ready_is_enough_to_fail_and_is_named(two: Two) -> None:
    two.anthropic.close()
    with two.daemon(AWFPROXY_STARTUP_GRACE="0.1") as daemon:
        daemon.ready("/readyz")
        healthy, said = check(two.env)
    assert not healthy
    port = two.env["AWFPROXY_ANTHROPIC_PORT"]
    assert said == f"http://127.0.0.1:{port}/health says that a request would fail now, and why.\n"


def test_it_follows_the_address_and_the_pages_and_goes_by_no_proxy(two: Two) -> None:
    more = {"AWFPROXY_BIND": "::1", "AWFPROXY_LOCAL_PAGES": "/_awfproxy/", "ALL_PROXY": "http://127.0.0.1:1"}
    with two.daemon(**more) as daemon:
        daemon.wait_for_output("Started")
        assert check({**two.env, **more}) == (True, "")


def test_without_pages_it_fails_and_asks_nobody(two: Two) -> None:
    more = {"AWFPROXY_LOCAL_PAGES": "off"}
    with two.daemon(**more) as daemon:
        daemon.wait_for_output("Started")
        healthy, said = check({**two.env, **more})
        assert ask(daemon.port, "GET", "/v1/kit/length").status == 200
    assert not healthy
    assert "AWFPROXY_LOCAL_PAGES is off" in said
    assert "--no-healthcheck" in said
    assert not two.openai.find(b"health")


@pytest.mark.parametrize("name", ["AWFPROXY_LISTEN", "AWFPROXY_ANTHROPIC_LISTEN"])
def test_listener_that_it_does_not_read_makes_it_fail_and_say_so(name: str) -> None:
    healthy, said = check({name: "unix:/run/awfproxy.sock"})
    assert not healthy
    assert "AWFPROXY_LISTEN" in said
    assert "--health-cmd" in said
