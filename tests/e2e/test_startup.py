"""Start and stop: every exit code under twistd and twist, and nothing that listens before the verdict."""

import contextlib
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import NAME, options
from tests.kit.certificates import Authority
from tests.kit.client import Client
from tests.kit.daemon import BIN, RUNNERS, Daemon, never_listens_until_end
from tests.kit.origin import Exchange, Origin
from tests.kit.ports import free_port, origin_listener
from tests.kit.reader import poll
from tests.kit.squid import Squid
from tests.kit.tools import need, need_pid_namespace

pytestmark = pytest.mark.parametrize("runner", RUNNERS)

NOWHERE = "http://127.0.0.1:9"


def ended(daemon: Daemon) -> tuple[int, str]:
    """Exit code and last line; along the way the port must never have been open."""
    with daemon:
        assert never_listens_until_end(daemon)
        return daemon.exit_code(), daemon.last_line


# --- 64: the command line ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [("--no-such-option",), ("--port", "ten"), ("--startup-grace", "soon"), ("surplus",), ("--port",)],
    ids=" ".join,
)
def test_command_line_that_cannot_be_understood_is_64(
    runner: str, canary: str, arguments: tuple[str, ...]
) -> None:
    port = () if "--port" in arguments else ("--port", "0")
    code, line = ended(Daemon(*port, *arguments, env={"OPENAI_API_KEY": canary}, runner=runner))
    assert code == 64, line
    assert (arguments[0] if arguments[0].startswith("--") else "no option") in line


# --- 78: configuration and the key's shape ----------------------------------------------------------

_SHAPES = {
    "missing": (None, "OPENAI_API_KEY"),
    "empty": ("", "Secrets"),
    "blank": ("  ", "blank"),
    "inner newline": ("sk-a\nb", "newline"),
    "control byte": ("sk-a\x01b", "control"),
    "not ASCII": ("sk-é", "ASCII"),
    "in quotes": ('"sk-abc"', "quotes"),
    "with a scheme": ("Bearer sk-abc", "Bearer"),
    "placeholder": ("your-key-here", "placeholder"),
    "sk-xxx": ("sk-xxx", "placeholder"),
    "unexpanded": ("${OPENAI_API_KEY}", "expanded"),
}


@pytest.mark.parametrize("case", _SHAPES)
def test_key_of_a_wrong_shape_is_78(runner: str, case: str) -> None:
    value, word = _SHAPES[case]
    env = {} if value is None else {"OPENAI_API_KEY": value}
    code, line = ended(Daemon("--egress-proxy", NOWHERE, env=env, runner=runner))
    assert code == 78
    assert word in line


def test_key_file_that_cannot_be_read_is_78(runner: str, tmp_path: Path) -> None:
    missing = tmp_path / "no-such-file"
    code, line = ended(Daemon("--egress-proxy", NOWHERE, "--key-file", str(missing), runner=runner))
    assert code == 78
    assert str(missing) in line


def test_two_sources_that_disagree_are_78(runner: str, tmp_path: Path, canary: str) -> None:
    file = tmp_path / "key"
    file.write_text("sk-proj-another0key1that2is3well4formed5\n")
    file.chmod(0o600)
    code, line = ended(
        Daemon(
            "--egress-proxy", NOWHERE, "--key-file", str(file), env={"OPENAI_API_KEY": canary}, runner=runner
        )
    )
    assert code == 78
    assert "OPENAI_API_KEY" in line


