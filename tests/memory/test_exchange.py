"""One request and its response across both sides: deadlines, truncation, retries, and always one line."""

import attrs
import pytest
from twisted.internet.defer import Deferred

from awfproxy.credentials.verdict import Accepted
from awfproxy.errors.egress import EgressDenied, EgressTimeout, EgressUnreachable
from awfproxy.settings.profile import DEFAULT
from awfproxy.settings.values import Deadlines, PoolLimits
from awfproxy.wire.message import field
from tests.memory.peers import answer, chunk, chunked_post, get, post, responses, statuses

SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"


def refusal(client):
    """(status, code, fields) of the one response, which is ours."""
    ((status, fields, _),) = responses(client.received)
    return status, fields[b"awfproxy-error"].decode("ascii"), fields


# --- the request that is sent -------------------------------------------------------------------------


def test_the_key_is_injected_and_the_clients_own_is_gone(house, canary):
    client = house.client()
    client.deliver(get(b"/models?a=%2F", b"Authorization: Bearer mine", b"X-Api-Key: mine", b"X-Keep: 1"))
    head = house.origin.received
    assert head.startswith(b"GET /v1/models?a=%2F HTTP/1.1\r\nHost: api.openai.com\r\n")
    assert head.count(canary.encode("ascii")) == 1
    assert b"mine" not in head
    assert b"\r\nX-Keep: 1\r\n" in head


def test_without_a_credential_it_is_403_and_nothing_is_forwarded(build):
    house = build(key=None)
    client = house.client()
    client.deliver(get())
    status, code, fields = refusal(client)
    assert (status, code) == (403, "credential_missing")
    assert b"retry-after" not in fields
    assert house.endpoint.attempts == []
    assert (house.outcomes, house.error) == (["refused"], "credential_missing")


def test_without_a_credential_a_body_is_not_forwarded_either(build):
    house = build(key=None)
    client = house.client()
    client.deliver(post(10, b"123"), b"4567890")
    assert refusal(client)[0] == 403
    assert client.ended
    assert house.endpoint.attempts == []


@pytest.mark.parametrize("reused", [False, True])
def test_a_head_that_cannot_be_written_is_500_and_leaves_no_tunnel_behind(build, reused):
    """Whatever put a line break there: nothing of it is sent, and nobody waits for an answer to it."""

    def broken(head, request_id):
        if head.target != b"/v1/broken":
            return head
        return attrs.evolve(head, fields=(*head.fields, field(b"X", b"y\nInjected: z")))

    house = build(profile=attrs.evolve(DEFAULT, upstream_head=broken))
    if reused:
        house.client().deliver(get())
        house.origin.deliver(answer())
        house.origin.clear()
    client = house.client()
    client.deliver(get(b"/v1/broken"))
    assert refusal(client)[:2] == (500, "internal_error")
    assert house.origin.received == b""
    assert house.origin.aborted
    assert house.pool.stats().busy == 0
    assert house.outcomes[-1] == "refused"


# --- the client leaves --------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", HALF, SSE + chunk(b"data: 1\n\n")])
def test_a_client_that_leaves_aborts_the_upstream_at_once(house, begun):
    client = house.client()
    client.deliver(get())
    if begun:
        house.origin.deliver(begun)
    client.reset()
    assert house.origin.aborted
    assert house.outcomes == ["client_left"]
    assert house.pool.stats().busy == 0


def test_a_client_that_leaves_in_its_upload_aborts_the_upstream(house):
    client = house.client()
    client.deliver(post(100, b"a" * 50))
    client.reset()
    assert house.origin.aborted
    assert house.outcomes == ["client_left"]


def test_a_client_that_leaves_while_waiting_gives_up_its_place(build):
    house = build(automatic=False)
    client = house.client()
    client.deliver(get())
    assert house.pool.stats().waiting == 1
    client.reset()
    assert house.pool.stats().waiting == 0
    assert house.outcomes == ["client_left"]
    origin = house.endpoint.attempts[0].open()
    assert origin.received == b""
    assert house.pool.stats().idle == 1


