"""The channel: requests one after the other, keep-alive, half-close, deadlines, and how it ends."""

import http.client
import io

import pytest
from twisted.web.resource import Resource

from awfproxy.settings.values import Deadlines
from tests.memory.peers import answer, chunk, chunked_post, get, post, responses, statuses

LINGER = 2.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def upstream_requests(house):
    """The request lines that the origins have received, in the order of their tunnels."""
    return [
        line for wire in house.origins for line in wire.received.split(b"\r\n") if line.endswith(b" HTTP/1.1")
    ]


def final(received):
    """The responses, as one sees them who reads over each 100."""
    return [response for response in responses(received) if response[0] != 100]


# --- reading ------------------------------------------------------------------------------------------


def test_a_request_in_single_bytes_is_one_request(house):
    client = house.client()
    data = post(5, b"hello")
    client.deliver(*(data[at : at + 1] for at in range(len(data))))
    assert upstream_requests(house) == [b"POST /v1/responses HTTP/1.1"]
    assert house.origin.received.endswith(b"\r\n\r\nhello")
    house.origin.deliver(answer())
    assert statuses(client.received) == [200]


def test_a_chunked_request_in_single_bytes_keeps_its_content(house):
    client = house.client()
    data = chunked_post(chunk(b"hello ") + chunk(b"world") + b"0\r\nX-Sum: 1\r\n\r\n")
    client.deliver(*(data[at : at + 1] for at in range(len(data))))
    body = house.origin.received.partition(b"\r\n\r\n")[2]
    content = b"".join(body.split(b"\r\n")[1:-4:2])
    assert content == b"hello world"
    assert body.endswith(b"0\r\nX-Sum: 1\r\n\r\n")


def test_a_body_streams_upstream_as_it_comes(house):
    client = house.client()
    client.deliver(post(10, b"123"))
    assert house.origin.received.endswith(b"\r\n\r\n123")
    client.deliver(b"4567")
    assert house.origin.received.endswith(b"1234567")
    client.deliver(b"890")
    assert house.origin.received.endswith(b"1234567890")


def test_pipelined_requests_begin_one_after_the_other(house):
    client = house.client()
    client.deliver(get(b"/v1/a") + get(b"/v1/b") + get(b"/v1/c"))
    origin = house.origin
    assert upstream_requests(house) == [b"GET /v1/a HTTP/1.1"]
    origin.deliver(answer(b"A"))
    assert upstream_requests(house) == [b"GET /v1/a HTTP/1.1", b"GET /v1/b HTTP/1.1"]
    origin.deliver(answer(b"B"))
    origin.deliver(answer(b"C"))
    assert [content for _, _, content in responses(client.received)] == [b"A", b"B", b"C"]
    assert house.outcomes == ["completed"] * 3


def test_a_request_behind_a_body_is_read_after_its_answer(house):
    client = house.client()
    client.deliver(post(3, b"abc") + get(b"/v1/next"))
    origin = house.origin
    assert b"/v1/next" not in origin.received
    origin.deliver(answer())
    assert upstream_requests(house)[-1] == b"abcGET /v1/next HTTP/1.1"


def test_many_pipelined_local_pages_do_not_recurse(house):
    client = house.client()
    client.deliver(get(b"/healthz") * 1000)
    assert statuses(client.received) == [200] * 1000
    assert house.lines == []


def test_many_pipelined_refusals_by_the_exchange_do_not_recurse(build):
    house = build(key=None)
    client = house.client()
    client.deliver(get() * 800)
    assert statuses(client.received) == [403] * 800
    assert len(house.lines) == 800


def test_pipelined_pages_wait_for_a_client_that_does_not_read(house):
    """A client that only asks does not make us hold its answers without bound."""
    client = house.client()
    client.take(0)
    for _ in range(4):
        client.deliver(get(b"/healthz") * 1000)
    assert client.held < 256 * 1024
    assert client.unread > 0
    client.take()
    assert statuses(client.received) == [200] * 4000


