"""The three SDKs, each set up by what `awfproxy env` printed alone, streamed and whole."""

import pytest

from tests.e2e.clients.conftest import Client, Run
from tests.kit.clients.commands import sdk
from tests.kit.responses_api import TEXT
from tests.kit.tools import need
from tests.kit.turn import KEY

HOW = pytest.mark.parametrize("how", [(), ("streamed",)], ids=["whole", "streamed"])


@pytest.fixture(autouse=True)
def installed() -> None:
    need("sdks")


def completed(run: Run, provider: str, target: bytes, field: bytes, value: bytes) -> None:
    assert run.turn.code == 0, run.report
    assert run.placeholders
    assert run.turn.stdout.strip() == TEXT
    assert run.targets(provider) == [target], run.report
    (seen,) = run.requests[provider]
    assert seen.values(field) == [value]
    assert not run.denied


@HOW
@pytest.mark.parametrize(
    ("api", "target"), [("responses", b"POST /v1/responses"), ("chat", b"POST /v1/chat/completions")]
)
def test_openai(api: str, target: bytes, how: tuple[str, ...], client: Client) -> None:
    run = client.configure("openai-sdk").run(sdk("openai_sdk", api, *how))
    completed(run, "openai", target, b"authorization", b"Bearer " + KEY)


@HOW
def test_anthropic(how: tuple[str, ...], client: Client) -> None:
    """It sends its key as Bearer, which Anthropic's origin would not take beside ours."""
    run = client.configure("anthropic-sdk").run(sdk("anthropic_sdk", *how))
    completed(run, "anthropic", b"POST /v1/messages", b"x-api-key", KEY)


@HOW
def test_google(how: tuple[str, ...], client: Client) -> None:
    action = b"streamGenerateContent" if how else b"generateContent"
    run = client.configure("google-sdk").run(sdk("google_sdk", *how))
    completed(run, "gemini", b"POST /v1/models/gemini-kit-1:" + action, b"x-goog-api-key", KEY)


@HOW
def test_google_at_vertex(how: tuple[str, ...], client: Client) -> None:
    action = b"streamGenerateContent" if how else b"generateContent"
    run = client.configure("google-sdk").run(sdk("google_sdk", "vertex", *how))
    target = b"POST /v1beta1/publishers/google/models/gemini-kit-1:" + action
    completed(run, "vertex", target, b"x-goog-api-key", KEY)
