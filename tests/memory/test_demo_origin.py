"""The demo's stand-in for OpenAI: who gets 401, what an error looks like, which events in which order."""

import json
from datetime import UTC, datetime

import h11
import pytest
from cryptography import x509
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from awfproxy.credentials.secret import Secret
from awfproxy.demo.answers import TEXT, WORDS
from awfproxy.demo.certificates import make_identity
from awfproxy.demo.origin import PAUSE, StandInSite


class Conversation:
    """One connection to the stand-in, in memory."""

    def __init__(self, key):
        self.clock = Clock()
        self.transport = StringTransport()
        site = StandInSite(self.clock, Secret(key.encode("ascii")), lambda: 1_800_000_000.0)
        self.protocol = site.buildProtocol(None)
        self.protocol.makeConnection(self.transport)

    def send(self, method, target, key=None, body=None):
        head = f"{method} {target} HTTP/1.1\r\nHost: api.openai.com\r\n"
        if key is not None:
            head += f"Authorization: {key}\r\n"
        body = json.dumps(body).encode("utf-8") if isinstance(body, dict) else body or b""
        self.method = method
        self.protocol.dataReceived(head.encode("ascii") + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def play(self):
        for _ in range(100):
            self.clock.advance(PAUSE)

    def received(self):
        """(response head, content so far, whether the response is complete), as h11 reads it."""
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=self.method, target="/", headers=[("Host", "api.openai.com")]))
        client.send(h11.EndOfMessage())
        client.receive_data(self.transport.value())
        head = client.next_event()
        content, event = b"", client.next_event()
        while isinstance(event, h11.Data):
            content += event.data
            event = client.next_event()
        return head, content, isinstance(event, h11.EndOfMessage)

    def answer(self):
        head, content, complete = self.received()
        assert complete
        return head, json.loads(content)


@pytest.fixture
def conversation(canary):
    conversation = Conversation(canary)
    yield conversation
    conversation.transport.clear()


def fields(head):
    return dict(head.headers)


CALLS = [("GET", "/v1/models"), ("POST", "/v1/responses"), ("POST", "/v1/chat/completions")]


@pytest.mark.parametrize(("method", "target"), CALLS)
@pytest.mark.parametrize("field", [None, "Basic abc", "Bearer", "Bearer  "])
def test_a_request_without_a_bearer_key_is_401_with_code_null(conversation, method, target, field):
    conversation.send(method, target, key=field, body={})
    head, body = conversation.answer()
    assert head.status_code == 401
    assert body["error"]["type"] == "invalid_request_error"
    assert body["error"]["param"] is None
    assert body["error"]["code"] is None
    assert fields(head)[b"www-authenticate"] == b'Basic realm="OpenAI API"'


def test_the_message_for_a_missing_key_is_openai_s(conversation):
    conversation.send("GET", "/v1/models")
    assert conversation.answer()[1]["error"]["message"].startswith(
        "You didn't provide an API key. You need to provide your API key in an Authorization header using "
        "Bearer auth (i.e. Authorization: Bearer YOUR_KEY)"
    )


@pytest.mark.parametrize(("method", "target"), CALLS)
def test_a_wrong_key_is_401_invalid_api_key_and_not_echoed(conversation, method, target):
    conversation.send(method, target, key="Bearer sk-proj-somebodyelse", body={})
    head, body = conversation.answer()
    assert head.status_code == 401
    assert body["error"]["code"] == "invalid_api_key"
    assert body["error"]["message"].startswith("Incorrect API key provided: ")
    assert b"somebodyelse" not in conversation.transport.value()


@pytest.mark.parametrize(("method", "target"), CALLS)
def test_the_right_key_is_answered(conversation, canary, method, target):
    conversation.send(method, target, key=f"Bearer {canary}", body={})
    head, _ = conversation.answer()
    assert head.status_code == 200
    assert fields(head)[b"x-request-id"].startswith(b"req_")
    assert fields(head)[b"content-type"] == b"application/json"


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/"), ("GET", "/v1"), ("GET", "/responses"), ("POST", "/v1/models"), ("GET", "/v1/v1/models")],
)
def test_an_unknown_url_is_404_in_openai_s_shape_with_or_without_a_key(conversation, method, target):
    conversation.send(method, target)
    head, body = conversation.answer()
    assert head.status_code == 404
    assert body["error"]["message"] == f"Invalid URL ({method} {target})"
    assert body["error"]["type"] == "invalid_request_error"


def test_a_query_does_not_change_the_route(conversation, canary):
    conversation.send("GET", "/v1/models?limit=2", key=f"Bearer {canary}")
    assert conversation.answer()[0].status_code == 200


