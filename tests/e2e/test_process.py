"""The daemon's process from outside: who can look into it, what of the key is in /proc, what it runs as."""

import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Stack, options
from tests.kit.certificates import Authority
from tests.kit.daemon import BIN, RUNNERS, Daemon, environment
from tests.kit.origin import Origin
from tests.kit.reader import poll
from tests.kit.squid import Squid
from tests.kit.users import User, need_users

Outcome = Callable[[str, str, str], None]
AREA = "The process"
NOBODY = User(gid=65534)


def as_nobody(*command: str) -> list[str]:
    """The command as a user without privileges; as we are, where we have none."""
    if os.geteuid() != 0:
        return list(command)
    need_users()
    return NOBODY.command(*command)


def status(daemon: Daemon, name: str) -> str:
    text = Path(f"/proc/{daemon.running.pid}/status").read_text()
    found = re.search(rf"^{name}:\s*(.*)$", text, re.MULTILINE)
    assert found is not None, f"the kernel does not tell {name}"
    return found[1]


def environ(daemon: Daemon) -> str:
    return Path(f"/proc/{daemon.running.pid}/environ").read_text(errors="replace")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that another user may enter too."""
    with tempfile.TemporaryDirectory(prefix="awfproxy-open-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def nobodys(
    open_folder: Path, authority: Authority, origin: Origin, squid: Squid, canary: str
) -> Callable[..., Daemon]:
    """A daemon that is not root's."""
    shutil.copy(authority.file, open_folder / "ca.pem")
    (open_folder / "ca.pem").chmod(0o644)
    way = [*options(authority, origin, squid), "--log-format", "json"]
    way[way.index("--ca-file") + 1] = str(open_folder / "ca.pem")

    def make(*more: str) -> Daemon:
        daemon = Daemon(*way, *more, env={"OPENAI_API_KEY": canary}, folder=open_folder)
        daemon.command = as_nobody(*daemon.command)
        return daemon

    return make


# --- what is in force ----------------------------------------------------------------------------


def test_no_core_file_no_new_privileges_and_a_filter(stack: Stack, outcome: Outcome) -> None:
    pid = stack.daemon.running.pid
    assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
    assert status(stack.daemon, "NoNewPrivs") == "1"
    assert status(stack.daemon, "Seccomp") == "2"
    for task in Path(f"/proc/{pid}/task").iterdir():
        assert "\nSeccomp:\t2\n" in (task / "status").read_text()
    outcome(AREA, "limits and flags", "core files 0, no_new_privs, seccomp filter in every thread")


def test_the_log_says_what_is_in_force(stack: Stack) -> None:
    line = json.loads(stack.daemon.wait_for_output('"event":"confined"'))
    for part in "core dumps and ptrace off", "no_new_privs", "credentials overwritten", "seccomp":
        assert part in line["in_force"]


@pytest.mark.skipif(os.geteuid() != 0, reason="for root to see")
def test_root_is_warned_and_nobody_is_not(
    stack: Stack, nobodys: Callable[..., Daemon], outcome: Outcome
) -> None:
    assert '"level":"warn"' in stack.daemon.wait_for_output("running_as_root")
    with nobodys() as daemon:
        daemon.ready("/readyz")
        assert "running_as_root" not in daemon.output()
    outcome(AREA, "run as root", "a warning that names the fix")


# --- the key in the environment --------------------------------------------------------------------


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_key_and_the_proxys_password_are_gone_from_proc(
    authority: Authority, origin: Origin, squid: Squid, canary: str, runner: str, outcome: Outcome
) -> None:
    """Also the variables that this process only happens to have; all else stays as it was."""
    password = "Pa55" + "w0rd" * 4
    env = {
        "OPENAI_API_KEY": canary, "GITHUB_TOKEN": "ghs_" + "x9" * 18, "COPY_OF_IT": f"Bearer {canary}",
        "HTTPS_PROXY": f"http://user:{password}@127.0.0.1:{squid.port}", "KEPT": "as it was",
    }  # fmt: skip
    words = options(authority, origin, squid)[2:]
    with Daemon(*words, env=env, runner=runner) as daemon:
        daemon.ready("/readyz")
        left = environ(daemon)
        for text in (canary, password, "x9x9", "Bearer"):
            assert text not in left
        assert "\0KEPT=as it was\0" in left
        assert daemon.ask("GET", "/v1/models").status == 200  # with the key, by the proxy
        daemon.running.send_signal(signal.SIGHUP)
        assert "openai: in force" in daemon.wait_for_output("Reloaded")  # from the copy
        assert "needs" not in daemon.output().partition("Reloading")[2]
    outcome(AREA, "key in /proc/PID/environ", "overwritten; serves on and reloads")


