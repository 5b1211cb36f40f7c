"""A restart behind an inherited socket: clients go on asking, none is refused, reset or left unanswered."""

import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.conftest import options
from tests.kit.certificates import Authority
from tests.kit.client import Client, ask
from tests.kit.daemon import BIN, RUNNERS, Daemon
from tests.kit.origin import Origin
from tests.kit.ports import free_port
from tests.kit.reader import Closed, poll
from tests.kit.squid import Squid
from tests.kit.tools import need

_AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="awfproxy.socket")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""systemd passes descriptor 3 and up, and the process's own id; its own copy of the socket stays open."""

LISTEN = ("--listen", "systemd:domain=INET:index=0")

Start = Callable[[], Daemon]


@pytest.fixture(params=RUNNERS)
def runner(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """The socket unit's: open whatever becomes of the service."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        yield listener


@pytest.fixture
def start(
    runner: str, listener: socket.socket, authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> Start:
    """As systemd starts the service."""

    def service() -> Daemon:
        daemon = Daemon(
            env={"OPENAI_API_KEY": canary},
            port=listener.getsockname()[1],
            pass_fds=[listener.fileno()],
            command=[
                sys.executable, "-c", _AS_SYSTEMD, str(listener.fileno()), str(BIN / runner),
                *(["-n", "--pidfile="] if runner == "twistd" else []),
                "awfproxy", *LISTEN, *options(authority, own_origin, squid),
            ],
        )  # fmt: skip
        return daemon.start()

    return service


class Load:
    """Clients in threads that ask without a pause; each notes what became of each of its requests."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.seen: Counter[str] = Counter()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        kinds = [self._anew, self._anew, self._anew, self._kept, self._kept, self._streams, self._posts]
        self._threads = [threading.Thread(target=self._run, args=(kind,), daemon=True) for kind in kinds]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    @property
    def count(self) -> int:
        with self._lock:
            return self.seen.total()

    def more(self, number: int) -> None:
        """Returns after so many further requests."""
        wanted = self.count + number
        poll(lambda: self.count >= wanted, 30)

    def _run(self, client: Callable[[], None]) -> None:
        while not self._stop.is_set():
            try:
                client()
            except (OSError, Closed, AssertionError) as problem:
                self._note(f"{client.__name__}: {type(problem).__name__} {problem}")

    def _note(self, what: str) -> None:
        with self._lock:
            self.seen[what] += 1

    def _anew(self) -> None:
        """A connection for each request."""
        self._note(f"{ask(self.port, 'GET', '/v1/kit/length').status}")

    def _kept(self) -> None:
        """One that is used until it is announced to end, and for which any other end is an error."""
        with Client(self.port) as client:
            while not self._stop.is_set():
                answer = client.request("GET", "/v1/kit/length")
                self._note(f"{answer.status}")
                if b"close" in answer.values(b"connection"):
                    return

    def _posts(self) -> None:
        """The same with a body, which nobody may send twice."""
        with Client(self.port) as client:
            while not self._stop.is_set():
                answer = client.request("POST", "/v1/kit/echo", body=b"x" * 3000)
                self._note(f"{answer.status}")
                if b"close" in answer.values(b"connection"):
                    return

    def _streams(self) -> None:
        """Streams of a quarter of a second, on a connection that is kept."""
        with Client(self.port) as client:
            while not self._stop.is_set():
                answer = client.request("GET", "/v1/kit/drip?events=5&interval=0.05")
                assert answer.body.endswith(b"data: [DONE]\n\n")
                self._note(f"{answer.status}")
                if b"close" in answer.values(b"connection"):
                    return


def test_a_restart_refuses_resets_and_loses_nothing(
    start: Start, listener: socket.socket, outcome: Callable[[str, str, str], None]
) -> None:
    daemon = start()
    try:
        with Load(listener.getsockname()[1]) as load:
            load.more(200)
            for _ in range(2):
                daemon.running.terminate()
                assert daemon.exit_code() == 143
                assert "outcome=client_left " not in daemon.output()
                daemon = start()
                load.more(200)
        assert set(load.seen) == {"200"}, load.seen
        assert load.count > 600
    finally:
        daemon.close()
    note = "each request answered 200; no connection refused or reset"
    outcome("The process", "restart under load, inherited socket", note)


def test_a_restart_with_a_port_of_its_own_does_refuse(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    """That the load would see it, and why the unit comes with a socket."""
    arguments = options(authority, own_origin, squid)
    daemon = Daemon(*arguments, env={"OPENAI_API_KEY": canary})
    with daemon, Load(daemon.ready("/readyz").port) as load:
        load.more(50)
        daemon.terminate()
        load.more(50)
        assert any("ConnectionRefusedError" in what for what in load.seen)


def test_systemds_own_activator_starts_it_at_the_first_connection(
    runner: str, authority: Authority, own_origin: Origin, squid: Squid, canary: str
) -> None:
    need("systemd-socket-activate")
    port = free_port()
    daemon = Daemon(
        env={"OPENAI_API_KEY": canary},
        port=port,
        command=[
            "systemd-socket-activate", "-l", f"127.0.0.1:{port}", "--fdname=awfproxy.socket",
            *(f"--setenv={name}" for name in ("OPENAI_API_KEY", "PATH", "PYTHONPATH", "HOME", "LANG")),
            str(BIN / runner), *(["-n", "--pidfile="] if runner == "twistd" else []),
            "awfproxy", *LISTEN, *options(authority, own_origin, squid),
        ],
    )  # fmt: skip
    with daemon:
        daemon.wait_for_output("Listening on")
        assert ask(port, "GET", "/v1/kit/length").body == b"12345"
        assert os.readlink(f"/proc/{daemon.running.pid}/fd/3").startswith("socket:")
        assert daemon.terminate() == 143
