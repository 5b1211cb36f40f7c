"""Who may call a running daemon: by where it listens, by token, by user of a unix socket."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from awfproxy.callers.allowed import Allowed, Peer
from awfproxy.net.peercred import PeerCheck, peer_of
from tests.e2e.conftest import options
from tests.e2e.test_startup import _AS_SYSTEMD
from tests.kit.certificates import Authority
from tests.kit.client import Client
from tests.kit.daemon import BIN, Daemon, environment, never_listens_until_end
from tests.kit.origin import Origin
from tests.kit.ports import free_port
from tests.kit.reader import Closed, poll
from tests.kit.squid import Squid
from tests.kit.tokens import key_file, token
from tests.kit.users import User, need_users

AREA = "Who may call"
Outcome = Callable[[str, str, str], None]
Start = Callable[..., Daemon]
OTHER = User()
MEMBER = User(groups=(54321, 54322))
_ASKED = b"GET /v1/kit/length HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
_DOCTOR = "import sys; from awfproxy.cli.main import main; sys.exit(main())"


@pytest.fixture
def start(authority: Authority, origin: Origin, squid: Squid, canary: str) -> Start:
    """A daemon with the way to the origin, not started yet."""

    def make(*words: str, **more: object) -> Daemon:
        return Daemon(*options(authority, origin, squid), *words, env={"OPENAI_API_KEY": canary}, **more)  # type: ignore[arg-type]

    return make


def as_systemd(daemon: Daemon, listener: socket.socket) -> Daemon:
    daemon.command = [
        sys.executable, "-c", _AS_SYSTEMD, str(listener.fileno()), str(BIN / "twistd"), "-n", "--pidfile=",
        *daemon.command[daemon.command.index("awfproxy") :],
    ]  # fmt: skip
    return daemon


def bearer(shown: str) -> list[tuple[bytes, bytes]]:
    return [(b"Authorization", b"Bearer " + shown.encode())]


# --- where it listens -------------------------------------------------------------------------------


def test_it_does_not_listen_where_others_reach_it_without_a_word(start: Start, outcome: Outcome) -> None:
    with start("--bind", "0.0.0.0") as daemon:
        assert never_listens_until_end(daemon)
        assert daemon.exit_code() == 78
    for part in ("--bind (command line)", "--token-key-file", "--allow-anonymous", "127.0.0.1"):
        assert part in daemon.last_line
    outcome(AREA, "listening elsewhere, nobody asked", "exit 78, names option, place and fixes")


def test_with_the_word_it_does_and_says_so_loudly(start: Start, outcome: Outcome) -> None:
    with start("--bind", "0.0.0.0", "--allow-anonymous") as daemon:
        daemon.ready("/readyz")
        assert daemon.ask("GET", "/v1/kit/length").body == b"12345"
        daemon.wait_for_output("ANONYMOUS CALLERS")
    outcome(AREA, "listening elsewhere, --allow-anonymous", "serves; a warning names the places")


def test_inherited_socket_is_judged_by_its_own_address(start: Start, outcome: Outcome) -> None:
    words = ("--listen", "systemd:domain=INET:index=0")
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        with as_systemd(start(*words, port=port, pass_fds=[listener.fileno()]), listener) as daemon:
            assert daemon.exit_code() == 78
            assert f"http://0.0.0.0:{port} can be reached from other machines" in daemon.last_line
            assert "Serving" not in daemon.output()
        more = (*words, "--allow-anonymous")
        with as_systemd(start(*more, port=port, pass_fds=[listener.fileno()]), listener) as daemon:
            daemon.ready("/readyz")
            daemon.wait_for_output("ANONYMOUS CALLERS")
    outcome(AREA, "inherited socket that others reach", "exit 78 once its address is known; nobody answered")


def test_address_by_name_is_judged_by_what_it_stands_for(start: Start) -> None:
    port = free_port()
    with start("--listen", f"tcp:{port}:interface=localhost", port=port) as daemon:
        daemon.ready("/readyz")
        assert "ANONYMOUS" not in daemon.output()


# --- tokens -----------------------------------------------------------------------------------------


def test_token_opens_what_it_covers_and_goes_no_further(
    start: Start, tmp_path: Path, outcome: Outcome
) -> None:
    shown = token("openai", paths=("/v1/open/**",), methods=("GET",), label="job-1")
    with start("--bind", "0.0.0.0", "--token-key-file", str(key_file(tmp_path))) as daemon:
        daemon.ready("/readyz")
        assert "ANONYMOUS" not in daemon.output()
        answer = daemon.ask("GET", "/v1/open/x", fields=bearer(shown))
        assert answer.status == 200
        assert ("Authorization", "Bearer THE-KEY") in answer.echoed()
        assert shown.rpartition(".")[2] not in str(answer.echoed())
        for target, fields, code in (
            ("/v1/open/x", [], "caller_token_missing"),
            ("/v1/open/x", bearer(shown[:-8]), "caller_token_invalid"),
            ("/v1/open/x", bearer(token("anthropic")), "caller_token_invalid"),
            ("/v1/open/x", bearer(token("openai", seconds=-1)), "caller_token_expired"),
            ("/v1/other", bearer(shown), "caller_token_scope"),
            ("/v1/open/../other", bearer(shown), "ambiguous_target"),
            ("/metrics", [], "caller_token_missing"),
        ):
            refused = daemon.ask("GET", target, fields=fields)
            assert (refused.status, refused.error_code) == (403, code)
        daemon.wait_for_output("caller=job-1")
        assert shown.rpartition(".")[2] not in daemon.output()
    outcome(AREA, "token on a port that others reach", "forwarded with it, else 403; origin saw no token")


def test_revoked_label_is_refused_after_a_reload_and_a_broken_list_changes_nothing(
    start: Start, tmp_path: Path, outcome: Outcome
) -> None:
    revoked = tmp_path / "revoked"
    revoked.write_text("# none\n")
    words = ("--token-key-file", str(key_file(tmp_path)), "--revoked-labels-file", str(revoked))
    with start(*words) as daemon:
        daemon.ready("/readyz")

        def status(label: str) -> int:
            return daemon.ask("GET", "/v1/kit/length", fields=bearer(token("openai", label=label))).status

        assert (status("job-1"), status("job-2")) == (200, 200)
        revoked.write_text("job-1  # stolen\n")
        daemon.running.send_signal(signal.SIGHUP)
        poll(lambda: status("job-1") == 403, 10, 0.05)
        assert status("job-2") == 200
        revoked.write_text("job 2\n")
        daemon.running.send_signal(signal.SIGHUP)
        daemon.wait_for_output("Reload refused, all stays as it was: --revoked-labels-file")
        assert (status("job-1"), status("job-2")) == (403, 200)
        revoked.unlink()
        poll(lambda: "cannot be read" in str(daemon.health()["refused_reload"]), 10, 0.05)
        assert status("job-1") == 403
    outcome(AREA, "revoked label", "403 caller_token_revoked; nothing sent")
    outcome(AREA, "unreadable list of revoked", "the one before stays in force; log and health say so")


def test_changed_token_key_is_in_force_without_a_restart(
    start: Start, tmp_path: Path, outcome: Outcome
) -> None:
    file = key_file(tmp_path)
    with start("--token-key-file", str(file)) as daemon:
        daemon.ready("/readyz")
        shown = bearer(token("openai"))
        assert daemon.ask("GET", "/v1/kit/length", fields=shown).status == 200
        file.write_text("another-key-only-for-tests-0123456789-0123456789\n")
        poll(lambda: daemon.ask("GET", "/v1/kit/length", fields=shown).status == 403, 10, 0.05)
    outcome(AREA, "token of a key that was changed", "403 caller_token_invalid; nothing sent")


def test_doctor_makes_itself_a_token_where_awfproxy_runs_and_shows_that_of_the_agent_elsewhere(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str, tmp_path: Path
) -> None:
    env = {"OPENAI_API_KEY": canary, "AWFPROXY_TOKEN_KEY_FILE": str(key_file(tmp_path))}
    with Daemon(*options(authority, own_origin, squid), env=env) as daemon:
        daemon.ready("/readyz")
        words = [*options(authority, own_origin, squid), "--port", str(daemon.port)]
        there = ["openai", "--host", "127.0.0.1", "--port", str(daemon.port)]
        shown = token("openai", label="agent-7")
        for line, more, code in (
            (words, env, 0),
            (there, {"AWFPROXY_TOKEN": shown}, 0),
            (there, {}, 78),
        ):
            done = subprocess.run(
                [str(BIN / "python"), "-c", _DOCTOR, "doctor", *line],
                env=environment(more), capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert done.returncode == code, done.stdout + done.stderr
            assert shown not in done.stdout + done.stderr
        assert "caller_token_missing" in done.stdout or "A caller token is wanted" in done.stdout
        daemon.wait_for_output("caller=doctor")
        daemon.wait_for_output("caller=agent-7")


# --- users ------------------------------------------------------------------------------------------


def refused(daemon: Daemon) -> int:
    """How many users were not let in."""
    counters = daemon.ask("GET", "/metrics").json()["counters"]
    return int(counters["connections_refused_total:openai:peer_not_allowed"])


def test_user_of_a_unix_socket_is_let_in_by_the_list_alone(
    start: Start, tmp_path: Path, outcome: Outcome
) -> None:
    path, port = tmp_path / "api.sock", free_port()
    listens = ("--listen", f"unix:{path}", "--listen", f"tcp:{port}:interface=127.0.0.1")
    listed = (("--allow-uid", str(os.getuid())), ("--allow-gid", str(os.getgid()), "--allow-uid", "54321"))
    for words in listed:
        with start(*listens, *words, port=port) as daemon:
            daemon.ready("/readyz")
            with Client(path=str(path)) as client:
                assert client.request("GET", "/v1/kit/length").body == b"12345"
    with start(*listens, "--allow-uid", str(os.getuid() + 1), port=port) as daemon:
        daemon.ready("/readyz")
        for _ in range(2):
            with Client(path=str(path)) as client, pytest.raises((Closed, OSError)):
                client.request("GET", "/healthz")
        assert refused(daemon) == 2
        daemon.wait_for_output(f"user {os.getuid()}, groups")
        assert daemon.output().count("A connection to the unix socket is refused") == 1
        assert daemon.ask("GET", "/healthz").status == 200  # the port beside it is for everyone
    outcome(AREA, "user of a unix socket, listed", "served")
    outcome(AREA, "user of a unix socket, not listed", "closed before a byte is read; counted, logged once")


@pytest.mark.parametrize("kind", ["unix", "haproxy:unix", "unix with a colon in its name"])
def test_no_unix_socket_is_open_to_users_whom_the_list_does_not_name(
    kind: str, start: Start, tmp_path: Path
) -> None:
    """Of a plug-in's endpoint the users cannot be told: rather none than one that all may use."""
    path, port, checked = tmp_path / "api.sock", free_port(), kind == "unix"
    words = ("--listen", f"unix:{tmp_path}/other.sock", "--allow-uid", str(os.getuid() + 1))
    if kind == "unix with a colon in its name":
        path, checked = tmp_path / "a:mode=666", True
    text = str(path).replace(":", "\\:")
    place = f"haproxy:unix:{text}" if kind == "haproxy:unix" else f"unix:address={text}"
    with start("--listen", place, *words, port=port) as daemon:
        if not checked:
            assert daemon.exit_code() == 78
            assert "users cannot be told" in daemon.last_line
            return
        daemon.wait_for_output("Serving openai on unix:" + str(path))
        assert path.stat().st_mode & 0o777 == 0o660
        with Client(path=str(path)) as client, pytest.raises((Closed, OSError)):
            client.request("GET", "/healthz")


