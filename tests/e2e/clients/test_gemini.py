"""The real gemini-cli, set up by `awfproxy env gemini` and its settings file alone."""

import json

import pytest

from tests.e2e.clients.conftest import Client, Run
from tests.kit.clients.commands import gemini
from tests.kit.clients.installed import agent_version
from tests.kit.responses_api import TEXT
from tests.kit.tools import need
from tests.kit.turn import KEY


@pytest.fixture(autouse=True)
def installed() -> None:
    need("gemini")


def completed(run: Run, *actions: bytes) -> None:
    assert run.turn.code == 0, run.report
    assert run.placeholders
    targets = run.targets("gemini")
    assert [target.rpartition(b":")[2] for target in targets] == list(actions)
    assert all(target.startswith(b"POST /v1beta/models/") for target in targets)
    for seen in run.requests["gemini"]:
        assert seen.values(b"x-goog-api-key") == [KEY]
        assert not seen.values(b"authorization")
        assert f"/{agent_version('gemini')}/".encode() in seen.head
    assert not run.denied


def test_a_turn_is_a_call_of_the_router_and_a_stream(client: Client) -> None:
    run = client.configure("gemini", "--write").run(gemini())
    completed(run, b"generateContent", b"streamGenerateContent")
    assert run.turn.stdout.strip() == TEXT
    assert "Routing" not in run.turn.stderr


def test_with_a_model_named_the_turn_is_one_stream_whose_events_arrive_one_by_one(client: Client) -> None:
    client.configure("gemini", "--model", "gemini-2.5-flash", "--write")
    run = client.run(gemini("-o", "stream-json"))
    completed(run, b"streamGenerateContent")
    events = [json.loads(line) for line in run.turn.stdout.splitlines() if line.startswith("{")]
    deltas = [event["content"] for event in events if event.get("delta")]
    assert "".join(deltas) == TEXT
    assert len(deltas) == len(TEXT.split(" "))
