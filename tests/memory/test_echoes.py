"""An origin that puts the key wherever an answer has room for text: nothing said of it shows eight bytes.

Of what awfproxy asks itself (the check of the key, which the daemon, `awfproxy check` and the doctor share),
and of what it logs of an agent's request.
"""

import gc
import json

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from awfproxy.credentials.secret import Secret
from awfproxy.credentials.store import CredentialStore, InForce
from awfproxy.doctor import judge
from awfproxy.observe.health import Health
from awfproxy.observe.logs import json_lines, text_lines
from awfproxy.providers.gemini import PROVIDER as GEMINI
from awfproxy.providers.openai import PROVIDER as OPENAI
from awfproxy.providers.provider import Asked
from awfproxy.service.probe import KeyProbe
from awfproxy.service.validator import Policy, Validator
from awfproxy.settings.profile import PROFILES
from awfproxy.settings.provider import ProviderSettings
from awfproxy.settings.values import Probe
from tests.memory.peers import answer, get, handshake
from tests.memory.test_probe import Endpoint

KEY = b"sk-proj-Q7f2Kx9ZbTmW4cPvHs8LrJdNyEaGu3Ri5XoBhVqC"


def error(status, /, **content):
    body = json.dumps({"error": content}).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


K = KEY.decode()
ANSWERS = {
    "reason phrase": b"HTTP/1.1 401 " + KEY + b"\r\nContent-Length: 0\r\n\r\n",
    "status": b"HTTP/1.1 " + KEY + b" OK\r\nContent-Length: 0\r\n\r\n",
    "version": b"HTTP/" + KEY + b" 200 OK\r\n\r\n",
    "no HTTP": KEY + b"\r\n\r\n",
    "field name": b"HTTP/1.1 401 X\r\n" + KEY + b": 1\r\nContent-Length: 0\r\n\r\n",
    "field value": b"HTTP/1.1 401 X\r\nX-Echo: " + KEY + b"\r\nContent-Length: 0\r\n\r\n",
    "no field": b"HTTP/1.1 401 X\r\n" + KEY + b"\r\n\r\n",
    "length": b"HTTP/1.1 401 X\r\nContent-Length: " + KEY + b"\r\n\r\n",
    "lengths": b"HTTP/1.1 401 X\r\nContent-Length: 1\r\nContent-Length: " + KEY + b"\r\n\r\n",
    "coding": b"HTTP/1.1 401 X\r\nTransfer-Encoding: " + KEY + b"\r\n\r\n",
    "chunk size": b"HTTP/1.1 401 X\r\nTransfer-Encoding: chunked\r\n\r\n" + KEY + b"\r\nx",
    "chunk end": b"HTTP/1.1 401 X\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx" + KEY + b"\r\n0\r\n\r\n",
    "trailer": b"HTTP/1.1 401 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: " + KEY + b"\r\n\r\n",
    "interim": b"HTTP/1.1 103 " + KEY + b"\r\nLink: " + KEY + b"\r\n\r\nHTTP/1.1 500 X\r\n\r\n",
    "switch": b"HTTP/1.1 101 " + KEY + b"\r\nUpgrade: " + KEY + b"\r\nConnection: Upgrade\r\n\r\n" + KEY,
    "redirect": b"HTTP/1.1 302 X\r\nLocation: https://x.test/" + KEY + b"\r\nContent-Length: 0\r\n\r\n",
    "challenge": b"HTTP/1.1 401 X\r\nWWW-Authenticate: " + KEY + b"\r\nContent-Length: 0\r\n\r\n",
    "long line": b"HTTP/1.1 401 X\r\nX: " + KEY * 2000 + b"\r\nContent-Length: 0\r\n\r\n",
    "behind the answer": b"HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n" + KEY,
    "body": b"HTTP/1.1 401 X\r\nContent-Length: %d\r\n\r\n%b" % (len(KEY), KEY),
    "cut": b"HTTP/1.1 401 X\r\nContent-Length: 1000\r\n\r\n{" + KEY,
    "until close": b"HTTP/1.1 403 X\r\n\r\n" + KEY,
    "code": error(401, code=K, message=K, type=K),
    "code with words": error(401, code=f"invalid {K}", message=K),
    "type": error(403, code=None, message=K, type=K),
    "status of Google's": error(400, code=400, message=K, status=K),
    "reason of Google's": error(400, details=[{"reason": K}], message=K, status="UNAUTHENTICATED"),
    "part": error(401, code=f"key.{K[20:32]}", message=K),
    "end": error(429, code=f"limit-{K[-12:]}", message=K),
    "restricted": error(401, code=K[8:40], message=f"missing scopes {K}"),
    "overloaded": error(503, code=K, message=K),
    "unknown": error(418, code=K[9:], message=K),
}  # fmt: skip


