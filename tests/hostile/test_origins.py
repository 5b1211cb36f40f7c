"""A corpus of answers by a hostile or broken origin, each sent to a real daemon through a real Squid.

Of each row: exactly what the client sees, how many requests the origin saw, that nothing of it reaches the
next client, and that this one is answered within a second.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.hostile import origin_bodies, origin_heads, origin_moments
from tests.hostile.origin_row import Cut, Exactly, Refused, Row
from tests.kit.certificates import Authority
from tests.kit.client import Client
from tests.kit.daemon import Daemon
from tests.kit.reader import Closed
from tests.kit.scripted import Gate, Script, ScriptedOrigin
from tests.kit.squid import Squid
from tests.kit.tools import need

AREA = "Hostile origins"
NAME = "api.openai.com"
ROWS = [*origin_heads.ROWS, *origin_bodies.ROWS, *origin_moments.ROWS]
CLEAN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nawfproxy-request-id: next\r\nConnection: close\r\n\r\nclean"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Authority, ScriptedOrigin]]:
    authority = Authority(tmp_path_factory.mktemp("ca"))
    with ScriptedOrigin(authority.leaf(NAME)) as origin:
        yield authority, origin


@pytest.fixture(scope="module")
def scripted(origin: tuple[Authority, ScriptedOrigin]) -> ScriptedOrigin:
    return origin[1]


@pytest.fixture(scope="module")
def daemon(origin: tuple[Authority, ScriptedOrigin], canary: str) -> Iterator[Daemon]:
    need("squid")
    authority, scripted = origin
    with Squid([NAME]) as squid, Daemon(
        "--egress-proxy", squid.url,
        "--ca-file", str(authority.file),
        "--target", f"{NAME}:{scripted.port}",
        "--log-format", "json",
        "--probe", "off",
        "--response-deadline", "1",
        "--silence-deadline", "1",
        env={"OPENAI_API_KEY": canary},
    ) as daemon:  # fmt: skip
        yield daemon.ready()


def read_until(client: Client, enough: bytes | None = None) -> tuple[bytes, str]:
    """What the client gets, up to `enough` or the connection's end, and which: reset, closed or ''."""
    data = b""
    while data != enough:
        try:
            data += client.reader.more()
        except Closed as closed:
            return data, "reset" if closed.reset else "closed"
    return data, ""


def exchanged(daemon: Daemon, scripted: ScriptedOrigin, row: Row) -> tuple[bytes, str, Script]:
    """(all that the client got, how it ended, what the origin knows)."""
    target = b"/v1/hostile/" + row.name.encode("ascii")
    script = scripted.script(target, row.steps, before_body=row.before_body)
    asks_websocket = b"Upgrade: websocket" in row.fields
    lines = [
        b"%b %b HTTP/1.1" % (row.method, target),
        b"Host: localhost",
        b"X-Request-Id: row",
        *row.fields,
        *([] if asks_websocket else [b"Connection: close"]),
    ]
    with Client(daemon.port) as client:
        client.send(b"\r\n".join(lines) + b"\r\n\r\n" + row.content)
        before, end = b"", ""
        if Gate() in row.steps:
            expected = row.answer.data if isinstance(row.answer, Exactly | Cut) else b""
            # What comes before the gate: of an answer that is cut later, the part that was sent by then.
            before, end = read_until(client, seen_before_gate(row, expected))
            script.go.set()
        if not end:
            after, end = read_until(client)
            before += after
        if Gate() in row.steps and isinstance(row.answer, Exactly):
            _wait_for_the_tunnels_end(scripted, script, row)
    return before, end, script


def _wait_for_the_tunnels_end(scripted: ScriptedOrigin, script: Script, row: Row) -> None:
    """Where the origin has nothing more to say in order, the tunnel is not used again."""
    if not isinstance(row.steps[-1], bytes):
        scripted.wait_for(lambda: script.left == script.requests)


def seen_before_gate(row: Row, expected: bytes) -> bytes:
    """Of the expected answer the part whose content the origin sends before its gate."""
    at = row.steps.index(Gate())
    sent = b"".join(step for step in row.steps[:at] if isinstance(step, bytes))
    _, _, content = sent.partition(b"\r\n\r\n")
    head, mark, body = expected.partition(b"\r\n\r\n")
    if b"\r\ntransfer-encoding: chunked" in head.lower() and content and not content.startswith(b"4\r\n"):
        return head + mark + b"%x\r\n%b\r\n" % (len(content), content)
    assert body.startswith(content)
    return head + mark + content


def next_client_is_served(daemon: Daemon) -> None:
    begun = time.monotonic()
    with Client(daemon.port, timeout=1.0) as client:
        client.send(b"GET /v1/clean HTTP/1.1\r\nHost: a\r\nX-Request-Id: next\r\nConnection: close\r\n\r\n")
        assert read_until(client) == (CLEAN, "closed")
    assert time.monotonic() - begun < 1.0


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_an_origin_does_ends_with_its_own_request(
    row: Row, daemon: Daemon, scripted: ScriptedOrigin, outcome: Callable[[str, str, str], None]
) -> None:
    data, end, script = exchanged(daemon, scripted, row)
    next_client_is_served(daemon)
    note = judged(row, data, end)
    _wait_for_the_tunnels_end(scripted, script, row)
    assert script.requests == row.requests
    outcome(AREA, row.kind, f"{note}; origin saw {row.requests} request{'s' * (row.requests > 1)}")


def judged(row: Row, data: bytes, end: str) -> str:
    """Asserts that the client saw what the row says; the note for the tables."""
    match row.answer:
        case Refused(status, code, before):
            assert data.startswith(before)
            head, _, content = data[len(before) :].partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 %d " % status), data[:500]
            assert f"\r\nawfproxy-error: {code}\r\n".encode("ascii") in head
            assert json.loads(content)["error"]["request_id"] == "row"
            assert b"EVIL" not in data
            assert end == "closed"
            return f"{status} {code}" + (", after the 1xx" if before else "")
        case Exactly(expected):
            assert data == expected
            assert end == "closed"
            return "passed on"
        case Cut(expected, code):
            assert expected.startswith(data)
            assert end == "reset"
            return f"what came before passed on, then reset ({code})"


def test_rows_have_names_of_their_own_and_sources() -> None:
    assert [name for name, count in Counter(row.name for row in ROWS).items() if count > 1] == []
    assert all(row.source for row in ROWS)


def test_origin_saw_the_key_on_each_request_and_the_daemon_has_logged_no_failure(
    daemon: Daemon, scripted: ScriptedOrigin, canary: str
) -> None:
    next_client_is_served(daemon)
    assert all(head.count(canary.encode("ascii")) == 1 for head in scripted.heads)
    assert "Traceback" not in daemon.output()