@pytest.mark.parametrize(("pages", "step"), [("", "health"), ("off", "request")])
def test_doctor_names_the_list_that_does_not_have_whoever_runs_it(
    pages: str, step: str, authority: Authority, origin: Origin, squid: Squid, start: Start, tmp_path: Path,
    canary: str,
) -> None:  # fmt: skip
    own, other = str(os.getuid()), str(os.getuid() + 1)
    words = ("--listen", f"unix:{tmp_path}/api.sock", "--local-pages", pages, "--allow-uid", other)
    with start(*words) as daemon:
        daemon.wait_for_output("Serving openai")
        for more, code, part in (
            ((), 78, f"is closed to user {own} (groups"),
            (("--allow-uid", own), 69, "though its list of users has"),  # that of the daemon does not
        ):
            line = ["doctor", "--json", *options(authority, origin, squid), *words, *more]
            done = subprocess.run(
                [str(BIN / "python"), "-c", _DOCTOR, *line],
                env=environment({"OPENAI_API_KEY": canary}), capture_output=True, text=True, timeout=60,
                check=False,
            )  # fmt: skip
            assert done.returncode == code, done.stdout + done.stderr
            cause = json.loads(done.stdout)["cause"]
            assert cause["step"] == step
            assert part in cause["said"]
            assert cause["fix"]