@pytest.mark.parametrize("body", [b"", b'{"model": ', b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_not_a_json_object_is_400(conversation, canary, body):
    conversation.send("POST", "/v1/responses", key=f"Bearer {canary}", body=body)
    head, answer = conversation.answer()
    assert head.status_code == 400
    assert answer["error"]["message"].startswith("We could not parse the JSON body of your request.")


def test_the_key_is_checked_before_the_body(conversation):
    conversation.send("POST", "/v1/responses", body=b"not json")
    assert conversation.answer()[0].status_code == 401


def test_models_are_listed(conversation, canary):
    conversation.send("GET", "/v1/models", key=f"Bearer {canary}")
    body = conversation.answer()[1]
    assert body["object"] == "list"
    assert {model["object"] for model in body["data"]} == {"model"}


def test_a_response_carries_text_model_and_usage(conversation, canary):
    conversation.send("POST", "/v1/responses", key=f"Bearer {canary}", body={"model": "gpt-x", "input": "hi"})
    body = conversation.answer()[1]
    assert (body["object"], body["status"], body["model"]) == ("response", "completed", "gpt-x")
    assert body["created_at"] == 1_800_000_000
    assert body["output"][0]["content"][0]["text"] == TEXT
    assert body["usage"]["total_tokens"] == body["usage"]["input_tokens"] + body["usage"]["output_tokens"]


def events_of(content):
    blocks = content.decode("utf-8").removesuffix("\n\n").split("\n\n")
    events = []
    for block in blocks:
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == "event: " + event["type"]
        events.append(event)
    return events


def test_a_streamed_response_has_the_whole_event_sequence(conversation, canary):
    conversation.send("POST", "/v1/responses", key=f"Bearer {canary}", body={"stream": True})
    conversation.play()
    head, content, complete = conversation.received()
    assert complete
    assert fields(head)[b"content-type"].startswith(b"text/event-stream")
    events = events_of(content)
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * len(WORDS),
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert "".join(event["delta"] for event in events if "delta" in event) == TEXT
    done = events[-1]["response"]
    assert done["status"] == "completed"
    assert done["output"] == [events[-2]["item"]]
    assert done["usage"]["total_tokens"] > 0
    assert events[0]["response"]["usage"] is None
    assert {event["item_id"] for event in events if "item_id" in event} == {events[-2]["item"]["id"]}


def test_events_leave_one_at_a_time(conversation, canary):
    conversation.send("POST", "/v1/responses", key=f"Bearer {canary}", body={"stream": True})
    for count in range(1, 6):
        assert len(events_of(conversation.received()[1])) == count
        conversation.clock.advance(PAUSE)


def test_a_streamed_completion_ends_with_done(conversation, canary):
    conversation.send("POST", "/v1/chat/completions", key=f"Bearer {canary}", body={"stream": True})
    conversation.play()
    _, content, complete = conversation.received()
    assert complete
    blocks = content.decode("utf-8").removesuffix("\n\n").split("\n\n")
    assert blocks.pop() == "data: [DONE]"
    chunks = [json.loads(block.removeprefix("data: ")) for block in blocks]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == TEXT
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert not any("usage" in chunk for chunk in chunks)


def test_a_streamed_completion_gives_usage_where_asked(conversation, canary):
    body = {"stream": True, "stream_options": {"include_usage": True}}
    conversation.send("POST", "/v1/chat/completions", key=f"Bearer {canary}", body=body)
    conversation.play()
    last = conversation.received()[1].decode("utf-8").split("\n\n")[-3]
    chunk = json.loads(last.removeprefix("data: "))
    assert chunk["choices"] == []
    assert chunk["usage"]["total_tokens"] > 0


def test_a_client_that_leaves_stops_the_stream(conversation, canary):
    conversation.send("POST", "/v1/responses", key=f"Bearer {canary}", body={"stream": True})
    assert any(call.func.__name__ == "_next" for call in conversation.clock.getDelayedCalls())
    conversation.protocol.connectionLost(Failure(ConnectionLost()))
    assert not any(call.func.__name__ == "_next" for call in conversation.clock.getDelayedCalls())


def test_the_leaf_is_for_the_host_alone_and_the_authority_for_no_host():
    identity = make_identity("api.openai.com", datetime.now(UTC))
    authority = x509.load_pem_x509_certificate(identity.authority)
    leaf = x509.load_pem_x509_certificate(identity.certificate)
    leaf.verify_directly_issued_by(authority)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["api.openai.com"]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert b"PRIVATE" not in identity.authority
    assert b"PRIVATE" not in identity.certificate
    assert "PRIVATE" not in repr(identity)


def test_each_identity_has_an_authority_of_its_own():
    now = datetime.now(UTC)
    assert make_identity("a.example", now).authority != make_identity("a.example", now).authority
