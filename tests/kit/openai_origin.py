"""OpenAI's origin with the Responses API over WebSocket as well."""

from collections.abc import Callable

from tests.kit.origin import Exchange
from tests.kit.responses_socket import ResponsesSocket


class OpenAIExchange(Exchange):
    """For `Origin(exchange=...)`."""

    def choose(self, path: str) -> Callable[[], None]:
        if path == "/v1/responses" and ResponsesSocket.wanted(self):
            return ResponsesSocket(self).serve
        return super().choose(path)