def test_kernel_names_user_and_all_groups() -> None:
    one, other = socket.socketpair()
    with one, other:
        peer = peer_of(one)
    assert peer.uid == os.getuid()
    assert peer.gids == {os.getgid(), *os.getgroups()}
    refused: list[int] = []
    check = PeerCheck(Allowed(frozenset({peer.uid})), lambda: refused.append(1))
    assert check(peer)
    assert not refused


# --- and two users of them ----------------------------------------------------------------------------


@pytest.fixture
def open_socket() -> Iterator[Path]:
    """A path for a socket that every user can reach."""
    need_users()
    with tempfile.TemporaryDirectory(prefix="awfproxy-open-") as name:
        Path(name).chmod(0o755)
        yield Path(name) / "api.sock"


@pytest.mark.parametrize(
    ("words", "user"),
    [
        (("--allow-uid", "65534"), OTHER),
        (("--allow-gid", "65533"), OTHER),
        (("--allow-uid", "0", "--allow-gid", "54322"), MEMBER),
    ],
    ids=["uid", "primary gid", "one supplementary gid"],
)
def test_another_user_that_is_listed_is_served(
    words: tuple[str, ...], user: User, start: Start, open_socket: Path, outcome: Outcome
) -> None:
    port = free_port()
    listens = ("--listen", f"unix:{open_socket}:mode=666", "--listen", f"tcp:{port}:interface=127.0.0.1")
    with start(*listens, *words, port=port) as daemon:
        daemon.ready("/readyz")
        assert user.asks(open_socket, _ASKED).endswith(b"\r\n\r\n12345")
        assert refused(daemon) == 0
    outcome(AREA, "another user of a unix socket, listed", "served")


