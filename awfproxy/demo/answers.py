"""What the stand-in for OpenAI says, as pure functions: JSON bodies, event sequences, errors.

The shapes are those that the openai SDK and codex parse: https://platform.openai.com/docs/api-reference
(models, responses, responses streaming, chat completions). The words are always the same.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

Json = dict[str, Any]

MODELS = ("gpt-6.1-sol", "gpt-5", "gpt-5-mini")

WORDS = (
    "Hello from ",
    "the awfproxy demo. ",
    "You hold no key ",
    "that I would take; ",
    "awfproxy put mine ",
    "into your request, ",
    "and sent it through ",
    "the egress proxy ",
    "over verified TLS.",
)
TEXT = "".join(WORDS)

_INPUT_TOKENS = 12
_OUTPUT_TOKENS = 2 * len(WORDS)


@attrs.frozen
class Turn:
    """What an answer depends on: its identity, its time, and the request's own wishes."""

    token: str
    created: int
    model: str
    include_usage: bool = False

    @classmethod
    def of(cls, body: Mapping[str, Any], token: str, created: int) -> "Turn":
        model = body.get("model")
        options = body.get("stream_options")
        return cls(
            token=token,
            created=created,
            model=model if isinstance(model, str) and model else MODELS[0],
            include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        )


@attrs.frozen
class Refusal:
    """An error answer in OpenAI's shape."""

    status: int
    message: str
    code: str | None = None
    kind: str = "invalid_request_error"

    def body(self) -> Json:
        return {"error": {"message": self.message, "type": self.kind, "param": None, "code": self.code}}


NO_KEY = Refusal(
    401,
    "You didn't provide an API key. You need to provide your API key in an Authorization header using "
    "Bearer auth (i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if "
    "you're accessing the API from your browser and are prompted for a username and password. You can "
    "obtain an API key from "
    "https://platform.openai.com/account/api-keys.",
)
NO_KEY_FOR_RESPONSES = Refusal(401, "Missing bearer or basic authentication in header")
WRONG_KEY = Refusal(
    401,
    # The real one shows the key's ends here; ours shows none of it.
    "Incorrect API key provided: ********. You can find your API key at "
    "https://platform.openai.com/account/api-keys.",
    code="invalid_api_key",
)
NOT_JSON = Refusal(
    400,
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
    "library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If you "
    "have trouble figuring out how to fix this, please contact us through our help center at "
    "help.openai.com.)",
)
TOO_LARGE = Refusal(413, "Maximum content size limit exceeded.")


def unknown_url(method: str, path: str) -> Refusal:
    return Refusal(404, f"Invalid URL ({method} {path})")


def encode(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


# --- models --------------------------------------------------------------------------------------


def models() -> Json:
    listed = [{"id": name, "object": "model", "created": 1754425777, "owned_by": "system"} for name in MODELS]
    return {"object": "list", "data": listed}


# --- responses -----------------------------------------------------------------------------------


def response(turn: Turn) -> Json:
    """The finished Response object."""
    return _response(turn, "completed", [_message(turn, "completed", [_part(TEXT)])], _response_usage())


def response_events(turn: Turn) -> Iterator[bytes]:
    """The event stream of one Response, from `response.created` to `response.completed`."""
    for number, event in enumerate(_response_events(turn)):
        event["sequence_number"] = number
        yield b"event: " + event["type"].encode("ascii") + b"\ndata: " + encode(event) + b"\n\n"


def _response_events(turn: Turn) -> Iterator[Json]:
    begun = _response(turn, "in_progress", [], None)
    item = _message(turn, "completed", [_part(TEXT)])
    place: Json = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    yield {
        "type": "response.output_item.added",
        "output_index": 0,
        "item": _message(turn, "in_progress", []),
    }
    yield {"type": "response.content_part.added", **place, "part": _part("")}
    for word in WORDS:
        yield {"type": "response.output_text.delta", **place, "delta": word, "logprobs": []}
    yield {"type": "response.output_text.done", **place, "text": TEXT, "logprobs": []}
    yield {"type": "response.content_part.done", **place, "part": _part(TEXT)}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    yield {"type": "response.completed", "response": response(turn)}


def _response(turn: Turn, status: str, output: list[Json], usage: Json | None) -> Json:
    return {
        "id": f"resp_{turn.token}",
        "object": "response",
        "created_at": turn.created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": turn.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage,
        "user": None,
    }


def _message(turn: Turn, status: str, content: list[Json]) -> Json:
    return {
        "id": f"msg_{turn.token}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _response_usage() -> Json:
    return {
        "input_tokens": _INPUT_TOKENS,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": _OUTPUT_TOKENS,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": _INPUT_TOKENS + _OUTPUT_TOKENS,
    }


# --- chat completions ----------------------------------------------------------------------------


def completion(turn: Turn) -> Json:
    """The finished chat completion."""
    message: Json = {"role": "assistant", "content": TEXT, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return {**_completion(turn, "chat.completion", [choice]), "usage": _completion_usage()}


def completion_events(turn: Turn) -> Iterator[bytes]:
    """The event stream of one chat completion, up to `[DONE]`."""
    for chunk in _completion_chunks(turn):
        yield b"data: " + encode(chunk) + b"\n\n"
    yield b"data: [DONE]\n\n"


def _completion_chunks(turn: Turn) -> Iterator[Json]:
    deltas: list[tuple[Json, str | None]] = [({"role": "assistant", "content": "", "refusal": None}, None)]
    deltas += [({"content": word}, None) for word in WORDS]
    deltas.append(({}, "stop"))
    usage: Json = {"usage": None} if turn.include_usage else {}
    for delta, finish in deltas:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        yield {**_completion(turn, "chat.completion.chunk", [choice]), **usage}
    if turn.include_usage:
        yield {**_completion(turn, "chat.completion.chunk", []), "usage": _completion_usage()}


def _completion(turn: Turn, kind: str, choices: list[Json]) -> Json:
    return {
        "id": f"chatcmpl-{turn.token}",
        "object": kind,
        "created": turn.created,
        "model": turn.model,
        "choices": choices,
        "service_tier": "default",
    }


def _completion_usage() -> Json:
    return {
        "prompt_tokens": _INPUT_TOKENS,
        "completion_tokens": _OUTPUT_TOKENS,
        "total_tokens": _INPUT_TOKENS + _OUTPUT_TOKENS,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }
