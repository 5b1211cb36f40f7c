"""What protocols may rely on of our own transport, on real sockets, watched by the reactor and by the hub."""

import os
import random
import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import (
    IConsumer,
    IPushProducer,
    IReadDescriptor,
    ITCPTransport,
    IWriteDescriptor,
)
from twisted.internet.task import deferLater
from zope.interface.verify import verifyObject

from awfproxy.net.hub import Hub
from awfproxy.net.transport import StreamTransport
from tests.kit.sockets import (
    KINDS,
    HalfCloser,
    Peer,
    Producer,
    Recorder,
    fill,
    pair,
    stand_still,
    turns,
    watched_by,
    wired,
)

MB = 1 << 20


@pytest.fixture(params=KINDS)
def watcher(request: pytest.FixtureRequest) -> Iterator[Any]:
    yield from watched_by(request.param)


async def drained(peer: Peer, size: int, octet: bytes = b"f") -> None:
    assert await peer.exactly(size) == octet * size


# --- writing -----------------------------------------------------------------------------------------


async def test_it_provides_what_protocols_and_reactors_ask_for(watcher: Any) -> None:
    async with wired(watcher, Recorder()) as (transport, _):
        for interface in (ITCPTransport, IConsumer, IPushProducer, IReadDescriptor, IWriteDescriptor):
            assert verifyObject(interface, transport)


async def test_a_write_leaves_before_the_call_returns(watcher: Any) -> None:
    async with wired(watcher, Recorder()) as (transport, peer):
        transport.write(b"now")
        assert peer.at_once() == b"now"


@pytest.mark.parametrize("seed", range(3))
async def test_bytes_leave_in_the_order_of_the_writes_to_a_slow_reader(watcher: Any, seed: int) -> None:
    chance = random.Random(seed)
    content = chance.randbytes(12 * MB)
    written = 0
    async with wired(watcher, Recorder()) as (transport, peer):
        received = bytearray()
        while len(received) < len(content):
            for _ in range(chance.randrange(12)):
                size = chance.choice((1, 100, 1500, 16384, 70000, 300000))
                transport.write(content[written : written + size])
                written = min(written + size, len(content))
            if written > len(received):
                received += await peer.some(chance.choice((1, 4096, 65536, 200000)))
            if chance.randrange(4) == 0:
                await turns(1)
        assert received == content


async def test_one_write_larger_than_all_buffers_arrives_whole(watcher: Any) -> None:
    content = random.Random(1).randbytes(48 * MB)
    async with wired(watcher, Recorder()) as (transport, peer):
        transport.write(content)
        assert await peer.exactly(len(content)) == content


async def test_many_small_writes_behind_a_full_one_arrive_in_order(watcher: Any) -> None:
    async with wired(watcher, Recorder()) as (transport, peer):
        size = fill(transport)
        for number in range(5000):
            transport.write(b"%05d" % number)
        await drained(peer, size)
        assert await peer.exactly(25000) == b"".join(b"%05d" % number for number in range(5000))


async def test_what_is_queued_is_a_copy(watcher: Any) -> None:
    async with wired(watcher, Recorder()) as (transport, peer):
        size = fill(transport)
        buffer = bytearray(b"kept")
        transport.write(memoryview(buffer))
        transport.writeSequence([memoryview(buffer), b"!"])
        buffer[:] = b"lost"
        await drained(peer, size)
        assert await peer.exactly(9) == b"keptkept!"


async def test_an_empty_write_is_nothing(watcher: Any) -> None:
    async with wired(watcher, Recorder()) as (transport, peer):
        transport.write(b"")
        size = fill(transport)
        transport.write(b"")
        await drained(peer, size)
        transport.loseConnection()
        assert await peer.rest() == b""


async def test_who_gives_a_buffer_gets_views_into_it_and_the_end_as_ever(watcher: Any) -> None:
    buffer, protocol = memoryview(bytearray(10)), Recorder()
    seen: list[bytes] = []

    def deliver(view: memoryview) -> None:
        assert view.obj is buffer.obj
        seen.append(bytes(view))

    async with wired(watcher, protocol) as (transport, peer):
        transport.receive_into(buffer, deliver)
        await peer.send(b"0123456789abc")
        peer.finish()
        assert await protocol.ends() is error.ConnectionDone
        assert seen == [b"0123456789", b"abc"]
        assert protocol.data == b""


