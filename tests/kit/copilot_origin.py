"""Copilot's origin: OpenAI's two APIs without the base path, the catalogue of models, and sessions."""

from collections.abc import Callable
from typing import Any

from tests.kit.exchange import Exchange

MODEL = "gpt-5.4"
"""One that the CLI knows, so that it asks nothing about its abilities."""


def model(name: str = MODEL) -> dict[str, Any]:
    """An entry of the catalogue, with what the CLI requires of one."""
    return {
        "id": name,
        "name": name,
        "object": "model",
        "vendor": "OpenAI",
        "version": name,
        "preview": False,
        "model_picker_enabled": True,
        "is_chat_default": True,
        "is_chat_fallback": True,
        "policy": {"state": "enabled", "terms": ""},
        "supported_endpoints": ["/responses", "/chat/completions"],
        "billing": {"is_premium": False, "multiplier": 0, "restricted_to": []},
        "capabilities": {
            "type": "chat",
            "family": name,
            "object": "model_capabilities",
            "tokenizer": "o200k_base",
            "limits": {
                "max_context_window_tokens": 200000,
                "max_prompt_tokens": 128000,
                "max_output_tokens": 32000,
            },
            "supports": {"streaming": True, "tool_calls": True, "parallel_tool_calls": True},
        },
    }


class CopilotExchange(Exchange):
    """For `Origin(exchange=...)`. `/mcp/...` answers too: that it was never asked is for the test to see."""

    def choose(self, path: str) -> Callable[[], None]:
        match self.seen.method, path:
            case b"GET", "/models":
                return lambda: self.answer(200, {"object": "list", "data": [model()]})
            case b"GET", "/responses" if self.seen.values(b"upgrade"):
                return self.do_responses_socket
            case b"POST", "/responses" | "/chat/completions":
                return self.do_model
            case b"POST", "/auto" | "/models/session":
                return self.do_session
            case b"POST", "/models/session/intent":
                return lambda: self.answer(200, {"model": MODEL})
            case b"POST", "/mcp/readonly":
                return lambda: self.answer(200, {"jsonrpc": "2.0", "id": 0, "result": {}})
        return lambda: self.error(404, None, "Not Found")

    def do_session(self) -> None:
        """The model that the provider picks for a session."""
        self.answer(
            200,
            {
                "available_models": [MODEL],
                "selected_model": MODEL,
                "session_token": "kit-session",
                "expires_at": 4102444800,
                "discounted_costs": {},
            },
        )
