"""What Squid does to a running daemon: refusals, stops, restarts; what only a scripted proxy can do."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.conftest import NAME, options
from tests.kit.certificates import Authority
from tests.kit.client import Client, ask
from tests.kit.daemon import Daemon
from tests.kit.origin import Origin
from tests.kit.ports import free_port
from tests.kit.reader import Closed, poll
from tests.kit.squid import Squid
from tests.kit.tools import need


@pytest.fixture
def own_squid() -> Iterator[Squid]:
    need("squid")
    with Squid([NAME]) as squid:
        yield squid


def unprobed(authority: Authority, origin: Origin, url: str, canary: str, *more: str) -> Daemon:
    return Daemon(
        "--egress-proxy", url, "--ca-file", str(authority.file), "--target", f"{NAME}:{origin.port}",
        "--probe", "off", "--pool-warm", "0", *more, env={"OPENAI_API_KEY": canary},
    )  # fmt: skip


def assert_own_error(port: int, status: int, code: str, retryable: bool) -> None:
    answer = ask(port, "POST", "/v1/kit/echo", body=b"{}")
    assert (answer.status, answer.error_code) == (status, code)
    error = answer.json()["error"]
    assert (error["code"], error["hop"], error["retryable"]) == (code, "egress", retryable)
    assert bool(answer.values(b"retry-after")) is retryable
    assert b"squid" not in answer.body.replace(b"Squid", b"").lower(), "Squid's own page"
    assert not answer.values(b"x-squid-error")


def test_refused_origin_is_403_and_not_retryable(
    authority: Authority, own_origin: Origin, canary: str
) -> None:
    need("squid")
    with Squid(["other.test"]) as squid, unprobed(authority, own_origin, squid.url, canary) as daemon:
        daemon.ready()
        assert_own_error(daemon.port, 403, "egress_denied", False)


def test_missing_proxy_credentials_are_502(authority: Authority, own_origin: Origin, canary: str) -> None:
    need("squid")
    with (
        Squid([NAME], users={"user": "pass"}) as squid,
        unprobed(authority, own_origin, squid.url, canary) as daemon,
    ):
        daemon.ready()
        assert_own_error(daemon.port, 502, "egress_auth_required", False)


def test_squid_that_is_down_is_502(authority: Authority, own_origin: Origin, canary: str) -> None:
    with unprobed(authority, own_origin, f"http://127.0.0.1:{free_port()}", canary) as daemon:
        daemon.ready()
        assert_own_error(daemon.port, 502, "egress_unreachable", True)


def test_origin_that_squid_cannot_reach_is_503(authority: Authority, canary: str, own_squid: Squid) -> None:
    with Origin(authority.leaf(NAME), canary) as origin:
        daemon = unprobed(authority, origin, own_squid.url, canary)
    with daemon:
        daemon.ready()
        assert_own_error(daemon.port, 503, "egress_failed", True)


# --- a proxy that follows a script ------------------------------------------------------------------


@contextlib.contextmanager
def scripted(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Each connection is handed to `serve` after its CONNECT was read."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    done = threading.Event()

    def one(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            sock.settimeout(30)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += sock.recv(4096) or b"\r\n\r\n"
            serve(sock)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while not done.is_set():
                threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        done.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def says(text: bytes) -> Callable[[socket.socket], None]:
    return lambda sock: sock.sendall(text)


@pytest.mark.parametrize(
    ("text", "status", "code", "retryable"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", 503, "egress_failed", True),
        (b"HTTP/1.1 504 Gateway Timeout\r\nX-Squid-Error: ERR_X 0\r\n\r\n", 503, "egress_failed", True),
        (
            b"HTTP/1.1 403 Forbidden\r\nX-Squid-Error: ERR_X 0\r\n\r\nSquid's page",
            403,
            "egress_denied",
            False,
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 502, "egress_protocol_error", False),
        (b"HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n", 502, "egress_protocol_error", False),
    ],
)
def test_other_answers_to_connect_are_our_own_errors(
    authority: Authority,
    own_origin: Origin,
    canary: str,
    text: bytes,
    status: int,
    code: str,
    retryable: bool,
) -> None:
    with scripted(says(text)) as url, unprobed(authority, own_origin, url, canary) as daemon:
        daemon.ready()
        assert_own_error(daemon.port, status, code, retryable)


def test_connect_that_hangs_is_504_and_delays_no_other_request(
    authority: Authority, own_origin: Origin, canary: str
) -> None:
    """The first tunnel hangs; the next ones are good."""
    first = threading.Event()

    def serve(sock: socket.socket) -> None:
        if not first.is_set():
            first.set()
            sock.recv(1)
            return
        with socket.create_connection(("127.0.0.1", own_origin.port)) as origin:
            sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            pump(sock, origin)

    with (
        scripted(serve) as url,
        unprobed(authority, own_origin, url, canary, "--connect-deadline", "3") as daemon,
        Client(daemon.ready().port) as slow,
    ):
        slow.send_head("GET", "/v1/kit/length")
        assert first.wait(10)
        for _ in range(3):
            assert daemon.ask("GET", "/v1/kit/length").status == 200
        # Served by whichever tunnel was ready first, so the one that hangs harmed nobody.
        assert slow.answer().status == 200

    with (
        scripted(lambda sock: sock.recv(1)) as url,
        unprobed(authority, own_origin, url, canary, "--connect-deadline", "1") as daemon,
    ):
        daemon.ready()
        assert_own_error(daemon.port, 504, "egress_timeout", True)


def pump(one: socket.socket, other: socket.socket) -> None:
    def copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    back = threading.Thread(target=copy, args=(other, one), daemon=True)
    back.start()
    copy(one, other)
    back.join(30)


def test_tls_that_hangs_is_504(authority: Authority, own_origin: Origin, canary: str, squid: Squid) -> None:
    own_origin.delay_handshake.clear()
    try:
        with unprobed(authority, own_origin, squid.url, canary, "--tls-deadline", "1") as daemon:
            daemon.ready()
            answer = daemon.ask("GET", "/v1/kit/length")
            assert (answer.status, answer.error_code) == (504, "tls_timeout")
    finally:
        own_origin.delay_handshake.set()


# --- stopped and started again ----------------------------------------------------------------------


def test_squid_stopped_and_started_under_load_recovers(
    authority: Authority, own_origin: Origin, own_squid: Squid, canary: str
) -> None:
    """While Squid is away every new request gets our own retryable error; afterwards there is none."""
    with Daemon(*options(authority, own_origin, own_squid), env={"OPENAI_API_KEY": canary}) as daemon:
        daemon.ready("/readyz")
        results: list[tuple[int, str]] = []
        stop = threading.Event()

        def load() -> None:
            while not stop.is_set():
                try:
                    answer = ask(daemon.port, "POST", "/v1/kit/echo", body=b"{}")
                    results.append((answer.status, answer.error_code))
                except (Closed, OSError):
                    results.append((0, "cut"))

        threads = [threading.Thread(target=load, daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        try:
            poll(lambda: len(results) > 100, 20)
            assert set(results) == {(200, "")}
            with Client(daemon.port) as stream:
                stream.send_head("GET", "/v1/kit/drip?events=1000&interval=0.05")
                assert stream.final_head().status == 200
                own_squid.stop()
                assert stream.was_reset()
            poll(lambda: (502, "egress_unreachable") in results, 20)
            poll(lambda: daemon.ask("GET", "/readyz").status == 503, 20)
            own_squid.start()
            started = len(results)
            poll(lambda: (200, "") in results[started:], 20)
            daemon.ready("/readyz")
            settled = len(results)
            poll(lambda: len(results) > settled + 200, 20)
        finally:
            stop.set()
            for thread in threads:
                thread.join(30)
        # What Squid cut off within an answer is reset: at most the one that each client had under way.
        assert results.count((0, "cut")) <= len(threads)
        assert {status for status, error in results if error != "cut"} <= {200, 502, 503, 504}
        assert daemon.output().count("error=origin_truncated") == 1 + results.count((0, "cut"))
        assert set(results[settled + 16 :]) == {(200, "")}


def test_squid_killed_and_restarted_between_requests(
    authority: Authority, own_origin: Origin, own_squid: Squid, canary: str
) -> None:
    with Daemon(*options(authority, own_origin, own_squid), env={"OPENAI_API_KEY": canary}) as daemon:
        daemon.ready("/readyz")
        for _ in range(3):
            assert daemon.ask("GET", "/v1/kit/length").status == 200
            own_squid.kill()
            own_squid.start()
        assert daemon.ask("GET", "/v1/kit/length").status == 200
