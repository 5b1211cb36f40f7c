"""The upstream connection: one response per request, reused only where nothing can be mistaken."""

import pytest

from awfproxy.errors.origin import IncompleteMessage, OriginClosed, OriginMalformed, OriginUnexpectedUpgrade
from awfproxy.upstream.connection import UpstreamConnection
from awfproxy.wire.framing import CHUNKED, NO_BODY, Length
from awfproxy.wire.message import RequestHead, field
from tests.memory.peers import Loop, Wire, answer, chunk

CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Owner:
    """The pool's part: notes what it is told, and what it could see then."""

    def __init__(self):
        self.told = []

    def connection_ended(self, connection):
        self.told.append("free" if connection.reusable else "lost" if connection.lost else "closed")


class Sink:
    """The exchange's part."""

    def __init__(self):
        self.story, self.content, self.flushed = [], b"", b""
        self.on_head = lambda: None
        self.on_body = lambda: None

    def interim(self, head):
        self.story.append(head.status)

    def response_head(self, head, framing):
        self.story.append(head.status)
        self.on_head()

    def response_body(self, content):
        assert content
        self.content += content
        self.on_body()

    def response_end(self, trailers):
        self.story.append("end")
        self.trailers = trailers

    def flush(self):
        self.flushed = self.content

    def upstream_failed(self, reason):
        self.story.append(type(reason))

    def pause_upload(self):
        self.story.append("pause")

    def resume_upload(self):
        self.story.append("resume")


class Tunnel:
    """A connection on its wire, with the request of `sink` sent unless told otherwise."""

    def __init__(self):
        self.loop, self.owner = Loop(), Owner()
        self.connection = UpstreamConnection(self.owner, 0.0)
        self.wire = Wire(self.loop, self.connection)

    def ask(self, method=b"GET", framing=NO_BODY, content=b"", complete=True):
        sink = Sink()
        head = RequestHead(method, b"/v1/models", b"1.1", (field(b"Host", b"api.openai.com"),))
        self.connection.send(head, framing, content, complete, sink)
        self.loop.settle()
        return sink


@pytest.fixture
def tunnel():
    made = Tunnel()
    yield made
    made.wire.close_handles()


# --- responses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (answer(b"hello"), b"hello"),
        (answer(b""), b""),
        (CHUNKED_HEAD + chunk(b"hel") + chunk(b"lo") + b"0\r\n\r\n", b"hello"),
        (CHUNKED_HEAD + b"5;ext=1\r\nhello\r\n0\r\nX-T: 1\r\n\r\n", b"hello"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", b""),
    ],
)
@pytest.mark.parametrize("bytewise", [False, True])
def test_a_complete_response_frees_the_connection(tunnel, data, content, bytewise):
    sink = tunnel.ask()
    tunnel.wire.deliver(*(data[at : at + 1] for at in range(len(data))) if bytewise else [data])
    assert sink.content == content
    assert sink.story[-1] == "end"
    assert tunnel.owner.told == ["free"]
    assert tunnel.connection.reusable
    again = tunnel.ask()
    tunnel.wire.deliver(answer(b"again"))
    assert (again.story, again.content) == ([200, "end"], b"again")