async def test_an_early_answer_is_read_by_way_of_the_buffer_too(watcher: Any) -> None:
    seen: list[bytes] = []
    protocol = Recorder()
    async with wired(watcher, protocol) as (transport, peer):
        transport.receive_into(memoryview(bytearray(100)), lambda view: seen.append(bytes(view)))
        await peer.ready(to_write=True)
        peer.sock.send(b"no")
        stand_still(transport.getHandle(), select.POLLIN)
        transport.getHandle().shutdown(socket.SHUT_WR)  # so that the next write fails
        transport.write(b"x")
        await protocol.ends()
        assert seen == [b"no"]


# --- producers ---------------------------------------------------------------------------------------


async def test_producer_is_paused_when_much_waits_and_resumed_once_all_has_left(watcher: Any) -> None:
    protocol = Recorder()
    producer = Producer(lambda: protocol.note("resumed"))
    async with wired(watcher, protocol) as (transport, peer):
        transport.registerProducer(producer, True)
        transport.write(b"little")
        assert producer.asked == []
        size = fill(transport)
        assert producer.asked == ["pause"]
        size += fill(transport)
        await peer.exactly(6 + size // 4)
        await turns()
        assert producer.asked == ["pause"], "asked once, however much waits"
        await drained(peer, size - size // 4)
        await protocol.until(lambda: "resumed" in protocol.events)
        assert producer.asked == ["pause", "resume"]
        transport.unregisterProducer()


async def test_producer_that_fills_up_again_when_resumed_is_paused_again(watcher: Any) -> None:
    protocol = Recorder()

    def again() -> None:
        protocol.note("resumed")
        if len(protocol.events) < 4:
            fill(transport)

    producer = Producer(again)
    async with wired(watcher, protocol) as (transport, peer):
        transport.registerProducer(producer, True)
        size = fill(transport)
        await drained(peer, 3 * size)
        await protocol.until(lambda: protocol.events.count("resumed") == 3)
        assert producer.asked == ["pause", "resume"] * 3


async def test_late_producer_is_paused_at_once_while_much_waits(watcher: Any) -> None:
    protocol = Recorder()
    producer = Producer(lambda: protocol.note("resumed"))
    async with wired(watcher, protocol) as (transport, peer):
        size = fill(transport)
        transport.registerProducer(producer, True)
        assert producer.asked == ["pause"]
        await drained(peer, size)
        await protocol.until(lambda: "resumed" in protocol.events)
        assert producer.asked == ["pause", "resume"]


async def test_producer_that_comes_after_all_has_left_is_left_alone(watcher: Any) -> None:
    protocol = Recorder()
    first, second = Producer(lambda: protocol.note("resumed")), Producer()
    async with wired(watcher, protocol) as (transport, peer):
        transport.registerProducer(first, True)
        await drained(peer, fill(transport))
        await protocol.until(lambda: "resumed" in protocol.events)
        transport.unregisterProducer()
        transport.registerProducer(second, True)
        assert second.asked == []


async def test_unregistered_producer_hears_nothing_more(watcher: Any) -> None:
    producer = Producer()
    async with wired(watcher, Recorder()) as (transport, peer):
        transport.registerProducer(producer, True)
        size = fill(transport)
        transport.unregisterProducer()
        await drained(peer, size)
        transport.write(b"end")
        assert await peer.exactly(3) == b"end"
        await turns()
    assert producer.asked == ["pause"]


async def test_second_producer_and_pull_producer_are_refused(watcher: Any) -> None:
    async with wired(watcher, Recorder()) as (transport, _):
        with pytest.raises(NotImplementedError):
            transport.registerProducer(Producer(), False)
        transport.registerProducer(Producer(), True)
        with pytest.raises(RuntimeError):
            transport.registerProducer(Producer(), True)


async def test_producer_is_stopped_before_the_end_is_told(watcher: Any) -> None:
    order: list[str] = []
    producer = Producer()
    producer.stopProducing = lambda: order.append("stop")  # type: ignore[method-assign]
    async with wired(watcher, Recorder(lost=lambda *_: order.append("lost"))) as (transport, peer):
        transport.registerProducer(producer, True)
        peer.close()
        await transport._protocol.ends()
        late = Producer()
        transport.registerProducer(late, True)
        assert late.asked == ["stop"]
    assert order == ["stop", "lost"]


# --- loseConnection ----------------------------------------------------------------------------------


async def test_lose_connection_sends_all_that_was_written_and_nothing_written_after(watcher: Any) -> None:
    protocol = Recorder()
    async with wired(watcher, protocol) as (transport, peer):
        size = fill(transport)
        transport.write(b"last")
        transport.loseConnection()
        transport.write(b"ignored")
        transport.writeSequence([b"ignored"])
        transport.loseConnection()
        assert transport.disconnecting
        assert protocol.reason is None
        assert await peer.rest() == b"f" * size + b"last"
        assert await protocol.ends() is error.ConnectionDone


async def test_lose_connection_with_nothing_queued_ends_after_the_call(watcher: Any) -> None:
    protocol = Recorder()
    async with wired(watcher, protocol) as (transport, peer):
        transport.write(b"last")
        transport.loseConnection()
        assert protocol.reason is None
        transport.write(b"ignored")
        assert await protocol.ends() is error.ConnectionDone
        assert await peer.rest() == b"last"


@pytest.mark.parametrize("kind", [Recorder, HalfCloser])
async def test_lose_connection_sends_on_after_the_peer_has_sent_its_end(watcher: Any, kind: Any) -> None:
    protocol = kind()
    async with wired(watcher, protocol) as (transport, peer):
        size = fill(transport)
        transport.loseConnection()
        peer.finish()
        await turns(5)
        assert await peer.rest() == b"f" * size
        assert await protocol.ends() is error.ConnectionDone


async def test_nothing_is_delivered_after_lose_connection(watcher: Any) -> None:
    protocol = Recorder()
    async with wired(watcher, protocol) as (transport, peer):
        fill(transport)
        transport.loseConnection()
        transport.resumeProducing()
        await peer.send(b"too late")
        await turns(5)
        assert protocol.data == b""


async def test_lose_connection_is_over_at_once_when_the_peer_resets(watcher: Any) -> None:
    protocol = Recorder()
    async with wired(watcher, protocol) as (transport, peer):
        fill(transport)
        transport.loseConnection()
        peer.reset()
        assert await protocol.ends() is error.ConnectionLost


# --- connectionLost: once, and never from inside a call of the protocol's own -------------------------


@pytest.mark.parametrize("call", ["loseConnection", "abortConnection", "stopProducing"])
@pytest.mark.parametrize("moment", ["made", "received"])
async def test_end_called_for_by_the_protocol_comes_after_its_own_call(
    watcher: Any, call: str, moment: str
) -> None:
    told: list[bool] = []

    def end(protocol: Recorder, *_: object) -> None:
        getattr(protocol.transport, call)()
        getattr(protocol.transport, call)()
        told.append(protocol.reason is None)

    protocol = Recorder(**{moment: end})
    async with wired(watcher, protocol) as (_, peer):
        if moment == "received":
            await peer.send(b"x")
        kind = await protocol.ends()
    assert told == [True]
    assert kind is (error.ConnectionAborted if call == "abortConnection" else error.ConnectionDone)
    assert protocol.events == (["made", "lost"] if moment == "made" else ["made", "received", "lost"])


async def test_error_of_a_write_is_told_after_the_call_and_once(watcher: Any) -> None:
    protocol = Recorder()
    async with wired(watcher, protocol) as (transport, peer):
        transport.pauseProducing()
        peer.reset()
        stand_still(transport.getHandle())
        transport.write(b"x")
        transport.write(b"y")
        assert protocol.reason is None
        assert transport.disconnecting
        transport.loseConnection()
        assert await protocol.ends() is error.ConnectionLost
        transport.write(b"z")


async def test_abort_after_an_error_of_a_write_is_one_end(watcher: Any) -> None:
    protocol = Recorder()
    async with wired(watcher, protocol) as (transport, peer):
        peer.reset()
        stand_still(transport.getHandle())
        transport.write(b"x")
        transport.abortConnection()
        assert protocol.reason is None
        await protocol.ends()


async def test_lose_then_abort_is_one_end(watcher: Any) -> None:
    protocol = Recorder()
    async with wired(watcher, protocol) as (transport, _):
        transport.loseConnection()
        transport.abortConnection()
        transport.loseConnection()
        transport.loseWriteConnection()
        transport.pauseProducing()
        transport.resumeProducing()
        assert await protocol.ends() is error.ConnectionAborted
        assert transport.disconnecting


async def answer_and_reset(transport: Any, peer: Peer, answer: bytes) -> None:
    transport.write(b"never read, so that closing resets")
    await peer.ready()
    peer.sock.send(answer)
    peer.close()
    stand_still(transport.getHandle())


async def test_answer_sent_before_the_reset_is_delivered_though_a_write_fails_first(watcher: Any) -> None:
    answer = b"413" * 10000
    protocol = Recorder()
    async with wired(watcher, protocol) as (transport, peer):
        await answer_and_reset(transport, peer, answer)
        transport.write(b"more")
        assert transport.disconnecting, "the write has failed"
        assert await protocol.ends() is error.ConnectionLost
        assert protocol.data == answer


async def test_what_fails_while_the_last_bytes_are_read_still_ends_the_connection(
    watcher: Any, logged_failures: list[Any]
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("inside dataReceived")

    protocol = Recorder(received=fail)
    async with wired(watcher, protocol) as (transport, peer):
        await answer_and_reset(transport, peer, b"answer")
        transport.write(b"more")
        assert await protocol.ends() is error.ConnectionLost
        assert protocol.data == b"answer"
    assert len(logged_failures) == 1
    logged_failures.clear()


# --- abortConnection ---------------------------------------------------------------------------------


async def test_abort_resets_and_drops_what_is_queued(watcher: Any) -> None:
    protocol = Recorder()
    async with wired(watcher, protocol) as (transport, peer):
        size = fill(transport)
        transport.abortConnection()
        assert protocol.reason is None
        received = bytearray()
        assert await peer.is_reset(received)
        assert len(received) < size
        assert await protocol.ends() is error.ConnectionAborted


async def test_abort_resets_with_nothing_queued(watcher: Any) -> None:
    async with wired(watcher, Recorder()) as (transport, peer):
        transport.abortConnection()
        assert await peer.is_reset()


async def test_abort_ends_a_connection_that_waits_to_close(watcher: Any) -> None:
    protocol = Recorder()
    async with wired(watcher, protocol) as (transport, peer):
        fill(transport)
        transport.loseConnection()
        await turns()
        transport.abortConnection()
        assert await protocol.ends() is error.ConnectionAborted
        assert await peer.is_reset()


# --- the peer resets ---------------------------------------------------------------------------------


async def test_reset_of_an_idle_connection_ends_it(watcher: Any) -> None:
    protocol = Recorder()
    async with wired(watcher, protocol) as (_, peer):
        peer.reset()
        assert await protocol.ends() is error.ConnectionLost


async def test_reset_while_reading_is_paused_is_told_on_resuming(watcher: Any) -> None:
    protocol = Recorder()
    async with wired(watcher, protocol) as (transport, peer):
        transport.pauseProducing()
        peer.reset()
        await turns(5)
        transport.resumeProducing()
        assert protocol.reason is None
        assert await protocol.ends() is error.ConnectionLost


@pytest.mark.parametrize("paused", [True, False])
async def test_reset_while_bytes_wait_to_be_sent_ends_it(watcher: Any, paused: bool) -> None:
    protocol = Recorder()
    producer = Producer()
    async with wired(watcher, protocol) as (transport, peer):
        transport.registerProducer(producer, True)
        fill(transport)
        if paused:
            transport.pauseProducing()
        await turns()
        peer.reset()
        assert await protocol.ends() is error.ConnectionLost
        assert producer.asked == ["pause", "stop"]


# --- half-close --------------------------------------------------------------------------------------


async def test_end_of_the_peer_ends_a_protocol_that_knows_no_half_close(watcher: Any) -> None:
    protocol = Recorder()
    async with wired(watcher, protocol) as (_, peer):
        await peer.send(b"last")
        peer.finish()
        assert await protocol.ends() is error.ConnectionDone
        assert protocol.data == b"last"


async def test_end_of_the_peer_is_told_and_writing_goes_on(watcher: Any) -> None:
    protocol = HalfCloser()
    async with wired(watcher, protocol) as (transport, peer):
        await peer.send(b"question")
        peer.finish()
        await protocol.until(lambda: "read ended" in protocol.events)
        transport.resumeProducing()
        size = fill(transport)
        transport.loseConnection()
        assert await peer.rest() == b"f" * size
        assert await protocol.ends() is error.ConnectionDone
        assert protocol.data == b"question"
        assert protocol.events[-2:] == ["read ended", "lost"]


async def test_our_end_follows_what_was_written_and_reading_goes_on(watcher: Any) -> None:
    protocol = HalfCloser()
    async with wired(watcher, protocol) as (transport, peer):
        size = fill(transport)
        transport.loseWriteConnection()
        transport.loseWriteConnection()
        transport.write(b"ignored")
        await turns()
        assert "write ended" not in protocol.events
        assert await peer.rest() == b"f" * size
        await protocol.until(lambda: "write ended" in protocol.events)
        await peer.send(b"answer")
        assert await protocol.gets(6) == b"answer"
        peer.finish()
        assert await protocol.ends() is error.ConnectionDone
        assert protocol.events == ["made", "write ended", "received", "read ended", "lost"]


async def test_our_end_with_nothing_queued_leaves_at_once_and_is_told_after_the_call(watcher: Any) -> None:
    protocol = HalfCloser()
    async with wired(watcher, protocol) as (transport, peer):
        transport.loseWriteConnection()
        assert peer.at_once() == b""
        assert "write ended" not in protocol.events
        await protocol.until(lambda: "write ended" in protocol.events)
        await turns()
        assert protocol.events == ["made", "write ended"]


async def test_both_ends_in_the_other_order_end_the_connection_too(watcher: Any) -> None:
    protocol = HalfCloser()
    async with wired(watcher, protocol) as (transport, peer):
        peer.finish()
        await protocol.until(lambda: "read ended" in protocol.events)
        size = fill(transport)
        transport.loseWriteConnection()
        assert await peer.rest() == b"f" * size
        assert await protocol.ends() is error.ConnectionDone
        assert protocol.events == ["made", "read ended", "write ended", "lost"]


async def test_answering_the_end_of_the_peer_with_ours_from_inside_is_one_end(watcher: Any) -> None:
    protocol = HalfCloser(**{"read ended": lambda self: self.transport.loseWriteConnection()})
    async with wired(watcher, protocol) as (_, peer):
        peer.finish()
        assert await protocol.ends() is error.ConnectionDone
        assert protocol.events == ["made", "read ended", "write ended", "lost"]
        assert await peer.rest() == b""


async def test_end_of_the_peer_while_ours_waits_behind_the_queue_cuts_nothing(watcher: Any) -> None:
    protocol = HalfCloser()
    async with wired(watcher, protocol) as (transport, peer):
        size = fill(transport)
        transport.loseWriteConnection()
        peer.finish()
        await protocol.until(lambda: "read ended" in protocol.events)
        await turns()
        assert await peer.rest() == b"f" * size
        assert await protocol.ends() is error.ConnectionDone
        assert protocol.events == ["made", "read ended", "write ended", "lost"]


async def test_a_plain_protocol_may_end_its_writing_too(watcher: Any) -> None:
    protocol = Recorder()
    async with wired(watcher, protocol) as (transport, peer):
        transport.loseWriteConnection()
        assert await peer.rest() == b""
        await peer.send(b"answer")
        peer.finish()
        assert await protocol.ends() is error.ConnectionDone
        assert protocol.data == b"answer"


async def test_lose_connection_after_our_end_closes(watcher: Any) -> None:
    protocol = HalfCloser()
    async with wired(watcher, protocol) as (transport, peer):
        size = fill(transport)
        transport.loseWriteConnection()
        transport.loseConnection()
        assert await peer.rest() == b"f" * size
        assert await protocol.ends() is error.ConnectionDone


async def test_aborted_connection_is_not_told_that_writing_has_ended(watcher: Any) -> None:
    protocol = HalfCloser()
    async with wired(watcher, protocol) as (transport, _):
        transport.loseWriteConnection()
        transport.abortConnection()
        assert await protocol.ends() is error.ConnectionAborted
        assert protocol.events == ["made", "lost"]


# --- pausing what is read ----------------------------------------------------------------------------


async def test_nothing_is_delivered_while_paused_and_nothing_is_lost(watcher: Any) -> None:
    content = random.Random(2).randbytes(6 * MB)
    protocol = Recorder(received=lambda self, _: self.transport.pauseProducing())
    async with wired(watcher, protocol) as (transport, peer):
        sending = peer.send(content)
        from twisted.internet.defer import ensureDeferred

        sent = ensureDeferred(sending)
        while len(protocol.data) < len(content):
            before = protocol.events.count("received")
            await protocol.until(lambda: protocol.events.count("received") > before)  # noqa: B023
            await turns(2)
            assert protocol.events.count("received") == before + 1
            transport.resumeProducing()
        await sent
        assert protocol.data == content


async def test_paused_while_connecting_reads_nothing_before_it_is_resumed(watcher: Any) -> None:
    protocol = Recorder(made=lambda self: self.transport.pauseProducing())
    async with wired(watcher, protocol) as (transport, peer):
        await peer.send(b"x")
        await turns(5)
        assert protocol.data == b""
        transport.resumeProducing()
        assert await protocol.gets(1) == b"x"


async def test_paused_by_another_connection_in_the_same_wake_up_with_bytes_to_send(watcher: Any) -> None:
    second = Recorder()
    first = Recorder(received=lambda *_: second.transport.pauseProducing())
    unix = socket.AF_UNIX  # ready in the order of the sends
    async with wired(watcher, first, unix) as (_, peer), wired(watcher, second, unix) as (transport, other):
        fill(transport)
        await turns()
        peer.sock.send(b"a")
        other.sock.send(b"b")
        await first.gets(1)
        await turns()
        assert second.data == b""
        transport.resumeProducing()
        assert await second.gets(1) == b"b"


@pytest.mark.parametrize("how", ["finish", "reset", "close"])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
async def test_paused_with_the_peer_gone_costs_nothing_until_resumed(
    watcher: Any, how: str, family: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = Recorder()
    async with wired(watcher, protocol, family) as (transport, peer):
        transport.pauseProducing()
        await peer.send(b"last")
        getattr(peer, how)()
        assert await wake_ups(monkeypatch) < 10
        assert protocol.events == ["made"]
        transport.resumeProducing()
        await protocol.ends()
        if how != "reset":
            assert protocol.data == b"last"


async def test_half_closed_connection_waiting_to_answer_costs_nothing(
    watcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = HalfCloser()
    async with wired(watcher, protocol) as (transport, peer):
        peer.finish()
        await protocol.until(lambda: "read ended" in protocol.events)
        assert await wake_ups(monkeypatch) < 10
        transport.write(b"answer")
        assert await peer.exactly(6) == b"answer"


async def test_waiting_for_a_peer_that_reads_nothing_costs_nothing(
    watcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with wired(watcher, Recorder()) as (transport, _):
        fill(transport)
        transport.loseConnection()
        await turns()
        assert await wake_ups(monkeypatch) < 10


async def wake_ups(monkeypatch: pytest.MonkeyPatch) -> int:
    """How often the reactor's loop turns in a twentieth of a second in which nothing should happen."""
    from twisted.internet import reactor

    count = 0
    poll = reactor.doIteration

    def counted(delay: float | None) -> None:
        nonlocal count
        count += 1
        poll(delay)

    with monkeypatch.context() as patch:
        patch.setattr(reactor, "doIteration", counted)
        await deferLater(reactor, 0.05)
    assert count
    return count


# --- exceptions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
@pytest.mark.parametrize("paused", [True, False])
async def test_exception_in_data_received_ends_only_that_connection(
    watcher: Any, kind: type[BaseException], paused: bool, logged_failures: list[Any]
) -> None:
    def fail(protocol: Recorder, _: bytes) -> None:
        if paused:
            protocol.transport.pauseProducing()
        raise kind("inside dataReceived")

    failing, other = Recorder(received=fail), Recorder()
    async with wired(watcher, failing) as (_, peer), wired(watcher, other) as (_, beside):
        await peer.send(b"x")
        assert await failing.ends() is kind
        await beside.send(b"y")
        assert await other.gets(1) == b"y"
    if isinstance(watcher, Hub):  # the reactor logs in an older way
        assert [each["log_failure"].type for each in logged_failures] == [kind]
    logged_failures.clear()


async def test_exception_in_connection_lost_too_harms_no_other(
    watcher: Any, logged_failures: list[Any]
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("inside")

    failing, other = Recorder(received=fail, lost=fail), Recorder()
    async with wired(watcher, failing) as (_, peer), wired(watcher, other) as (_, beside):
        await peer.send(b"x")
        assert await failing.ends() is ValueError
        await beside.send(b"y")
        assert await other.gets(1) == b"y"
    if isinstance(watcher, Hub):
        assert len(logged_failures) == 2
    logged_failures.clear()


async def test_exception_in_connection_made_closes_the_socket_and_is_the_callers(watcher: Any) -> None:
    def fail(*_: object) -> None:
        raise ValueError("inside connectionMade")

    protocol = Recorder(made=fail)
    ours, theirs = pair()
    peer = Peer(theirs)
    with pytest.raises(ValueError, match="inside connectionMade"):
        StreamTransport(watcher, ours, ours.getpeername()).start(protocol)
    assert await protocol.ends() is error.ConnectionAborted
    assert await peer.is_reset()
    peer.close()


# --- addresses, options, descriptors -----------------------------------------------------------------


async def test_addresses_of_ipv4(watcher: Any) -> None:
    async with wired(watcher, Recorder()) as (transport, peer):
        assert transport.getPeer() == IPv4Address("TCP", *peer.sock.getsockname())
        assert transport.getHost() == IPv4Address("TCP", *peer.sock.getpeername())


async def test_addresses_of_ipv6(watcher: Any) -> None:
    async with wired(watcher, Recorder(), socket.AF_INET6) as (transport, peer):
        assert transport.getPeer() == IPv6Address("TCP", *peer.sock.getsockname())
        assert transport.getHost() == IPv6Address("TCP", *peer.sock.getpeername())


async def test_unix_sockets_work_and_have_addresses(watcher: Any) -> None:
    protocol = Recorder()
    async with wired(watcher, protocol, socket.AF_UNIX) as (transport, peer):
        assert isinstance(transport.getPeer(), UNIXAddress)
        assert isinstance(transport.getHost(), UNIXAddress)
        transport.setTcpNoDelay(True)
        assert not transport.getTcpNoDelay()
        size = fill(transport)
        await drained(peer, size)
        await peer.send(b"x" * size)
        assert await protocol.gets(size) == b"x" * size
        transport.loseConnection()
        assert await peer.rest() == b""
        assert await protocol.ends() is error.ConnectionDone


async def test_unix_socket_can_be_aborted_and_half_closed(watcher: Any) -> None:
    protocol = HalfCloser()
    async with wired(watcher, protocol, socket.AF_UNIX) as (transport, peer):
        peer.finish()
        await protocol.until(lambda: "read ended" in protocol.events)
        size = fill(transport)
        transport.abortConnection()
        assert await protocol.ends() is error.ConnectionAborted
        assert len(await peer.rest()) < size


async def test_options_of_tcp_can_be_set_and_read(watcher: Any) -> None:
    async with wired(watcher, Recorder()) as (transport, _):
        for on in (True, False):
            transport.setTcpNoDelay(on)
            transport.setTcpKeepAlive(on)
            assert transport.getTcpNoDelay() is on
            assert transport.getTcpKeepAlive() is on


async def test_closed_connection_is_watched_no_more_though_a_copy_of_its_socket_lives(
    watcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol, other = Recorder(), Recorder()
    async with wired(watcher, other), wired(watcher, protocol) as (transport, peer):
        copy = os.dup(transport.fileno())
        try:
            transport.loseConnection()
            await protocol.ends()
            peer.sock.send(b"for nobody")
            assert await wake_ups(monkeypatch) < 10
            assert transport.fileno() == -1
        finally:
            os.close(copy)
