"""`Container`: the image of ./Dockerfile under runc, within the limits of docs/migrating.md's contract.

512 MB, no swap, 100 processes and threads, no capability, no new privileges, a read-only root, a user whom
the image does not know. Its network is this machine's, or with `alone` one of its own without any way out.
"""

import contextlib
import functools
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.kit import canary
from tests.kit.reader import poll

ROOT = Path(__file__).resolve().parents[2]
UID = 12345
LOGS = "/var/log/api-proxy"
_SERIAL = itertools.count()
_CAPABILITY_SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")
_MEMORY = 512 * 1024 * 1024


class Image:
    """As tests/build-image leaves it."""

    def __init__(self, folder: Path) -> None:
        self.rootfs = folder / "rootfs"
        inspected = json.loads((folder / "inspect.json").read_text())
        self.config: Mapping[str, Any] = inspected["Docker"]["config"]

    @functools.cached_property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(each.lstat().st_size for each in self.rootfs.rglob("*") if not each.is_symlink())


def build() -> Image:
    done = subprocess.run([ROOT / "tests" / "build-image"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return Image(Path(done.stdout.strip()))


class Container:
    """Started by `with`; ends with all that it started."""

    def __init__(
        self,
        image: Image,
        *options: str,
        env: Mapping[str, str] | None = None,
        files: Mapping[str, Path] | None = None,
        alone: bool = False,
    ) -> None:
        self._image = image
        self._folder = Path(tempfile.mkdtemp(prefix="container-"))
        self._name = f"awfproxy-kit-{os.getpid()}-{next(_SERIAL)}"
        self.logs = self._folder / "logs"
        self.logs.mkdir()
        self.logs.chmod(0o777)
        self.stdout = self._folder / "stdout"
        self.stdout.touch()
        self._process: subprocess.Popen[bytes] | None = None
        mounts = [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            *(_bind(source, place, "ro") for place, source in (files or {}).items()),
            _bind(self.logs, LOGS, "rw"),
        ]
        namespaces = ["pid", "ipc", "uts", "mount", *(["network"] if alone else [])]
        given = [f"{name}={value}" for name, value in (env or {}).items()]
        specification = {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": UID, "gid": UID},
                "args": [*image.config["Entrypoint"], *options],
                "env": [*image.config["Env"], *given],
                "cwd": image.config["WorkingDir"],
                "capabilities": {name: [] for name in _CAPABILITY_SETS},
                "noNewPrivileges": True,
            },
            "root": {"path": str(image.rootfs), "readonly": True},
            "mounts": mounts,
            "linux": {
                "cgroupsPath": f"/{self._name}",
                "resources": {"memory": {"limit": _MEMORY, "swap": _MEMORY}, "pids": {"limit": 100}},
                "namespaces": [{"type": each} for each in namespaces],
            },
        }
        (self._folder / "config.json").write_text(json.dumps(specification))

    def __enter__(self) -> "Container":
        canary.session_watch().add_file(self.stdout)
        with self.stdout.open("ab") as out:
            self._process = subprocess.Popen(
                self._runc("run", "--bundle", str(self._folder), self._name),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        return self

    def __exit__(self, *exc: object) -> None:
        subprocess.run(self._runc("delete", "--force", self._name), capture_output=True, check=False)
        if self._process is not None:
            self._process.wait(20)
        canary.session_watch().settle(self.stdout)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _runc(self, *words: str) -> list[str]:
        return ["runc", "--root", str(self._folder / "state"), *words]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command in the running container, as its own user."""
        return subprocess.run(
            self._runc("exec", self._name, *command), capture_output=True, text=True, check=False, timeout=30
        )

    def check_health(self) -> bool:
        """By the image's own HEALTHCHECK."""
        kind, *command = self._image.config["Healthcheck"]["Test"]
        return self.run(*(["sh", "-c", *command] if kind == "CMD-SHELL" else command)).returncode == 0

    def healthy(self, deadline: float = 30.0) -> "Container":
        assert self._process is not None
        with contextlib.suppress(TimeoutError):
            poll(self.check_health, deadline, 0.1)
            return self
        raise TimeoutError(f"not healthy after {deadline} s:\n{self.output()[-3000:]}")

    def kill(self, signal: str) -> None:
        subprocess.run(self._runc("kill", self._name, signal), check=True)

    def exit_code(self, deadline: float = 30.0) -> int:
        assert self._process is not None
        return self._process.wait(deadline)

    def output(self) -> str:
        return self.stdout.read_text(errors="replace")

    def limits(self) -> Sequence[str]:
        """What its control groups allow: bytes, and processes."""
        found = []
        for group in ("memory/{}/memory.limit_in_bytes", "pids/{}/pids.max", "{}/memory.max", "{}/pids.max"):
            file = Path("/sys/fs/cgroup") / group.format(self._name)
            if file.exists():
                found.append(file.read_text().strip())
        return found


def _bind(source: Path, place: str, how: str) -> Mapping[str, Any]:
    return {"destination": place, "type": "bind", "source": str(source), "options": ["rbind", how]}