def test_no_egress_proxy_is_78_and_never_direct(runner: str, canary: str, own_origin: Origin) -> None:
    code, line = ended(
        Daemon("--target", f"{NAME}:{own_origin.port}", env={"OPENAI_API_KEY": canary}, runner=runner)
    )
    assert code == 78
    assert "--egress-proxy" in line
    assert own_origin.connections == own_origin.failed_handshakes == 0


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("no-such-key = 1", "no-such-key"),
        ('port = "ten"', "port"),
        ("port = 70000", "port"),
        ('log-format = "xml"', "log-format"),
        ("port = ", "line 1"),
    ],
)
def test_wrong_configuration_file_is_78_with_name_and_place(
    runner: str, tmp_path: Path, canary: str, content: str, word: str
) -> None:
    file = tmp_path / "awfproxy.toml"
    file.write_text(content + "\n")
    daemon = Daemon(
        *("--config", str(file), "--egress-proxy", NOWHERE), env={"OPENAI_API_KEY": canary}, runner=runner
    )
    code, line = ended(daemon)
    assert code == 78
    assert word in line
    assert str(file) in line


def test_value_out_of_range_is_78(runner: str, canary: str) -> None:
    code, line = ended(
        Daemon(
            "--egress-proxy", NOWHERE, env={"OPENAI_API_KEY": canary, "AWFPROXY_POOL_MAX": "0"}, runner=runner
        )
    )
    assert code == 78
    assert "AWFPROXY_POOL_MAX" in line


# --- 78, 76, 77: path and key -----------------------------------------------------------------------


@pytest.mark.parametrize("probe", ["try", "require"])
def test_origin_that_squid_does_not_allow_is_78_with_the_line_to_add(
    runner: str, probe: str, authority: Authority, own_origin: Origin, canary: str
) -> None:
    need("squid")
    with Squid(["other.test"]) as squid:
        code, line = ended(
            Daemon(
                *options(authority, own_origin, squid), "--probe", probe,
                env={"OPENAI_API_KEY": canary}, runner=runner,
            )
        )  # fmt: skip
    assert code == 78
    assert "dstdomain" in line
    assert NAME in line


@pytest.mark.parametrize("probe", ["try", "require"])
def test_squid_that_wants_credentials_is_78(
    runner: str, probe: str, authority: Authority, own_origin: Origin, canary: str
) -> None:
    need("squid")
    with Squid([NAME], users={"user": "Secr3tWord"}) as squid:
        for url in (squid.url, squid.url_for("user", "Wr0ngWord")):
            daemon = Daemon(
                *options(authority, own_origin, squid)[2:], "--egress-proxy", url, "--probe", probe,
                env={"OPENAI_API_KEY": canary}, runner=runner,
            )  # fmt: skip
            code, line = ended(daemon)
            assert code == 78, line
            assert "Wr0ngWord" not in daemon.output()


@pytest.mark.parametrize("wrong", ["name", "expired", "authority"])
def test_certificate_that_is_not_good_is_76(
    runner: str, wrong: str, authority: Authority, squid: Squid, canary: str, tmp_path: Path
) -> None:
    leaf = {
        "name": lambda: authority.leaf("other.test"),
        "expired": lambda: authority.leaf(NAME, expired=True),
        "authority": lambda: Authority(tmp_path, "another CA").leaf(NAME),
    }[wrong]()
    with Origin(leaf, canary) as origin:
        code, line = ended(
            Daemon(*options(authority, origin, squid), env={"OPENAI_API_KEY": canary}, runner=runner)
        )
        assert code == 76
        assert "certificate" in line
        assert not origin.requests


def test_origin_without_tls_is_76(runner: str, authority: Authority, squid: Squid, canary: str) -> None:
    with plain_server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        arguments = ("--egress-proxy", squid.url, "--target", f"{NAME}:{port}")
        code, _ = ended(Daemon(*arguments, env={"OPENAI_API_KEY": canary}, runner=runner))
    assert code == 76


@contextlib.contextmanager
def plain_server(greeting: bytes) -> Iterator[int]:
    """Says the same to everybody and closes."""
    listener = origin_listener()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                with sock, contextlib.suppress(OSError):
                    sock.recv(4096)
                    sock.sendall(greeting)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


