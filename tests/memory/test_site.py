"""The site: drains what it serves, and refuses what comes after."""

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import formatEvent, globalLogPublisher

from awfproxy.proxy.site import ProxySite
from awfproxy.settings.values import Deadlines
from tests.memory.peers import answer, chunk, get, post, responses, statuses


def drain(house, seconds=10.0):
    done = Deferred.fromCoroutine(house.site.drain(seconds))
    house.loop.settle()
    return done


def test_connections_are_counted_and_forgotten(house):
    clients = [house.client() for _ in range(3)]
    assert house.site.connections == 3
    clients[0].reset()
    clients[1].finish()
    assert house.site.connections == 1


def test_listening_sets_no_timer_for_a_log_that_is_off(house):
    """Twisted's keeps the date for its access log, each second, for each listener."""
    before = list(house.loop.getDelayedCalls())
    house.site.doStart()
    assert house.loop.getDelayedCalls() == before
    house.site.doStop()


# --- more than it takes -------------------------------------------------------------------------------


@pytest.fixture
def said():
    """The lines about refused connections."""
    lines = []

    def observe(event):
        if event.get("event") == "too_many_connections":
            lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def test_each_connection_beyond_the_limit_is_counted_whether_it_is_heard_or_not(build):
    house = build(max_connections=2)
    assert all(house.client() is not None for _ in range(2))
    assert house.metrics.connections_refused["too_many_connections"] == 0
    assert all(house.client() is not None for _ in range(64))
    assert house.metrics.connections_refused["too_many_connections"] == 64
    assert house.client() is None
    assert house.metrics.connections_refused["too_many_connections"] == 65


def test_connections_beyond_the_limit_are_said_once_a_minute_with_their_count(build, said):
    house = build(max_connections=1, deadlines=Deadlines(head=600.0))
    for _ in range(1000):
        house.client()
    assert len(said) == 1
    assert "openai" in said[0]
    assert "--max-connections" in said[0]
    house.wait(59)
    house.client()
    assert len(said) == 1
    house.wait(1)
    house.client()
    assert len(said) == 2
    assert " 1000 more" in said[1]


def test_who_comes_when_no_descriptor_is_left_is_counted(house):
    assert b"out_of_descriptors" in house.site.refusal()
    assert house.metrics.connections_refused["out_of_descriptors"] == 1


# --- draining -----------------------------------------------------------------------------------------


def test_draining_nothing_is_done_at_once(house):
    assert drain(house).called
    assert [call for call in house.loop.getDelayedCalls() if call.getTime() > 1] == []


def test_draining_closes_idle_connections(house):
    house.wait(1)
    used, new = house.client(), house.client()
    used.deliver(get(b"/healthz"))
    used.clear()
    house.wait(1)
    done = drain(house)
    assert used.lost is not None
    assert new.lost is not None
    assert (used.received, new.received) == (b"", b"")
    assert done.called


def test_draining_answers_a_request_that_was_on_its_way(house):
    """Its client could not know: it would see a reset for what it has just sent."""
    used, new, begun = house.client(), house.client(), house.client()
    used.deliver(get(b"/healthz"))
    used.clear()
    begun.deliver(b"GET /healthz HTTP/1.1\r\nHo")
    done = drain(house)
    used.deliver(get(b"/healthz"))
    new.deliver(get(b"/healthz"))
    begun.deliver(b"st: 127.0.0.1:10000\r\n\r\n")
    for client in used, new, begun:
        ((status, fields, _),) = responses(client.received)
        assert (status, fields[b"connection"]) == (200, b"close")
        assert client.lost is not None
    assert done.called


def test_draining_gives_a_connection_a_second_since_its_last_use(house):
    used, new, begun = house.client(), house.client(), house.client()
    begun.deliver(b"GET /healthz HTTP/1.1\r\nHo")
    house.wait(0.5)
    used.deliver(get(b"/healthz"))
    done = drain(house)
    house.wait(0.75)
    assert new.lost is not None
    assert used.lost is None
    assert begun.lost is None
    house.wait(0.5)
    assert used.lost is not None
    assert statuses(begun.received) == [408]
    begun.finish()
    assert done.called