@pytest.mark.parametrize(
    ("words", "user", "groups"),
    [
        (("--allow-uid", "0", "--allow-gid", "0"), MEMBER, "54321 54322 65533"),
        (("--allow-gid", "54321"), OTHER, "65533"),
        (("--allow-uid", "65533", "--allow-gid", "65534"), OTHER, "65533"),
    ],
    ids=["root alone is listed", "not in the group that is listed", "uid as a gid, gid as a uid"],
)
def test_another_user_that_is_not_listed_is_refused(
    words: tuple[str, ...], user: User, groups: str, start: Start, open_socket: Path, outcome: Outcome
) -> None:
    port = free_port()
    listens = ("--listen", f"unix:{open_socket}:mode=666", "--listen", f"tcp:{port}:interface=127.0.0.1")
    with start(*listens, *words, port=port) as daemon:
        daemon.ready("/readyz")
        assert user.asks(open_socket, _ASKED) == b""
        daemon.wait_for_output(f"user 65534, groups {groups},")
        assert refused(daemon) == 1
    outcome(AREA, "another user of a unix socket, not listed", "closed, nothing read; counted, logged once")


@pytest.mark.parametrize("user", [OTHER, MEMBER], ids=["no other group", "two other groups"])
def test_kernel_names_another_user_and_its_groups_alone(user: User, open_socket: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(open_socket))
        open_socket.chmod(0o666)
        listener.listen()
        listener.settimeout(20)
        with subprocess.Popen(user.asking(open_socket), stdin=subprocess.PIPE, cwd="/") as client:
            there, _ = listener.accept()
            with there:
                peer = peer_of(there)
        assert client.returncode == 0
    assert peer == Peer(user.uid, frozenset({user.gid, *user.groups}))
