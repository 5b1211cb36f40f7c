"""What `awfproxy squid-conf` prints, in the real Squid: who gets a tunnel, and to where."""

import contextlib
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from awfproxy.cli import squid_conf as verb
from awfproxy.squid import source, squid_conf
from awfproxy.wire.target import Origin
from tests.e2e.conftest import NAME
from tests.kit.certificates import Authority
from tests.kit.origin import Origin as FakeOrigin
from tests.kit.reader import Reader, parse_fields, values
from tests.kit.squid import Squid, squid_binary
from tests.kit.tools import need

OTHER = "other.test"
SIDECAR = "127.0.0.1"
AGENT = "127.0.0.2"


@pytest.fixture(scope="module")
def second(authority: Authority, canary: str) -> Iterator[FakeOrigin]:
    """The origin of a second provider, which has a port of its own."""
    with FakeOrigin(authority.leaf(OTHER), canary) as origin:
        yield origin


@pytest.fixture(scope="module")
def strict(origin: FakeOrigin, second: FakeOrigin) -> Iterator[Squid]:
    """Two providers, at one port each."""
    need("squid")
    with Squid(
        [NAME, OTHER],
        hosts={"openai.com": SIDECAR, f"eu.{NAME}": SIDECAR},
        origins=[Origin(NAME, origin.port), Origin(OTHER, second.port)],
    ) as squid:
        yield squid


@contextlib.contextmanager
def asked(squid: Squid, head: str, come_from: str = SIDECAR) -> Iterator[tuple[int, bytes, Reader]]:
    """Squid's status and head for a request from an address."""
    with socket.create_connection(("127.0.0.1", squid.port), 20, source_address=(come_from, 0)) as sock:
        sock.sendall(f"{head}\r\n\r\n".encode("ascii"))
        reader = Reader(sock)
        answer = reader.until(b"\r\n\r\n")
        yield int(answer.split(b" ")[1]), answer, reader


def status(squid: Squid, head: str, come_from: str = SIDECAR) -> int:
    with asked(squid, head, come_from) as (code, _, _):
        return code


def connect(squid: Squid, authority: str, come_from: str = SIDECAR, *fields: str) -> int:
    lines = (f"CONNECT {authority} HTTP/1.1", f"Host: {authority}", *fields)
    return status(squid, "\r\n".join(lines), come_from)


@pytest.mark.parametrize(
    "origins",
    [
        [Origin(NAME)],
        [Origin(NAME), Origin(NAME), Origin(NAME, 8443), Origin("eu.api.openai.com")],
        [Origin("10.0.0.5", 8443), Origin("2001:db8::7")],
    ],
)
def test_squid_has_nothing_to_say_against_it(origins: list[Origin], tmp_path: Path) -> None:
    local = tmp_path / "local.conf"
    local.write_text(f"access_log stdio:{tmp_path}/access.log\n")
    sources = [source(text) for text in ("172.30.0.30", "172.30.0.16/28", "172.30.0.17", "fd00::30")]
    text = squid_conf(origins, sources, http_port="[::1]:3128", include=[str(local)])
    assert_parsed(text, tmp_path)


def test_squid_has_nothing_to_say_against_what_the_verb_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every = "openai,anthropic,copilot,gemini,vertex"
    assert verb.main(["--sidecar-src", "172.30.0.30", "--providers", every], {}) == 0
    assert_parsed(capsys.readouterr().out, tmp_path)