def test_draining_lets_a_client_that_was_not_told_of_the_end_ask_once_more(house):
    client = house.client()
    client.deliver(get())
    house.origin.deliver(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbe")
    done = drain(house)
    house.origin.deliver(b"gun")
    assert client.lost is None
    client.deliver(get(b"/healthz") + get(b"/healthz"))
    (_, first, _), (_, second, _) = responses(client.received)
    assert (b"connection" in first, second[b"connection"]) == (False, b"close")
    client.finish()
    assert done.called


def test_draining_lets_a_running_exchange_finish_and_then_closes(house):
    client = house.client()
    client.deliver(get())
    done = drain(house)
    house.wait(5)
    assert not done.called
    house.origin.deliver(answer(b"finished"))
    ((status, fields, content),) = responses(client.received)
    assert (status, fields[b"connection"], content) == (200, b"close", b"finished")
    assert client.lost is not None
    assert done.called
    assert house.outcomes == ["completed"]


def test_draining_serves_no_pipelined_request_any_more(house):
    client = house.client()
    client.deliver(get(b"/v1/a") + get(b"/v1/b"))
    drain(house)
    house.origin.deliver(answer())
    assert statuses(client.received) == [200]
    assert b"/v1/b" not in house.origin.received
    assert client.ended


def test_draining_serves_no_pipelined_request_of_a_client_that_half_closes(house):
    client = house.client()
    client.deliver(get(b"/v1/a") + get(b"/v1/b"))
    drain(house)
    client.finish()
    house.origin.deliver(answer())
    assert b"/v1/b" not in house.origin.received
    (*_, (status, fields, _)) = responses(client.received)
    assert (status, fields[b"connection"]) == (200, b"close")
    assert house.outcomes == ["completed"]
    assert client.ended


def test_draining_waits_until_the_last_byte_has_left(house):
    house.wait(1)
    client = house.client()
    client.take(0)
    client.deliver(get())
    house.origin.deliver(answer(b"x" * 50000))
    done = drain(house)
    house.wait(1)
    assert not done.called
    client.take()
    assert [len(content) for _, _, content in responses(client.received)] == [50000]
    house.wait(1.25)
    assert done.called


def test_a_stream_that_runs_past_the_drain_deadline_is_aborted(house):
    client = house.client()
    client.deliver(post(2, b"{}"))
    house.origin.deliver(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"x"))
    done = drain(house, 10.0)
    house.wait(9.5)
    assert client.lost is None
    house.wait(1)
    assert client.aborted
    assert house.origin.aborted
    assert done.called
    assert (house.outcomes, house.error) == (["drained"], "shutting_down")


@pytest.mark.parametrize("complete", [True, False])
def test_a_request_without_an_answer_at_the_drain_deadline_hears_503(house, complete):
    client = house.client()
    client.deliver(post(4, b"body" if complete else b"bo"))
    done = drain(house, 10.0)
    house.wait(10.5)
    ((status, fields, _),) = responses(client.received)
    assert (status, fields[b"awfproxy-error"], fields[b"retry-after"]) == (503, b"shutting_down", b"2")
    assert house.outcomes == ["drained"]
    house.wait(2.5)
    assert client.lost is not None
    assert done.called


def test_a_request_that_waits_for_a_tunnel_at_the_drain_deadline_leaves_the_queue(build):
    house = build(automatic=False)
    client = house.client()
    client.deliver(get())
    done = drain(house, 5.0)
    house.wait(5.5)
    assert statuses(client.received) == [503]
    assert house.pool.stats().waiting == 0
    assert done.called


def test_a_client_that_reads_nothing_does_not_outlast_the_drain(house):
    client = house.client()
    client.take(0)
    client.deliver(get(b"/v1/a", b"Connection: close"))
    house.origin.deliver(answer(b"x" * 50000))
    done = drain(house, 5.0)
    house.wait(5.5)
    assert client.aborted
    assert done.called


def test_a_slow_reader_does_not_outlast_the_drain(house):
    """Where it hears 503 behind an earlier answer of which it still takes some."""
    client = house.client()
    client.take(0)
    client.deliver(get(b"/v1/a"))
    house.origin.deliver(answer(b"x" * 50000))
    client.deliver(get(b"/v1/b"))
    done = drain(house, 5.0)
    for _ in range(8):
        house.wait(1)
        client.take(1000)
    assert house.outcomes == ["completed", "drained"]
    assert client.aborted
    assert done.called


def test_a_draining_site_takes_no_new_connection(house):
    client = house.client()
    client.deliver(get())
    drain(house)
    assert house.client() is None


def test_a_drain_leaves_no_timer(house):
    client = house.client()
    client.deliver(get())
    done = drain(house, 1000.0)
    house.origin.deliver(answer())
    assert done.called
    assert [call for call in house.loop.getDelayedCalls() if call.getTime() > 500] == []


def test_a_cancelled_drain_leaves_no_timer(house):
    house.client().deliver(get())
    done = drain(house, 1000.0)
    done.addErrback(lambda _: None)
    done.cancel()
    assert [call for call in house.loop.getDelayedCalls() if call.getTime() > 500] == []


def test_many_clients_drain_together(house):
    clients = [house.client() for _ in range(50)]
    for client in clients:
        client.deliver(get())
    done = drain(house)
    for origin in house.origins:
        origin.deliver(answer())
    assert done.called
    assert all(statuses(client.received) == [200] for client in clients)
    assert house.outcomes == ["completed"] * 50


def test_twisteds_own_access_log_stays_off(house):
    """It would print queries."""
    assert isinstance(house.site, ProxySite)
    assert house.site.logPath is None
    client = house.client()
    client.deliver(get(b"/v1/models?secret=1"))
    house.origin.deliver(answer())
    assert house.line["path"] == "/v1/models"
