"""The ready sets of docs/rules.md: each can be pasted as it stands, and closes what it says."""

import re
import tomllib
from pathlib import Path

import pytest

from awfproxy.errors.client import AmbiguousTarget, PathDenied
from awfproxy.providers.copilot_rules import DEFAULT_RULES
from awfproxy.providers.rules import METHODS, OVERRIDES, Rules, parse_rules

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "rules.md").read_text()


def ready_sets() -> dict[str, tuple[str, list[str]]]:
    """From each set's heading to the provider's name and the rules."""
    found = {}
    for heading, rest in re.findall(r"^### ([^\n]+)\n(.*?)(?=^###? |\Z)", PAGE, re.MULTILINE | re.DOTALL):
        (block,) = re.findall(r"^```toml\n(.*?)^```$", rest, re.MULTILINE | re.DOTALL)
        ((name, table),) = tomllib.loads(block)["providers"].items()
        assert list(table) == ["rules"]
        found[heading] = (name, table["rules"])
    return found


SETS = ready_sets()
PASS, CLOSED = True, False
JUDGED: dict[str, dict[str, bool]] = {
    "OpenAI: inference only": {
        "GET /v1/models": PASS,
        "GET /v1/models/gpt-5": PASS,
        "GET /v1/responses": PASS,
        "POST /v1/responses": PASS,
        "POST /v1/responses/compact": PASS,
        "POST /v1/chat/completions": PASS,
        "POST /v1/embeddings": PASS,
        "DELETE /v1/models/ft:gpt-4o:org::id": CLOSED,
        "GET /v1/responses/resp_1": CLOSED,
        "GET /v1/chat/completions": CLOSED,
        "GET /v1/files": CLOSED,
        "POST /v1/batches": CLOSED,
        "GET /v1/organization/admin_api_keys": CLOSED,
        "POST /v1/realtime/client_secrets": CLOSED,
        "GET /v1/something/new": CLOSED,
    },
    "OpenAI: all but files, training, administration and keys": {
        "GET /v1/models": PASS,
        "GET /v1/responses": PASS,
        "POST /v1/responses": PASS,
        "GET /v1/responses/resp_1": PASS,
        "POST /v1/chat/completions": PASS,
        "POST /v1/images/generations": PASS,
        "GET /v1/something/new": PASS,
        "GET /v1/files": CLOSED,
        "GET /v1/Files/file-1/content": CLOSED,
        "POST /v1/uploads/upload_1/parts": CLOSED,
        "GET /v1/vector_stores/vs_1/files": CLOSED,
        "GET /v1/containers/c/files/f/content": CLOSED,
        "POST /v1/skills": CLOSED,
        "GET /v1/chat/completions": CLOSED,
        "HEAD /v1/chat/completions/c/messages": CLOSED,
        "POST /v1/chat/completions/c": CLOSED,
        "DELETE /v1/chat/completions/c": CLOSED,
        "POST /v1/assistants": CLOSED,
        "POST /v1/threads/runs": CLOSED,
        "POST /v1/chatkit/sessions": CLOSED,
        "POST /v1/fine_tuning/jobs": CLOSED,
        "GET /v1/fine-tunes": CLOSED,
        "DELETE /v1/models/ft:gpt-4o:org::id": CLOSED,
        "POST /v1/evals/e/runs": CLOSED,
        "POST /v1/batches": CLOSED,
        "POST /v1/organization/admin_api_keys": CLOSED,
        "GET /v1/organization/projects/p/api_keys": CLOSED,
        "POST /v1/projects/p/roles": CLOSED,
        "POST /v1/realtime/client_secrets": CLOSED,
        "POST /v1/realtime/sessions": CLOSED,
        "POST /v1/realtime/transcription_sessions": CLOSED,
    },
    "Anthropic: inference only": {
        "POST /v1/messages?beta=true": PASS,
        "POST /v1/messages/count_tokens?beta=true": PASS,
        "GET /v1/models": PASS,
        "GET /v1/models/claude-sonnet-5": PASS,
        "HEAD /api/hello": PASS,
        "HEAD /": PASS,
        "GET /": CLOSED,
        "POST /v1/messages/batches": CLOSED,
        "GET /v1/files": CLOSED,
        "GET /v1/skills": CLOSED,
        "GET /v1/organizations/api_keys": CLOSED,
        "POST /v1/agents": CLOSED,
    },
    "Gemini: inference only": {
        "GET /v1beta/models": PASS,
        "GET /v1beta/models/gemini-3-pro": PASS,
        "POST /v1beta/models/gemini-3-pro:generateContent": PASS,
        "POST /v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse": PASS,
        "POST /v1beta/models/gemini-3-pro:countTokens": PASS,
        "POST /v1beta/models/embedding:batchEmbedContents": PASS,
        "GET /v1beta/models/gemini-3-pro:generateContent/operations": CLOSED,
        "POST /v1beta/models/gemini-3-pro:batchGenerateContent": CLOSED,
        "POST /upload/v1beta/files": CLOSED,
        "GET /v1beta/files": CLOSED,
        "POST /v1beta/cachedContents": CLOSED,
        "POST /v1alpha/auth_tokens": CLOSED,
        "POST /v1beta/tunedModels": CLOSED,
    },
    "Copilot: what is set by default": {
        "GET /models": PASS,
        "GET /models/gpt-5": PASS,
        "POST /models/session": PASS,
        "POST /models/session/intent": PASS,
        "POST /auto": PASS,
        "POST /chat/completions": PASS,
        "GET /responses": PASS,
        "POST /responses": PASS,
        "POST /v1/messages": PASS,
        "POST /v1/messages/count_tokens": PASS,
        "POST /embeddings": PASS,
        "POST /mcp": CLOSED,
        "POST /mcp/readonly": CLOSED,
        "GET /mcp/readonly": CLOSED,
        "POST /MCP/readonly": CLOSED,
        "POST /mcp/x/all/readonly": CLOSED,
        "POST /models/gpt-5/policy": CLOSED,
        "POST /agents/x": CLOSED,
        "DELETE /responses": CLOSED,
        "GET /": CLOSED,
    },
}


