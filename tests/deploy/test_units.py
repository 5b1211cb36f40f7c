"""The units of deploy/systemd: what systemd itself thinks of them, and what they do under a real systemd.

Each directive stands for a claim. What can be seen of a running service is looked at from outside of it, in
/proc; docs/deploying.md has a table of them.
"""

import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import NAME
from tests.kit.certificates import Authority
from tests.kit.client import Client, ask
from tests.kit.origin import Origin
from tests.kit.ports import free_port
from tests.kit.reader import poll
from tests.kit.squid import Squid
from tests.kit.systemd import UNITS, Manager
from tests.kit.tools import need, need_systemd

SERVICES = ("awfproxy.service", "awfproxy@.service")
SERVICE = "awfproxy.service"


# --- on paper ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", SERVICES)
def test_exposure_is_at_most_1_5(unit: str) -> None:
    need("systemd-analyze")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", f"./{unit}"],
        cwd=UNITS, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-300:] + done.stderr
    assert float(re.findall(r"exposure level for \S+: ([0-9.]+)", done.stdout)[0]) <= 1.5


def test_systemd_finds_nothing_wrong_with_any_unit(tmp_path: Path) -> None:
    need("systemd-analyze")
    for unit in UNITS.iterdir():
        # Where awfproxy is not installed, a program that is there has to stand for it.
        text = unit.read_text().replace("/opt/awfproxy/bin/twistd", sys.executable)
        (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(each.name for each in tmp_path.iterdir())],
        cwd=tmp_path, env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # 252 keeps the type that stands above the one which it does not know.
    newer = re.compile(r"/awfproxy@?\.service:\d+: Failed to parse service type, ignoring: notify-reload$")
    assert not [line for line in done.stderr.splitlines() if not newer.search(line)]


def test_template_differs_from_the_unit_in_what_an_instance_needs_alone() -> None:
    one, many = ((UNITS / name).read_text().splitlines() for name in SERVICES)
    only_many = [line for line in many if line not in one and not line.startswith("#")]
    assert only_many == [
        "Description=awfproxy (%i), which lets coding agents use a paid API without its key",
        "ExecStart=/opt/awfproxy/bin/twistd -n --pidfile= awfproxy --reuse-port",
        "Environment=AWFPROXY_CONFIG=/etc/awfproxy/awfproxy.toml",
        "EnvironmentFile=-/etc/awfproxy/%i.env",
        "RuntimeDirectory=awfproxy-%i",
    ]
    assert len([line for line in one if line not in many and not line.startswith("#")]) == 3


# --- under a real systemd ---------------------------------------------------------------------------


class Machine:
    """One with awfproxy installed as docs/deploying.md has it."""

    def __init__(
        self, systemd: Manager, authority: Authority, squid: Squid, origin: Origin, key: str
    ) -> None:
        self.systemd = systemd
        self.port = free_port()
        self.origin = origin
        systemd.write("etc/awfproxy/ca.pem", authority.file.read_text())
        self.configure(
            f'egress-proxy = "{squid.url}"\nca-file = "/etc/awfproxy/ca.pem"\n'
            f'target = "{NAME}:{origin.port}"\n'
        )
        systemd.write("etc/credstore/awfproxy.openai_api_key", key + "\n", 0o600)
        self.start = lambda: systemd.systemctl("start", SERVICE)

    def configure(self, text: str, listen: str = "") -> None:
        self.text = text
        self.systemd.write("etc/awfproxy/awfproxy.toml", text + (listen or f"port = {self.port}\n"))

    def works(self) -> bool:
        return ask(self.port, "GET", "/v1/kit/length").body == b"12345"


@pytest.fixture(scope="module")
def systemd() -> Iterator[Manager]:
    need_systemd()
    with Manager() as manager:
        yield manager


