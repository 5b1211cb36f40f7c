"""Google's origins, Gemini and Vertex: generateContent, whole or streamed, keyed by x-goog-api-key alone."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from tests.kit.exchange import Exchange
from tests.kit.responses_api import TEXT
from tests.kit.turn import KEY

MODEL = "models/gemini-kit-1"
_KEY_PARAMETERS = {"key", "api_key", "apikey", "access_token", "oauth_token"}


def content(text: str, *, last: bool = True) -> dict[str, Any]:
    """One GenerateContentResponse."""
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    whole: dict[str, Any] = {
        "candidates": [candidate | {"finishReason": "STOP"} if last else candidate],
        "modelVersion": "gemini-kit-1",
        "responseId": "kit",
    }
    if last:
        whole["usageMetadata"] = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
    return whole


def content_events() -> Iterator[bytes]:
    words = TEXT.split(" ")
    for number, word in enumerate(words):
        part = content(word if number == 0 else " " + word, last=number == len(words) - 1)
        yield b"data: " + json.dumps(part).encode() + b"\r\n\r\n"


class GeminiExchange(Exchange):
    """For `Origin(exchange=...)`; paths may stand below any version, and below a project as Vertex has it."""

    def admitted(self) -> bool:
        in_query = {name.lower() for name in self.options} & _KEY_PARAMETERS
        return (
            self.seen.values(b"x-goog-api-key") == [KEY]
            and not self.seen.values(b"authorization")
            and not in_query
        )

    def unauthorized(self) -> None:
        """A wrong key is a 400 at Google; none at all, or one in the wrong place, is a 403."""
        if self.seen.values(b"x-goog-api-key") not in ([], [KEY]):
            text = "API key not valid. Please pass a valid API key."
            self.fail(400, "INVALID_ARGUMENT", text, "API_KEY_INVALID")
        else:
            self.fail(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers.")

    def choose(self, path: str) -> Callable[[], None]:
        _, _, action = path.rpartition("/")[2].partition(":")
        match self.seen.method, action:
            case b"POST", "generateContent":
                return self.do_generate
            case b"POST", "streamGenerateContent":
                return self.do_stream
            case b"POST", "countTokens":
                return lambda: self.answer(200, {"totalTokens": 10})
            case b"GET", "" if path.endswith("/models"):
                model = {"name": MODEL, "supportedGenerationMethods": ["generateContent"]}
                return lambda: self.answer(200, {"models": [model]})
            case b"GET", "" if path.endswith("/projects"):
                text = "API keys are not supported by this API."
                return lambda: self.fail(401, "UNAUTHENTICATED", text, "CREDENTIALS_MISSING")
        return lambda: self.fail(404, "NOT_FOUND", "Not Found")

    def do_generate(self) -> None:
        """A text; where JSON is asked for, as gemini-cli's router does, a choice of model."""
        request = self.json() or {}
        wanted = request.get("generationConfig", {}).get("responseMimeType", "")
        choice = {"complexity_reasoning": "kit", "complexity_score": 1}
        self.answer(200, content(json.dumps(choice) if wanted == "application/json" else TEXT))

    def do_stream(self) -> None:
        self.read_body(keep=1 << 24)
        self.stream(content_events())

    def fail(self, status: int, kind: str, text: str, reason: str | None = None) -> None:
        info = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason,
            "domain": "googleapis.com",
        }
        error = {"code": status, "message": text, "status": kind, "details": [info] if reason else []}
        self.answer(status, {"error": error})