@pytest.mark.parametrize("marker", [b"data: [DONE]\n\n", b"event: response.completed\ndata: {}\n\n"])
def test_leaving_after_the_end_marker_is_a_success(house, marker):
    client = house.client()
    client.deliver(post(2, b"{}"))
    house.origin.deliver(SSE + chunk(b"data: 1\n\n") + chunk(marker))
    client.reset()
    assert house.outcomes == ["client_left_after_done"]
    assert house.origin.aborted


@pytest.mark.parametrize("cut", range(1, len(b"data: [DONE]")))
def test_an_end_marker_across_chunks_is_seen(house, cut):
    marker = b"data: [DONE]"
    client = house.client()
    client.deliver(post(2, b"{}"))
    house.origin.deliver(SSE + chunk(b"data: 1\n\n" + marker[:cut]), chunk(marker[cut:] + b"\n\n"))
    client.reset()
    assert house.outcomes == ["client_left_after_done"]


def test_an_end_marker_in_single_bytes_is_seen(house):
    client = house.client()
    client.deliver(post(2, b"{}"))
    text = b"data: 1\n\nevent: response.completed\ndata: {}\n\n"
    house.origin.deliver(SSE, *(chunk(text[at : at + 1]) for at in range(len(text))))
    client.reset()
    assert house.outcomes == ["client_left_after_done"]


def test_an_end_marker_outside_an_event_stream_means_nothing(house):
    client = house.client()
    client.deliver(get())
    house.origin.deliver(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ndata: [DONE]\n\n")
    client.reset()
    assert house.outcomes == ["client_left"]


END_MARKERS = [
    b"data: [DONE]\n\n",
    b"data: [DONE]\r\n\r\n",
    b"event: response.completed\ndata: {}\n\n",
    b'event: response.incomplete\r\ndata: {"a": 1}\r\n\r\n',
    b"event: response.failed\ndata: {}\n\n",
]
BEFORE = [b"", b"data: 1\n\n", b"data: 1\r\n\r\n"]


@pytest.mark.parametrize("event", END_MARKERS)
@pytest.mark.parametrize("before", BEFORE)
def test_an_end_marker_counts_however_it_is_cut_and_not_before_its_event_has_ended(build, event, before):
    text = before + event
    for cut in range(1, len(text)):
        house = build()
        client = house.client()
        client.deliver(post(2, b"{}"))
        house.origin.deliver(SSE + chunk(text[:cut]), chunk(text[cut:]))
        client.reset()
        assert house.outcomes == ["client_left_after_done"], cut
        house.close()
    house = build()
    client = house.client()
    client.deliver(post(2, b"{}"))
    house.origin.deliver(SSE, *(chunk(text[at : at + 1]) for at in range(len(text) - 1)))
    client.reset()
    assert house.outcomes == ["client_left"]


@pytest.mark.parametrize(
    "text",
    [
        b'data: {"delta": "write event: response.completed"}\n\n',
        b'data: {"delta": "data: [DONE]"}\n\n',
        b"data: data: [DONE]\n\n",
        b": data: [DONE]\n\n",
        b"data: [DONE] and more\n\n",
        b"event: response.completed_not\ndata: {}\n\n",
        b"event: response.completed\ndata: {}\n",
        b"event: response.completed\r\ndata: {}\r\n",
        b"data: [DONE]\n",
        b"data: [DONE]",
    ],
)
def test_the_words_of_an_end_marker_are_none(house, text):
    client = house.client()
    client.deliver(post(2, b"{}"))
    house.origin.deliver(SSE + chunk(b"data: 1\n\n" + text))
    client.reset()
    assert house.outcomes == ["client_left"]


def test_an_end_marker_is_seen_behind_its_words(house):
    client = house.client()
    client.deliver(post(2, b"{}"))
    text = b"data: data: [DONE]\n\ndata: [DONE]?\n\ndata: [DONE]\n\n"
    house.origin.deliver(SSE + chunk(text))
    client.reset()
    assert house.outcomes == ["client_left_after_done"]


@pytest.mark.parametrize("kind", [b"Text/Event-Stream", b"TEXT/EVENT-STREAM; charset=utf-8"])
def test_an_event_stream_is_one_in_any_case(house, kind):
    client = house.client()
    client.deliver(post(2, b"{}"))
    house.origin.deliver(SSE.replace(b"text/event-stream", kind) + chunk(b"data: [DONE]\n\n"))
    client.reset()
    assert house.outcomes == ["client_left_after_done"]


def test_a_half_close_between_an_end_marker_and_its_data_is_no_leaving(house):
    client = house.client()
    client.deliver(post(2, b"{}"))
    house.origin.deliver(SSE + chunk(b"event: response.completed\n"))
    client.finish()
    assert not client.aborted
    house.origin.deliver(chunk(b"data: {}\n\n") + b"0\r\n\r\n")
    assert house.outcomes == ["completed"]


# --- truncation ---------------------------------------------------------------------------------------

TRUNCATED = [
    HALF,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"half"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"half") + b"0\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
]


