"""The real codex, set up by `awfproxy env codex` alone."""

import pytest

from tests.e2e.clients.conftest import Client, Run
from tests.kit.clients.commands import codex
from tests.kit.clients.installed import agent_version
from tests.kit.responses_api import TEXT
from tests.kit.tools import need
from tests.kit.turn import KEY


@pytest.fixture(autouse=True)
def installed() -> None:
    need("codex")


def completed(run: Run) -> None:
    assert run.turn.code == 0, run.report
    assert TEXT in run.turn.stdout, run.report
    for seen in run.requests["openai"]:
        assert seen.values(b"authorization") == [b"Bearer " + KEY]
        assert f"codex_exec/{agent_version('codex')}".encode() in seen.head


def test_with_the_printed_arguments_a_turn_goes_over_http(client: Client) -> None:
    client.configure("codex")
    run = client.run(codex(*client.arguments["codex"]))
    completed(run)
    assert run.targets("openai") == [b"POST /v1/responses"], run.report
    assert b'"stream":true' in run.requests["openai"][0].body


def test_with_the_written_file_a_turn_goes_over_http_and_nothing_else_is_given(client: Client) -> None:
    client.configure("codex", "--write")
    assert not client.arguments
    run = client.run(codex())
    completed(run)
    assert run.targets("openai") == [b"POST /v1/responses"], run.report


def test_over_websocket_a_turn_is_two_messages_on_one_tunnel(client: Client) -> None:
    """The first prewarms (`generate: false`), the second is the turn."""
    client.configure("codex", "--websocket", "--write")
    run = client.run(codex())
    completed(run)
    assert run.targets("openai") == [b"GET /v1/responses"], run.report
    (seen,) = run.requests["openai"]
    assert [message.get("generate", True) for message in seen.messages] == [False, True]
    assert seen.values(b"upgrade") == [b"websocket"]


def test_its_own_dials_are_refused_and_harmless(client: Client) -> None:
    client.configure("codex", "--write")
    run = client.run(codex())
    completed(run)
    assert any("CONNECT ab.chatgpt.com:443" in line for line in run.denied), run.report