@pytest.mark.parametrize("runner", RUNNERS)
def test_keys_of_the_gh_aw_profile_are_gone_from_proc(
    authority: Authority, origin: Origin, squid: Squid, canary: str, runner: str, outcome: Outcome
) -> None:
    keys = {
        "OPENAI_API_KEY": canary, "ANTHROPIC_API_KEY": "sk-ant-" + canary[8:],
        "GEMINI_API_KEY": "AIza" + canary[8:43],
        "COPILOT_GITHUB_TOKEN": "ghu_" + canary[8:44], "COPILOT_PROVIDER_API_KEY": "sk-" + canary[8:],
        "AWF_BYOK_EXTRA_HEADERS": json.dumps({"x-team": canary[8:]}),
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": canary[8:],
    }  # fmt: skip
    places = {f"AWFPROXY_{name}_PORT": "0" for name in ("ANTHROPIC", "COPILOT", "GEMINI", "VERTEX")}
    words = ("--profile", "gh-aw", "--probe", "off", "--bind", "127.0.0.1")
    words = (*words, *options(authority, origin, squid))
    with Daemon(*words, env=keys | places, runner=runner) as daemon:
        daemon.ready("/healthz")
        left = environ(daemon)
        for name in keys:
            assert re.search(rf"(\A|\0){name}=\0", left)
        assert canary[8:40] not in left
    outcome(AREA, "key in /proc/PID/environ", "overwritten; serves on and reloads")


def test_another_process_of_the_same_user_cannot_look_into_it(
    nobodys: Callable[..., Daemon], outcome: Outcome
) -> None:
    """Its memory and environment are root's, and it cannot be attached to; `--dumpable` is the control."""
    with nobodys() as daemon:
        daemon.ready("/readyz")
        assert looked_into(daemon) == {"environ": "EACCES", "mem": "EACCES", "attach": "EPERM"}
        assert daemon.ask("GET", "/v1/models").status == 200
        assert daemon.ask("GET", "/metrics").status == 200
        assert "Landlock" in daemon.wait_for_output('"event":"confined"')
        assert "not_confined" not in daemon.output()
    outcome(AREA, "same user looks into the process", "refused: memory, environment, ptrace")


def test_what_is_dumpable_can_be_looked_into_and_says_so(nobodys: Callable[..., Daemon]) -> None:
    with nobodys("--dumpable") as daemon:
        daemon.ready("/readyz")
        assert looked_into(daemon) == {"environ": "done", "mem": "done", "attach": "done"}
        assert "--dumpable" in daemon.wait_for_output("not_confined")
        assert status(daemon, "NoNewPrivs") == "1"


_LOOK = """
import ctypes, errno, json, os, sys
pid = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
def opened(name):
    try:
        open(f"/proc/{pid}/{name}", "rb").close()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
def attached():
    seize, detach = 0x4206, 17
    if libc.ptrace(ctypes.c_long(seize), ctypes.c_long(pid), None, None) == -1:
        return errno.errorcode[ctypes.get_errno()]
    return "done"
print(json.dumps({"environ": opened("environ"), "mem": opened("mem"), "attach": attached()}))
"""


def looked_into(daemon: Daemon) -> dict[str, str]:
    """What another process of the daemon's user comes to."""
    command = as_nobody(sys.executable, "-c", _LOOK, str(daemon.running.pid))
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20, cwd="/")
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


