"""Lists of models: where each provider has its own, and the names in the answers."""

import json

import pytest

from awfproxy.providers.builtin import BUILT_IN
from awfproxy.providers.models import model_names, models_target
from awfproxy.providers.provider import Asked
from awfproxy.wire.target import Origin

BY_NAME = {provider.name: provider for provider in BUILT_IN}
OTHER = Origin("llm.example")


@pytest.mark.parametrize(
    ("name", "target", "base_path", "found"),
    [
        ("openai", None, None, b"/v1/models"),
        ("openai", OTHER, None, b"/v1/models"),
        ("openai", OTHER, b"/serving", b"/serving/models"),
        ("anthropic", None, None, b"/v1/models?limit=1000"),
        ("anthropic", OTHER, b"/proxy", b"/proxy/v1/models?limit=1000"),
        ("copilot", None, None, b"/models"),
        ("copilot", OTHER, b"/api/v1", b"/api/v1/models"),
        ("gemini", None, None, b"/v1beta/models?pageSize=1000"),
        ("vertex", None, None, None),
    ],
)
def test_list_is_where_the_provider_has_it(
    name: str, target: Origin | None, base_path: bytes | None, found: bytes | None
) -> None:
    provider = BY_NAME[name]
    assert models_target(provider, provider.access(Asked(target=target, base_path=base_path))) == found


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ({"data": [{"id": "gpt-5"}, {"id": "gpt-4o"}]}, ("gpt-4o", "gpt-5")),
        ({"data": [{"id": "claude", "type": "model"}, {"name": "by-name"}]}, ("by-name", "claude")),
        ({"models": [{"name": "models/gemini-3-pro"}, {"name": "bare"}]}, ("bare", "gemini-3-pro")),
        ({"data": [{"id": "a"}, {"id": "a"}]}, ("a",)),
        ({"data": []}, None),
        ({"data": [{"id": 7}, "x", None, {"id": "a\nb"}, {"id": "x" * 201}]}, None),
        ({"error": "no"}, None),
        ([], None),
    ],
)
def test_names_are_read_out_of_either_form(document: object, names: tuple[str, ...] | None) -> None:
    assert model_names(json.dumps(document).encode()) == names


@pytest.mark.parametrize("content", [b"", b"<html>", b"[" * 100_000, b"\xff"])
def test_what_is_no_json_is_no_list(content: bytes) -> None:
    assert model_names(content) is None


def test_list_without_end_is_cut() -> None:
    names = model_names(json.dumps({"data": [{"id": f"m{number:06}"} for number in range(50000)]}).encode())
    assert names is not None
    assert (len(names), names[0], names[-1]) == (2000, "m000000", "m001999")