def test_too_many_held_octets_end_the_connection_after_the_current_answer(house):
    client = house.client()
    client.deliver(get(b"/v1/slow"))
    for _ in range(20):
        client.deliver(get(b"/v1/more", b"X-Fill: " + b"x" * 8000))
    assert upstream_requests(house) == [b"GET /v1/slow HTTP/1.1"]
    house.origin.deliver(answer())
    ((status, fields, _),) = responses(client.received)
    assert (status, fields[b"connection"]) == (200, b"close")
    assert client.ended
    assert upstream_requests(house) == [b"GET /v1/slow HTTP/1.1"]
    client.deliver(get())
    assert statuses(client.received) == [200]
    assert client.lost is None, "what it still sends is read over, so that no reset overtakes the answer"
    house.wait(LINGER + 0.5)
    assert client.lost is not None


@pytest.mark.parametrize("end", [False, True])
def test_bytes_after_dropped_ones_are_never_requests(house, end):
    """They may be the middle of a body, and so what somebody else has written."""
    client = house.client()
    client.deliver(get(b"/v1/slow"))
    inner = get(b"/v1/smuggled", method=b"DELETE")
    data = post(100000 + len(inner), b"x" * 100000 + inner)
    at = data.index(inner)
    client.deliver(data[:at], data[at:])
    if end:
        client.finish()
    assert client.protocol._held == b"", "nothing more is kept"
    house.origin.deliver(answer(b"first"))
    ((status, fields, content),) = final(client.received)
    assert (status, fields[b"connection"], content) == (200, b"close", b"first")
    assert client.ended
    assert b"smuggled" not in house.origin.received
    assert house.outcomes == ["completed"]


# --- keep-alive ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "fields", "kept"),
    [
        (b"1.1", [], True),
        (b"1.1", [b"Connection: keep-alive"], True),
        (b"1.1", [b"Connection: close"], False),
        (b"1.1", [b"Connection: TE, Close"], False),
        (b"1.1", [b"Connection: keep-alive", b"Connection: close"], False),
        (b"1.1", [b"Connection: closer"], True),
        (b"1.0", [], False),
        (b"1.0", [b"Connection: keep-alive"], True),
        (b"1.0", [b"Connection: Keep-Alive, close"], False),
    ],
)
@pytest.mark.parametrize("target", [b"/v1/models", b"/healthz"])
def test_the_connection_is_kept_by_the_rules_of_rfc_9112(house, version, fields, kept, target):
    client = house.client()
    client.deliver(get(target, *fields, version=version))
    if house.origins:
        house.origin.deliver(answer())
    ((status, received, _),) = responses(client.received)
    assert status == 200
    expected = None if kept and version == b"1.1" else b"keep-alive" if kept else b"close"
    assert received.get(b"connection") == expected
    assert (client.lost is None) is kept


def test_a_kept_connection_serves_the_next_request_on_the_same_tunnel(house):
    client = house.client()
    for _ in range(3):
        client.deliver(get())
        house.origin.deliver(answer())
    assert statuses(client.received) == [200] * 3
    assert [line["tunnel"] for line in house.lines] == ["new", "reused", "reused"]


def test_an_http_1_0_client_gets_a_chunked_answer_until_close(house):
    client = house.client()
    client.deliver(get(b"/v1/models", b"Connection: keep-alive", version=b"1.0"))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    house.origin.deliver(head + chunk(b"hello") + b"0\r\n\r\n")
    head, _, body = client.received.partition(b"\r\n\r\n")
    assert body == b"hello"
    assert b"transfer-encoding" not in head.lower()
    assert b"\r\nConnection: close" in head
    assert client.lost is not None


def test_an_http_1_0_client_gets_no_interim_answer(house):
    client = house.client()
    client.deliver(get(version=b"1.0"))
    house.origin.deliver(b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer())
    assert statuses(client.received) == [200]


# --- half-close ---------------------------------------------------------------------------------------


def test_a_half_closed_client_gets_its_answer(house):
    client = house.client()
    client.deliver(get())
    client.finish()
    assert client.clear() == CONTINUE
    house.origin.deliver(answer())
    ((status, fields, content),) = responses(client.received)
    assert (status, fields[b"connection"], content) == (200, b"close", b"ok")
    assert client.lost is not None
    assert house.outcomes == ["completed"]


def test_a_half_closed_http_1_0_client_gets_its_answer_and_no_100(house):
    client = house.client()
    client.deliver(get(version=b"1.0"))
    client.finish()
    assert client.received == b""
    house.origin.deliver(answer())
    assert statuses(client.received) == [200]