@pytest.mark.parametrize("data", TRUNCATED)
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("end", ["finish", "reset"])
def test_a_truncated_upstream_aborts_the_client(house, data, version, end):
    client = house.client()
    client.deliver(get(version=version))
    house.origin.deliver(data)
    getattr(house.origin, end)()
    assert client.aborted
    assert not client.received.endswith(b"0\r\n\r\n")
    assert (house.outcomes, house.error) == (["upstream_truncated"], "origin_truncated")


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_an_until_close_response_that_was_cut_aborts_the_client(house, version):
    """ConnectionLost is what TLS without close_notify arrives as."""
    client = house.client()
    client.deliver(get(version=version))
    house.origin.deliver(b"HTTP/1.1 200 OK\r\n\r\nhalf")
    house.origin.reset()
    assert client.aborted
    assert house.outcomes == ["upstream_truncated"]


@pytest.mark.parametrize(("version", "body"), [(b"1.1", b"4\r\nhalf\r\n0\r\n\r\n"), (b"1.0", b"half")])
def test_an_until_close_response_that_was_ended_is_complete(house, version, body):
    client = house.client()
    client.deliver(get(version=version))
    house.origin.deliver(b"HTTP/1.1 200 OK\r\n\r\nhalf")
    house.origin.finish()
    assert client.received.partition(b"\r\n\r\n")[2] == body
    assert not client.aborted
    assert house.outcomes == ["completed"]


def test_a_broken_chunk_from_the_origin_aborts_the_client(house):
    client = house.client()
    client.deliver(get())
    house.origin.deliver(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"x"), b"zz\r\n")
    assert client.aborted
    assert (house.outcomes, house.error) == (["upstream_failed"], "origin_malformed")


# --- retries ------------------------------------------------------------------------------------------


def reused(house):
    """A client whose next request goes out on a tunnel that has served one."""
    client = house.client()
    client.deliver(get())
    house.origin.deliver(answer())
    client.clear()
    house.lines.clear()
    return client


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"])
def test_an_idempotent_empty_request_is_sent_once_more(house, method):
    client = reused(house)
    client.deliver(get(method=method))
    house.origins[0].finish()
    assert house.origins[1].received.startswith(method + b" /v1/models")
    house.origins[1].deliver(answer(b""))
    assert statuses(client.received) == [200]
    assert house.outcomes == ["completed"]
    assert house.line["tunnel"] == "new"