class Checked:
    """One check of the key, told to all who hear of it."""

    def __init__(self, provider, answer, end):
        clock, endpoint = Clock(), Endpoint()
        access = provider.access(Asked())
        keys = (Secret(KEY),)
        probe = KeyProbe(clock, endpoint, provider, access, CredentialStore({provider.name: InForce(keys)}))
        policy = Policy(Probe.REQUIRE, 0.0, 0.0, provider, access.origin)
        self.health = Health(lambda: 0.0, True)
        self.events, self.attempts = [], []

        async def attempt(limit):
            self.attempts.append(await probe.attempt(limit))
            return self.attempts[-1]

        lines = [text_lines(), json_lines()]

        def observe(event):
            self.events += [line(event) or "" for line in lines]

        globalLogPublisher.addObserver(observe)
        try:
            self.decided = []
            validator = Validator(clock, policy, self.health, attempt)
            running = Deferred.fromCoroutine(validator.validate()).addBoth(self.decided.append)
            endpoint.open()
            assert KEY in endpoint.transport.value()
            endpoint.protocol.dataReceived(answer)
            endpoint.protocol.connectionLost(Failure(end))
            clock.advance(60)
            del running
            gc.collect()  # where nobody has looked at a Deferred's failure, it is logged now
        finally:
            globalLogPublisher.removeObserver(observe)
        self.one = ProviderSettings(provider, access, ("tcp:10000",), keys)

    def said(self):
        (attempt,) = self.attempts
        health = self.health
        told = [*self.events, repr(self.decided), str(attempt), repr(attempt), str(health.reason())]
        told += [repr(health.verdict), repr(health.egress_error), repr(judge.attempt(attempt, self.one))]
        return "\n".join(told)


@pytest.mark.parametrize("end", [ConnectionDone(), ConnectionLost()], ids=["in order", "lost"])
@pytest.mark.parametrize("provider", [OPENAI, GEMINI], ids=["openai", "gemini"])
@pytest.mark.parametrize("where", ANSWERS)
def test_nothing_said_of_the_check_of_a_key_shows_it(where, provider, end):
    said = Checked(provider, ANSWERS[where], end).said()
    assert [K[at : at + 8] for at in range(8, len(K) - 7) if K[at : at + 8] in said] == []


IDS = {
    "request id": answer(b"ok", b"X-Request-Id: " + KEY),
    "the other request id": answer(b"ok", b"Request-Id: a " + KEY + b" b"),
    "request id that is cut": answer(b"ok", b"X-Request-Id: " + b"x" * 100 + KEY),
}


@pytest.mark.parametrize("guard", [True, False], ids=["guard on", "guard off"])
@pytest.mark.parametrize("profile", [PROFILES["default"], PROFILES["gh-aw"]], ids=["default", "gh-aw"])
@pytest.mark.parametrize("where", [*ANSWERS, *IDS])
def test_nothing_logged_of_an_agents_request_shows_the_key(build, where, profile, guard):
    """With the guard off the agent gets what the origin says, and the log does not."""
    written = []
    lines = [text_lines(), json_lines()]

    def observe(event):
        written.extend(line(event) or "" for line in lines)

    globalLogPublisher.addObserver(observe)
    try:
        house = build(key=K, leak_guard=guard, profile=profile)
        for request in get(), handshake():
            client = house.client()
            client.deliver(request)
            house.origins[-1].deliver((ANSWERS | IDS)[where])
            house.origins[-1].finish()
            client.finish()
        gc.collect()
    finally:
        globalLogPublisher.removeObserver(observe)
    assert len(house.lines) == 2
    text = "".join(written)
    assert "request_complete" in text
    assert [K[at : at + 8] for at in range(8, len(K) - 7) if K[at : at + 8] in text] == []
