"""An origin that repeats the key it was sent: whatever way it takes, the client gets stars, and it counts."""

import json

import pytest
from twisted.logger import globalLogPublisher

from awfproxy.credentials.secret import Secret
from awfproxy.credentials.store import InForce
from awfproxy.providers.copilot import PROVIDER as COPILOT
from awfproxy.providers.provider import Asked
from tests.memory.peers import SWITCHED, answer, chunk, get, handshake

KEY = b"sk-proj-Q7f2Kx9ZbTmW4cPvHs8LrJdNyEaGu3Ri5XoBhVqC"
STARS = b"*" * len(KEY)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
AREA = "Hostile origins"
MASKED = "the client got stars of the same length; counted"


@pytest.fixture
def house(build):
    return build(key=KEY.decode("ascii"))


@pytest.fixture
def warnings():
    """The events that say that something was masked."""
    seen = []

    def observe(event):
        if event.get("event") == "leak_masked":
            seen.append(event)

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


def asked(house, request=None):
    """A client that has asked, and the origin that was sent the key."""
    client = house.client()
    client.deliver(request or get())
    origin = house.origins[-1]
    assert KEY in origin.clear()
    return client, origin


def content(received):
    """What is in the chunks of a response, however they were cut; the last chunk has to be there."""
    rest, found = received.partition(b"\r\n\r\n")[2], b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        octets = int(size, 16)
        if not octets:
            return found
        found += rest[:octets]
        assert rest[octets : octets + 2] == b"\r\n"
        rest = rest[octets + 2 :]


def counted(house, times):
    """The one line and the counters say so many, or nothing at all."""
    assert house.line.get("leaks_masked", 0) == times
    assert house.metrics.leaks_masked == times


# --- heads ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "response"),
    [
        ("field value", answer(b"ok", b"X-Echo: Bearer " + KEY)),
        ("field name", answer(b"ok", b"X-" + KEY + b": 1")),
        ("reason phrase", answer(b"ok", status=b"200 Hello " + KEY)),
        ("redirect", answer(b"", b"Location: https://x.test/?key=" + KEY, status=b"302 Found")),
    ],
)
def test_a_head_with_the_key_in_it_is_masked(house, outcome, where, response):
    client, origin = asked(house)
    at = len(response) // 2
    origin.deliver(response[:at], response[at:])
    assert KEY not in client.received
    head = client.received.partition(b"\r\nawfproxy-request-id")[0]
    assert response.replace(KEY, STARS).startswith(head)
    counted(house, 1)
    outcome(AREA, f"leak: {where}", MASKED)


def test_a_1xx_with_the_key_in_it_is_masked(house, outcome):
    client, origin = asked(house)
    origin.deliver(b"HTTP/1.1 103 Early Hints\r\nLink: </" + KEY + b">\r\n\r\n" + answer(b"ok"))
    assert client.received.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </" + STARS + b">\r\n\r\n")
    counted(house, 1)
    outcome(AREA, "leak: 1xx", MASKED)


def test_the_key_in_a_request_id_of_the_origins_is_not_logged(house):
    client, origin = asked(house)
    origin.deliver(answer(b"ok", b"X-Request-Id: " + KEY))
    assert house.line["provider_request_id"] == STARS.decode("ascii")
    assert KEY not in client.received