def test_the_retry_happens_once(house):
    client = reused(house)
    client.deliver(get())
    house.origins[0].reset()
    house.origins[1].reset()
    assert len(house.endpoint.attempts) == 2
    status, code, fields = refusal(client)
    assert (status, code, fields[b"retry-after"]) == (502, "origin_closed", b"1")
    assert house.outcomes == ["upstream_failed"]


def test_the_retry_takes_a_fresh_tunnel_and_no_idle_one(house):
    client, other = house.client(), house.client()
    client.deliver(get())
    other.deliver(get())
    for origin in house.origins:
        origin.deliver(answer())
    client.deliver(get(b"/v1/again"))
    (first,) = [origin for origin in house.origins if b"/v1/again" in origin.received]
    first.reset()
    assert len(house.origins) == 3
    assert b"/v1/again" in house.origins[2].received


@pytest.mark.parametrize(
    "request_",
    [
        post(0),
        post(4, b"body"),
        get(method=b"PATCH"),
        get(b"/v1/x", b"Content-Length: 4", method=b"PUT") + b"body",
        get(b"/v1/x", b"Transfer-Encoding: chunked", method=b"DELETE") + b"0\r\n\r\n",
    ],
)
def test_what_is_not_idempotent_or_has_a_body_is_never_sent_twice(house, request_):
    client = reused(house)
    client.deliver(request_)
    house.origin.finish()
    assert len(house.endpoint.attempts) == 1
    status, code, _ = refusal(client)
    assert (status, code) == (502, "origin_closed")


@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 103 Early\r\n\r\n"])
def test_what_has_been_answered_in_part_is_not_sent_again(house, begun):
    client = reused(house)
    client.deliver(get())
    house.origin.deliver(begun)
    house.origin.reset()
    assert len(house.endpoint.attempts) == 1
    assert b"HTTP/1.1 502 " in client.received


def test_a_malformed_answer_is_502_and_not_asked_for_again(house):
    client = house.client()
    client.deliver(get())
    house.origin.deliver(b"220 mail.test ESMTP\r\n\r\n")
    assert refusal(client)[:2] == (502, "origin_malformed")
    assert len(house.endpoint.attempts) == 1
    assert house.origin.aborted


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (EgressDenied, 403, "egress_denied"),
        (EgressUnreachable, 502, "egress_unreachable"),
        (EgressTimeout, 504, "egress_timeout"),
    ],
)
def test_a_failure_to_open_a_tunnel_is_the_answer(build, error, status, code):
    house = build(automatic=False)
    client = house.client()
    client.deliver(get())
    while house.endpoint.pending:
        house.endpoint.pending[0].fail(error())
    assert refusal(client)[:2] == (status, code)
    assert (len(house.lines), house.error) == (1, code)
    assert client.lost is None


# --- deadlines ----------------------------------------------------------------------------------------

SHORT = Deadlines(acquire=4.0, body=8.0, response=16.0, silence=32.0)


def test_waiting_for_a_tunnel_ends_with_503(build):
    house = build(automatic=False, deadlines=SHORT)
    client = house.client()
    client.deliver(get())
    house.wait(3.75)
    assert client.received == b""
    house.wait(0.5)
    status, code, fields = refusal(client)
    assert (status, code, fields[b"retry-after"]) == (503, "pool_exhausted", b"1")
    assert house.outcomes == ["timed_out"]
    assert house.pool.stats().waiting == 0


def test_a_body_that_stalls_ends_with_408_and_each_piece_moves_the_deadline(build):
    house = build(deadlines=SHORT)
    client = house.client()
    client.deliver(post(10, b"1"))
    for piece in b"23", b"45":
        house.wait(7.5)
        client.deliver(piece)
    house.wait(7.5)
    assert client.received == b""
    house.wait(0.75)
    status, code, fields = refusal(client)
    assert (status, code, fields[b"connection"]) == (408, "request_body_timeout", b"close")
    assert house.origin.aborted
    assert house.outcomes == ["timed_out"]


