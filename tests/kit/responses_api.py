"""OpenAI's answers in the shape that codex and the SDKs read: one short text, whole or as events."""

import json
from collections.abc import Iterator
from typing import Any

TEXT = "Hello from the kit."
MODEL = {"id": "kit-model", "object": "model", "created": 1700000000, "owned_by": "kit"}


def response(request: dict[str, Any], status: str = "completed") -> dict[str, Any]:
    return {
        "id": "resp_kit",
        "object": "response",
        "created_at": 1700000000,
        "status": status,
        "model": request.get("model", "kit-model"),
        "output": [_message()] if status == "completed" else [],
        "usage": {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 15,
        },
    }


def response_events(request: dict[str, Any]) -> Iterator[bytes]:
    place = {"item_id": "msg_kit", "output_index": 0, "content_index": 0}
    yield _event("response.created", response=response(request, "in_progress"))
    yield _event("response.output_item.added", output_index=0, item=_message("in_progress"))
    for word in TEXT.split(" "):
        yield _event("response.output_text.delta", **place, delta=word if word == "Hello" else " " + word)
    yield _event("response.output_item.done", output_index=0, item=_message())
    yield _event("response.completed", response=response(request))


def chat(request: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-kit",
        "object": "chat.completion",
        "created": 1700000000,
        "model": request.get("model", "kit-model"),
        "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def chat_events(request: dict[str, Any]) -> Iterator[bytes]:
    base = {
        "id": "chatcmpl-kit",
        "object": "chat.completion.chunk",
        "model": request.get("model", "kit-model"),
    }
    for word in TEXT.split(" "):
        choice = {"index": 0, "delta": {"content": word + " "}, "finish_reason": None}
        yield b"data: " + json.dumps({**base, "choices": [choice]}).encode() + b"\n\n"
    yield b"data: [DONE]\n\n"


def _message(status: str = "completed") -> dict[str, Any]:
    content = [{"type": "output_text", "text": TEXT, "annotations": []}] if status == "completed" else []
    return {"type": "message", "id": "msg_kit", "role": "assistant", "status": status, "content": content}


def _event(kind: str, **content: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **content})}\n\n".encode()
