"""What `awfproxy env all` prints and writes serves every client at once."""

import pytest

from tests.e2e.clients.conftest import Client
from tests.kit.clients import commands
from tests.kit.copilot_origin import MODEL
from tests.kit.responses_api import TEXT
from tests.kit.tools import need

TURNS = {
    "codex": ("codex", commands.codex),
    "claude": ("claude", commands.claude),
    "gemini": ("gemini", commands.gemini),
    "copilot": ("copilot", lambda: commands.copilot("--model", MODEL)),
    "openai": ("sdks", lambda: commands.sdk("openai_sdk", "responses")),
    "anthropic": ("sdks", lambda: commands.sdk("anthropic_sdk")),
    "google": ("sdks", lambda: commands.sdk("google_sdk")),
}


@pytest.mark.parametrize("name", TURNS)
def test_a_turn_completes_in_the_environment_of_all(name: str, client: Client) -> None:
    tool, command = TURNS[name]
    need(tool)
    run = client.configure("all", "--write").run(command())
    assert run.turn.code == 0, run.report
    assert TEXT in run.turn.stdout