@pytest.fixture
def machine(
    systemd: Manager, authority: Authority, squid: Squid, own_origin: Origin, canary: str
) -> Iterator[Machine]:
    made = Machine(systemd, authority, squid, own_origin, canary)
    yield made
    systemd.systemctl("stop", "awfproxy.socket", "awfproxy*.service", code=None)
    systemd.systemctl("reset-failed", code=None)


def status(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(name + ":"))


def test_started_service_serves_and_is_confined_as_its_unit_says(machine: Machine, canary: str) -> None:
    machine.systemd.install(SERVICE)
    machine.start()
    assert machine.works()
    shown = machine.systemd.show(
        SERVICE, "ActiveState", "StatusText", "MemoryMax", "MemorySwapMax", "TasksMax", "IPAddressDeny"
    )
    assert shown["ActiveState"] == "active"
    assert shown["StatusText"].startswith("openai: serving on http://127.0.0.1:")
    assert (shown["MemoryMax"], shown["MemorySwapMax"], shown["TasksMax"]) == ("536870912", "0", "100")
    assert set(shown["IPAddressDeny"].split()) == {"0.0.0.0/0", "::/0"}
    pid = machine.systemd.main_pid(SERVICE)
    process = Path(f"/proc/{pid}")

    users = set(status(pid, "Uid").split())  # DynamicUser
    assert len(users) == 1
    assert 61184 <= int(users.pop()) <= 65519
    assert "awfproxy" not in machine.systemd.path("etc/passwd").read_text()
    assert {status(pid, f"Cap{each}") for each in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert status(pid, "NoNewPrivs") == "1"
    assert status(pid, "Seccomp") == "2"
    assert status(pid, "Umask") == "0077"
    limits = (process / "limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", limits)
    files = min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])  # more than ours systemd may not have
    assert re.search(rf"Max open files +{files} +{files} ", limits)
    for kind in ("mnt", "user", "ipc", "uts"):  # PrivateUsers, PrivateIPC, ProtectHostname
        assert os.readlink(process / "ns" / kind) != os.readlink(f"/proc/self/ns/{kind}")

    mounts = {fields[4]: fields for fields in map(str.split, (process / "mountinfo").open())}
    assert mounts["/"][5].startswith("ro,nosuid")  # ProtectSystem=strict
    assert mounts["/home"][3].endswith("/inaccessible/dir")
    assert "hidepid=invisible,subset=pid" in mounts["/proc"][-1]
    assert "systemd-private" in mounts["/tmp"][3]
    assert mounts["/sys/fs/cgroup"][5].startswith("ro,")
    assert not (process / "root/dev/kmsg").exists()
    assert not (process / "root/sys/kernel/debug/x").exists()

    # The key: in a file of the service's own, in memory that is never swapped, and in no environment.
    secrets = "/run/credentials/awfproxy.service"
    assert mounts[secrets][mounts[secrets].index("-") + 1] == "ramfs"
    assert mounts[secrets][5].startswith("ro,")
    file = Path(f"{process}/root{secrets}/openai_api_key")
    assert file.stat().st_mode & 0o377 == 0
    assert sorted(each.name for each in file.parent.iterdir()) == ["openai_api_key"]
    assert canary not in (process / "environ").read_text()


def test_addresses_that_the_unit_does_not_allow_are_not_reached_and_do_not_reach_it(machine: Machine) -> None:
    """Without its one exception the denial is for loopback too, which is all that a test may send to."""
    machine.configure(machine.text + 'probe = "off"\n')
    machine.systemd.install(SERVICE, "[Service]\nIPAddressAllow=\n")
    machine.start()
    with pytest.raises(TimeoutError), socket.create_connection(("127.0.0.1", machine.port), 2):
        pass
    machine.systemd.systemctl("stop", SERVICE)
    machine.systemd.install(SERVICE)
    machine.start()
    assert machine.works()


