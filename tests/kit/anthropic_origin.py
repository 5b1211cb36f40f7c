"""Anthropic's origin: the Messages API as Claude Code and the SDK use it, with the key in x-api-key alone."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from tests.kit.exchange import Exchange
from tests.kit.responses_api import TEXT
from tests.kit.turn import KEY

MODEL = "claude-kit-1"


def message(request: dict[str, Any]) -> dict[str, Any]:
    return {**_opening(request), "content": [{"type": "text", "text": TEXT}], "stop_reason": "end_turn"}


def message_events(request: dict[str, Any]) -> Iterator[bytes]:
    """One of each kind of event that a text has."""
    yield _event("message_start", message=_opening(request))
    yield _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    yield _event("ping")
    for word in TEXT.split(" "):
        delta = {"type": "text_delta", "text": word if word == "Hello" else " " + word}
        yield _event("content_block_delta", index=0, delta=delta)
    yield _event("content_block_stop", index=0)
    yield _event(
        "message_delta",
        delta={"stop_reason": "end_turn", "stop_sequence": None},
        usage={"output_tokens": 5},
    )
    yield _event("message_stop")


def _opening(request: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "msg_kit",
        "type": "message",
        "role": "assistant",
        "model": request.get("model", MODEL),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 5},
    }


def _event(kind: str, **content: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **content})}\n\n".encode()


class AnthropicExchange(Exchange):
    """For `Origin(exchange=...)`."""

    def admitted(self) -> bool:
        return self.seen.values(b"x-api-key") == [KEY] and not self.seen.values(b"authorization")

    def unauthorized(self) -> None:
        given = self.seen.values(b"x-api-key")
        self.fail(
            401, "authentication_error", "invalid x-api-key" if given else "x-api-key header is required"
        )

    def choose(self, path: str) -> Callable[[], None]:
        match self.seen.method, path:
            case b"POST", "/v1/messages":
                return self.do_messages
            case b"POST", "/v1/messages/count_tokens":
                return lambda: self.answer(200, {"input_tokens": 10})
            case b"GET", "/v1/models":
                model = {"type": "model", "id": MODEL, "display_name": "Kit"}
                return lambda: self.answer(200, {"data": [model], "has_more": False})
            case _, "/api/hello":
                return lambda: self.answer(200, {"message": "hello"})
        return lambda: self.fail(404, "not_found_error", "Not Found")

    def do_messages(self) -> None:
        """A message, or its events where `"stream": true`; what lacks a model or messages is a 400."""
        request = self.json()
        if request is None or "messages" not in request or "model" not in request:
            self.fail(400, "invalid_request_error", "messages: Field required")
        elif request.get("stream"):
            self.stream(message_events(request))
        else:
            self.answer(200, message(request))

    def fail(self, status: int, kind: str, text: str) -> None:
        error = {"type": kind, "message": text}
        self.answer(status, {"type": "error", "error": error, "request_id": "req_kit_1"})
