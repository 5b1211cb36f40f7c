"""An origin that repeats the key it was sent, through the real Squid: not eight bytes of it reach the client.

The kit's client hands all that it reads to the canary's watch, so a part of the key fails the session too.
"""

import json
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.conftest import NAME, Stack, options
from tests.kit.certificates import Authority
from tests.kit.client import Client
from tests.kit.daemon import Daemon
from tests.kit.origin import Exchange, Origin
from tests.kit.squid import Squid
from tests.kit.websocket import join

AREA = "Hostile origins"
MASKED = "the client got stars of the same length; counted"


class Mirror(Exchange):
    """Says back what it was sent, with the real key."""

    def do_mirror(self) -> None:
        """The request's head in the body, and its credential in a field, a 1xx and a trailer; `at` parts the
        key so that its beginning comes in one chunk and the rest, after a step, in another."""
        self.read_body()
        key, at = self.origin.key, self.number("at", 20)
        said = key.decode("ascii")
        before, _, after = self._raw.partition(key)
        self.head(103, "Early Hints", f"Link: </{said}>")
        self.head(200, f"Hello {said}", f"X-Echo: Bearer {said}", "Transfer-Encoding: chunked")
        self.chunk(before + key[:at])
        self.step()
        self.chunk(key[at:] + after)
        self.send(b"0\r\nX-Sum: %b\r\n\r\n" % key)

    def do_plain(self) -> None:
        """The key alone, of known length, byte by byte."""
        self.read_body()
        self.head(200, "OK", f"Content-Length: {len(self.origin.key)}")
        for octet in self.origin.key:
            self.send(bytes((octet,)))

    def do_frame(self) -> None:
        """A 101, then the key in a message of which it says half a frame first."""
        accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        self.head(101, "Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", accept,
                  f"X-Echo: {self.origin.key.decode('ascii')}")  # fmt: skip
        message = b'{"echo":"' + self.origin.key + b'"}'
        self.send(bytes((0x81, len(message))) + message[:30])
        self.step()
        self.send(message[30:])
        self.wait_until_left()


@pytest.fixture(scope="module")
def mirror(authority: Authority, squid: Squid, canary: str) -> Iterator[Stack]:
    with (
        Origin(authority.leaf(NAME), canary, exchange=Mirror) as origin,
        Daemon(
            *options(authority, origin, squid), "--log-format", "json", env={"OPENAI_API_KEY": canary}
        ) as daemon,
    ):
        daemon.ready("/readyz")
        yield Stack(authority, origin, squid, daemon)


def counted(stack: Stack) -> int:
    counters = stack.daemon.ask("GET", "/metrics").json()["counters"]
    return int(counters["leaks_masked_total:openai"])


@pytest.mark.parametrize("at", [8, 9, 20, 55])
def test_the_key_in_head_body_1xx_and_trailer_leaves_as_stars(
    mirror: Stack, canary: str, outcome: Callable[[str, str, str], None], at: int
) -> None:
    before = counted(mirror)
    stars = b"*" * len(canary)
    gate = mirror.origin.gate(f"split-{at}")
    with Client(mirror.port) as client:
        client.send_head("GET", f"/v1/kit/mirror?at={at}&gate=split-{at}")
        hints, head = client.read_head(), client.read_head()
        pieces = client.pieces(head)
        first = next(pieces)  # what came before the key, as long as the rest is not there
        gate.release()
        body = first + b"".join(pieces)
    assert hints.value(b"link") == b"</" + stars + b">"
    assert head.reason == b"Hello " + stars
    assert head.value(b"x-echo") == b"Bearer " + stars
    assert head.trailers == ((b"X-Sum", stars),)
    assert first.endswith(b"\r\nAuthorization: Bearer ")
    assert body.startswith(b"GET /v1/kit/mirror?")
    assert b"\r\nAuthorization: Bearer " + stars + b"\r\n" in body
    assert counted(mirror) == before + 5
    lines = [json.loads(line) for line in mirror.daemon.output().splitlines() if '"leak_masked"' in line]
    assert {(line["level"], line["times"]) for line in lines} == {("warn", 5)}
    outcome(AREA, "leak: through Squid and TLS", MASKED)


def test_a_key_alone_byte_by_byte_keeps_its_length_and_shows_no_secret_byte(
    mirror: Stack, canary: str
) -> None:
    answer = mirror.daemon.ask("GET", "/v1/kit/plain")
    assert len(answer.body) == len(canary)
    assert answer.body.endswith(b"*" * (len(canary) - 7))


def test_the_key_in_a_websockets_message_leaves_as_stars(mirror: Stack, canary: str) -> None:
    message = b'{"echo":"' + b"*" * len(canary) + b'"}'
    gate = mirror.origin.gate("frame")
    with Client(mirror.port) as client:
        head = join(client, "/v1/kit/frame?gate=frame")
        assert head.value(b"x-echo") == b"*" * len(canary)
        assert b"".join(client.reader.exactly(11)) == bytes((0x81, len(message))) + message[:9]
        gate.release()
        assert b"".join(client.reader.exactly(len(message) - 9)) == message[9:]
        client.sock.shutdown(socket.SHUT_RDWR)


def test_an_answer_that_holds_no_key_is_the_same_with_and_without_the_guard(
    authority: Authority, mirror: Stack, squid: Squid, canary: str
) -> None:
    target = "/v1/kit/download?bytes=3000000&chunked"
    with Daemon(
        *options(authority, mirror.origin, squid), "--leak-guard", "off", env={"OPENAI_API_KEY": canary}
    ) as daemon:
        daemon.ready("/readyz")
        assert daemon.ask("GET", target).body == mirror.daemon.ask("GET", target).body