def test_pythons_http_client_reads_over_the_100(house):
    """It does so for no other interim answer."""

    class Received:
        def makefile(self, mode):
            return io.BytesIO(client.received)

    client = house.client()
    client.deliver(get())
    client.finish()
    house.origin.deliver(answer(b"hello"))
    response = http.client.HTTPResponse(Received())
    response.begin()
    assert (response.status, response.read()) == (200, b"hello")
    assert client.received.startswith(CONTINUE)


EVENT = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("begun", [b"", EVENT])
def test_an_end_two_seconds_after_the_requests_end_is_a_leaving(house, version, begun):
    client = house.client()
    client.deliver(get(version=version))
    house.origin.deliver(begun)
    house.wait(2.25)
    client.finish()
    assert client.aborted
    assert house.origin.aborted
    assert house.outcomes == ["client_left"]


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("begun", [b"", EVENT])
def test_an_end_within_two_seconds_waits_for_its_answer(house, version, begun):
    client = house.client()
    client.deliver(get(version=version))
    house.origin.deliver(begun)
    house.wait(1.75)
    client.finish()
    house.wait(100)
    assert client.lost is None
    house.origin.deliver(b"data: 2\n\n" if begun else answer(b"data: 2\n\n"))
    house.origin.finish()
    assert b"data: 2\n\n" in client.received
    assert house.outcomes == ["completed"]


def test_the_two_seconds_begin_when_the_upload_has_ended(house):
    client = house.client()
    client.deliver(b"POST /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\na")
    house.wait(3)
    client.deliver(b"b")
    client.finish()
    house.origin.deliver(answer())
    assert [content for _, _, content in responses(client.received.replace(CONTINUE, b""))] == [b"ok"]