def test_an_answer_that_does_not_begin_ends_with_504(build):
    house = build(deadlines=SHORT)
    client = house.client()
    client.deliver(get())
    house.wait(15.5)
    house.origin.deliver(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    house.wait(15.5)
    client.clear()
    house.wait(0.75)
    assert refusal(client)[:2] == (504, "origin_timeout")
    assert house.origin.aborted
    assert house.outcomes == ["timed_out"]


def test_the_response_deadline_begins_when_the_body_is_complete(build):
    house = build(deadlines=SHORT)
    client = house.client()
    client.deliver(post(4, b"12"))
    house.wait(7.5)
    client.deliver(b"34")
    house.wait(15.5)
    assert client.received == b""
    house.wait(0.75)
    assert statuses(client.received) == [504]


EXPECTS = post(10, b"", b"Expect: 100-continue")


def test_before_its_100_a_body_that_is_expected_is_the_origins_delay(build):
    house = build(deadlines=SHORT)
    client = house.client()
    client.deliver(EXPECTS)
    house.wait(15.5)
    assert client.received == b""
    house.wait(0.75)
    assert refusal(client)[:2] == (504, "origin_timeout")
    assert house.origin.aborted


@pytest.mark.parametrize("interim", [b"102 Processing", b"103 Early Hints"])
def test_another_interim_answer_asks_for_no_body(build, interim):
    house = build(deadlines=SHORT)
    client = house.client()
    client.deliver(EXPECTS)
    house.origin.deliver(b"HTTP/1.1 " + interim + b"\r\n\r\n")
    client.clear()
    house.wait(15.5)
    assert client.received == b""
    house.wait(0.75)
    assert refusal(client)[:2] == (504, "origin_timeout")


@pytest.mark.parametrize("asked", ["100", "first byte", "beside the head"])
def test_after_its_100_or_its_first_byte_a_body_that_is_expected_is_the_clients_delay(build, asked):
    house = build(deadlines=SHORT)
    client = house.client()
    client.deliver(EXPECTS + b"1" if asked == "beside the head" else EXPECTS)
    if asked == "100":
        house.wait(12)
        house.origin.deliver(b"HTTP/1.1 100 Continue\r\n\r\n")
        client.clear()
    elif asked == "first byte":
        house.wait(12)
        client.deliver(b"1")
    house.wait(7.5)
    assert client.received == b""
    house.wait(0.75)
    assert refusal(client)[:2] == (408, "request_body_timeout")


def test_a_stream_that_falls_silent_is_reset_and_each_piece_moves_the_deadline(build):
    house = build(deadlines=SHORT)
    client = house.client()
    client.deliver(get())
    house.origin.deliver(SSE)
    for number in range(3):
        house.wait(31.5)
        house.origin.deliver(chunk(b"data: %d\n\n" % number))
    house.wait(31.5)
    assert not client.aborted
    house.wait(0.75)
    assert client.aborted
    assert house.origin.aborted
    assert (house.outcomes, house.error) == (["timed_out"], "origin_silent")


def test_a_client_that_reads_on_moves_the_deadline_of_a_paused_stream(build):
    house = build(deadlines=SHORT)
    client = house.client()
    client.take(0)
    client.deliver(get())
    house.origin.deliver(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 100000)
    for _ in range(3):
        house.wait(31)
        client.take()
        client.take(0)
        house.origin.deliver(b"x" * 100000)
    assert not client.aborted


def test_an_upload_that_the_origin_does_not_take_is_the_origins_delay(build):
    house = build(deadlines=SHORT)
    client = house.client()
    client.deliver(post(1000000, b""))
    house.origin.take(0)
    client.deliver(*[b"x" * 50000] * 4)
    assert client.unread > 0
    house.wait(15.5)
    assert client.received == b""
    house.wait(0.75)
    assert refusal(client)[:2] == (504, "origin_timeout")


def test_no_deadline_stays_after_the_end(build):
    house = build(deadlines=SHORT)
    client = house.client()
    client.deliver(get())
    house.origin.deliver(answer())
    house.wait(SHORT.idle - 1)
    assert client.lost is None
    assert len(house.lines) == 1


def test_after_a_retry_the_deadlines_begin_anew(build):
    house = build(deadlines=SHORT, automatic=False)
    client = house.client()
    client.deliver(get())
    origin = house.endpoint.attempts[0].open()
    house.wait(15)
    origin.reset()
    house.wait(3.5)
    assert client.received == b""
    house.wait(0.75)
    assert refusal(client)[:2] == (503, "pool_exhausted")


# --- one line -----------------------------------------------------------------------------------------


def ends(house, client):
    """Every way an exchange can end, by name."""
    return {
        "completed": lambda: house.origin.deliver(answer()),
        "client_left": client.reset,
        "upstream_failed": lambda: house.origin.deliver(b"garbage\r\n\r\n"),
        "upstream_truncated": lambda: (house.origin.deliver(HALF), house.origin.reset()),
        "timed_out": lambda: house.wait(house.deadlines.response + 1),
        "drained": lambda: drained(house),
    }


def drained(house):
    done = Deferred.fromCoroutine(house.site.drain(5.0))
    house.wait(8)
    assert done.called


@pytest.mark.parametrize(
    "outcome", ["completed", "client_left", "upstream_failed", "upstream_truncated", "timed_out", "drained"]
)
@pytest.mark.parametrize("request_", [get(), post(4, b"body"), chunked_post(chunk(b"x") + b"0\r\n\r\n")])
def test_every_exchange_logs_one_line(house, outcome, request_):
    client = house.client()
    client.deliver(request_)
    ends(house, client)[outcome]()
    house.wait(100)
    client.reset()
    assert house.outcomes == [outcome]
    assert (house.metrics.requests_seen, house.metrics.active_requests) == (1, 0)


def test_the_line_tells_sizes_tunnel_and_times(house):
    client = house.client()
    client.deliver(post(4, b"bo"))
    house.wait(1)
    client.deliver(b"dy")
    house.wait(1)
    house.origin.deliver(answer(b"12345", b"x-request-id: req_1"))
    line = house.line
    assert (line["request_bytes"], line["response_bytes"], line["status"]) == (4, 5, 200)
    assert (line["tunnel"], line["provider_request_id"], line["error"]) == ("new", "req_1", None)
    assert (line["duration_ms"], line["tunnel_ms"], line["head_ms"]) == (2000.0, 0.0, 2000.0)


# --- backpressure -------------------------------------------------------------------------------------


def test_the_upload_is_paused_while_a_tunnel_is_awaited(build):
    house = build(automatic=False)
    client = house.client()
    client.deliver(post(1000000, b"x" * 1000))
    assert not client.reading
    client.deliver(*[b"x" * 65536] * 5)
    assert client.unread == 5 * 65536
    origin = house.endpoint.attempts[0].open()
    assert client.unread == 0
    assert origin.received.endswith(b"x" * (1000 + 5 * 65536))


def test_an_upload_that_is_complete_leaves_the_client_readable(build):
    """Else nobody would see that it leaves."""
    house = build(automatic=False)
    client = house.client()
    client.deliver(post(4, b"body"))
    assert client.reading


def test_the_origin_full_pauses_the_client_and_ready_resumes_it(house):
    client = house.client()
    client.deliver(post(10000000))
    house.origin.take(0)
    client.deliver(*[b"x" * 16384] * 100)
    assert not client.reading
    assert house.origin.held < 256 * 1024
    assert client.unread > 100 * 16384 - 256 * 1024
    house.origin.take()
    assert client.unread == 0


def test_an_upload_whose_last_piece_fills_the_origin_leaves_the_client_readable(house):
    client = house.client()
    client.deliver(post(150000))
    house.origin.take(0)
    client.deliver(b"x" * 150000)
    client.reset()
    assert house.origin.aborted
    assert house.outcomes == ["client_left"]


def test_both_directions_stream_at_once(house):
    client = house.client()
    client.deliver(chunked_post())
    origin = house.origin
    origin.deliver(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for number in range(5):
        client.deliver(chunk(b"up %d" % number))
        assert origin.received.endswith(chunk(b"up %d" % number))
        origin.deliver(chunk(b"down %d" % number))
        assert client.received.endswith(chunk(b"down %d" % number))
    client.deliver(b"0\r\n\r\n")
    origin.deliver(b"0\r\n\r\n")
    assert house.outcomes == ["completed"]
    assert client.lost is None
    assert house.pool.stats().idle == 1


def test_trailers_pass_in_both_directions(house):
    client = house.client()
    client.deliver(chunked_post(chunk(b"x")), b"0\r\nX-Up: 1\r\nAuthorization: mine\r\n\r\n")
    assert house.origin.received.endswith(b"0\r\nX-Up: 1\r\n\r\n")
    house.origin.deliver(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"y") + b"0\r\nX-Down: 2\r\n\r\n"
    )
    assert client.received.endswith(b"0\r\nX-Down: 2\r\n\r\n")


def test_trailers_that_came_before_the_tunnel_are_sent(build):
    house = build(automatic=False)
    client = house.client()
    client.deliver(chunked_post(chunk(b"x") + b"0\r\nX-Up: 1\r\n\r\n"))
    origin = house.endpoint.attempts[0].open()
    assert origin.received.endswith(b"\r\n\r\n" + chunk(b"x") + b"0\r\nX-Up: 1\r\n\r\n")


def test_expect_continue_is_passed_on_and_not_answered_early(house):
    client = house.client()
    client.deliver(post(4, b"", b"Expect: 100-continue"))
    assert client.received == b""
    assert b"\r\nExpect: 100-continue\r\n" in house.origin.received
    house.origin.deliver(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.clear() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.deliver(b"body")
    house.origin.deliver(answer())
    assert statuses(client.received) == [200]


# --- health -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "counted"), [(b"200 OK", True), (b"401 No", False), (b"500 No", False)])
def test_only_a_2xx_of_the_providers_is_a_success(house, status, counted):
    client = house.client()
    client.deliver(get())
    house.origin.deliver(answer(status=status))
    assert (house.health.last_success is not None) is counted


@pytest.mark.parametrize(("status", "doubted"), [(b"401 No", True), (b"403 No", False), (b"200 OK", False)])
def test_a_401_makes_the_key_doubtful_and_changes_no_readiness(house, status, doubted):
    house.health.key_checked(Accepted())
    client = house.client()
    client.deliver(get())
    house.origin.deliver(answer(status=status))
    assert house.health.is_doubted is doubted
    assert house.health.reason() is None


def test_a_success_clears_an_egress_that_has_failed(house):
    house.health.key_checked(Accepted())
    client = house.client()
    client.deliver(get())
    house.health.egress_failed(EgressTimeout())
    house.origin.deliver(answer(status=b"500 No"))
    assert house.health.reason() == EgressTimeout.sentence
    client.deliver(get())
    house.origin.deliver(answer())
    assert house.health.reason() is None


def test_a_waiter_is_served_by_the_tunnel_that_becomes_free(build):
    house = build(limits=PoolLimits(warm=0, maximum=1))
    first, second = house.client(), house.client()
    first.deliver(get(b"/v1/first"))
    second.deliver(post(6, b"second"))
    assert len(house.endpoint.attempts) == 1
    house.origin.deliver(answer(b"1"))
    assert house.origin.received.endswith(b"second")
    house.origin.deliver(answer(b"2"))
    assert [content for _, _, content in responses(first.received)] == [b"1"]
    assert [content for _, _, content in responses(second.received)] == [b"2"]
    assert [line["tunnel"] for line in house.lines] == ["new", "reused"]
