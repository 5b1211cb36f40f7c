"""A WebSocket across both sides: nothing goes up before the 101, then bytes both ways, each end passed on."""

import pytest
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from awfproxy.settings.values import Deadlines, PoolLimits, WebSocketLimits
from tests.memory.peers import SWITCHED, Wire, answer, get, handshake, responses

EVIL = b"GET /evil HTTP/1.1\r\nHost: x\r\n\r\n"
REFUSALS = [
    answer(b"ok"),
    answer(b"no", status=b"401 Unauthorized"),
    answer(b"no", b"Upgrade: h2c", status=b"426 Upgrade Required"),
    b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
]


def requests(origin):
    """The requests that an origin has received."""
    return origin.received.count(b" HTTP/1.1\r\n")


@pytest.fixture
def joined(house):
    """A tunnel that stands, with nothing in it yet: (house, client, origin)."""
    return house, *join(house)


def join(house):
    client = house.client()
    client.deliver(handshake())
    origin = house.origins[-1]
    origin.deliver(SWITCHED)
    assert b" 101 " in client.clear()
    origin.clear()
    return client, origin


# --- the handshake ------------------------------------------------------------------------------------


def test_the_handshake_gets_the_key_and_loses_the_clients_own(house, canary):
    client = house.client()
    subprotocol = b"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.mine, openai-beta.realtime-v1"
    client.deliver(
        handshake(
            b"/realtime?model=x",
            b"Authorization: Bearer mine",
            subprotocol,
            b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        )
    )
    head = house.origin.received
    assert head.startswith(b"GET /v1/realtime?model=x HTTP/1.1\r\nHost: api.openai.com\r\n")
    assert head.count(canary.encode("ascii")) == 1
    assert b"mine" not in head
    assert b"\r\nSec-WebSocket-Protocol: realtime, openai-beta.realtime-v1\r\n" in head
    assert b"\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" in head
    assert b"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" in head
    assert head.count(b"\r\nConnection: Upgrade\r\n") == 1
    assert head.lower().count(b"\r\nconnection:") == 1
    assert head.lower().count(b"\r\nupgrade:") == 1
    assert b"\r\nUpgrade: websocket\r\n" in head


def test_another_upgrade_beside_it_is_not_passed_on(house):
    client = house.client()
    client.deliver(handshake(b"/v1/responses", b"Upgrade: h2c", b"HTTP2-Settings: AAMA"))
    head = house.origin.received
    assert b"h2c" not in head
    assert b"\r\nUpgrade: websocket\r\n" in head


