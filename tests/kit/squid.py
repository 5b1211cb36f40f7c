"""`Squid`: the real egress proxy, configured for one test and run as a child."""

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from awfproxy.squid import included, source, squid_conf
from awfproxy.wire.target import Origin
from tests.kit import canary
from tests.kit.ports import ORIGIN_PORTS, free_port
from tests.kit.reader import Closed, Reader, poll

_SERVICE = itertools.count()


def squid_binary() -> str | None:
    return shutil.which("squid", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


class Squid:
    """Runs on what `awfproxy squid-conf` prints, for the names allowed at the ports of the kit's origins.

    They are mapped to loopback; nothing else goes out, and only 127.0.0.1 gets a tunnel. `users` (name ->
    password) turns proxy authentication on; `origins` replace those of `allowed`; `local` are further lines
    for the included file. `start`, `stop` (orderly) and `kill` may be called again and again; the port stays.
    """

    def __init__(
        self,
        allowed: Iterable[str] = ("api.openai.com",),
        *,
        users: dict[str, str] | None = None,
        hosts: dict[str, str] | None = None,
        port: int | None = None,
        origins: Iterable[Origin] | None = None,
        local: Iterable[str] = (),
    ) -> None:
        self.port = port or free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="squid-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._service = ""
        names = tuple(allowed)
        addresses = dict.fromkeys(names, "127.0.0.1") | (hosts or {})
        (self.folder / "hosts").write_text("".join(f"{to} {name}\n" for name, to in addresses.items()))
        include = self.folder / "local.conf"
        include.write_text("\n".join((*self._local_additions(users), *local, "")))
        (self.folder / "squid.conf").write_text(
            squid_conf(
                tuple(origins or (Origin(name, number) for name in names for number in ORIGIN_PORTS)),
                [source("127.0.0.1")],
                http_port=f"127.0.0.1:{self.port}",
                include=[included(str(include))],
            )
        )
        if users:
            self._write_helper(users)
        self._give_away()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url_for(self, user: str, password: str) -> str:
        return f"http://{user}:{password}@127.0.0.1:{self.port}"

    def start(self, deadline: float = 20.0) -> "Squid":
        """Returns once Squid answers a CONNECT, with whatever it is."""
        binary = squid_binary()
        assert binary is not None, "squid is not installed"
        self._service = f"kit{os.getpid()}x{next(_SERVICE)}"
        self._process = subprocess.Popen(
            [binary, "-N", "-n", self._service, "-f", str(self.folder / "squid.conf")],
            stdin=subprocess.DEVNULL,
            stdout=(self.folder / "out").open("ab"),
            stderr=subprocess.STDOUT,
        )
        poll(self._answers, deadline, 0.02)
        return self

    def stop(self) -> None:
        """An orderly stop: idle and busy tunnels are closed."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        self.kill()
        for name in ("out", "access.log", "cache.log"):
            if (path := self.folder / name).exists():
                canary.session_watch().add(f"squid's {name}", path.read_bytes())
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "Squid":
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exc: object) -> None:
        self.close()

    def access_log(self) -> list[str]:
        path = self.folder / "access.log"
        return path.read_text().splitlines() if path.exists() else []

    def connects(self, authority: str) -> list[str]:
        """Lines of tunnels to `authority`; Squid writes one when the tunnel ends."""
        return [line for line in self.access_log() if f"CONNECT {authority}" in line]

    def _end(self, with_: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(with_)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for segment in Path("/dev/shm").glob(f"{self._service}-*"):  # a killed Squid leaves them
            segment.unlink(missing_ok=True)

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"squid ended with {self._process.returncode}: {self._output()}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as sock:
                sock.sendall(b"CONNECT kit.invalid:1 HTTP/1.1\r\nHost: kit.invalid:1\r\n\r\n")
                return Reader(sock).until(b"\r\n").startswith(b"HTTP/1.1 ")
        except (OSError, Closed):
            return False

    def _output(self) -> str:
        texts = [self.folder / "out", self.folder / "cache.log"]
        return "\n".join(path.read_text(errors="replace") for path in texts if path.exists())[-2000:]

    def _local_additions(self, users: dict[str, str] | None) -> list[str]:
        """What is a test's own: where files go, which names there are, quick ends, users."""
        lines = [
            f"hosts_file {self.folder}/hosts",
            f"access_log stdio:{self.folder}/access.log",
            f"cache_log {self.folder}/cache.log",
            f"coredump_dir {self.folder}",
            "memory_cache_shared off",
            "netdb_filename none",
            "dns_nameservers 127.0.0.1",
            "dns_timeout 1 second",
            "shutdown_lifetime 0 seconds",
        ]
        if users:
            lines += [
                f"auth_param basic program {self.folder}/helper {self.folder}/users",
                "auth_param basic children 1 startup=1 idle=1",
                "auth_param basic realm kit",
                "acl known proxy_auth REQUIRED",
                "http_access deny !known",
            ]
        return lines

    def _write_helper(self, users: dict[str, str]) -> None:
        """Squid's basic helper protocol: a line with user and password, URL-encoded; OK or ERR back."""
        (self.folder / "users").write_text("".join(f"{name} {word}\n" for name, word in users.items()))
        helper = self.folder / "helper"
        helper.write_text(
            "#!/bin/sh\nwhile read -r line; do\n"
            '  if grep -qxF "$line" "$1"; then echo OK; else echo ERR; fi\ndone\n'
        )
        helper.chmod(0o755)

    def _give_away(self) -> None:
        """Started as root, Squid works as the user `proxy`, who has to write here."""
        self.folder.chmod(0o755)
        if os.geteuid() == 0:
            try:
                user = pwd.getpwnam("proxy")
            except KeyError:
                return
            for path in (self.folder, *self.folder.iterdir()):
                os.chown(path, user.pw_uid, user.pw_gid)