def test_no_100_comes_after_the_head(house):
    client = house.client()
    client.deliver(get())
    house.origin.deliver(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
    client.finish()
    house.origin.deliver(b"llo")
    assert [content for _, _, content in responses(client.received)] == [b"hello"]


def test_pipelined_requests_before_a_half_close_are_all_answered(house):
    client = house.client()
    client.deliver(get(b"/v1/a") + get(b"/v1/b") + get(b"/healthz"))
    client.finish()
    for _ in range(2):
        assert client.lost is None
        house.origin.deliver(answer())
    found = final(client.received)
    assert [status for status, _, _ in found] == [200, 200, 200]
    assert [fields.get(b"connection") for _, fields, _ in found] == [None, None, b"close"]
    assert client.lost is not None


@pytest.mark.parametrize("tail", [b"GET /v1/b HT", post(9, b"abc")])
def test_an_unfinished_request_before_a_half_close_is_not_begun(house, tail):
    client = house.client()
    client.deliver(get(b"/v1/a") + tail)
    client.finish()
    house.origin.deliver(answer())
    assert upstream_requests(house) == [b"GET /v1/a HTTP/1.1"]
    assert client.lost is not None
    assert house.outcomes.count("completed") == 1


def test_half_close_in_the_head_closes(house):
    client = house.client()
    client.deliver(b"GET /v1/models HTTP/1.1\r\nHo")
    client.finish()
    assert client.lost is not None
    assert client.received == b""


def test_half_close_while_idle_closes(house):
    client = house.client()
    client.deliver(get(b"/healthz"))
    client.finish()
    assert client.lost is not None


def test_half_close_in_the_body_aborts_both_sides(house):
    client = house.client()
    client.deliver(post(10, b"123"))
    origin = house.origin
    client.finish()
    assert client.aborted
    assert origin.aborted
    assert house.outcomes == ["client_left"]


def test_a_half_closed_client_that_vanishes_is_noticed(house):
    client = house.client()
    client.deliver(get())
    client.finish()
    house.wait(5)
    assert client.lost is None
    client.vanish()
    house.wait(0.5)
    assert client.aborted
    assert house.origin.aborted
    assert house.outcomes == ["client_left"]


@pytest.mark.parametrize("tunnel", [True, False])
def test_a_client_that_vanishes_while_its_upload_is_paused_is_noticed(build, tunnel):
    house = build(automatic=tunnel)
    client = house.client()
    client.deliver(post(10000000))
    if tunnel:
        house.origin.take(0)
        client.deliver(*[b"x" * 65536] * 5)
    assert not client.reading
    client.getHandle()
    house.wait(5)
    assert client.lost is None, "one that is still there stays"
    client.vanish()
    house.wait(0.5)
    assert client.aborted
    assert all(origin.aborted for origin in house.origins)
    assert house.pool.stats().waiting == 0
    assert house.outcomes == ["client_left"]


def test_reading_is_not_resumed_after_the_clients_end(house):
    """Twisted would see the same end again and again."""
    client = house.client()
    client.deliver(get())
    client.finish()
    house.origin.deliver(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
    assert not client.reading


# --- deadlines ----------------------------------------------------------------------------------------


def test_the_head_deadline_is_absolute_and_not_per_byte(house):
    client = house.client()
    data = get(b"/v1/models", b"X-Long: " + b"x" * 100)
    house.wait(5)
    client.deliver(data[:1])
    for at in range(1, 10):
        house.wait(1)
        client.deliver(data[at : at + 1])
    assert client.received == b""
    house.wait(1.25)
    ((status, fields, _),) = responses(client.received)
    assert (status, fields[b"awfproxy-error"]) == (408, b"request_head_timeout")
    assert fields[b"connection"] == b"close"
    assert client.ended
    assert (house.outcomes, house.error) == (["refused"], "request_head_timeout")


def test_a_client_that_says_nothing_is_closed_quietly(house):
    client = house.client()
    house.wait(house.deadlines.head + 0.5)
    assert client.lost is not None
    assert client.received == b""
    assert house.lines == []


def test_an_idle_connection_is_closed_quietly(house):
    client = house.client()
    client.deliver(get(b"/healthz"))
    client.clear()
    house.wait(house.deadlines.idle - 0.5)
    assert client.lost is None
    house.wait(1)
    assert client.lost is not None
    assert client.received == b""


def test_the_head_deadline_of_a_later_request_begins_with_its_first_byte(house):
    client = house.client()
    client.deliver(get(b"/healthz"))
    client.clear()
    house.wait(60)
    client.deliver(b"G")
    house.wait(house.deadlines.head - 0.5)
    assert client.received == b""
    house.wait(1)
    assert statuses(client.received) == [408]


@pytest.mark.parametrize("pieces", [[b"\r\n"], [b"\r", b"\n"], [b"\r\n\r"]])
def test_empty_lines_between_requests_begin_none(house, pieces):
    """A connection that hears nothing else is idle, and closed as quietly as one."""
    client = house.client()
    client.deliver(get(b"/healthz"))
    client.clear()
    client.deliver(*pieces)
    house.wait(house.deadlines.idle - 0.5)
    assert client.lost is None
    house.wait(1)
    assert client.lost is not None
    assert (client.received, house.lines) == (b"", [])


@pytest.mark.parametrize("pieces", [[b"\r\n"], [b"\r", b"\n"]])
def test_empty_lines_do_not_keep_a_connection_open(house, pieces):
    client = house.client()
    client.deliver(get(b"/healthz"))
    client.clear()
    for _ in range(16):
        house.wait(5)
        if client.lost is None:
            client.deliver(*pieces)
    assert client.lost is not None
    assert client.received == b""


def test_the_head_deadline_begins_with_what_follows_empty_lines(house):
    client = house.client()
    client.deliver(get(b"/healthz"))
    client.clear()
    client.deliver(b"\r\n")
    house.wait(30)
    client.deliver(b"\r\nG")
    house.wait(house.deadlines.head - 0.5)
    assert client.received == b""
    house.wait(1)
    assert statuses(client.received) == [408]


def test_no_deadline_of_the_head_stays_while_a_request_is_answered(house):
    client = house.client()
    client.deliver(get())
    house.wait(100)
    house.origin.deliver(answer())
    assert statuses(client.received) == [200]


# --- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400, b"bad_host"),
        (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400, b"malformed_request"),
        (b"\x16\x03\x01\x02\x00\x01", 400, b"malformed_request"),
        (get(b"//evil"), 400, b"bad_target"),
        (get(b"http://evil.example/v1"), 400, b"bad_target"),
        (get(method=b"TRACE"), 405, b"method_not_allowed"),
        (get(method=b"BREW"), 501, b"method_not_implemented"),
        (
            get(b"/v1/realtime", b"Connection: Upgrade", b"Upgrade: websocket"),
            400,
            b"bad_websocket_handshake",
        ),
        (get(version=b"2.0"), 505, b"version_not_supported"),
        (get(b"/" + b"a" * 17000), 414, b"target_too_long"),
        (get(b"/", b"X: " + b"a" * 70000), 431, b"head_too_large"),
    ],
)
def test_what_is_refused_is_answered_closed_logged_and_not_forwarded(house, request_, status, code):
    client = house.client()
    client.deliver(request_)
    ((received, fields, content),) = responses(client.received)
    assert (received, fields[b"awfproxy-error"]) == (status, code)
    assert b"close" in fields[b"connection"]
    assert code in content
    assert client.ended
    assert house.endpoint.attempts == []
    assert (house.outcomes, house.error) == (["refused"], code.decode("ascii"))


