"""The real Claude Code, set up by `awfproxy env claude` alone."""

import json

import pytest

from tests.e2e.clients.conftest import Client, Run
from tests.kit.clients.commands import claude
from tests.kit.clients.installed import agent_version
from tests.kit.responses_api import TEXT
from tests.kit.tools import need
from tests.kit.turn import KEY


@pytest.fixture(autouse=True)
def installed() -> None:
    need("claude")


def completed(run: Run) -> None:
    assert run.turn.code == 0, run.report
    assert run.placeholders
    assert run.targets("anthropic") == [b"POST /v1/messages"], run.report
    (seen,) = run.requests["anthropic"]
    assert seen.values(b"x-api-key") == [KEY]
    assert not seen.values(b"authorization")
    assert f"claude-cli/{agent_version('claude')}".encode() in seen.head
    assert b'"stream":true' in seen.body


@pytest.mark.parametrize("options", [(), ("--write",)], ids=["environment", "file"])
def test_a_turn_completes_and_nothing_else_is_dialled(options: tuple[str, ...], client: Client) -> None:
    run = client.configure("claude", *options).run(claude())
    completed(run)
    assert run.turn.stdout.strip() == TEXT
    assert not run.denied


def test_streamed_events_arrive_one_by_one(client: Client) -> None:
    client.configure("claude")
    run = client.run(
        claude("--output-format", "stream-json", "--verbose", "--include-partial-messages")
    )
    completed(run)
    events = [json.loads(line) for line in run.turn.stdout.splitlines()]
    inner = [event["event"] for event in events if event["type"] == "stream_event"]
    deltas = [each["delta"]["text"] for each in inner if each["type"] == "content_block_delta"]
    assert "".join(deltas) == TEXT
    assert len(deltas) == len(TEXT.split(" "))
    assert events[-1]["result"] == TEXT