def test_a_key_of_digits_does_not_touch_the_length(build):
    house = build(key="1000000000")
    client = house.client()
    client.deliver(get(method=b"HEAD"))
    house.origin.deliver(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\nX: 1000000000\r\n\r\n")
    assert b"\r\nContent-Length: 1000000000\r\nX: **********\r\n" in client.received


# --- bodies ---------------------------------------------------------------------------------------------


def test_a_body_of_known_length_is_masked(house, outcome):
    client, origin = asked(house)
    origin.deliver(answer(b'{"a":"' + KEY + b'"}'))
    assert client.received.endswith(b'\r\n\r\n{"a":"' + STARS + b'"}')
    counted(house, 1)
    outcome(AREA, "leak: body of known length", MASKED)


def test_a_key_at_the_very_end_of_a_body_of_known_length_is_masked(house):
    client, origin = asked(house)
    origin.deliver(answer(KEY)[:-10], KEY[-10:])
    assert client.received.endswith(b"\r\n\r\n" + STARS)
    counted(house, 1)


@pytest.mark.parametrize("at", range(len(KEY) + 1))
def test_a_key_split_over_two_chunks_is_masked_wherever_it_is_split(house, outcome, at):
    client, origin = asked(house)
    pieces = [b"a " + KEY[:at], KEY[at:] + b" b"]
    origin.deliver(CHUNKED, *map(chunk, pieces), b"0\r\n\r\n")
    seen = at if at < 8 else 0
    assert content(client.received) == b"a " + KEY[:seen] + STARS[seen:] + b" b"
    counted(house, 1)
    if at < 8:
        outcome(AREA, "leak: split in its first eight bytes", "what had left stays, the rest is masked")
    else:
        outcome(AREA, "leak: split over two chunks", MASKED)


def test_a_key_split_over_chunks_in_one_read_is_masked_whole(house):
    client, origin = asked(house)
    origin.deliver(CHUNKED + b"".join(chunk(KEY[at : at + 1]) for at in range(len(KEY))) + b"0\r\n\r\n")
    assert content(client.received) == STARS
    counted(house, 1)


@pytest.mark.parametrize("head", [CHUNKED, UNTIL_CLOSE])
def test_a_key_byte_by_byte_shows_seven_of_them(house, outcome, head):
    client, origin = asked(house)
    origin.deliver(head)
    for at in range(len(KEY)):
        piece = KEY[at : at + 1]
        origin.deliver(chunk(piece) if head is CHUNKED else piece)
    if head is CHUNKED:
        origin.deliver(b"0\r\n\r\n")
    else:
        origin.finish()
    assert content(client.received) == KEY[:7] + STARS[7:]
    counted(house, 1)
    outcome(AREA, "leak: byte by byte", "the first seven bytes left, the rest is masked")


def test_a_body_until_close_is_masked_for_a_client_of_http_1_0(house):
    client, origin = asked(house, get(version=b"1.0"))
    origin.deliver(UNTIL_CLOSE + b"a " + KEY[:30], KEY[30:])
    origin.finish()
    assert client.received.endswith(b"\r\n\r\na " + STARS)
    assert client.ended
    counted(house, 1)


def test_every_occurrence_is_masked_and_counted(house, warnings):
    client, origin = asked(house)
    origin.deliver(answer(KEY + KEY + b" " + KEY, b"X-Echo: " + KEY))
    assert KEY not in client.received
    counted(house, 4)
    (warning,) = warnings
    assert (warning["times"], warning["provider"], warning["path"]) == (4, "openai", "/v1/models")


def test_trailers_are_masked(house, outcome):
    client, origin = asked(house)
    origin.deliver(CHUNKED + chunk(b"x") + b"0\r\nX-Sum: " + KEY + b"\r\n\r\n")
    assert client.received.endswith(b"\r\n0\r\nX-Sum: " + STARS + b"\r\n\r\n")
    counted(house, 1)
    outcome(AREA, "leak: trailers", MASKED)


# --- what is held back, and for how long --------------------------------------------------------------------


@pytest.mark.parametrize("octets", range(1, 8))
def test_less_than_eight_bytes_of_a_key_leave_as_they_arrive(house, octets):
    client, origin = asked(house)
    origin.deliver(CHUNKED, chunk(b"a " + KEY[:octets]))
    assert client.received.endswith(chunk(b"a " + KEY[:octets]))


def test_eight_bytes_of_a_key_are_held_until_the_next_piece_tells(house):
    client, origin = asked(house)
    origin.deliver(CHUNKED, chunk(b"a " + KEY[:8]))
    assert client.received.endswith(b"\r\n\r\n" + chunk(b"a "))
    origin.deliver(chunk(b" is how keys begin"))
    assert client.received.endswith(chunk(KEY[:8] + b" is how keys begin"))


def test_a_piece_that_is_held_whole_ends_no_body(house):
    """An empty chunk would."""
    client, origin = asked(house)
    origin.deliver(CHUNKED, chunk(KEY[:20]))
    assert client.received.endswith(b"\r\n\r\n")
    assert b"\r\n0\r\n" not in client.received
    origin.deliver(b"0\r\n\r\n")
    assert content(client.received) == KEY[:20]
    assert house.outcomes == ["completed"]
    counted(house, 0)


@pytest.mark.parametrize("event", [b"data: keys begin with sk-proj-\n\n", b'data: {"a":"sk-proj-Q7"}\n\n'])
def test_an_event_about_keys_is_not_held(house, event):
    client, origin = asked(house)
    origin.deliver(SSE, chunk(event))
    assert client.received.endswith(chunk(event))


def test_what_is_held_when_the_origin_cuts_its_answer_never_leaves(house, outcome):
    client, origin = asked(house)
    origin.deliver(answer(b"x" * 100)[:-90] + KEY[:20])
    origin.reset()
    assert KEY[:8] not in client.received
    assert client.aborted
    assert house.outcomes == ["upstream_truncated"]
    outcome(AREA, "leak: cut within the key", "what was held is dropped, connection reset")


# --- WebSocket ------------------------------------------------------------------------------------------


@pytest.fixture
def joined(house):
    """A tunnel that stands."""
    client, origin = asked(house, handshake())
    origin.deliver(SWITCHED)
    client.clear()
    return house, client, origin


def frame(text):
    """A text message of a server's (RFC 6455 5.2)."""
    return bytes((0x81, len(text))) + text


def test_a_101_with_the_key_in_it_is_masked(house, outcome):
    client, origin = asked(house, handshake())
    origin.deliver(SWITCHED[:-2] + b"X-Echo: " + KEY + b"\r\n\r\n")
    assert b"\r\nX-Echo: " + STARS + b"\r\n" in client.received
    client.reset()
    counted(house, 1)
    outcome(AREA, "leak: 101", MASKED)


def test_a_message_with_the_key_in_it_is_masked(joined, outcome, warnings):
    house, client, origin = joined
    message = frame(b'{"echo":"' + KEY + b'"}')
    origin.deliver(message, message[:30], message[30:], message[:13], message[13:])
    assert client.received == message.replace(KEY, STARS) * 2 + (
        message[:13] + STARS[2:] + b'"}'
    )
    origin.finish()
    client.finish()
    counted(house, 3)
    assert [warning["times"] for warning in warnings] == [3]
    outcome(AREA, "leak: WebSocket message", MASKED)


def test_a_handshake_whose_first_message_comes_along_is_masked(house):
    client, origin = asked(house, handshake())
    origin.deliver(SWITCHED + frame(KEY))
    assert client.received.endswith(frame(STARS))


@pytest.mark.parametrize("end", ["finish", "client finishes first", "lost in order"])
def test_what_is_held_of_a_websocket_leaves_at_the_origins_end(joined, end):
    _, client, origin = joined
    if end == "client finishes first":
        client.finish()
    origin.deliver(frame(KEY[:20]))
    assert client.received == frame(KEY[:20])[:2]
    if end == "lost in order":
        origin.loseConnection()
        origin.loop.settle()
    else:
        origin.finish()
    assert client.received == frame(KEY[:20])
    assert client.ended


def test_messages_of_the_clients_pass_as_they_are(joined):
    _, client, origin = joined
    client.deliver(KEY)
    assert origin.received == KEY


# --- a further credential beside the key ------------------------------------------------------------------

FURTHER = b"0123456789abcdef0123456789abcdef"
HIDDEN = b"*" * len(FURTHER)


@pytest.fixture
def gateway(build):
    """An origin that wants a credential of its own beside the key, as AWF_BYOK_EXTRA_HEADERS has it."""
    extra = {"Ocp-Apim-Subscription-Key": FURTHER.decode("ascii"), "HTTP-Referer": "https://a.example/agent"}
    environ = {"COPILOT_PROVIDER_API_KEY": "-", "COPILOT_PROVIDER_BASE_URL": "https://a.example",
               "AWF_BYOK_EXTRA_HEADERS": json.dumps(extra)}  # fmt: skip
    access = COPILOT.access(Asked(environ))

    def make(**more):
        return build(key=KEY.decode("ascii"), access=access, **more)

    return make


def test_a_further_credential_is_masked_wherever_the_key_would_be(gateway, outcome):
    house = gateway()
    client = house.client()
    client.deliver(get())
    origin = house.origins[-1]
    assert b"\r\nOcp-Apim-Subscription-Key: " + FURTHER + b"\r\n" in origin.received
    both = FURTHER + b" " + KEY
    origin.deliver(
        b"HTTP/1.1 103 Early Hints\r\nLink: </" + both + b">\r\n\r\n",
        b"HTTP/1.1 200 Hello " + both + b"\r\nX-Echo: " + both + b"\r\nX-Request-Id: " + FURTHER
        + b"\r\nTransfer-Encoding: chunked\r\n\r\n",
        chunk(b"a " + FURTHER[:20]), chunk(FURTHER[20:] + KEY[:20]), chunk(KEY[20:] + b" b"),
        chunk(b"https://a.example/agent"), b"0\r\nX-Sum: " + FURTHER + b"\r\n\r\n",
    )  # fmt: skip
    assert FURTHER not in client.received
    assert KEY not in client.received
    masked = HIDDEN + b" " + STARS
    for said in b"Link: </" + masked + b">", b"HTTP/1.1 200 Hello " + masked, b"X-Echo: " + masked:
        assert said in client.received
    body = client.received.partition(b"chunked\r\n")[2]
    assert content(body.replace(b"\r\nX-Sum: " + HIDDEN, b"")) == (
        b"a " + HIDDEN + STARS + b" bhttps://a.example/agent"
    )
    assert b"\r\n0\r\nX-Sum: " + HIDDEN + b"\r\n\r\n" in client.received
    assert house.line["provider_request_id"] == HIDDEN.decode()
    counted(house, 10)
    outcome(AREA, "leak: a credential beside the key", MASKED)


def test_what_is_held_of_two_credentials_leaves_at_the_end(gateway):
    house = gateway()
    client, origin = asked(house)
    origin.deliver(CHUNKED, chunk(FURTHER[:20]), chunk(KEY[:20]))
    assert client.received.endswith(b"\r\n\r\n")
    origin.deliver(b"0\r\n\r\n")
    assert content(client.received) == FURTHER[:20] + KEY[:20]
    counted(house, 0)


def test_a_further_credential_in_a_websocket_is_masked(gateway):
    house = gateway()
    client, origin = asked(house, handshake())
    origin.deliver(SWITCHED[:-2] + b"X-Echo: " + FURTHER + b"\r\n\r\n")
    origin.deliver(frame(FURTHER), frame(KEY)[:30], frame(KEY)[30:])
    assert b"\r\nX-Echo: " + HIDDEN + b"\r\n" in client.received
    assert client.received.endswith(frame(HIDDEN) + frame(STARS))
    client.reset()
    counted(house, 3)


def test_off_is_off_for_a_further_credential_and_the_log_shows_none(gateway):
    house = gateway(leak_guard=False)
    client, origin = asked(house)
    origin.deliver(answer(FURTHER + KEY, b"X-Request-Id: " + FURTHER + KEY))
    assert client.received.endswith(FURTHER + KEY)
    assert house.line["provider_request_id"] == (HIDDEN + STARS).decode()
    counted(house, 0)


# --- which key, and whether at all ------------------------------------------------------------------------


def test_it_is_the_key_that_was_sent_whatever_a_reload_has_put_in_force_since(house, outcome):
    client, origin = asked(house)
    other = b"sk-proj-" + b"0" * 30
    house.forwarding.credentials.replace({"openai": InForce((Secret(other),))})
    origin.deliver(answer(KEY + b" " + other))
    assert client.received.endswith(b"\r\n\r\n" + STARS + b" " + other)
    counted(house, 1)
    outcome(AREA, "leak: after a reload", MASKED)


def test_the_answer_to_the_next_request_is_searched_too(house):
    client, origin = asked(house)
    origin.deliver(answer(b"nothing"))
    client.deliver(get())
    origin.deliver(answer(KEY))
    assert KEY not in client.received
    assert [line.get("leaks_masked") for line in house.lines] == [None, 1]


def test_off_is_off(build):
    house = build(key=KEY.decode("ascii"), leak_guard=False)
    client, origin = asked(house)
    origin.deliver(CHUNKED, chunk(KEY[:20]), chunk(KEY[20:]) + b"0\r\n\r\n")
    assert client.received.endswith(chunk(KEY[:20]) + chunk(KEY[20:]) + b"0\r\n\r\n")
    counted(house, 0)


def test_a_key_too_short_to_tell_from_a_word_is_not_looked_for(build):
    house = build(key="success")
    client = house.client()
    client.deliver(get())
    house.origin.deliver(answer(b"success"))
    assert client.received.endswith(b"\r\n\r\nsuccess")
    counted(house, 0)


def test_without_the_key_in_it_the_line_has_no_word_of_it(house, warnings):
    _, origin = asked(house)
    origin.deliver(answer(b"ok"))
    assert "leaks_masked" not in house.line
    assert warnings == []