@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
def test_a_response_to_head_has_no_body(tunnel, framing):
    sink = tunnel.ask(b"HEAD")
    tunnel.wire.deliver(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
    assert sink.story == [200, "end"]


def test_interim_responses_are_relayed_before_the_final_one(tunnel):
    sink = tunnel.ask()
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    tunnel.wire.deliver(b"HTTP/1.1 100 Continue\r\n\r\n" + hints + answer())
    assert sink.story == [100, 103, 200, "end"]
    assert tunnel.connection.reusable


def test_101_unasked_is_an_error(tunnel):
    sink = tunnel.ask()
    tunnel.wire.deliver(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nframes")
    assert sink.story == [OriginUnexpectedUpgrade]
    assert tunnel.wire.aborted


def test_too_many_interim_responses_are_an_error(tunnel):
    sink = tunnel.ask()
    tunnel.wire.deliver(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
    assert sink.story[-1] is OriginMalformed
    assert len(sink.story) < 20
    assert tunnel.wire.aborted


def test_the_count_of_interim_responses_begins_anew_with_each_request(tunnel):
    for _ in range(5):
        sink = tunnel.ask()
        tunnel.wire.deliver(b"HTTP/1.1 100 Continue\r\n\r\n" * 10 + answer())
        assert sink.story[-1] == "end"


@pytest.mark.parametrize(
    "data",
    [
        b"220 mail.test ESMTP\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\nY: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200000 + b"\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        CHUNKED_HEAD + b"zz\r\n",
        CHUNKED_HEAD + b"2\r\nabc\r\n",
    ],
)
def test_a_malformed_response_is_an_error_and_ends_the_connection(tunnel, data):
    sink = tunnel.ask()
    tunnel.wire.deliver(data)
    assert sink.story[-1] is OriginMalformed
    assert "end" not in sink.story
    assert tunnel.wire.aborted
    assert not tunnel.connection.reusable


# --- reuse --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        answer(b"ok", b"Connection: close"),
        answer(b"ok", b"Connection: TE, Close"),
        answer(b"ok").replace(b"HTTP/1.1", b"HTTP/1.0"),
        answer(b"ok", b"Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
def test_a_connection_that_the_origin_will_close_is_not_reused(tunnel, data):
    sink = tunnel.ask()
    tunnel.wire.deliver(data)
    assert (sink.story, sink.content) == ([200, "end"], b"ok")
    assert "free" not in tunnel.owner.told
    assert tunnel.wire.lost is not None


@pytest.mark.parametrize(
    ("method", "data"),
    [
        (b"GET", answer(b"ok") + b"X"),
        (b"GET", answer(b"ok") + answer(b"smuggled")),
        (b"GET", CHUNKED_HEAD + b"0\r\n\r\nX"),
        (b"HEAD", answer(b"body")),
        (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nbody"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\n\r\nbody"),
    ],
)
def test_excess_bytes_after_the_end_poison_the_connection(tunnel, method, data):
    """They would be read as the answer to somebody else's request."""
    sink = tunnel.ask(method)
    tunnel.wire.deliver(data)
    assert sink.story[-1] == "end"
    assert b"smuggled" not in sink.content
    assert "free" not in tunnel.owner.told
    assert tunnel.wire.aborted


@pytest.mark.parametrize(
    ("method", "head"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 8\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 8\r\n\r\n"),
        (b"POST", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ],
)
def test_connection_on_which_a_body_may_follow_that_does_not_belong_is_not_reused(tunnel, method, head):
    """It could come after the next request, and be read as the answer to that one."""
    sink = tunnel.ask(method)
    tunnel.wire.deliver(head)
    assert sink.story == [int(head[9:12]), "end"]
    assert "free" not in tunnel.owner.told
    assert not tunnel.connection.reusable


@pytest.mark.parametrize("cut", [1, 3])
def test_excess_bytes_that_come_later_poison_the_connection_too(tunnel, cut):
    tunnel.ask()
    data = answer(b"smuggled")
    tunnel.wire.deliver(answer(b"ok"), data[:cut], data[cut:])
    assert tunnel.owner.told[0] == "free"
    assert not tunnel.connection.reusable
    assert tunnel.wire.aborted


def test_bytes_before_any_request_poison_the_connection(tunnel):
    tunnel.wire.deliver(answer(b"unasked"))
    assert tunnel.wire.aborted
    assert not tunnel.connection.reusable


def test_a_response_before_the_upload_ends_does_not_free_the_connection(tunnel):
    sink = tunnel.ask(b"POST", Length(10), b"123", complete=False)
    tunnel.wire.deliver(answer(b"no"))
    assert sink.story == [200, "end"]
    assert "free" not in tunnel.owner.told
    assert tunnel.wire.aborted
    tunnel.connection.write(b"4567890")
    tunnel.connection.end(())
    tunnel.loop.settle()
    assert tunnel.wire.received.endswith(b"123")


def test_an_upload_that_ends_during_the_response_frees_the_connection(tunnel):
    sink = tunnel.ask(b"POST", CHUNKED, b"123", complete=False)
    tunnel.wire.deliver(CHUNKED_HEAD + chunk(b"x"))
    tunnel.connection.write(b"45")
    tunnel.connection.end(())
    tunnel.wire.deliver(b"0\r\n\r\n")
    assert tunnel.wire.received.endswith(chunk(b"123") + chunk(b"45") + b"0\r\n\r\n")
    assert sink.story == [200, "end"]
    assert tunnel.connection.reusable


def test_a_paused_connection_reads_again_once_it_is_free(tunnel):
    sink = tunnel.ask()
    sink.on_body = tunnel.connection.pause_response
    tunnel.wire.deliver(answer(b"ok"))
    assert tunnel.connection.reusable
    assert tunnel.wire.reading


def test_an_idle_connection_whose_transport_is_ending_is_not_reusable(tunnel):
    """TLS above it may have read the origin's close before the reactor tells of it."""
    tunnel.ask()
    tunnel.wire.deliver(answer(b"ok"))
    assert tunnel.connection.reusable
    tunnel.wire.loseConnection()
    assert not tunnel.connection.reusable


def test_the_kernel_is_asked_whether_an_idle_connection_still_stands(tunnel):
    assert tunnel.connection.still_open()
    tunnel.wire.whisper(b"x")
    assert not tunnel.connection.still_open()


def test_an_end_that_was_not_read_yet_is_seen(tunnel):
    assert tunnel.connection.still_open()
    tunnel.wire.vanish()
    assert not tunnel.connection.still_open()


# --- the end ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", OriginClosed),
        (b"HTTP/1.1 200 OK\r\nContent-", OriginClosed),
        (b"HTTP/1.1 100 Continue\r\n\r\n", OriginClosed),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", IncompleteMessage),
        (CHUNKED_HEAD + chunk(b"x"), IncompleteMessage),
    ],
)
@pytest.mark.parametrize("end", ["finish", "reset"])
def test_an_early_end_is_told_with_its_kind(tunnel, data, reason, end):
    sink = tunnel.ask()
    if data:
        tunnel.wire.deliver(data)
    getattr(tunnel.wire, end)()
    assert sink.story[-1] is reason
    assert sink.story.count(reason) == 1


def test_an_end_while_idle_is_the_pools_affair(tunnel):
    sink = tunnel.ask()
    tunnel.wire.deliver(answer(b"ok"))
    tunnel.wire.finish()
    assert sink.story == [200, "end"]
    assert tunnel.owner.told == ["free", "lost"]


@pytest.mark.parametrize(("end", "told"), [("finish", "end"), ("reset", IncompleteMessage)])
def test_until_close_ends_with_an_orderly_close_alone(tunnel, end, told):
    sink = tunnel.ask()
    tunnel.wire.deliver(b"HTTP/1.1 200 OK\r\n\r\n", b"to the ", b"end")
    assert sink.story == [200]
    getattr(tunnel.wire, end)()
    assert (sink.story[-1], sink.content) == (told, b"to the end")
    assert "free" not in tunnel.owner.told


@pytest.mark.parametrize("moment", ["on_head", "on_body"])
def test_after_an_abort_the_sink_hears_nothing_more(tunnel, moment):
    sink = tunnel.ask()
    setattr(sink, moment, tunnel.connection.abort)
    tunnel.wire.deliver(CHUNKED_HEAD + chunk(b"one"), chunk(b"two") + b"0\r\n\r\n")
    assert sink.story == [200]
    assert sink.content == (b"" if moment == "on_head" else b"one")
    assert tunnel.wire.aborted
    assert tunnel.owner.told == ["closed", "lost"]


def test_an_abort_while_an_answer_is_awaited_is_silent(tunnel):
    sink = tunnel.ask()
    tunnel.connection.abort()
    tunnel.wire.deliver(answer())
    assert sink.story == []


# --- backpressure -------------------------------------------------------------------------------------


def test_an_origin_that_does_not_read_pauses_the_upload_until_it_does(tunnel):
    sink = tunnel.ask(b"POST", Length(1000000), b"", complete=False)
    tunnel.wire.take(0)
    tunnel.connection.write(b"x" * 100000)
    assert sink.story == ["pause"]
    tunnel.wire.take()
    assert sink.story == ["pause", "resume"]


def test_a_first_piece_that_fills_the_origin_pauses_too(tunnel):
    tunnel.wire.take(0)
    sink = tunnel.ask(b"POST", Length(1000000), b"x" * 100000, complete=False)
    assert sink.story[0] == "pause"


def test_a_connection_that_is_still_full_pauses_the_next_upload_at_once(tunnel):
    tunnel.ask(b"POST", Length(100000), b"x" * 100000)
    tunnel.wire.take(0)
    sink = tunnel.ask(b"POST", Length(100000), b"x" * 100000) if tunnel.connection.reusable else None
    assert sink is None
    tunnel.wire.deliver(answer())
    tunnel.connection.pauseProducing()
    later = tunnel.ask(b"POST", Length(5), b"", complete=False)
    assert later.story == ["pause"]