@pytest.mark.parametrize("probe", ["try", "require"])
def test_rejected_key_is_77_and_the_providers_message_is_not_shown(
    runner: str, probe: str, authority: Authority, squid: Squid, canary: str
) -> None:
    with Origin(authority.leaf(NAME), "another-key") as origin:
        daemon = Daemon(
            *options(authority, origin, squid),
            "--probe",
            probe,
            env={"OPENAI_API_KEY": canary},
            runner=runner,
        )
        code, line = ended(daemon)
    assert code == 77
    assert "invalid_api_key" in line
    assert "Incorrect" not in daemon.output()
    assert canary[-4:] not in daemon.output()


def test_egress_that_stays_away_is_69_where_the_probe_is_required(
    runner: str, authority: Authority, own_origin: Origin, canary: str
) -> None:
    daemon = Daemon(
        "--egress-proxy", f"http://127.0.0.1:{free_port()}", "--ca-file", str(authority.file),
        "--target", f"{NAME}:{own_origin.port}", "--probe", "require", "--startup-deadline", "1",
        env={"OPENAI_API_KEY": canary}, runner=runner,
    )  # fmt: skip
    code, line = ended(daemon)
    assert code == 69
    assert "egress" in line.lower()


def status(code: int) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.error(code, None, "The server had an error", "server_error")


def test_answer_that_cannot_tell_is_69_where_the_probe_is_required(
    runner: str, authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    own_origin.models_answer = status(500)
    daemon = Daemon(
        *options(authority, own_origin, squid), "--probe", "require", "--startup-deadline", "1",
        env={"OPENAI_API_KEY": canary}, runner=runner,
    )  # fmt: skip
    assert ended(daemon)[0] == 69
    assert len(own_origin.requests) > 1


# --- opening, ready or not --------------------------------------------------------------------------


def held_back(exchange: Exchange) -> None:
    exchange.options["gate"] = "verdict"
    exchange.step()
    exchange.answer(200, {"data": []})


def test_port_opens_only_after_the_verdict(
    runner: str, authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    own_origin.models_answer = held_back
    with Daemon(
        *options(authority, own_origin, squid), env={"OPENAI_API_KEY": canary}, runner=runner
    ) as daemon:
        own_origin.wait_for(b"/v1/models")
        for _ in range(20):
            assert not daemon.listening()
        own_origin.gate("verdict").release(10)
        daemon.ready("/readyz")
        (probe,) = own_origin.find(b"/v1/models")[:1]
        assert probe.target == b"/v1/models"
        assert daemon.ask("GET", "/v1/kit/length").body == b"12345"
        assert daemon.terminate() == 143


def missing_scopes(exchange: Exchange) -> None:
    exchange.error(
        401, None, "You have insufficient permissions for this operation. Missing scopes: api.model.read."
    )


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (missing_scopes, "accepted"),
        (status(403), "unverified"),
        (status(404), "unverified"),
        (status(302), "unverified"),
    ],
    ids=["restricted key", "403", "404", "302"],
)
def test_answer_that_does_not_reject_serves_and_is_ready(
    runner: str, authority: Authority, own_origin: Origin, squid: Squid, canary: str, answer, word: str
) -> None:  # fmt: skip
    own_origin.models_answer = answer
    with Daemon(
        *options(authority, own_origin, squid),
        "--probe",
        "require",
        env={"OPENAI_API_KEY": canary},
        runner=runner,
    ) as daemon:
        daemon.ready("/readyz")
        assert word in str(daemon.health())


def hang(exchange: Exchange) -> None:
    exchange.wait_until_left()


@pytest.mark.parametrize("answer", [status(500), status(429), hang], ids=["500", "429", "silence"])
def test_answer_that_cannot_tell_opens_not_ready_and_becomes_ready(
    runner: str, authority: Authority, own_origin: Origin, squid: Squid, canary: str, answer
) -> None:
    own_origin.models_answer = answer
    with Daemon(
        *options(authority, own_origin, squid),
        "--startup-grace",
        "0.5",
        env={"OPENAI_API_KEY": canary},
        runner=runner,
    ) as daemon:
        daemon.ready()
        assert daemon.ask("GET", "/readyz").status == 503
        health = daemon.ask("GET", "/health")
        assert (health.status, health.json()["status"]) == (503, "unhealthy")
        assert health.json()["reason"]
        if answer is hang:
            return
        own_origin.models_answer = None
        daemon.ready("/readyz")


