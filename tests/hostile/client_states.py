"""Clients that leave, by a reset or an end of their direction, in each state that a request can wait in.

In front of the answer, of which `client_connections` has the rows that need nothing but a client and an
origin: here Squid, TLS, the pool, the origin's reading or its 101 hold the request up, or the process stops.
"""

from collections.abc import Iterator
from enum import Enum

import attrs

from tests.hostile.client_fields import HANDSHAKE


class State(Enum):
    """What a request waits for while its client leaves."""

    CONNECT = "Squid's answer to CONNECT is awaited"
    TLS = "TLS with the origin is awaited"
    QUEUED = "it is queued, all tunnels in use"
    UPLOAD = "its upload is paused, the origin reads nothing"
    SWITCH = "the 101 is awaited"
    ANSWER = "the answer is awaited"


class Leaves(Enum):
    """How the client does."""

    RESET = "reset"
    FIN = "half-close"


class Fill(Enum):
    """What follows a head, until nothing more is taken."""

    NOTHING = ""
    PART = "of known length, and some of it is not sent"
    CHUNK = "ends within a chunk"
    WHOLE = "all of it, in chunks"


CONNECT, TLS, QUEUED, UPLOAD, SWITCH, ANSWER = State
RESET, FIN = Leaves
PART, CHUNK, WHOLE = Fill.PART, Fill.CHUNK, Fill.WHOLE


@attrs.frozen
class Row:
    """`answer`: a status, or none. `saw`: as a `Case` has it, with `ALL` for the content of a `WHOLE` upload.

    The client's own end may stand behind bytes that wait: it is then seen once the request goes on.
    """

    leaves: Leaves
    state: State
    name: str
    sent: bytes
    answer: str = ""
    saw: str = ""
    fill: Fill = Fill.NOTHING
    at_most: bool = False
    """The origin may as well have seen nothing: the client's end races its request."""
    stops: bool = False
    """The process has been told to stop meanwhile."""

    @property
    def id(self) -> str:
        words = (self.leaves.value, *("stop",) * self.stops, self.state.name, self.name)
        return "-".join(words).replace(" ", "_")

    @property
    def kind(self) -> str:
        stops = ", and the process stops" if self.stops else ""
        return f"{self.leaves.value} while {self.state.value}{stops}"

    @property
    def note(self) -> str:
        """The outcome, for docs/reliability.md."""
        saw = f"{'at most ' * self.at_most}1{', taken back' * self.saw.endswith(' cut')}"
        left = "exit 143, not held up" if self.stops else "nothing left"
        return f"{self.answer or 'no answer'}; origin saw {saw if self.saw else 'nothing'}; {left}"


_HOST = b"Host: a\r\nX-Request-Id: MARK\r\n"
_GET = b"GET /v1/MARK HTTP/1.1\r\n" + _HOST
_POST = b"POST /v1/MARK HTTP/1.1\r\n" + _HOST
_EXPECT = b"Expect: 100-continue\r\n"
_LENGTH = b"Content-Length: 5\r\n\r\n"
_GATED = b"/v1/kit/upload?gate=MARK HTTP/1.1\r\n" + _HOST
_LARGE = b"Content-Length: 100000000\r\n\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
_GRANTED = b"GET /v1/kit/ws?do=first&gate=MARK HTTP/1.1\r\n" + _HOST + HANDSHAKE
_NEVER = b"GET /v1/kit/stall?MARK HTTP/1.1\r\n" + _HOST + HANDSHAKE
_HELD = b"\r\nheld"
_MUCH = b"\r\n" + bytes(100_000)
"""More than is held: reading is paused."""
_UPLOAD_SEEN = "POST /v1/kit/upload?gate=MARK"
_GRANTED_SEEN = "GET /v1/kit/ws?do=first&gate=MARK"
_NEVER_SEEN = "GET /v1/kit/stall?MARK cut"


