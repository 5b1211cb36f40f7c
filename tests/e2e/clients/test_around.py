"""A client that goes around awfproxy, to the very origin to which awfproxy gets a tunnel, gets none."""

from tests.e2e.clients.conftest import KINDS, Client
from tests.kit.clients.commands import sdk
from tests.kit.tools import need


def test_squid_refuses_a_client_the_origin_that_it_gives_to_awfproxy(client: Client) -> None:
    need("sdks")
    client.configure("openai-sdk")
    authority = f"{KINDS['openai'].host}:{client.stack.origins['openai'].port}"
    client.environment["OPENAI_BASE_URL"] = f"https://{authority}/v1"
    run = client.run(sdk("openai_sdk", "responses"))
    assert run.turn.code != 0
    assert "403" in run.turn.stderr
    assert any(f"CONNECT {authority}" in line for line in run.denied), run.report
    assert not run.requests


def test_without_squid_there_is_no_way_at_all(client: Client) -> None:
    need("sdks")
    client.configure("openai-sdk")
    address = f"127.0.0.1:{client.stack.origins['openai'].port}"
    client.environment["OPENAI_BASE_URL"] = f"https://{address}/v1"
    run = client.run(sdk("openai_sdk", "responses"))
    assert run.turn.code != 0
    assert "Connection refused" in run.turn.stderr
    assert not run.requests
    assert not run.denied
