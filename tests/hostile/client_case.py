"""`Case`: one row of the corpus, what a hostile client sends and all that may come of it."""

from enum import Enum

import attrs


class Do(Enum):
    """What a client does between its bytes."""

    ARRIVED = "waits until the origin has (one more of) its requests"
    CONTENT = "waits until the origin has some of its content"
    OTHERS = "waits until others have been answered meanwhile"
    ANSWER = "reads one answer"
    HEAD = "reads an answer's head alone"
    RELEASE = "lets the origin go on with what is gated by `gate=MARK`"
    FIN = "ends its direction"
    RESET = "resets the connection"
    DRIP = "sends the next bytes one by one, slowly, and over and over, until the connection ends"
    TRICKLE = "sends the next bytes one by one, slowly"
    GIVEN_UP = "waits until the origin has lost the request, and reads nothing meanwhile"


ARRIVED, CONTENT, OTHERS, ANSWER, HEAD, RELEASE, FIN, RESET, DRIP, TRICKLE, GIVEN_UP = Do
Step = bytes | Do

MARK = b"MARK"
"""In targets: replaced by four letters of the case's own, which tell its requests apart at the origin."""
PORT = b"{PORT}"
ORIGIN = b"{ORIGIN}"
"""The origin's own authority."""

MALFORMED = "400 malformed_request"
UNKNOWN_METHOD = "501 method_not_implemented"


class End(Enum):
    """What becomes of the connection."""

    CLOSED = "connection closed"
    KEPT = "connection kept"
    LEFT = "the client had left"


CLOSED, KEPT, LEFT = End


def _steps(sent: Step | tuple[Step, ...]) -> tuple[Step, ...]:
    return sent if isinstance(sent, tuple) else (sent,)


def _words(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(", ")))


@attrs.frozen
class Case:
    """A row: class, name, source, what is sent, and the outcome.

    `answers` as `200, 400 malformed_request`: the status, and our code; `200 cut` breaks off; `` none.
    `saw`: requests at the origin in their order, as `POST /v1/MARK 5, GET /v1/MARK cut`: with the octets of
    content where there are any, or `cut` where the request was taken back before its answer had ended.
    """

    kind: str
    name: str
    source: str
    sent: tuple[Step, ...] = attrs.field(converter=_steps)
    answers: tuple[str, ...] = attrs.field(default=MALFORMED, converter=_words)
    saw: tuple[str, ...] = attrs.field(default="", converter=_words)
    end: End = CLOSED
    never: bytes = b""
    """What stands in none of the heads and trailers that the origin gets."""
    at_most: bool = False
    """The origin may as well have seen less: the client's end races its request."""
    not_by_h11: str = ""
    """Why h11's reading is not compared, where it is not."""

    @property
    def id(self) -> str:
        return f"{self.kind}-{self.name}".replace(" ", "_")

    @property
    def data(self) -> bytes:
        """All bytes that the client sends."""
        return b"".join(step for step in self.sent if isinstance(step, bytes))

    @property
    def note(self) -> str:
        """The outcome, for docs/reliability.md."""
        answered = ", ".join(self.answers) or "no answer"
        if len(self.answers) > 4:
            answered = f"{len(self.answers)} answers"
        count = len(self.saw)
        saw = f"origin saw {'at most ' if self.at_most else ''}{count or 'nothing'}"
        if any(one.endswith(" cut") for one in self.saw):
            saw += ", taken back"
        return f"{answered}; {saw}; {self.end.value}"


# --- pieces of rows -----------------------------------------------------------------------------------

HOST = b"Host: a\r\n"
GET = b"GET /v1/MARK HTTP/1.1\r\n" + HOST
POST = b"POST /v1/MARK HTTP/1.1\r\n" + HOST
END = b"\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /v1/MARK/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
"""What an attacker would have the origin read as a request of its own."""