def assert_parsed(text: str, folder: Path) -> None:
    need("squid")
    file = folder / "squid.conf"
    file.write_text(text)
    done = subprocess.run(
        [str(squid_binary()), "-k", "parse", "-f", str(file)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Processing: http_access deny all" in done.stderr
    for word in ("WARNING", "ERROR", "FATAL", "NOTICE", "UPGRADE"):
        assert word not in done.stderr, done.stderr


def test_awfproxy_gets_a_tunnel_to_each_provider(
    strict: Squid, authority: Authority, origin: FakeOrigin, second: FakeOrigin
) -> None:
    context = ssl.create_default_context(cafile=str(authority.file))
    for host, port in ((NAME, origin.port), (OTHER, second.port)):
        with socket.create_connection(("127.0.0.1", strict.port), 20) as sock:
            sock.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode("ascii"))
            assert Reader(sock).until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
            with context.wrap_socket(sock, server_hostname=host) as secure:
                secure.sendall(b"GET /v1/kit/length HTTP/1.1\r\nHost: kit\r\n\r\n")
                assert Reader(secure).until(b"\r\n").startswith(b"HTTP/1.1 401 "), "the origin wants a key"


def test_another_source_gets_403(strict: Squid, origin: FakeOrigin, second: FakeOrigin) -> None:
    before = (origin.connections, second.connections)
    for authority in (f"{NAME}:{origin.port}", f"{OTHER}:{second.port}"):
        assert connect(strict, authority) == 200
        assert connect(strict, authority, AGENT) == 403
        for field in ("X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1"):
            assert connect(strict, authority, AGENT, field) == 403
    assert (origin.connections, second.connections) == before, "no TLS was spoken in this test"


def test_one_providers_host_is_not_reached_at_the_others_port(
    strict: Squid, origin: FakeOrigin, second: FakeOrigin
) -> None:
    assert connect(strict, f"{NAME}:{second.port}") == 403
    assert connect(strict, f"{OTHER}:{origin.port}") == 403
    assert connect(strict, f"{NAME}:443") == 403


@pytest.mark.parametrize(
    "host", ["openai.com", f"eu.{NAME}", "127.0.0.1", "[::1]", "localhost", "[::ffff:127.0.0.1]"]
)
def test_no_other_host_is_reached(strict: Squid, origin: FakeOrigin, host: str) -> None:
    assert connect(strict, f"{host}:{origin.port}") == 403


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nothing_but_a_tunnel_is_had(strict: Squid, origin: FakeOrigin, scheme: str) -> None:
    for method in ("GET", "POST"):
        head = f"{method} {scheme}://{NAME}:{origin.port}/ HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 0"
        assert status(strict, head) == 403


MANAGER = (
    "http://127.0.0.1:{port}/squid-internal-mgr/menu",
    "/squid-internal-mgr/info",
    "cache_object://localhost/info",
)


@pytest.mark.parametrize("target", MANAGER)
def test_cache_manager_is_denied(strict: Squid, target: str) -> None:
    assert status(strict, f"GET {target.format(port=strict.port)} HTTP/1.1\r\nHost: squid") in (400, 403)


def test_error_page_tells_neither_version_nor_machine(strict: Squid, origin: FakeOrigin) -> None:
    with asked(strict, "CONNECT kit.invalid:1 HTTP/1.1\r\nHost: kit.invalid:1") as (code, head, reader):
        fields = parse_fields(head.split(b"\r\n")[1:-2])
        page = head + b"".join(reader.exactly(int(values(fields, b"content-length")[0])))
    assert code == 403
    assert b"X-Squid-Error: ERR_ACCESS_DENIED" in page
    assert b"squid/" not in page.lower()
    assert socket.gethostname().encode() not in page


# --- local additions --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared(origin: FakeOrigin) -> Iterator[Squid]:
    """A local file that opens Squid to all the world."""
    need("squid")
    with Squid([NAME], origins=[Origin(NAME, origin.port)], local=["http_access allow all"]) as squid:
        yield squid


def test_local_rule_lets_an_agent_reach_what_it_names(shared: Squid, second: FakeOrigin) -> None:
    assert connect(shared, f"127.0.0.1:{second.port}", AGENT) == 200


@pytest.mark.parametrize("host", [NAME, NAME.upper(), NAME + "."])
def test_no_local_rule_lets_an_agent_reach_a_provider(shared: Squid, origin: FakeOrigin, host: str) -> None:
    assert connect(shared, f"{host}:{origin.port}", AGENT) == 403
    assert connect(shared, f"{host}:443", AGENT) == 403
    for scheme in ("http", "https"):
        head = f"GET {scheme}://{host}:{origin.port}/ HTTP/1.1\r\nHost: elsewhere.test"
        assert status(shared, head, AGENT) == 403
    assert connect(shared, f"{NAME}:{origin.port}") == 200


@pytest.mark.parametrize("target", MANAGER)
def test_no_local_rule_opens_the_cache_manager(shared: Squid, target: str) -> None:
    assert status(shared, f"GET {target.format(port=shared.port)} HTTP/1.1\r\nHost: squid") in (400, 403)


# --- origins that are addresses ---------------------------------------------------------------------


def test_origin_that_is_an_address_is_reached_as_that_address_alone() -> None:
    need("squid")
    with (
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
    ):
        first, other = four.getsockname()[1], six.getsockname()[1]
        with Squid([NAME], origins=[Origin("127.0.0.1", first), Origin("::1", other)]) as squid:
            assert connect(squid, f"127.0.0.1:{first}") == 200
            assert connect(squid, f"[::1]:{other}") == 200
            assert connect(squid, f"127.0.0.1:{other}") == 403
            assert connect(squid, f"[::1]:{first}") == 403
            assert connect(squid, f"127.0.0.3:{first}") == 403
            assert connect(squid, f"{NAME}:{first}") == 403, "a name for the address"
            assert connect(squid, f"127.0.0.1:{first}", AGENT) == 403