# --- what a running daemon reaches -----------------------------------------------------------------


def test_a_key_file_in_a_folder_that_is_new_asks_for_a_restart(
    authority: Authority, origin: Origin, squid: Squid, canary: str, tmp_path: Path, outcome: Outcome
) -> None:
    """The one before serves on; within the folder files come and go."""
    keys = [tmp_path / "one/key", tmp_path / "one/other", tmp_path / "two/key"]
    for key in keys:
        key.parent.mkdir(exist_ok=True)
        key.write_text(canary)
        key.chmod(0o600)
    (tmp_path / "conf").mkdir()
    file = tmp_path / "conf/awfproxy.toml"

    def write(key: Path) -> None:
        file.write_text(f'key-file = "{key}"\n')

    write(keys[0])
    words = (*options(authority, origin, squid), "--config", str(file), "--log-format", "json")
    with Daemon(*words) as daemon:
        daemon.ready("/readyz")
        write(keys[1])
        daemon.running.send_signal(signal.SIGHUP)
        daemon.wait_for_output("reload_complete")
        write(keys[2])
        daemon.running.send_signal(signal.SIGHUP)
        assert "restart it" in daemon.wait_for_output("reload_refused")
        assert daemon.ask("GET", "/v1/models").status == 200
    outcome(AREA, "reload that needs a new folder", "refused, with the word to restart; the old key serves")


def test_in_the_background_it_keeps_its_log_and_takes_its_pid_file_and_socket_away(
    authority: Authority, origin: Origin, squid: Squid, canary: str, tmp_path: Path
) -> None:
    sock, pid, log = tmp_path / "run/s", tmp_path / "pid/p", tmp_path / "log/l"
    for each in sock, pid, log:
        each.parent.mkdir()
    command = [
        str(BIN / "twistd"), f"--pidfile={pid}", f"--logfile={log}", "awfproxy",
        "--listen", f"unix:{sock}", *options(authority, origin, squid),
    ]  # fmt: skip
    started = subprocess.run(
        command, env=environment({"OPENAI_API_KEY": canary}), cwd=tmp_path, check=True, timeout=30
    )
    assert started.returncode == 0
    number = int(pid.read_text())
    try:
        poll(lambda: "Started: openai: serving on unix:" in log.read_text(), 20, 0.02)
        assert "In force: core dumps and ptrace off" in log.read_text()
        assert canary not in Path(f"/proc/{number}/environ").read_text()
        assert "\nNoNewPrivs:\t1\n" in Path(f"/proc/{number}/status").read_text()
    finally:
        os.kill(number, signal.SIGTERM)
    poll(lambda: not pid.exists(), 20, 0.02)
    assert "Server Shut Down." in log.read_text()
    assert list(sock.parent.iterdir()) == []


def test_an_abstract_notify_socket_is_told_that_it_is_ready(
    authority: Authority, origin: Origin, squid: Squid, canary: str
) -> None:
    name = f"awfproxy-notify-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name)
        manager.settimeout(20)
        env = {"OPENAI_API_KEY": canary, "NOTIFY_SOCKET": "@" + name}
        with Daemon(*options(authority, origin, squid), env=env) as daemon:
            said = ""
            while "READY=1" not in said:
                said += manager.recv(4096).decode()
            assert "seccomp" in daemon.wait_for_output("In force")


def test_without_confinement_the_log_says_so_and_the_rest_is_in_force(
    authority: Authority, origin: Origin, squid: Squid, canary: str, outcome: Outcome
) -> None:
    words = (*options(authority, origin, squid), "--confine", "off")
    with Daemon(*words, env={"OPENAI_API_KEY": canary}) as daemon:
        daemon.ready("/readyz")
        assert status(daemon, "Seccomp") == "0"
        assert status(daemon, "NoNewPrivs") == "1"
        assert canary not in environ(daemon)
        for what in "Landlock", "seccomp":
            daemon.wait_for_output(f"Not in force: {what} (--confine off)")
    outcome(AREA, "confinement off or not to be had", "a line for each; serves")
