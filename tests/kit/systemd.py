"""`Manager`: a real systemd as PID 1 of namespaces of its own, to start the units of deploy/systemd with.

Its root is an overlay on this machine's, so nothing that it writes stays; its network is this machine's, so
the kit's Squid and origins are where they always are. None of the machine's own units is started.
"""

import contextlib
import itertools
import os
import shutil
import signal
import site
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import awfproxy
from tests.kit import canary
from tests.kit.reader import poll

ROOT = Path(__file__).resolve().parents[2]
SYSTEMD = Path("/lib/systemd/systemd")
UNITS = ROOT / "deploy" / "systemd"
_SERIAL = itertools.count()

_START = """
set -eu
folder=$1 root=$1/root
mount --make-rprivate /
mount -t tmpfs tmpfs "$folder"
mkdir "$folder/upper" "$folder/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for each in run tmp dev; do mount -t tmpfs tmpfs "$root/$each"; done
for each in null zero full random urandom tty; do
    touch "$root/dev/$each"
    mount --bind "/dev/$each" "$root/dev/$each"
done
mkdir "$root/dev/shm"
mount -t tmpfs tmpfs "$root/dev/shm"
ln -s /proc/self/fd "$root/dev/fd"
mkdir -p "$root/opt/awfproxy/bin"
for each in "python:$2" "packages:$3" "tree:$4"; do
    mkdir "$root/opt/awfproxy/${each%%:*}"
    mount --bind -o ro "${each#*:}" "$root/opt/awfproxy/${each%%:*}"
done
# Nothing of the machine's own is started, and nothing outside can be changed.
mount --bind -o ro /proc/sys "$root/proc/sys"
mount -o remount,ro,bind "$root/proc/sys"
ln -s pts/ptmx "$root/dev/ptmx"
mkdir "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
rm -rf "$root"/lib/systemd/system/*.wants "$root"/etc/systemd/system/*.wants
for each in sysinit basic multi-user network-online nothing; do
    printf '[Unit]\\nDefaultDependencies=no\\nWants=systemd-journald.service\\n' \
        > "$root/etc/systemd/system/$each.target"
done
cd "$root"  # user namespaces are not to be had in a chroot
pivot_root . .
umount -l .
mount --make-rshared /  # so that a service sees its credentials
exec /usr/bin/env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=nothing.target --log-target=journal --show-status=no
"""

# Python itself is shown again outside the home folders, which the unit hides.
_TWISTD = """\
#!/usr/bin/env -S LD_LIBRARY_PATH=/opt/awfproxy/python/lib /opt/awfproxy/python/bin/python3
import sys
sys.path[:0] = ["/opt/awfproxy/tree", "/opt/awfproxy/packages"]
from twisted.scripts.twistd import run
run()
"""


def cgroups() -> Path | None:
    """Where the second version of cgroups is mounted."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    return None


def systemd_program() -> str | None:
    """systemd, where this system lets it run."""
    if os.geteuid() != 0 or not SYSTEMD.exists() or cgroups() is None:
        return None
    done = subprocess.run(
        ["unshare", "-fpm", "--cgroup", "--mount-proc", "true"], capture_output=True, check=False
    )
    return str(SYSTEMD) if done.returncode == 0 else None


class Manager:
    """Started by `with`; ends with all that it started."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="systemd-"))
        self._log = Path(tempfile.mkstemp(prefix="systemd-", suffix=".log")[1])
        self._cgroup = Path("/nowhere")
        self._process: subprocess.Popen[bytes] | None = None
        self._systemd = 0

    def __enter__(self) -> "Manager":
        mounted = cgroups()
        assert mounted is not None
        self._cgroup = mounted / f"awfproxy-kit-{os.getpid()}-{next(_SERIAL)}"
        self._cgroup.mkdir()
        canary.session_watch().add_file(self._log)
        enter = (
            f"echo $$ > {self._cgroup}/cgroup.procs; exec unshare --fork --pid --mount --cgroup --uts --ipc "
            '--kill-child sh -c "$@"'
        )
        tree = Path(awfproxy.__file__).parents[1]
        places = (self._folder, sys.base_prefix, site.getsitepackages()[0], tree)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", enter, "sh", _START, "sh", *map(str, places)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            poll(self._answers, 20, 0.05)
        except BaseException:
            self.__exit__()
            raise
        self.systemctl("is-active", "systemd-journald")
        self.write("opt/awfproxy/bin/twistd", _TWISTD, 0o755)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process is not None:
            if self._systemd:
                canary.session_watch().add("systemd's journal", self.log().encode())
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._systemd, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
        for folder, _, _ in os.walk(self._cgroup, topdown=False):
            poll(lambda folder=folder: _removed(folder), 10, 0.02)
        canary.session_watch().settle(self._log)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"systemd ended: {self.log()}")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        if not children or Path(f"/proc/{children[0]}/comm").read_text().strip() != "systemd":
            return False
        self._systemd = int(children[0])
        return self._inside("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")

    def _inside(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["nsenter", "-t", str(self._systemd), "-m", "-p", "-C", "-u", "-i", "-r", "-w", *command],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    # --- what tests do with it -------------------------------------------------------------------

    def path(self, name: str) -> Path:
        """A file below its root."""
        return Path(f"/proc/{self._systemd}/root") / name

    def write(self, name: str, content: str, mode: int = 0o644) -> None:
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(mode)

    def install(self, unit: str, changes: str = "") -> None:
        """A unit of deploy/systemd as it is, and a drop-in with `changes`, as `systemctl edit` makes it."""
        self.write(f"etc/systemd/system/{unit}", (UNITS / unit).read_text())
        self.write(f"etc/systemd/system/{unit}.d/override.conf", changes)
        self.systemctl("daemon-reload")

    def systemctl(self, *words: str, code: int | None = 0) -> str:
        done = self._inside("systemctl", *words)
        assert code is None or done.returncode == code, f"{words}: {done.stderr}\n{self.log()}"
        return done.stdout

    def show(self, unit: str, *names: str) -> Mapping[str, str]:
        lines = self.systemctl("show", unit, *(f"--property={name}" for name in names)).splitlines()
        return dict(line.split("=", 1) for line in lines)

    def one(self, unit: str, name: str) -> str:
        return self.show(unit, name)[name]

    def main_pid(self, unit: str) -> int:
        """Its main process, as this machine numbers it."""
        inner = self.one(unit, "MainPID")
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                if f"\t{inner}\n" in _line(status, "NSpid:") and _in_namespace(status, self._systemd):
                    return int(status.parent.name)
        raise AssertionError(f"{unit} has no process {inner}: {self.log()}")

    def log(self, unit: str | None = None) -> str:
        """What systemd and its services said; or one of them alone."""
        of = ["--unit", unit] if unit else []
        said = self._inside("journalctl", "--no-pager", "--quiet", "--output=cat", *of).stdout
        return self._log.read_text(errors="replace") + said


def _line(status: Path, name: str) -> str:
    return next((line + "\n" for line in status.read_text().splitlines() if line.startswith(name)), "")


def _in_namespace(status: Path, systemd: int) -> bool:
    return os.stat(status.parent / "ns" / "pid").st_ino == os.stat(f"/proc/{systemd}/ns/pid").st_ino


def _removed(folder: str) -> bool:
    try:
        os.rmdir(folder)
    except OSError:
        return not os.path.exists(folder)
    return True
