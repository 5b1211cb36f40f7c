"""The kit alone, without awfproxy: curl through the real Squid to the TLS origin, and what each refuses."""

import json
import os
import socket
import ssl
import subprocess
import threading
from contextlib import suppress

import pytest

from tests.e2e.conftest import NAME
from tests.kit import canary as canaries
from tests.kit.certificates import Authority
from tests.kit.origin import Origin
from tests.kit.reader import Closed, Reader, poll
from tests.kit.sockets import open_sockets
from tests.kit.squid import Squid
from tests.kit.tools import need


def curl(
    squid: Squid, authority: Authority, target: str, origin: Origin, *options: str, url: str | None = None
) -> subprocess.CompletedProcess[str]:
    need("curl")
    return subprocess.run(
        ["curl", "-sS", "--max-time", "20", "--proxy", url or squid.url, "--cacert", str(authority.file),
         "--config", "-", *options, f"https://{NAME}:{origin.port}{target}"],
        input=f'header = "Authorization: Bearer {canaries.session_canary()}"\n',
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_curl_reaches_the_origin_through_squid(squid: Squid, authority: Authority, origin: Origin) -> None:
    done = curl(squid, authority, "/v1/anything?kit-alone", origin)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["head"].startswith("GET /v1/anything?kit-alone HTTP/1.1\r\n")
    assert "authorization: Bearer THE-KEY" in done.stdout.replace("Authorization", "authorization")
    assert origin.wait_for(b"kit-alone", lambda seen: seen.ended == "answered").method == b"GET"


def test_origin_wants_the_key(squid: Squid, authority: Authority, origin: Origin) -> None:
    done = curl(squid, authority, "/v1/models", origin, "-H", "Authorization: Bearer sk-wrong")
    assert json.loads(done.stdout)["error"]["code"] == "invalid_api_key"


def test_squid_refuses_a_name_that_is_not_allowed(authority: Authority, origin: Origin) -> None:
    need("squid")
    with Squid(["example.test"]) as squid:
        done = curl(squid, authority, "/", origin)
        assert done.returncode == 56
        assert "403" in done.stderr
        assert any("TCP_DENIED/403" in line for line in squid.connects(f"{NAME}:{origin.port}"))


def test_squid_wants_and_takes_credentials(authority: Authority, origin: Origin) -> None:
    need("squid")
    with Squid([NAME], users={"user": "pass"}) as squid:
        assert "407" in curl(squid, authority, "/", origin).stderr
        assert "407" in curl(squid, authority, "/", origin, url=squid.url_for("user", "wrong")).stderr
        assert curl(squid, authority, "/", origin, url=squid.url_for("user", "pass")).returncode == 0


def test_squid_comes_back_on_the_same_port(authority: Authority, origin: Origin) -> None:
    need("squid")
    with Squid([NAME]) as squid:
        squid.kill()
        assert curl(squid, authority, "/", origin).returncode == 7
        squid.start()
        assert curl(squid, authority, "/", origin).returncode == 0


@pytest.mark.parametrize(
    ("behaviour", "code"), [("short-length", 18), ("short-chunked", 18), ("no-answer", 52), ("chunked", 0)]
)
def test_origin_cuts_answers_short(
    squid: Squid, authority: Authority, origin: Origin, behaviour: str, code: int
) -> None:
    assert curl(squid, authority, f"/v1/kit/{behaviour}", origin).returncode == code


@pytest.mark.parametrize("wrong", ["name", "expired", "authority"])
def test_bad_certificates_are_bad(
    squid: Squid, authority: Authority, canary: str, tmp_path, wrong: str
) -> None:
    leaf = {
        "name": lambda: authority.leaf("other.test"),
        "expired": lambda: authority.leaf(NAME, expired=True),
        "authority": lambda: Authority(tmp_path, "another CA").leaf(NAME),
    }[wrong]()
    with Origin(leaf, canary) as origin:
        assert curl(squid, authority, "/", origin).returncode == 60


def test_dropped_connection_is_closed_by_the_thread_that_reads_it(authority: Authority, canary: str) -> None:
    """Closed by another one, its number might be a new socket's by the time that the thread reads on."""
    dropped, ends = threading.Event(), []

    class Watching(Reader):
        def more(self) -> bytes:
            try:
                return super().more()
            except Closed:
                dropped.wait(10)
                ends.append(self.sock.fileno())
                raise

    with Origin(authority.leaf(NAME), canary) as origin:
        origin.reader = Watching
        context = ssl.create_default_context(cafile=str(authority.file))
        with (
            socket.create_connection(("127.0.0.1", origin.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=NAME) as sock,
        ):
            sock.sendall(b"GET / HTTP/1.1\r\n")
            poll(lambda: origin._open)
            origin.drop_connections()
            with suppress(OSError):  # an end without close_notify, or already the reset
                assert not sock.recv(1)
            dropped.set()
            assert poll(lambda: ends)[0] >= 0
            poll(lambda: not origin._open)


def test_a_tunnel_that_a_daemon_opens_to_an_origin_meanwhile_is_no_leak(own_origin: Origin) -> None:
    def all_of_them() -> int:
        names = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        return sum(os.path.islink(name) and os.readlink(name).startswith("socket:") for name in names)

    before, many = open_sockets(), all_of_them()
    with socket.create_connection(("127.0.0.1", own_origin.port)) as tunnel:
        poll(lambda: all_of_them() == many + 2)
        assert open_sockets() - before == {os.readlink(f"/proc/self/fd/{tunnel.fileno()}")}