def of(heading: str) -> Rules:
    name, texts = SETS[heading]
    return parse_rules(texts, f"the config file's [providers.{name}] rules")


def test_each_set_is_judged_here_and_is_of_the_provider_in_its_heading() -> None:
    assert list(SETS) == list(JUDGED)
    assert all(heading.lower().startswith(f"{name}: ") for heading, (name, _) in SETS.items())


@pytest.mark.parametrize(
    ("heading", "request_line"), [(heading, line) for heading, lines in JUDGED.items() for line in lines]
)
def test_set_passes_and_closes_what_it_says(heading: str, request_line: str) -> None:
    method, target = request_line.encode().split(b" ")
    verdict = of(heading).judge(method, target)
    assert verdict.allowed is JUDGED[heading][request_line], of(heading).explain(verdict)


@pytest.mark.parametrize("heading", SETS)
def test_no_rule_of_a_set_is_useless(heading: str) -> None:
    """Each decides at least one request, so that none stands behind one that takes all of its."""
    found = of(heading)
    for number, rule in enumerate(found.rules, 1):
        method = b"POST" if rule.methods is None else min(rule.methods)
        target = rule.pattern.replace("**", "x").replace("*", "x").encode()
        assert found.judge(method, target).number == number, rule.text


def test_each_single_rule_that_the_page_names_can_be_written() -> None:
    singles = re.findall(r'`"((?:allow|deny) [^"]+)"`', PAGE)
    assert len(parse_rules(singles, "the page").rules) == len(singles) >= 4


def test_copilots_set_is_the_default() -> None:
    assert tuple(SETS["Copilot: what is set by default"][1]) == DEFAULT_RULES


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize(
    "target", [b"/mcp", b"/mcp/", b"/mcp/readonly", b"/models/../mcp/readonly", b"/models/%2e%2e/mcp",
               b"/models/..%2fmcp", b"/%6dcp/readonly", b"//mcp", b"/models//../mcp", b"/models/..;/mcp"],
)  # fmt: skip
def test_no_way_leads_to_copilots_mcp_server(method: str, target: bytes) -> None:
    with pytest.raises((PathDenied, AmbiguousTarget)):
        parse_rules(DEFAULT_RULES, "default").enforce(method.encode(), target)


def test_fields_that_make_a_request_ambiguous_are_named() -> None:
    assert {name.decode() for name in OVERRIDES} == set(re.findall(r"`(x-[a-z-]+)`", PAGE))
