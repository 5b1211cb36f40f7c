"""Plays a case against the real daemon, and compares everything that came of it with its row."""

import contextlib
import itertools
import socket
import string
import time
from collections.abc import Iterable, Iterator

from tests.hostile.client_answers import check_alive, check_error
from tests.hostile.client_case import (
    ANSWER,
    ARRIVED,
    CLOSED,
    CONTENT,
    DRIP,
    FIN,
    GIVEN_UP,
    HEAD,
    KEPT,
    MALFORMED,
    MARK,
    ORIGIN,
    OTHERS,
    PORT,
    RELEASE,
    RESET,
    TRICKLE,
    UNKNOWN_METHOD,
    Case,
    Step,
)
from tests.hostile.client_witness import Witness, h11_reads, shown
from tests.kit.client import Client, Response, ask
from tests.kit.daemon import Daemon
from tests.kit.origin import Seen
from tests.kit.reader import Closed, poll

_MARKS = map("".join, itertools.product("q", *[string.ascii_lowercase] * 3))
_PATIENCE = 20.0
_PACE = 0.1
_AT_ONCE = 1.0
"""Seconds in which the next request has to be answered."""


def next_mark() -> bytes:
    return next(_MARKS).encode("ascii")


class Play:
    """One case, being played."""

    def __init__(
        self, case: Case, daemon: Daemon, witness: Witness, mark: bytes, *, cut_up: bool = False
    ) -> None:
        self.case, self.daemon, self.witness = case, daemon, witness
        self.cut_up = cut_up
        self.mark = mark
        self.answers: list[str] = []
        self.relayed: list[tuple[Response, bool]] = []
        """The origin's, and whether each is a whole one."""
        self._arrived = 0
        self._authority = f"api.openai.com:{witness.port}".encode("ascii")

    def run(self) -> None:
        """Raises `AssertionError` for whatever is other than the row says."""
        with Client(self.daemon.port, timeout=_PATIENCE) as client:
            self._send(client)
            answers_next(self.daemon, self.witness, self.mark)
            left = RESET in self.case.sent
            if not left:
                self._read(client)
            assert list(map(self._judged, self.answers)) == list(map(self._judged, self.case.answers))
            if not left:
                self._check_end(client)
        requests = self._requests()
        if self.case.at_most:
            self.witness.account_at_most(self.mark, len(self.case.saw))
        else:
            self.witness.account(len(requests))
        for seen in requests:
            self._check_credentials(seen)
        self._check_contents(requests)
        self._check_against_h11(requests)
        answers_next(self.daemon, self.witness, self.mark)

    def _judged(self, answer: str) -> str:
        """Octet by octet a method is refused at its first wrong one, whatever its others would be."""
        return MALFORMED if self.cut_up and answer == UNKNOWN_METHOD else answer

    # --- the client ------------------------------------------------------------------------------

    def _send(self, client: Client) -> None:
        steps = iter(self.case.sent)
        for step in steps:
            if isinstance(step, bytes):
                # We may be answered and cut off in the midst of it.
                with contextlib.suppress(ConnectionError):
                    for piece in self._pieces(self._filled(step)):
                        client.send(piece)
            else:
                self._do(client, step, steps)

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        yield from (data[at : at + 1] for at in range(len(data))) if self.cut_up else (data,)

    def _do(self, client: Client, step: Step, steps: "itertools.chain[Step]") -> None:
        if step is ARRIVED:
            self._arrived += 1
            wanted = self._arrived
            poll(lambda: len(self.witness.find(self.mark)) >= wanted, _PATIENCE)
        elif step is CONTENT:
            self.witness.wait_for(self.mark, lambda seen: bool(seen.body))
        elif step is OTHERS:
            answers_next(self.daemon, self.witness, self.mark)
        elif step is ANSWER:
            self._read_answer(client)
        elif step is HEAD:
            self.answers.append(f"{client.final_head().status} cut")
        elif step is RELEASE:
            self.witness.gate(self.mark.decode("ascii")).release()
        elif step is FIN:
            client.sock.shutdown(socket.SHUT_WR)
        elif step is RESET:
            client.reset()
        elif step is GIVEN_UP:
            self.witness.wait_for(self.mark, lambda seen: seen.ended == "left")
        elif step is DRIP:
            self._drip(client, itertools.cycle(self._filled(next(steps))))
        elif step is TRICKLE:
            self._drip(client, self._filled(next(steps)))

    def _drip(self, client: Client, data: Iterable[int]) -> None:
        """The pace of a slow client is no waiting for something: it is what is tested."""
        client.sock.settimeout(_PACE)
        ends = time.monotonic() + _PATIENCE
        for octet in data:
            assert time.monotonic() < ends, "a slow client was never stopped"
            with contextlib.suppress(ConnectionError):
                client.send(bytes([octet]))
            try:
                client.reader.buffer = client.reader.more()
                break
            except TimeoutError:
                continue
            except Closed:
                break
        client.sock.settimeout(_PATIENCE)

    def _filled(self, step: Step) -> bytes:
        assert isinstance(step, bytes)
        port = b"%d" % self.daemon.port
        return step.replace(MARK, self.mark).replace(PORT, port).replace(ORIGIN, self._authority)

    def _read(self, client: Client) -> None:
        while len(self.answers) < len(self.case.answers):
            if not self._read_answer(client):
                return

    def _read_answer(self, client: Client) -> bool:
        """Whether it was a whole one."""
        wanted = self.case.answers[len(self.answers)]
        try:
            head = client.read_head()
            while head.status < 200 and head.status != 101:
                head = client.read_head()
        except Closed:
            return False
        status, whole = " ".join(filter(None, (str(head.status), head.error_code))), True
        try:
            if head.status != 101:
                for piece in client.pieces(head, "HEAD" if self.case.data.startswith(b"HEAD") else "GET"):
                    head.body += piece
        except Closed:
            status, whole = status + " cut", False
        assert head.error_code or head.status < 300 or wanted.startswith(str(head.status)), head
        self.answers.append(status)
        if head.status != 101 and not self._is_own(head):
            self.relayed.append((head, whole))
        return whole

    def _is_own(self, answer: Response) -> bool:
        """Whether awfproxy gave it itself, and then it is what it has to be."""
        if answer.error_code:
            last = len(self.answers) == len(self.case.answers)
            check_error(answer, closes=last and self.case.end is not KEPT)
            return True
        if len(self.answers) == 1 and self.case.data.startswith(b"GET /healthz "):
            check_alive(answer)
            return True
        return False

    def _check_end(self, client: Client) -> None:
        if self.case.end is CLOSED:
            assert client.closed(_PATIENCE), "the connection was to be closed, and nothing more to come"
            return
        assert self.case.end is KEPT
        if "101" in self.answers:
            return
        check_alive(client.request("GET", "/healthz"))

    # --- the origin ------------------------------------------------------------------------------

    def _requests(self) -> list[Seen]:
        """All that came of the case, once nothing more will."""

        def settled() -> list[Seen] | None:
            found = self.witness.of_row(self.mark)
            return found if all(seen.ended for seen in found) else None

        wanted = self.case.saw
        if self.case.at_most:
            poll(lambda: settled() is not None, _PATIENCE)
        else:
            poll(lambda: (found := settled()) is not None and len(found) >= len(wanted), _PATIENCE)
        found = settled() or []
        got = tuple(shown(seen, self.mark) for seen in found)
        if self.case.at_most:
            assert len(found) <= len(wanted)
        elif self.cut_up and got[-1:] == ("POST /v1/MARK cut",):
            # What is wrong came after the head had been sent on, so the request was taken back.
            assert got[:-1] == wanted or got == wanted
        else:
            assert got == wanted
        return found

    def _check_credentials(self, seen: Seen) -> None:
        """Whatever the client said: our key, the origin's name, and one framing."""
        assert seen.values(b"authorization") == [b"Bearer THE-KEY"]
        assert seen.values(b"host") == [self._authority]
        assert len(seen.values(b"content-length") + seen.values(b"transfer-encoding")) <= 1
        sent_on = b"\r\n".join(name + b": " + value for name, value in (*seen.fields, *seen.trailers))
        assert not self.case.never or self.case.never not in sent_on

    def _check_contents(self, requests: list[Seen]) -> None:
        """The client got what the origin sent, or the beginning of it where the answer was cut."""
        assert len(self.relayed) <= len(requests)
        for (answer, whole), seen in zip(self.relayed, requests, strict=False):
            sent = self.witness.content(seen)
            assert answer.body == (sent if whole else sent[: len(answer.body)])

    def _check_against_h11(self, requests: list[Seen]) -> None:
        """h11 reads those requests in the client's own bytes too, and in that order; behind them whatever."""
        if self.case.not_by_h11 or self.case.at_most:
            return
        reads = h11_reads(self._filled(self.case.data))
        assert len(reads) >= len(requests), "the origin saw requests that h11 does not"
        for seen, read in zip(requests, reads, strict=False):
            assert seen.method == read.method
            target = read.target
            if not target.startswith(b"/"):
                target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
            if not target.startswith(b"/v1"):
                target = b"/v1" + target
            assert seen.target == target
            if seen.ended == "answered" and not self.case.data.count(b"websocket"):
                assert (seen.body, seen.length) == (read.content[:65536], len(read.content))


def answers_next(daemon: Daemon, witness: Witness, mark: bytes) -> None:
    """A new client gets its answers within a second: a page of ours, and one from the origin."""
    begun = time.monotonic()
    target = b"/v1/%b/next-request" % mark
    page, relayed = ask(daemon.port, "GET", "/healthz"), ask(daemon.port, "GET", target)
    assert time.monotonic() - begun < _AT_ONCE
    check_alive(page, closes=True)
    assert relayed.status == 200
    assert relayed.body == witness.content(witness.find(target)[-1])
    witness.account(1)