def test_426_names_the_protocol_to_use(build):
    client = build(websocket=False).client()
    client.deliver(get(b"/v1/realtime", b"Connection: Upgrade", b"Upgrade: websocket"))
    ((_, fields, _),) = responses(client.received)
    assert fields[b"connection"] == b"Upgrade, close"
    assert fields[b"upgrade"] == b"HTTP/1.1"


@pytest.mark.parametrize("method", [b"TRACE", b"POST"])
def test_a_refused_request_whose_body_still_comes_gets_its_answer(house, method):
    """Closing with unread bytes would reset the connection, and the answer with it."""
    client = house.client()
    client.deliver(get(b"//x", b"Content-Length: 1000000", method=method) + b"a" * 1000)
    assert client.ended
    assert client.lost is None
    client.deliver(b"a" * 60000, b"a" * 60000)
    assert client.unread == 0
    client.finish()
    assert client.lost is not None
    assert not client.aborted


def test_a_local_page_before_the_end_of_the_body_announces_the_close(house):
    client = house.client()
    client.deliver(get(b"/healthz", b"Content-Length: 5"))
    ((status, fields, _),) = responses(client.received)
    assert (status, fields[b"connection"]) == (200, b"close")
    assert client.ended
    assert client.lost is None, "the rest of the body is read over"


def test_a_local_page_after_the_end_of_the_body_keeps_the_connection(house):
    client = house.client()
    client.deliver(get(b"/healthz", b"Content-Length: 5") + b"hello")
    ((_, fields, _),) = responses(client.received)
    assert b"connection" not in fields
    assert client.lost is None


def test_a_refused_client_that_never_stops_sending_is_aborted(house):
    client = house.client()
    client.deliver(get(b"//x", b"Content-Length: 1000000", method=b"POST"))
    for _ in range(20):
        client.deliver(b"a" * 100)
        house.wait(0.25)
    assert client.aborted


def test_over_the_limit_a_connection_hears_503_and_is_closed(build):
    house = build(max_connections=2)
    served = [house.client(), house.client()]
    over = house.client()
    over.deliver(get())
    ((status, fields, _),) = responses(over.received)
    assert (status, fields[b"awfproxy-error"], fields[b"retry-after"]) == (503, b"too_many_connections", b"1")
    assert over.ended
    served[0].deliver(get(b"/healthz"))
    assert statuses(served[0].received) == [200]


def test_far_over_the_limit_a_connection_is_not_even_heard(build):
    house = build(max_connections=2)
    assert all(house.client() is not None for _ in range(2 + 64))
    assert house.client() is None


def test_a_connection_after_one_that_ended_is_within_the_limit(build):
    house = build(max_connections=1)
    house.client().reset()
    client = house.client()
    client.deliver(get(b"/healthz"))
    assert statuses(client.received) == [200]


def test_a_malformed_chunk_before_the_head_is_400(house):
    client = house.client()
    client.deliver(chunked_post(chunk(b"good")))
    client.deliver(b"zz\r\n")
    ((status, fields, _),) = responses(client.received)
    assert (status, fields[b"awfproxy-error"]) == (400, b"malformed_request")
    assert client.ended
    assert house.origin.aborted
    assert house.outcomes == ["refused"]