def test_reload_lasts_until_awfproxy_says_that_the_new_rules_are_in_force(machine: Machine) -> None:
    """A stopped process cannot have begun, so a reload that ends meanwhile has not waited for it."""
    machine.systemd.install(SERVICE)
    machine.start()
    assert machine.works()
    pid = machine.systemd.main_pid(SERVICE)
    machine.configure(machine.text, f'port = {machine.port}\n[providers.openai]\nrules = ["deny * /**"]\n')
    reloading = threading.Thread(target=machine.systemd.systemctl, args=("reload", SERVICE))
    os.kill(pid, signal.SIGSTOP)
    try:
        reloading.start()
        commands_ended = {"ActiveState": "reloading", "ControlPID": "0"}
        poll(lambda: machine.systemd.show(SERVICE, *commands_ended) == commands_ended, 10)
        assert reloading.is_alive()
    finally:
        os.kill(pid, signal.SIGCONT)
    reloading.join(20)
    assert not reloading.is_alive()
    assert ask(machine.port, "GET", "/v1/kit/length").status == 403
    assert machine.systemd.main_pid(SERVICE) == pid
    assert machine.systemd.one(SERVICE, "ActiveState") == "active"


_AS_4321 = """
import os, socket, sys
client = socket.socket(socket.AF_UNIX)
folder = os.open(os.path.dirname(sys.argv[1]), os.O_PATH)
os.setgroups([])
os.setgid(4321)
os.setuid(4321)
client.connect(f"/proc/self/fd/{folder}/a.sock")
try:
    client.sendall(b"GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    answer = client.recv(4096)
except OSError:
    answer = b""
print(answer.split(b"\\r\\n")[0].decode() or "refused", end="")
"""