def test_request_before_readiness_is_forwarded_with_the_key(
    runner: str, authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    own_origin.models_answer = status(500)
    with Daemon(
        *options(authority, own_origin, squid),
        "--startup-grace",
        "0",
        env={"OPENAI_API_KEY": canary},
        runner=runner,
    ) as daemon:
        daemon.ready("/readyz", 503)
        assert ("Authorization", "Bearer THE-KEY") in daemon.ask("GET", "/v1/kit/echo").echoed()


def test_squid_that_starts_later_is_waited_for(
    runner: str, authority: Authority, own_origin: Origin, canary: str
) -> None:
    need("squid")
    squid = Squid([NAME])
    try:
        with Daemon(
            *options(authority, own_origin, squid),
            "--startup-grace",
            "0.2",
            env={"OPENAI_API_KEY": canary},
            runner=runner,
        ) as daemon:
            daemon.ready("/readyz", 503)
            answer = daemon.ask("GET", "/v1/kit/echo")
            assert (answer.status, answer.error_code) == (502, "egress_unreachable")
            assert answer.json()["error"]["retryable"] is True
            squid.start()
            daemon.ready("/readyz")
            assert daemon.ask("GET", "/v1/kit/echo").status == 200
    finally:
        squid.close()


def test_key_that_is_rejected_later_does_not_end_the_process(
    runner: str, authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    own_origin.models_answer = status(500)
    with Daemon(
        *options(authority, own_origin, squid),
        "--startup-grace",
        "0",
        env={"OPENAI_API_KEY": canary},
        runner=runner,
    ) as daemon:
        daemon.ready("/readyz", 503)
        own_origin.models_answer = None
        own_origin.key = b"a-key-that-nobody-has"
        poll(lambda: "rejected" in str(daemon.ask("GET", "/health").body))
        assert daemon.ask("GET", "/v1/models").status == 401
        assert daemon.ask("GET", "/readyz").status == 503


@pytest.mark.parametrize("probe", ["off"])
def test_without_a_probe_the_port_opens_at_once(
    runner: str, probe: str, authority: Authority, own_origin: Origin, canary: str
) -> None:
    with Daemon(
        "--egress-proxy", NOWHERE, "--target", f"{NAME}:{own_origin.port}", "--probe", probe,
        env={"OPENAI_API_KEY": canary}, runner=runner,
    ) as daemon:  # fmt: skip
        daemon.ready("/healthz")
        assert own_origin.connections == 0


@pytest.mark.parametrize("source", ["file", "systemd"])
def test_key_from_a_file_or_systemd(
    runner: str,
    source: str,
    authority: Authority,
    own_origin: Origin,
    squid: Squid,
    canary: str,
    tmp_path: Path,
) -> None:
    file = tmp_path / "openai_api_key"
    file.write_text(canary + "\n")
    file.chmod(0o600)
    arguments = ("--key-file", str(file)) if source == "file" else ()
    env = {} if source == "file" else {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    with Daemon(*options(authority, own_origin, squid), *arguments, env=env, runner=runner) as daemon:
        daemon.ready("/readyz")
        assert daemon.ask("GET", "/v1/models").status == 200


def test_proxy_credentials_go_on_the_connect_and_nowhere_else(
    runner: str, authority: Authority, own_origin: Origin, canary: str
) -> None:
    need("squid")
    with (
        Squid([NAME], users={"user": "Secr3tWord"}) as squid,
        Daemon(
            *options(authority, own_origin, squid)[2:], runner=runner,
            env={
                "OPENAI_API_KEY": canary, "HTTPS_PROXY": squid.url_for("user", "Secr3tWord"), "NO_PROXY": "*",
            },
        ) as daemon,
    ):  # fmt: skip
        daemon.ready("/readyz")
        names = [name.lower() for name, _ in daemon.ask("GET", "/v1/kit/echo").echoed()]
        assert "proxy-authorization" not in names
        assert "Secr3tWord" not in daemon.output() + str(daemon.health())
        assert "NO_PROXY" in daemon.output()
        daemon.close()
        assert squid.connects(f"{NAME}:{own_origin.port}")


def test_direct_only_when_it_is_said(runner: str, authority: Authority, canary: str) -> None:
    with (
        Origin(authority.leaf("localhost"), canary) as origin,
        Daemon(
            "--egress-proxy", "direct", "--target", f"localhost:{origin.port}", "--probe", "off",
            "--ca-file", str(authority.file), env={"OPENAI_API_KEY": canary}, runner=runner,
        ) as daemon,
    ):  # fmt: skip
        daemon.ready()
        assert daemon.ask("GET", "/kit/x").json()["head"].startswith("GET /kit/x ")


# --- 71, signals ------------------------------------------------------------------------------------


def test_port_in_use_is_71(
    runner: str, authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        daemon = Daemon(
            *options(authority, own_origin, squid), env={"OPENAI_API_KEY": canary}, runner=runner, port=port
        )
        with daemon:
            assert daemon.exit_code() == 71
        assert str(port) in daemon.last_line


def test_address_that_is_not_ours_is_71(
    runner: str, authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    daemon = Daemon(
        *options(authority, own_origin, squid),
        "--bind",
        "192.0.2.1",
        "--allow-anonymous",
        env={"OPENAI_API_KEY": canary},
        runner=runner,
    )
    code, line = ended(daemon)
    assert code == 71
    assert "192.0.2.1" in line


def test_term_while_validating_ends_with_143(
    runner: str, authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    own_origin.models_answer = hang
    with Daemon(
        *options(authority, own_origin, squid), env={"OPENAI_API_KEY": canary}, runner=runner
    ) as daemon:
        own_origin.wait_for(b"/v1/models")
        assert daemon.terminate() == 143
        assert "Traceback" not in daemon.output()


def test_stopped_as_pid_1_is_0(
    runner: str, authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    need_pid_namespace()
    port = free_port()
    inner = [
        str(BIN / runner),
        *(["-n", "--pidfile="] if runner == "twistd" else []),
        "awfproxy",
        "--port",
        str(port),
    ]
    with Daemon(
        env={"OPENAI_API_KEY": canary}, runner=runner, port=port,
        command=[
            "unshare", "--pid", "--fork", "--kill-child", *inner, *options(authority, own_origin, squid),
        ],
    ) as daemon:  # fmt: skip
        daemon.ready("/readyz")
        children = Path(f"/proc/{daemon.running.pid}/task/{daemon.running.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)
        assert daemon.exit_code() == 0


# --- systemd ----------------------------------------------------------------------------------------


def test_systemd_is_told_when_the_port_is_open_and_when_it_stops(
    runner: str, authority: Authority, own_origin: Origin, squid: Squid, canary: str, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(20)
        env = {"OPENAI_API_KEY": canary, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with Daemon(*options(authority, own_origin, squid), env=env, runner=runner) as daemon:
            while b"READY=1" not in (message := notify.recv(4096)):
                assert message.startswith(b"STATUS=")
            assert daemon.listening()
            assert daemon.terminate() == 143
            while b"STOPPING=1" not in notify.recv(4096):
                pass


_AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="api")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""systemd passes descriptor 3 and up, and the process's own id."""


def test_inherited_socket_keeps_clients_waiting(
    runner: str, authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    own_origin.models_answer = held_back
    with socket.create_server(("127.0.0.1", 0)) as listener, Client(listener.getsockname()[1]) as early:
        daemon = Daemon(
            env={"OPENAI_API_KEY": canary}, port=listener.getsockname()[1], pass_fds=[listener.fileno()]
        )
        daemon.command = [
            sys.executable, "-c", _AS_SYSTEMD, str(listener.fileno()), str(BIN / runner),
            *(["-n", "--pidfile="] if runner == "twistd" else []),
            "awfproxy", "--listen", "systemd:domain=INET:index=0", *options(authority, own_origin, squid),
        ]  # fmt: skip
        with daemon:
            early.send_head("GET", "/v1/kit/length")
            own_origin.wait_for(b"/v1/models")
            assert not own_origin.find(b"/v1/kit/length")
            own_origin.gate("verdict").release(10)
            assert early.answer().body == b"12345"
            assert daemon.terminate() == 143


# --- daemonised: twistd alone does that -------------------------------------------------------------


class Daemonised:
    """twistd without -n: a parent that returns, a log, a pid file."""

    def __init__(self, folder: Path, *arguments: str, env: dict[str, str]) -> None:
        self.pid_file, self.log = folder / "twistd.pid", folder / "twistd.log"
        self.port = free_port()
        runner = [str(BIN / "twistd"), f"--pidfile={self.pid_file}", f"--logfile={self.log}", "awfproxy"]
        self.parent = Daemon(
            env=env, folder=folder, command=[*runner, "--port", str(self.port), *arguments], port=self.port
        )

    def __enter__(self) -> "Daemonised":
        from tests.kit.canary import session_watch

        session_watch().add_file(self.log)
        self.parent.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.pid_file.exists():
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(self.pid_file.read_text()), signal.SIGTERM)
            poll(lambda: not self.pid_file.exists(), 30)


def test_daemonised_judges_the_keys_shape_in_the_foreground(runner: str, tmp_path: Path) -> None:
    if runner != "twistd":
        return
    with Daemonised(tmp_path, "--egress-proxy", NOWHERE, env={"OPENAI_API_KEY": ""}) as daemon:
        assert daemon.parent.exit_code() == 78
        assert "Secrets" in daemon.parent.last_line
        assert not daemon.pid_file.exists()


def test_daemonised_judges_the_command_line_in_the_foreground(
    runner: str, tmp_path: Path, canary: str
) -> None:
    if runner != "twistd":
        return
    with Daemonised(tmp_path, "--no-such-option", env={"OPENAI_API_KEY": canary}) as daemon:
        assert daemon.parent.exit_code() == 64
        assert not daemon.pid_file.exists()


def test_daemonised_rejected_key_is_the_logs_last_line_and_leaves_no_pid_file(
    runner: str, tmp_path: Path, authority: Authority, squid: Squid, canary: str
) -> None:
    if runner != "twistd":
        return
    with (
        Origin(authority.leaf(NAME), "another-key") as origin,
        Daemonised(tmp_path, *options(authority, origin, squid), env={"OPENAI_API_KEY": canary}) as daemon,
    ):
        assert daemon.parent.exit_code() == 0
        poll(lambda: daemon.log.exists() and "invalid_api_key" in daemon.log.read_text(), 20)
        poll(lambda: not daemon.pid_file.exists(), 20)
        poll(lambda: "invalid_api_key" in daemon.log.read_text().strip().splitlines()[-1], 20)
        with socket.socket() as sock:
            assert sock.connect_ex(("127.0.0.1", daemon.port)) != 0


def test_daemonised_serves_and_stops(
    runner: str, tmp_path: Path, authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    if runner != "twistd":
        return
    with Daemonised(
        tmp_path, *options(authority, own_origin, squid), env={"OPENAI_API_KEY": canary}
    ) as daemon:
        assert daemon.parent.exit_code() == 0
        poll(lambda: daemon.log.exists() and re.search("Serving on|Started", daemon.log.read_text()), 20)
        with Client(daemon.port) as client:
            assert client.request("GET", "/v1/kit/length").body == b"12345"
    assert not daemon.pid_file.exists()