def test_a_malformed_chunk_after_the_head_resets(house):
    client = house.client()
    client.deliver(chunked_post(chunk(b"good")))
    house.origin.deliver(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
    client.deliver(b"zz\r\n")
    assert client.aborted
    assert house.origin.aborted
    assert len(house.lines) == 1
    assert house.error == "malformed_request"


def test_a_malformed_chunk_beside_the_head_is_400_and_nothing_is_forwarded(house):
    client = house.client()
    client.deliver(chunked_post(b"zz\r\n"))
    assert statuses(client.received) == [400]
    assert house.endpoint.attempts == []
    assert house.outcomes == ["refused"]


def test_garbage_behind_an_answered_request_is_400(house):
    client = house.client()
    client.deliver(get() + b"\0\0\0\r\n\r\n")
    house.origin.deliver(answer())
    assert statuses(client.received) == [200, 400]
    assert house.outcomes == ["completed", "refused"]


class Broken(Resource):
    isLeaf = True

    def __init__(self):
        super().__init__()
        self.broken = True

    def render(self, request):
        if self.broken:
            raise RuntimeError("broken")
        request.answer(200, (), b"fine")


def test_an_exception_in_a_resource_is_500_and_ends_only_its_connection(build, logged_failures):
    resource = Broken()
    house = build(resource=resource)
    other, client = house.client(), house.client()
    client.deliver(get(b"/v1/x"))
    ((status, fields, _),) = responses(client.received)
    assert (status, fields[b"awfproxy-error"], fields[b"connection"]) == (500, b"internal_error", b"close")
    assert client.ended
    assert [event["log_failure"].type for event in logged_failures] == [RuntimeError]
    assert house.outcomes == ["refused"]
    resource.broken = False
    other.deliver(get())
    assert statuses(other.received) == [200]
    logged_failures.clear()


def test_an_exception_in_a_resource_for_head_sends_no_content(build, logged_failures):
    house = build(resource=Broken())
    client = house.client()
    client.deliver(get(b"/v1/x", method=b"HEAD"))
    assert client.received.endswith(b"\r\n\r\n")
    assert (house.line["method"], house.line["path"]) == ("HEAD", "/v1/x")
    logged_failures.clear()


# --- both directions at once --------------------------------------------------------------------------


def test_an_answer_before_the_upload_ends_is_relayed_and_the_connection_closes_lingering(house):
    client = house.client()
    client.deliver(post(1000000, b"a" * 1000))
    house.origin.deliver(answer(b"no", status=b"403 Forbidden"))
    assert responses(client.received)[0][0::2] == (403, b"no")
    assert client.ended
    assert client.lost is None
    assert house.origin.aborted, "a tunnel with half a request in it is not used again"
    client.deliver(b"a" * 60000)
    assert client.unread == 0
    house.wait(LINGER + 0.5)
    assert client.aborted
    assert house.outcomes == ["completed"]


def test_a_slow_reader_gets_the_whole_answer_before_the_connection_closes(house):
    """The lingering is counted from when everything has left, not from when it was written."""
    client = house.client()
    client.take(0)
    client.deliver(get(b"/v1/models", b"Connection: close"))
    house.origin.deliver(answer(b"x" * 100000))
    for _ in range(20):
        house.wait(1)
        client.take(3500)
    client.take()
    assert [len(content) for _, _, content in responses(client.received)] == [100000]
    assert client.lost is not None
    assert not client.aborted


def test_a_reader_that_takes_nothing_of_a_last_answer_is_aborted(house):
    client = house.client()
    client.take(0)
    client.deliver(get(b"/v1/models", b"Connection: close"))
    house.origin.deliver(answer(b"x" * 60000))
    house.wait(house.deadlines.body + 0.5)
    assert client.aborted


def slow_reader(house, *fields, size=60000):
    """A client whose answer is complete, and waits for it."""
    client = house.client()
    client.take(0)
    client.deliver(get(b"/v1/models", *fields))
    house.origin.deliver(answer(b"x" * size))
    assert house.outcomes[-1:] == ["completed"]
    assert client.held >= size
    return client


@pytest.mark.parametrize("fields", [[], [b"Connection: close"]])
def test_a_reader_that_still_takes_bytes_is_not_reset_however_slow(house, fields):
    client = slow_reader(house, *fields)
    for _ in range(20):
        house.wait(50)
        client.take(2500)
    assert client.lost is None
    client.take()
    assert [len(content) for _, _, content in responses(client.received)] == [60000]
    assert not client.aborted


@pytest.mark.parametrize(("fields", "limit"), [([], 75 + 60), ([b"Connection: close"], 60)])
def test_a_reader_that_takes_no_more_is_reset(house, fields, limit):
    """After the idle deadline the connection is closing, and has that deadline too."""
    client = slow_reader(house, *fields)
    house.wait(limit - 0.5)
    assert client.lost is None
    house.wait(1)
    assert client.aborted


@pytest.mark.parametrize("fields", [[], [b"Connection: close"]])
def test_a_reader_that_stops_taking_bytes_later_is_reset(house, fields):
    client = slow_reader(house, *fields)
    for _ in range(5):
        house.wait(50)
        client.take(2500)
    house.wait(75 + 2 * 60)
    assert client.aborted


def test_how_slowly_an_answer_was_read_says_nothing_of_the_next_one(house):
    client = slow_reader(house)
    client.take(60000)
    house.wait(house.deadlines.idle + 1)
    assert 0 < client.held < 1000
    client.take()
    client.clear()
    client.take(0)
    client.deliver(get(b"/v1/models", b"Connection: close"))
    house.origins[-1].deliver(answer(b"x" * 60000))
    for _ in range(20):
        house.wait(50)
        client.take(2500)
    assert client.lost is None
    client.take()
    assert [len(content) for _, _, content in responses(client.received)] == [60000]


def test_the_client_full_pauses_the_origin_and_ready_resumes_it(house):
    client = house.client()
    client.deliver(get())
    client.take(0)
    origin = house.origin
    origin.deliver(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
    for _ in range(100):
        origin.deliver(b"x" * 16384)
    assert not origin.reading
    assert client.held < 256 * 1024
    assert origin.unread > 100 * 16384 - 256 * 1024
    client.take()
    assert origin.reading
    assert origin.unread == 0
    assert len(client.received) > 100 * 16384


def test_a_full_client_holds_up_what_its_next_request_gets(house):
    """B15: what is paused late must be told; here nothing of the next answer is read meanwhile."""
    client = house.client()
    client.take(0)
    client.deliver(get(b"/v1/a") + get(b"/v1/b"))
    house.origin.deliver(answer(b"x" * 100000))
    house.wait(1)
    for origin in house.origins:
        if b"/v1/b" in origin.received:
            origin.deliver(answer(b"y" * 100000))
    assert client.held < 128 * 1024
    client.take()
    house.origin.deliver(answer(b"y" * 100000))
    assert [len(content) for _, _, content in responses(client.received)] == [100000, 100000]


def test_a_client_that_was_full_before_the_tunnel_came_is_told_to_it(build):
    """B15: who is paused while nobody listens must be told later."""
    house = build(automatic=False)
    client = house.client()
    client.deliver(get())
    origin = house.endpoint.pending[0].open()
    client.take(0)
    origin.deliver(answer(b""))
    head = client.held
    client.take()
    client.take(0)
    client.deliver(get(b"/v1/a", version=b"1.1"))
    origin.deliver(answer(b"x" * (65536 - head - 10)))
    origin.finish()
    client.deliver(get(b"/v1/b"))
    client.finish()
    assert client.held > 65536, "the 100 has filled it"
    later = house.endpoint.pending[0].open()
    assert b"/v1/b" in later.received
    assert not later.reading
    client.take()
    assert later.reading


def test_the_idle_deadline_ends_a_client_that_asks_and_never_reads(house):
    client = house.client()
    client.take(0)
    client.deliver(get(b"/healthz") * 3000)
    house.wait(house.deadlines.idle + house.deadlines.body + 1)
    assert client.lost is not None


def test_deadlines_of_the_site_are_the_channels(build):
    house = build(deadlines=Deadlines(head=1.0, idle=3.0))
    client = house.client()
    client.deliver(get(b"/healthz"))
    house.wait(2)
    assert client.lost is None
    house.wait(1.5)
    assert client.lost is not None
