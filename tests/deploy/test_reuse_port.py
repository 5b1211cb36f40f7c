"""--reuse-port: several processes at one port, as the template unit starts them."""

from tests.e2e.conftest import options
from tests.kit.certificates import Authority
from tests.kit.client import ask
from tests.kit.daemon import Daemon
from tests.kit.origin import Origin
from tests.kit.reader import poll
from tests.kit.squid import Squid


def served(daemon: Daemon) -> int:
    return daemon.output().count("/v1/kit/length")


def test_two_processes_share_a_port_and_each_gets_connections(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    env = {"OPENAI_API_KEY": canary}
    way = (*options(authority, own_origin, squid), "--reuse-port")
    with Daemon(*way, env=env) as one, Daemon(*way, env=env, port=one.port) as two:
        for each in (one, two):
            each.wait_for_output("Started")
        for _ in range(60):
            assert ask(one.port, "GET", "/v1/kit/length").body == b"12345"
        poll(lambda: served(one) + served(two) == 60, 10)
        assert served(one) > 5
        assert served(two) > 5
        assert one.terminate() == 143
        for _ in range(10):
            assert ask(two.port, "GET", "/v1/kit/length").body == b"12345"


def test_without_it_the_second_ends_with_71_whatever_the_first_has(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    env = {"OPENAI_API_KEY": canary}
    way = options(authority, own_origin, squid)
    for first in (way, (*way, "--reuse-port")):
        with Daemon(*first, env=env) as one:
            one.wait_for_output("Started")
            with Daemon(*way, env=env, port=one.port) as two:
                assert two.exit_code() == 71
                assert "in use" in two.last_line
            if "--reuse-port" in first:
                continue
            with Daemon(*way, "--reuse-port", env=env, port=one.port) as two:
                assert two.exit_code() == 71
