"""`Exchange`: one request of OpenAI's API, from its head to what is chosen as its answer."""

from collections.abc import Callable
from urllib.parse import parse_qsl

from tests.kit import responses_api, websocket
from tests.kit.cuts import Cuts
from tests.kit.reader import Closed, parse_fields
from tests.kit.turn import KEY, PATIENCE, Seen


class Exchange(Cuts):
    """One request and what is answered; `run` says whether the connection goes on.

    The other providers' origins derive from it: `admitted`, `unauthorized` and `choose` are theirs.
    """

    def run(self) -> bool:
        raw = self._raw = self.reader.until(b"\r\n\r\n")
        self._sock.settimeout(PATIENCE)
        head = raw.replace(self.origin.key, KEY)
        start, *lines = head[:-4].split(b"\r\n")
        method, target, version = start.split(b" ", 2)
        self.seen = Seen(self._connection, head, method, target, parse_fields(lines))
        self.origin.note(self.seen)
        if version == b"HTTP/1.0" or b"close" in b",".join(self.seen.values(b"connection")).lower():
            self.keep = False
        path, _, query = target.partition(b"?")
        self.options = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
        try:
            (self.choose(path.decode("latin-1")) if self.admitted() else self.unauthorized)()
        except (Closed, OSError):
            self.seen.ended = "left"
            self.origin.note()
            return False
        self.seen.ended = "answered"
        self.origin.note()
        return self.keep

    def admitted(self) -> bool:
        """Whether the right key is in the right field, once."""
        return self.seen.values(b"authorization") == [b"Bearer " + KEY]

    def choose(self, path: str) -> Callable[[], None]:
        if path.startswith("/v1/kit/"):
            return getattr(self, "do_" + path.removeprefix("/v1/kit/").split("/")[0].replace("-", "_"))
        if path == "/v1/models" and self.origin.models_answer is not None:
            answer = self.origin.models_answer
            return lambda: answer(self)
        if path == "/v1/models":
            return lambda: self.answer(200, {"object": "list", "data": [responses_api.MODEL]})
        if path == "/v1/responses" and self.origin.model_answer is not None:
            answer = self.origin.model_answer
            return lambda: answer(self)
        if path in ("/v1/responses", "/v1/chat/completions") and self.seen.method == b"POST":
            return self.do_model
        if path == "/v1/responses" and self.seen.values(b"upgrade"):
            return self.do_responses_socket
        return self.do_echo

    def unauthorized(self) -> None:
        """As OpenAI says it: the last four characters of a wrong key are in the message."""
        given = b"".join(self.seen.values(b"authorization")).removeprefix(b"Bearer ").decode("latin-1")
        if not given:
            self.error(401, None, "Missing bearer authentication in header")
            return
        shown = given[:8] + "*" * 20 + given[-4:]
        where = "You can find your API key at https://platform.openai.com/account/api-keys."
        self.error(401, "invalid_api_key", f"Incorrect API key provided: {shown}. {where}")

    def do_model(self) -> None:
        """/v1/responses and /v1/chat/completions: JSON, or SSE where `"stream": true`."""
        request = self.json()
        if request is None:
            self.error(400, None, "We could not parse the JSON body of your request.")
            return
        chat = self.seen.target.partition(b"?")[0].endswith(b"completions")
        make = responses_api.chat if chat else responses_api.response
        if not request.get("stream"):
            self.answer(200, make(request))
            return
        events = responses_api.chat_events(request) if chat else responses_api.response_events(request)
        self.stream(events)

    def do_responses_socket(self) -> None:
        """The Responses API over WebSocket."""
        self.options["do"] = "responses"
        self.do_ws()

    def do_ws(self) -> None:
        """A WebSocket, after a step; see `tests.kit.websocket`."""
        self.step()
        websocket.serve(self, self._raw, self._sock, self.reader)
