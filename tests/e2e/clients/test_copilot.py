"""The real Copilot CLI, set up by `awfproxy env copilot` alone: as an own provider's client, as GitHub's."""

import pytest

from tests.e2e.clients.conftest import Client, Run
from tests.kit.clients.commands import copilot
from tests.kit.copilot_origin import MODEL
from tests.kit.responses_api import TEXT
from tests.kit.tools import need
from tests.kit.turn import KEY


@pytest.fixture(autouse=True)
def installed() -> None:
    need("copilot")


def completed(run: Run) -> None:
    assert run.turn.code == 0, run.report
    assert TEXT in run.turn.stdout, run.report
    for seen in run.requests["copilot"]:
        assert seen.values(b"authorization") == [b"Bearer " + KEY]


def test_as_a_provider_s_client_a_turn_is_one_completion_and_nothing_else_is_dialled(client: Client) -> None:
    run = client.configure("copilot", "--model", "gpt-4.1").run(copilot())
    completed(run)
    assert run.targets("copilot") == [b"POST /chat/completions"], run.report
    assert not run.denied


def test_as_a_provider_s_client_over_the_responses_api(client: Client) -> None:
    run = client.configure("copilot", "--model", MODEL).run(copilot())
    completed(run)
    assert run.targets("copilot") == [b"POST /responses"], run.report


def test_as_a_provider_s_client_over_websocket(client: Client) -> None:
    run = client.configure("copilot", "--model", MODEL, "--websocket").run(copilot())
    completed(run)
    assert run.targets("copilot") == [b"GET /responses"], run.report
    assert len(run.requests["copilot"][0].messages) == 1


def test_as_github_s_client_it_lists_models_and_takes_its_turn(client: Client) -> None:
    client.configure("copilot", "--copilot-as", "github")
    run = client.run(copilot(*client.arguments["copilot"]))
    completed(run)
    assert run.placeholders
    assert run.targets("copilot") == [b"GET /models", b"POST /responses"], run.report
    assert any("CONNECT api.github.com:443" in line for line in run.denied), run.report


def test_as_github_s_client_it_may_let_the_provider_pick_the_model(client: Client) -> None:
    """Whether it also asks for a session differs from run to run."""
    client.configure("copilot", "--copilot-as", "github")
    run = client.run(copilot(*client.arguments["copilot"], "--model", "auto"))
    completed(run)
    targets = set(run.targets("copilot"))
    always = {b"GET /models", b"POST /auto", b"POST /responses"}
    assert always <= targets <= always | {b"POST /models/session", b"POST /models/session/intent"}


def test_github_s_mcp_server_is_refused_it_and_the_turn_completes(client: Client) -> None:
    """Without the printed argument it asks for `/mcp/readonly`, where our key would open more than models."""
    run = client.configure("copilot", "--copilot-as", "github").run(copilot())
    completed(run)
    assert b"POST /responses" in run.targets("copilot")
    assert not [target for target in run.targets("copilot") if b"/mcp" in target]
    client.stack.daemon.wait_for_output("/mcp/readonly")