@pytest.mark.parametrize("private", ["yes", "no"])
def test_listed_user_comes_in_without_a_user_namespace_and_with_one_a_warning_says_why_not(
    machine: Machine, private: str
) -> None:
    machine.systemd.install(SERVICE, f"[Service]\nPrivateUsers={private}\n")
    machine.configure(
        f'{machine.text}allow-uid = "4321"\n',
        f'listen = ["unix:/run/awfproxy/a.sock:mode=666", "tcp:{machine.port}:interface=127.0.0.1"]\n',
    )
    before = machine.systemd.log(SERVICE).count("4321 never matches")
    machine.start()
    path = machine.systemd.path("run/awfproxy/a.sock")
    asked = subprocess.run(
        [sys.executable, "-c", _AS_4321, str(path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout == ("refused" if private == "yes" else "HTTP/1.1 200 OK")
    warned = machine.systemd.log(SERVICE).count("4321 never matches") - before
    assert warned == (1 if private == "yes" else 0)


def test_crash_is_started_again(machine: Machine) -> None:
    machine.systemd.install(SERVICE)
    machine.start()
    os.kill(machine.systemd.main_pid(SERVICE), signal.SIGKILL)
    poll(lambda: machine.systemd.one(SERVICE, "NRestarts") == "1", 10)
    poll(lambda: machine.systemd.one(SERVICE, "ActiveState") == "active", 20)
    assert machine.works()


def test_hang_is_noticed_by_the_watchdog_and_started_again(machine: Machine) -> None:
    machine.systemd.install(SERVICE, "[Service]\nWatchdogSec=1\n")
    machine.start()
    pid = machine.systemd.main_pid(SERVICE)
    beats: set[str] = set()
    poll(lambda: beats.add(machine.systemd.one(SERVICE, "WatchdogTimestampMonotonic")) or len(beats) > 4, 20)
    assert machine.systemd.main_pid(SERVICE) == pid
    os.kill(pid, signal.SIGSTOP)
    poll(lambda: machine.systemd.one(SERVICE, "NRestarts") == "1", 20)
    assert "Watchdog timeout" in machine.systemd.log()
    poll(lambda: machine.systemd.one(SERVICE, "ActiveState") == "active", 20)
    assert machine.works()


@pytest.mark.parametrize("code", [64, 76, 77, 78])
def test_what_would_be_no_better_the_next_time_is_not_started_again(
    machine: Machine, canary: str, code: int
) -> None:
    match code:
        case 64:
            machine.systemd.write("etc/awfproxy/awfproxy.toml", machine.text)
            command = "/opt/awfproxy/bin/twistd -n --pidfile= awfproxy --wrong"
            machine.systemd.install(SERVICE, f"[Service]\nExecStart=\nExecStart={command}\n")
        case 76:
            machine.configure(machine.text.replace("ca-file", "# ca-file"))
        case 77:
            machine.systemd.write("etc/credstore/awfproxy.openai_api_key", canary[:-4] + "0000", 0o600)
        case 78:
            machine.systemd.path("etc/credstore/awfproxy.openai_api_key").unlink()
    if code != 64:
        machine.systemd.install(SERVICE)
    machine.systemd.systemctl("start", SERVICE, code=1)
    shown = machine.systemd.show(SERVICE, "ActiveState", "ExecMainStatus", "NRestarts", "Result")
    assert shown == {
        "ActiveState": "failed", "ExecMainStatus": str(code), "NRestarts": "0", "Result": "exit-code",
    }  # fmt: skip


def test_stop_lets_what_is_under_way_end_and_is_a_success(machine: Machine) -> None:
    machine.systemd.install(SERVICE)
    machine.start()
    gate = machine.origin.gate("units")
    with Client(machine.port) as client:
        client.send_head("GET", "/v1/kit/drip?events=1&gate=units")
        stopping = threading.Thread(target=machine.systemd.systemctl, args=("stop", SERVICE))
        stopping.start()
        poll(lambda: machine.systemd.one(SERVICE, "ActiveState") == "deactivating", 10)
        gate.release(10)
        assert client.answer().status == 200
        stopping.join(20)
    shown = machine.systemd.show(SERVICE, "Result", "ActiveState")
    assert shown == {"Result": "success", "ActiveState": "inactive"}


# --- restarting, and many cores ---------------------------------------------------------------------


class Callers:
    """Ask again and again, each on a new connection, until told to stop."""

    def __init__(self, port: int, target: str = "/v1/kit/length") -> None:
        self.answers: list[int] = []
        self.failures: list[str] = []
        self._port, self._target = port, target
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(4)]

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.answers.append(ask(self._port, "GET", self._target).status)
            except OSError as problem:
                self.failures.append(repr(problem))

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_restart_behind_the_socket_unit_refuses_and_loses_no_request(machine: Machine) -> None:
    machine.systemd.install(SERVICE)
    machine.configure(machine.text, 'listen = "systemd:domain=INET:index=0"\n')
    machine.systemd.install(
        "awfproxy.socket", f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{machine.port}\n"
    )
    machine.systemd.systemctl("start", "awfproxy.socket")
    assert machine.systemd.one(SERVICE, "ActiveState") == "inactive"
    assert machine.works()  # the first connection has started it
    before = machine.systemd.main_pid(SERVICE)
    with Callers(machine.port) as callers:
        poll(lambda: len(callers.answers) > 20, 10)
        machine.systemd.systemctl("restart", SERVICE)
        after = len(callers.answers)
        poll(lambda: len(callers.answers) > after + 20, 10)
    assert machine.systemd.main_pid(SERVICE) != before
    assert not callers.failures
    assert set(callers.answers) == {200}


def test_instances_are_one_user_and_share_the_port(machine: Machine) -> None:
    machine.systemd.install("awfproxy@.service")
    machine.systemd.systemctl("start", "awfproxy@1", "awfproxy@2")
    pids = [machine.systemd.main_pid(f"awfproxy@{each}") for each in (1, 2)]
    assert len({status(pid, "Uid") for pid in pids}) == 1
    for _ in range(40):
        assert machine.works()
    for each in (1, 2):
        poll(lambda each=each: "/v1/kit/length" in machine.systemd.log(f"awfproxy@{each}"), 10)
    machine.systemd.systemctl("stop", "awfproxy@1")
    assert machine.works()
