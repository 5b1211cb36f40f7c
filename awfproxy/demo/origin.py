# mypy: untyped-calls-exclude=twisted
"""The stand-in for api.openai.com: a stock twisted.web server over TLS on the loopback interface.

It is the demo's far end and not awfproxy's own data path, so what `twisted.web` costs (bodies read whole,
for one) does no harm here. It knows one key and refuses what lacks it, which is what makes the demo a proof:
an answer can only have come by way of the injector.
"""

import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import attrs
from OpenSSL.crypto import FILETYPE_PEM, load_certificate, load_privatekey
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReactorSSL, IReactorTime
from twisted.internet.ssl import CertificateOptions
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from awfproxy.credentials.secret import Secret
from awfproxy.demo import answers
from awfproxy.demo.answers import Json, Refusal, Turn
from awfproxy.demo.certificates import ServerIdentity

PAUSE = 0.12
"""Seconds between two events: long enough for the eye to see that the answer streams."""

_LARGEST_BODY = 32 * 1024 * 1024


@attrs.frozen
class _Endpoint:
    """One call of the API that takes a JSON body."""

    whole: Callable[[Turn], Json]
    events: Callable[[Turn], Iterator[bytes]]
    no_key: Refusal


_ENDPOINTS = {
    b"/v1/responses": _Endpoint(answers.response, answers.response_events, answers.NO_KEY_FOR_RESPONSES),
    b"/v1/chat/completions": _Endpoint(answers.completion, answers.completion_events, answers.NO_KEY),
}


class OpenAIStandIn(Resource):
    """Every path of the API; the order of the checks is the real one's: URL, key, body."""

    isLeaf = True

    def __init__(self, reactor: IReactorTime, key: Secret, wall_clock: Callable[[], float]) -> None:
        Resource.__init__(self)
        self._reactor = reactor
        self._key = key
        self._wall_clock = wall_clock

    def render(self, request: Request) -> int:
        request.setHeader(b"x-request-id", f"req_{secrets.token_hex(16)}".encode("ascii"))
        request.setHeader(b"openai-version", b"2020-10-01")
        method, path = request.method, request.uri.partition(b"?")[0]
        endpoint = _ENDPOINTS.get(path)
        if path == b"/v1/models" and method in (b"GET", b"HEAD"):
            refusal = self._check_key(request, answers.NO_KEY)
            _send_json(request, refusal or answers.models())
        elif endpoint is not None and method == b"POST":
            self._answer(request, endpoint)
        else:
            _send_json(request, answers.unknown_url(method.decode("latin-1"), path.decode("latin-1")))
        return NOT_DONE_YET

    def _answer(self, request: Request, endpoint: _Endpoint) -> None:
        refusal = self._check_key(request, endpoint.no_key)
        if refusal is not None:
            _send_json(request, refusal)
            return
        body = _read_json(request)
        if isinstance(body, Refusal):
            _send_json(request, body)
            return
        turn = Turn.of(body, secrets.token_hex(16), int(self._wall_clock()))
        if body.get("stream") is True:
            _Stream(self._reactor, request, endpoint.events(turn)).start()
        else:
            _send_json(request, endpoint.whole(turn))

    def _check_key(self, request: Request, no_key: Refusal) -> Refusal | None:
        values = request.requestHeaders.getRawHeaders(b"authorization") or []
        scheme, _, key = values[0].partition(b" ") if values else (b"", b"", b"")
        if scheme.lower() != b"bearer" or not key.strip():
            return no_key
        if len(values) != 1 or Secret(key.strip()) != self._key:
            return answers.WRONG_KEY
        return None


class _Stream:
    """Writes one event after the other, with a pause before each; ends when the client leaves."""

    def __init__(self, reactor: IReactorTime, request: Request, events: Iterator[bytes]) -> None:
        self._reactor = reactor
        self._request = request
        self._events = events
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        self._request.setHeader(b"content-type", b"text/event-stream; charset=utf-8")
        self._request.setHeader(b"cache-control", b"no-cache")
        self._request.notifyFinish().addErrback(self._left)
        self._next()

    def _next(self) -> None:
        self._timer = None
        event = next(self._events, None)
        if event is None:
            self._request.finish()
            return
        self._request.write(event)
        self._timer = self._reactor.callLater(PAUSE, self._next)

    def _left(self, reason: Failure) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _read_json(request: Request) -> dict[str, Any] | Refusal:
    text = request.content.read(_LARGEST_BODY + 1) if request.content is not None else b""
    if len(text) > _LARGEST_BODY:
        return answers.TOO_LARGE
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return answers.NOT_JSON
    return body if isinstance(body, dict) else answers.NOT_JSON


def _send_json(request: Request, answer: Json | Refusal) -> None:
    if isinstance(answer, Refusal):
        request.setResponseCode(answer.status)
        if answer.status == 401:
            request.setHeader(b"www-authenticate", b'Basic realm="OpenAI API"')
        answer = answer.body()
    content = answers.encode(answer)
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"content-length", str(len(content)).encode("ascii"))
    request.write(content)
    request.finish()


class StandInSite(Site):
    """Serves `OpenAIStandIn`, without an access log of its own: awfproxy's is the one to watch."""

    noisy = False

    def __init__(self, reactor: IReactorTime, key: Secret, wall_clock: Callable[[], float]) -> None:
        resource = OpenAIStandIn(reactor, key, wall_clock)
        Site.__init__(self, resource, reactor=reactor, parsePOSTFormSubmission=False)

    def log(self, request: Request) -> None:
        pass


def listen(reactor: IReactorSSL, site: StandInSite, identity: ServerIdentity) -> IListeningPort:
    """Serve `site` over TLS on a free port of 127.0.0.1."""
    options = CertificateOptions(
        privateKey=load_privatekey(FILETYPE_PEM, identity.key),
        certificate=load_certificate(FILETYPE_PEM, identity.certificate),
        acceptableProtocols=[b"http/1.1"],
    )
    port: IListeningPort = reactor.listenSSL(0, site, options, interface="127.0.0.1")
    return port