def test_the_101_keeps_what_the_origin_sent_but_for_one_hop(house):
    client = house.client()
    client.deliver(handshake(b"/v1/responses", b"X-Request-Id: mine"))
    house.origin.deliver(
        b"HTTP/1.1 101 Because\r\nX-Before: 1\r\nConnection: Upgrade, X-Hop\r\nX-Hop: 1\r\n"
        b"Upgrade: WebSocket\r\n"
        b"sec-websocket-extensions: permessage-deflate\r\nKeep-Alive: 5\r\nx-request-id: req_1\r\n\r\n"
    )
    assert client.received == (
        b"HTTP/1.1 101 Because\r\nX-Before: 1\r\nsec-websocket-extensions: permessage-deflate\r\n"
        b"x-request-id: req_1\r\nawfproxy-request-id: mine\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )


def test_interim_answers_before_the_101_are_relayed(house):
    client = house.client()
    client.deliver(handshake())
    house.origin.deliver(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + SWITCHED + b"first")
    assert client.received.startswith(b"HTTP/1.1 103 ")
    assert client.received.endswith(b"\r\n\r\nfirst")


def test_without_a_credential_a_handshake_is_403(build):
    house = build(key=None)
    client = house.client()
    client.deliver(handshake() + EVIL)
    ((status, fields, _),) = responses(client.received)
    assert (status, fields[b"connection"]) == (403, b"close")
    assert client.ended


def test_refused_by_configuration_it_is_426(build):
    house = build(websocket=False)
    client = house.client()
    client.deliver(handshake() + EVIL)
    ((status, fields, _),) = responses(client.received)
    assert (status, fields[b"awfproxy-error"]) == (426, b"websocket_unsupported")
    assert client.ended
    assert house.endpoint.attempts == []


@pytest.mark.parametrize("cut", [None, 1, 7])
def test_a_local_page_answers_a_handshake_and_closes(house, cut):
    client = house.client()
    data = handshake(b"/healthz") + get(b"/healthz")
    pieces = [data] if cut is None else [data[at : at + cut] for at in range(0, len(data), cut)]
    client.deliver(*pieces)
    ((status, fields, _),) = responses(client.received)
    assert (status, fields[b"connection"]) == (200, b"close")
    assert client.ended


# --- nothing goes up before the 101 -------------------------------------------------------------------


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("how", ["one write", "pieces", "later", "after the answer"])
def test_no_second_request_goes_through_a_refused_upgrade(house, refusal, how):
    """An agent would send one of its own making, past strip and rules, with the key's owner to blame."""
    client = house.client()
    data = handshake() + EVIL
    if how == "one write":
        client.deliver(data)
    elif how == "pieces":
        client.deliver(*(data[at : at + 1] for at in range(len(data))))
    else:
        client.deliver(handshake())
    if how == "later":
        client.deliver(EVIL)
    (origin,) = house.origins
    origin.deliver(refusal)
    if how == "after the answer":
        client.deliver(EVIL)
    client.deliver(EVIL)
    assert house.origins == [origin]
    assert requests(origin) == 1
    assert b"/evil" not in origin.received
    assert origin.lost is not None
    assert house.pool.stats().idle == house.pool.stats().busy == 0
    assert client.received.startswith(b"HTTP/1.1 " + refusal[9:12])
    assert client.received.count(b"Connection: close") == 1
    assert client.ended
    assert house.outcomes == ["completed"]


def test_a_refusals_body_streams_while_more_comes_from_the_client(house):
    client = house.client()
    client.deliver(handshake())
    house.origin.deliver(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n123")
    assert client.received.endswith(b"\r\n\r\n123")
    client.deliver(EVIL * 10)
    house.origin.deliver(b"456")
    assert client.received.endswith(b"\r\n\r\n123456")
    assert requests(house.origin) == 1


def test_what_comes_before_the_101_is_held_and_goes_up_after_it_in_order(house):
    client = house.client()
    client.deliver(handshake() + b"one ", b"two ")
    head = house.origin.received
    assert head.endswith(b"\r\n\r\n")
    house.origin.deliver(SWITCHED)
    client.deliver(b"three")
    assert house.origin.received == head + b"one two three"
    client.finish()
    house.origin.finish()
    assert house.line["request_bytes"] == len(b"one two three")


def test_what_is_held_before_the_101_is_bounded(house):
    client = house.client()
    client.deliver(handshake())
    for _ in range(100):
        client.deliver(b"x" * 16384)
    assert len(client.protocol._held) <= 65536 + 16384
    assert client.unread > 1000000
    house.origin.clear()
    house.origin.deliver(SWITCHED)
    assert house.origin.received == b"x" * 1638400


def test_a_client_that_is_reset_while_it_is_not_read_from_is_noticed(house):
    client = house.client()
    client.deliver(handshake())
    for _ in range(10):
        client.deliver(b"x" * 16384)
    client.vanish()
    house.wait(1)
    assert house.origin.aborted
    assert house.outcomes == ["client_left"]


def test_a_full_origin_is_not_sent_more_than_it_takes_when_the_tunnel_begins(house):
    """Held bytes come on top of a connection that may be full already: its producer is not asked again."""
    client = house.client()
    client.deliver(handshake() + b"x" * 60000)
    origin = house.origin
    origin.protocol.pauseProducing()
    origin.deliver(SWITCHED)
    client.deliver(*[b"x" * 16384] * 10)
    assert client.unread
    origin.protocol.resumeProducing()
    house.loop.settle()
    assert not client.unread


# --- which 101 counts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "origin_unexpected_upgrade"),
        (
            b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n",
            "origin_unexpected_upgrade",
        ),
        (
            b"HTTP/1.0 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            "origin_unexpected_upgrade",
        ),
        (
            b"HTTP/1.1 101 X\r\nConnection: TE\r\nConnection: close\r\nUpgrade: websocket\r\n\r\n",
            "origin_malformed",
        ),
        (b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\n\r\n", "origin_malformed"),
        (b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n", "origin_malformed"),
    ],
)
def test_a_101_to_anything_else_is_a_502(house, head, code):
    client = house.client()
    client.deliver(handshake() + b"held")
    house.origin.deliver(head + b"frames")
    ((status, fields, _),) = responses(client.received)
    assert (status, fields[b"awfproxy-error"].decode("ascii")) == (502, code)
    assert fields[b"connection"] == b"close"
    assert house.origin.aborted
    assert b"held" not in house.origin.received
    assert (house.outcomes, house.error) == (["upstream_failed"], code)


@pytest.mark.parametrize("fields", [(), (b"Connection: Upgrade", b"Upgrade: h2c")])
def test_a_101_nobody_asked_for_is_a_502(house, fields):
    client = house.client()
    client.deliver(get(b"/v1/models", *fields))
    assert b"pgrade" not in house.origin.received
    house.origin.deliver(SWITCHED + b"frames")
    ((status, fields, _),) = responses(client.received)
    assert (status, fields[b"awfproxy-error"]) == (502, b"origin_unexpected_upgrade")
    assert house.origin.aborted


# --- the connection it uses ---------------------------------------------------------------------------


def test_an_idle_connection_is_used_and_never_given_back(house):
    first = house.client()
    first.deliver(get())
    house.origin.deliver(answer())
    assert house.pool.stats().idle == 1
    client, origin = join(house)
    assert house.origins == [origin]
    assert house.pool.stats().busy == 1
    client.finish()
    origin.finish()
    assert (house.pool.stats().idle, house.pool.stats().busy) == (0, 0)
    assert house.lines[-1]["tunnel"] == "reused"


def test_a_stale_connection_is_retried_once(house):
    first = house.client()
    first.deliver(get())
    house.origin.deliver(answer())
    stale = house.origin
    client = house.client()
    client.deliver(handshake() + b"held")
    stale.reset()
    _, fresh = house.origins
    assert requests(fresh) == 1
    assert not fresh.received.endswith(b"held")
    fresh.deliver(SWITCHED)
    assert fresh.received.endswith(b"\r\n\r\nheld")
    assert b" 101 " in client.received


# --- bytes --------------------------------------------------------------------------------------------


def test_bytes_behind_the_101_are_the_first_of_the_tunnel(house):
    client = house.client()
    client.deliver(handshake())
    house.origin.deliver(SWITCHED + b"\x81\x05hello", b"more")
    assert client.received.endswith(b"\r\n\r\n\x81\x05hellomore")


@pytest.mark.parametrize("data", [b"\x88\x02\x03\xe8", EVIL, b"HTTP/1.1 200 OK\r\n\r\n", b"\0" * 100])
def test_bytes_pass_as_they_are_whatever_they_look_like(joined, data):
    house, client, origin = joined
    client.deliver(*(data[at : at + 1] for at in range(len(data))))
    origin.deliver(data)
    assert origin.received == data
    assert client.received == data
    assert house.lines == [], "one line, at the end"


def test_a_client_that_does_not_read_pauses_the_origin(joined):
    _, client, origin = joined
    client.take(0)
    for _ in range(100):
        origin.deliver(b"x" * 16384)
    assert client.held < 65536 + 2 * 16384
    assert origin.unread > 1000000
    client.take()
    assert client.received == b"x" * 1638400


def test_an_origin_that_does_not_read_pauses_the_client(joined):
    _, client, origin = joined
    origin.take(0)
    for _ in range(100):
        client.deliver(b"x" * 16384)
    assert origin.held < 65536 + 2 * 16384
    assert client.unread > 1000000
    origin.take()
    assert origin.received == b"x" * 1638400


def test_a_client_that_the_101_itself_fills_pauses_the_origin(house):
    """Of an unread response before it, just as much waits as is allowed: a transport says so only once."""
    client = house.client()
    client.take(0)
    client.deliver(get())
    origin = house.origin
    origin.deliver(answer(b"x" * (65536 - 200)))
    assert 65000 < client.held <= 65536
    client.deliver(handshake())
    origin = house.origins[-1]
    assert origin.reading
    origin.deliver(SWITCHED)
    assert client.held > 65536
    assert not origin.reading
    client.take()
    origin.deliver(b"y")
    assert client.received.endswith(b"y")


def test_a_full_client_does_not_hold_up_the_other_direction(joined):
    _, client, origin = joined
    client.take(0)
    origin.deliver(*[b"x" * 16384] * 20)
    client.deliver(b"up")
    assert origin.received == b"up"


# --- ends ---------------------------------------------------------------------------------------------


def test_the_clients_end_is_passed_on_while_the_origin_goes_on(joined):
    house, client, origin = joined
    client.deliver(b"last")
    client.finish()
    assert origin.received == b"last"
    assert origin.ended
    assert origin.lost is None
    origin.deliver(b"still ", b"here")
    assert client.received == b"still here"
    assert not client.ended
    origin.finish()
    assert client.ended
    assert origin.lost is not None
    assert client.lost is not None
    assert not client.aborted
    assert (house.outcomes, house.line["status"]) == (["completed"], 101)
    assert (house.line["request_bytes"], house.line["response_bytes"]) == (4, 10)


def test_the_origins_end_is_passed_on_while_the_client_goes_on(joined):
    house, client, origin = joined
    origin.deliver(b"last")
    origin.finish()
    assert client.received == b"last"
    assert client.ended
    assert client.lost is None
    client.deliver(b"still ", b"here")
    assert origin.received == b"still here"
    client.finish()
    assert origin.lost is not None
    assert client.lost is not None
    assert not origin.aborted
    assert not client.aborted
    assert house.outcomes == ["completed"]


def test_a_client_whose_transport_ends_only_as_a_whole_loses_nothing_of_the_origins(house):
    """Such as TLS of a listener of Twisted's."""

    class Whole(Wire):
        @property
        def loseWriteConnection(self):
            raise AttributeError

    client = Whole(house.loop, house.site.buildProtocol(None), port=10000)
    client.deliver(handshake())
    client.take(0)
    house.origin.deliver(SWITCHED + b"x" * 100000)
    house.origin.finish()
    client.take()
    assert client.received.endswith(b"\r\n\r\n" + b"x" * 100000)
    assert client.lost is not None
    assert house.origin.lost is not None
    assert house.pool.stats().busy == 0
    assert len(house.outcomes) == 1


def test_an_end_waits_for_what_was_written_before_it(joined):
    _, client, origin = joined
    client.take(0)
    origin.deliver(b"x" * 100000)
    origin.finish()
    assert not client.ended
    client.take()
    assert client.received == b"x" * 100000
    assert client.ended


def test_a_client_that_ended_before_the_101_has_its_end_passed_on_after_it(house):
    client = house.client()
    client.deliver(handshake() + b"all")
    client.finish()
    origin = house.origin
    origin.deliver(SWITCHED)
    assert origin.received.endswith(b"\r\n\r\nall")
    assert origin.ended
    origin.deliver(b"answer")
    assert client.received.endswith(b"\r\n\r\nanswer")


def test_an_origin_that_is_lost_resets_the_client(joined):
    house, client, origin = joined
    origin.deliver(b"half a mess")
    origin.reset()
    assert client.aborted
    assert (house.outcomes, house.error) == (["upstream_truncated"], "origin_truncated")


def test_an_origin_that_is_lost_after_the_clients_end_resets_the_client_too(joined):
    house, client, origin = joined
    client.finish()
    origin.reset()
    assert client.aborted
    assert (house.outcomes, house.error) == (["client_left"], None)


def test_a_client_that_is_reset_aborts_the_origin_at_once(joined):
    house, client, origin = joined
    client.reset()
    assert origin.aborted
    assert house.outcomes == ["client_left"]
    assert house.pool.stats().busy == 0


def test_a_client_that_still_sends_after_the_origin_is_gone_is_read_over(joined):
    house, client, origin = joined
    origin.finish()
    origin.connectionLost(Failure(ConnectionLost()))
    assert client.ended
    client.deliver(b"x" * 10000)
    assert client.unread == 0
    assert client.lost is None
    house.wait(3)
    assert client.lost is not None


@pytest.mark.parametrize("stage", ["connecting", "asked", "switched"])
def test_a_client_that_is_reset_leaves_nothing_behind(build, stage):
    house = build(automatic=False)
    client = house.client()
    client.deliver(handshake() + b"held")
    if stage != "connecting":
        house.endpoint.attempts[0].open()
    if stage == "switched":
        house.origin.deliver(SWITCHED)
    client.reset()
    assert house.outcomes == ["client_left"]
    assert (house.pool.stats().busy, house.pool.stats().waiting) == (0, 0)
    assert house.site.connections == 0
    if stage != "connecting":
        assert house.origin.aborted


def test_an_origin_lost_before_its_answer_is_a_502(house):
    client = house.client()
    client.deliver(handshake() + b"held")
    house.origin.deliver(b"HTTP/1.1 101 Swi")
    house.origin.reset()
    ((status, fields, _),) = responses(client.received)
    assert (status, fields[b"awfproxy-error"]) == (502, b"origin_closed")
    assert client.ended


# --- limits -------------------------------------------------------------------------------------------


@pytest.fixture
def brief(build):
    house = build(websocket_limits=WebSocketLimits(idle=10.0, lifetime=30.0))
    return house, *join(house)


@pytest.mark.parametrize("end", ["client", "origin"])
def test_silence_in_both_directions_ends_it(brief, end):
    house, client, origin = brief
    for _ in range(2):
        house.wait(8)
        (client if end == "client" else origin).deliver(b".")
    assert client.lost is None
    house.wait(11)
    assert origin.lost is not None
    assert client.ended
    assert house.outcomes == ["timed_out"]


def test_what_the_leak_guard_held_leaves_before_an_end_by_silence(brief, canary):
    house, client, origin = brief
    origin.deliver(b"keys begin with " + canary[:8].encode())
    house.wait(11)
    assert client.received.endswith(b"keys begin with " + canary[:8].encode())


def test_its_lifetime_ends_it_whatever_it_does(brief):
    house, client, origin = brief
    for _ in range(29):
        house.wait(1)
        client.deliver(b".")
    assert client.lost is None
    house.wait(2)
    assert origin.aborted
    assert client.aborted
    assert house.outcomes == ["timed_out"]


def test_no_other_deadline_counts_in_a_tunnel(build):
    deadlines = Deadlines(head=1.0, idle=1.0, body=1.0, response=1.0, silence=1.0)
    house = build(deadlines=deadlines, limits=PoolLimits(warm=0, idle=1.0, lifetime=1.0))
    client, origin = join(house)
    house.wait(30)
    origin.deliver(b"still here")
    assert client.received == b"still here"


def test_half_closed_and_silent_it_ends_sooner(joined):
    house, client, origin = joined
    client.finish()
    house.wait(55)
    origin.deliver(b".")
    house.wait(55)
    assert origin.lost is None
    house.wait(10)
    assert origin.lost is not None
    assert client.lost is not None
    assert house.outcomes == ["timed_out"]


def test_an_answer_to_the_handshake_that_never_comes_is_504(build):
    house = build(deadlines=Deadlines(response=5.0))
    client = house.client()
    client.deliver(handshake() + b"held")
    house.wait(6)
    ((status, fields, _),) = responses(client.received)
    assert (status, fields[b"awfproxy-error"]) == (504, b"origin_timeout")
    assert house.origin.aborted
    assert house.outcomes == ["timed_out"]


# --- drain --------------------------------------------------------------------------------------------


def drain(house, seconds=20.0):
    from twisted.internet.defer import Deferred

    done = []
    Deferred.fromCoroutine(house.site.drain(seconds)).addCallback(done.append)
    house.loop.settle()
    return done


def test_a_silent_tunnel_is_closed_soon_after_a_drain_begins(joined):
    house, client, origin = joined
    done = drain(house)
    house.wait(1.5)
    assert client.lost is None
    house.wait(1)
    assert origin.lost is not None
    assert not origin.aborted
    assert client.ended
    client.finish()
    assert house.outcomes == ["drained"]
    assert done == [None]


def test_an_active_tunnel_has_until_the_drain_deadline(joined):
    house, client, origin = joined
    done = drain(house, 10.0)
    for _ in range(9):
        house.wait(1)
        origin.deliver(b".")
    assert not client.ended
    assert client.received == b"." * 9
    house.wait(1.5)
    assert client.aborted
    assert origin.aborted
    assert house.outcomes == ["drained"]
    assert done == [None]


def test_a_tunnel_that_begins_during_a_drain_is_drained_too(house):
    client = house.client()
    client.deliver(handshake())
    done = drain(house)
    house.origin.deliver(SWITCHED)
    assert b" 101 " in client.received
    house.wait(2.5)
    client.finish()
    assert house.outcomes == ["drained"]
    assert done == [None]


# --- events -------------------------------------------------------------------------------------------


def test_a_granted_handshake_has_its_events(joined):
    house, client, origin = joined
    assert house.events == ["start"]
    client.finish()
    origin.finish()
    assert house.events == ["start", "complete"]


def test_a_failed_and_a_rejected_one_have_theirs(house, build):
    client = house.client()
    client.deliver(handshake())
    for _ in range(2):  # the second is the retry
        house.origins[-1].reset()
    assert house.events == ["start", "failed"]
    other = build(websocket=False)
    other.client().deliver(handshake())
    assert other.events == ["rejected"]


def test_other_requests_have_none(house):
    client = house.client()
    client.deliver(get(b"/v1/models", b"Connection: Upgrade", b"Upgrade: h2c"))
    house.origin.deliver(answer())
    assert house.events == []
