"""`Daemon`: awfproxy as a child process under twistd or twist, with its output kept and searched."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

import awfproxy
from tests.kit import canary
from tests.kit.client import Response, ask
from tests.kit.ports import free_port
from tests.kit.reader import Closed, poll

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = Path(awfproxy.__file__).resolve().parents[1]
"""Where the awfproxy under test is: the tree, or the installed one."""
RUNNERS = ("twistd", "twist")
BIN = Path(sys.executable).parent


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Nothing of the caller's own settings: a search path, the awfproxy under test, and `extra`."""
    return {
        "PATH": f"{BIN}:{os.environ.get('PATH', '/usr/bin:/bin')}",
        "PYTHONPATH": str(PACKAGES),
        "LANG": "C.UTF-8",
        **(extra or {}),
    }


class Daemon:
    """Started by `start`; a context manager that ends the process whatever happened."""

    def __init__(
        self,
        *options: str,
        env: Mapping[str, str] | None = None,
        runner: str = "twistd",
        runner_options: Sequence[str] = (),
        port: int | None = None,
        command: Sequence[str] | None = None,
        pass_fds: Sequence[int] = (),
        folder: Path | None = None,
    ) -> None:
        self.port = port or free_port()
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="awfproxy-"))
            weakref.finalize(self, shutil.rmtree, folder, True)
        self.folder = folder
        self.stdout = self.folder / "stdout"
        self.stderr = self.folder / "stderr"
        place = [] if "--listen" in options or "--port" in options else ["--port", str(self.port)]
        if command is None:
            before = ["-n", "--pidfile="] if runner == "twistd" else []
            command = [str(BIN / runner), *before, *runner_options, "awfproxy", *place, *options]
        self.command = list(command)
        self._env = environment({"HOME": str(self.folder), **(env or {})})
        self._pass_fds = tuple(pass_fds)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Daemon":
        for path in (self.stdout, self.stderr):
            path.touch()
            canary.session_watch().add_file(path)
        with self.stdout.open("ab") as out, self.stderr.open("ab") as err:
            self.process = subprocess.Popen(
                self.command,
                env=self._env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=self._pass_fds,
            )
        return self

    def ready(self, target: str = "/healthz", status: int = 200, deadline: float = 20.0) -> "Daemon":
        """Returns once the local page answers with `status`; fails if the process ends before."""

        def up() -> bool:
            if self.running.poll() is not None:
                raise AssertionError(f"ended with {self.running.returncode}:\n{self.tail()}")
            with contextlib.suppress(OSError, Closed):
                return ask(self.port, "GET", target).status == status
            return False

        try:
            poll(up, deadline, 0.02)
        except TimeoutError:
            raise TimeoutError(f"{target} is not {status} after {deadline} s:\n{self.tail()}") from None
        return self

    def exit_code(self, deadline: float = 20.0) -> int:
        """Waits for the end. A signal's end is 128 + its number, as a shell says it."""
        try:
            code = self.running.wait(deadline)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"still running after {deadline} s:\n{self.tail()}") from None
        return 128 - code if code < 0 else code

    def terminate(self, deadline: float = 40.0) -> int:
        self.running.send_signal(signal.SIGTERM)
        return self.exit_code(deadline)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for path in (self.stdout, self.stderr):
            canary.session_watch().settle(path)

    def __enter__(self) -> "Daemon":
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    # --- what it said ----------------------------------------------------------------------------

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, "not started"
        return self.process

    def output(self) -> str:
        texts = (path.read_text(errors="replace") for path in (self.stdout, self.stderr) if path.exists())
        return "\n".join(texts)

    def tail(self) -> str:
        """The end of it, for a test's report."""
        return self.output()[-3000:]

    @property
    def last_line(self) -> str:
        """The last line on stderr: it has to name the cause and the fix."""
        lines = self.stderr.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def wait_for_output(self, part: str, deadline: float = 10.0) -> str:
        """The first line of the output in which `part` stands."""

        def line() -> str:
            return next((each for each in self.output().splitlines() if part in each), "")

        try:
            return str(poll(line, deadline, 0.02))
        except TimeoutError:
            raise TimeoutError(f"{part!r} never appeared:\n{self.tail()}") from None

    def wait_for_file(self, path: Path, deadline: float = 20.0) -> None:
        """Returns once `path` exists; fails if the process ends before."""

        def there() -> bool:
            assert self.running.poll() is None, self.tail()
            return path.exists()

        poll(there, deadline, 0.02)

    def ask(self, method: str, target: str | bytes, **more: object) -> Response:
        return ask(self.port, method, target, **more)  # type: ignore[arg-type]

    def health(self) -> dict[str, object]:
        content = self.ask("GET", "/health").json()
        assert isinstance(content, dict)
        return content

    def listening(self) -> bool:
        """Whether the kernel takes a connection at the port."""
        with socket.socket() as sock:
            sock.settimeout(1)
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def memory(self) -> int:
        """Resident bytes now."""
        return self._status("VmRSS")

    def peak_memory(self) -> int:
        return self._status("VmHWM")

    def _status(self, name: str) -> int:
        for line in Path(f"/proc/{self.running.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
        raise KeyError(name)


def never_listens_until_end(daemon: Daemon, deadline: float = 20.0) -> bool:
    """Tries the port as fast as it can while the process lives; True if it was never taken."""
    end = time.monotonic() + deadline
    while daemon.running.poll() is None and time.monotonic() < end:
        if daemon.listening():
            return False
        time.sleep(0.01)
    return True