def _before_a_tunnel(state: State) -> tuple[Row, ...]:
    """Nothing has left for the origin yet, and where the client leaves by a reset nothing will."""
    return (
        Row(RESET, state, "GET", _GET + b"\r\n"),
        Row(RESET, state, "within content", _POST + _LENGTH + b"abc"),
        Row(RESET, state, "100 awaited", _POST + _EXPECT + _LENGTH),
        Row(RESET, state, "content behind Expect", _POST + _EXPECT + _LENGTH + b"abcde"),
        Row(FIN, state, "GET", _GET + b"\r\n", "200", "GET /v1/MARK"),
        Row(FIN, state, "content", _POST + _LENGTH + b"abcde", "200", "POST /v1/MARK 5"),
        Row(FIN, state, "content behind Expect", _POST + _EXPECT + _LENGTH + b"abcde", "200",
            "POST /v1/MARK 5"),
        Row(FIN, state, "within content", _POST + _LENGTH + b"abc", "", "POST /v1/MARK cut", at_most=True),
        Row(FIN, state, "100 awaited", _POST + _EXPECT + _LENGTH, "", "POST /v1/MARK cut", at_most=True),
    )  # fmt: skip


_PLAIN = b"POST " + _GATED
_EXPECTS = b"POST " + _GATED + _EXPECT
_CUT = _UPLOAD_SEEN + " cut"
_UPLOADS = (
    Row(RESET, UPLOAD, "known length", _PLAIN + _LARGE, "", _CUT, PART),
    Row(RESET, UPLOAD, "chunked", _PLAIN + _CHUNKED, "", _CUT, CHUNK),
    Row(RESET, UPLOAD, "in spite of Expect", _EXPECTS + _LARGE, "", _CUT, PART),
    Row(RESET, UPLOAD, "all sent", _PLAIN + _CHUNKED, "", _CUT, WHOLE),
    Row(FIN, UPLOAD, "known length", _PLAIN + _LARGE, "", _CUT, PART),
    Row(FIN, UPLOAD, "chunked", _PLAIN + _CHUNKED, "", _CUT, CHUNK),
    Row(FIN, UPLOAD, "in spite of Expect", _EXPECTS + _LARGE, "", _CUT, PART),
    Row(FIN, UPLOAD, "all sent", _PLAIN + _CHUNKED, "200", _UPLOAD_SEEN + " ALL", WHOLE),
    Row(FIN, UPLOAD, "all sent in spite of Expect", _EXPECTS + _CHUNKED, "200", _UPLOAD_SEEN + " ALL", WHOLE),
)
_SWITCHES = (
    Row(RESET, SWITCH, "some held", _NEVER + _HELD, "", _NEVER_SEEN),
    Row(RESET, SWITCH, "more than is held", _NEVER + _MUCH, "", _NEVER_SEEN),
    Row(RESET, SWITCH, "some held behind Expect", _NEVER + _EXPECT + _HELD, "", _NEVER_SEEN),
    Row(FIN, SWITCH, "some held", _GRANTED + _HELD, "101", _GRANTED_SEEN + " 4"),
    Row(FIN, SWITCH, "more than is held", _GRANTED + _MUCH, "101", _GRANTED_SEEN + " 100000"),
    Row(FIN, SWITCH, "some held behind Expect", _GRANTED + _EXPECT + _HELD, "101", _GRANTED_SEEN + " 4"),
)
_ANSWERS = (
    Row(RESET, ANSWER, "GET", b"GET " + _GATED + b"\r\n", "", "GET /v1/kit/upload?gate=MARK cut"),
    Row(RESET, ANSWER, "100 awaited", _EXPECTS + _LENGTH, "", _CUT),
    Row(FIN, ANSWER, "GET", b"GET " + _GATED + b"\r\n", "200", "GET /v1/kit/upload?gate=MARK"),
    Row(FIN, ANSWER, "content behind Expect", _EXPECTS + _LENGTH + b"abcde", "200", _UPLOAD_SEEN + " 5"),
    Row(FIN, ANSWER, "100 awaited", _EXPECTS + _LENGTH, "", _CUT),
)

ROWS = (
    *_before_a_tunnel(CONNECT), *_before_a_tunnel(TLS), *_before_a_tunnel(QUEUED), *_UPLOADS, *_SWITCHES,
    *_ANSWERS,
)  # fmt: skip


def _stopping(rows: tuple[Row, ...], *names: str) -> Iterator[Row]:
    """Each of these costs a process."""
    return (attrs.evolve(row, stops=True) for row in rows if row.name in names)


STOPS = (
    *_stopping(_before_a_tunnel(TLS), "GET", "100 awaited"),
    *_stopping(_before_a_tunnel(QUEUED), "GET"),
    *_stopping(_UPLOADS, "known length", "all sent in spite of Expect"),
    *_stopping(_SWITCHES, "some held"),
    *_stopping(_ANSWERS, "GET", "content behind Expect", "100 awaited"),
)
