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
    for event in response_objects(request):
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def response_objects(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events themselves: over WebSocket each is a message of its own."""
    place = {"item_id": "msg_kit", "output_index": 0, "content_index": 0}
    words = [word if number == 0 else " " + word for number, word in enumerate(TEXT.split(" "))]
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": response(request, "in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": _message("in_progress")},
        *({"type": "response.output_text.delta", **place, "delta": word} for word in words),
        {"type": "response.output_item.done", "output_index": 0, "item": _message()},
        {"type": "response.completed", "response": response(request)},
    ]
    yield from ({**event, "sequence_number": number} for number, event in enumerate(events))


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
    words = [word if number == 0 else " " + word for number, word in enumerate(TEXT.split(" "))]
    for delta, finish in [*(({"role": "assistant", "content": word}, None) for word in words), ({}, "stop")]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        yield b"data: " + json.dumps({**base, "choices": [choice]}).encode() + b"\n\n"
    yield b"data: [DONE]\n\n"


def _message(status: str = "completed") -> dict[str, Any]:
    content = [{"type": "output_text", "text": TEXT, "annotations": []}] if status == "completed" else []
    return {"type": "message", "id": "msg_kit", "role": "assistant", "status": status, "content": content}
