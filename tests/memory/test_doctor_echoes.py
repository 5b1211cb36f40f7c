"""What the doctor tells of answers to its own requests: nothing of what it sent is in it."""

import json

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from awfproxy.credentials.secret import Secret
from awfproxy.doctor.client import Answer
from awfproxy.doctor.door import Door
from awfproxy.doctor.judge import certificate
from awfproxy.doctor.show import as_json
from awfproxy.doctor.step import State
from awfproxy.doctor.walk import Listener, Stopped, Walk, Wishes
from awfproxy.providers.openai import PROVIDER as OPENAI
from awfproxy.providers.provider import Asked, KeyUse, bearer
from awfproxy.settings.provider import ProviderSettings
from tests.kit.tokens import token

KEY = "sk-proj-Q7f2Kx9ZbTmW4cPvHs8LrJdNyEaGu3Ri5XoBhVqC"
TOKEN = token()
FURTHER = "0123456789abcdef0123456789abcdef"


class Walked(Walk):
    """Every request is answered alike."""

    def __init__(self, answer):
        super().__init__(Clock(), Wishes(), Listener())
        self._answer = answer

    async def _post(self, door, token, target, content):
        return self._answer


def one():
    access = OPENAI.access(Asked())
    (use,) = access.keys
    use = KeyUse(use.variable, use.credential_name, bearer, beside=(FURTHER.encode(),))
    access = type(access)(origin=access.origin, base_path=access.base_path, keys=(use,))
    return ProviderSettings(OPENAI, access, ("tcp:10000",), (Secret(KEY.encode()),))


SENT = {"key": KEY, "token": TOKEN[20:60], "end of it": TOKEN[-30:], "further": FURTHER}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("sent", SENT.values(), ids=SENT)
def test_code_that_quotes_what_was_sent_is_not_shown(sent, streamed):
    content = json.dumps({"error": {"code": sent, "message": sent, "type": sent}}).encode()
    answer = Answer(429, "", "application/json", content, True, 0.1)
    if streamed:
        content = b"event: error\ndata: " + content + b"\n\n"
        answer = Answer(200, "", "text/event-stream", content, True, 0.1)
    walk = Walked(answer)
    ended = []
    walking = walk._ask(one(), [Door("127.0.0.1", 10000)], TOKEN.encode())
    Deferred.fromCoroutine(walking).addBoth(ended.append)
    assert ended[0].check(Stopped)
    step = walk.steps[-1]
    assert (step.name, step.outcome.state) == ("stream" if streamed else "request", State.FAILED)
    assert not any(sent[at : at + 8] in as_json(walk.steps) for at in range(len(sent) - 7))


@pytest.mark.parametrize("issuer", [KEY, f"CA {KEY[20:32]}"])
def test_issuer_that_quotes_the_key_is_not_shown(issuer):
    assert certificate(f"TLSv1.3, issued by {issuer}", one()).said == "The certificate is good."


def test_issuer_is_shown():
    said = certificate("TLSv1.3, issued by Good CA", one()).said
    assert said == "The certificate is good: TLSv1.3, issued by Good CA."
