"""Another user of this machine: runs a small Python program that connects to a unix socket."""

import os
import subprocess
import sys
from pathlib import Path

import attrs

from tests.kit import canary
from tests.kit.tools import do_without

_ASKS = """
import socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.settimeout(20)
    sock.connect(sys.argv[1])
    try:
        sock.sendall(sys.stdin.buffer.read())
        while data := sock.recv(65536):
            sys.stdout.buffer.write(data)
    except ConnectionError:
        pass
"""


@attrs.frozen
class User:
    """Numbers that need no entry in /etc/passwd; uid and gid differ, so that they cannot be mixed up."""

    uid: int = 65534
    gid: int = 65533
    groups: tuple[int, ...] = ()
    """The supplementary ones."""

    def command(self, *words: str) -> list[str]:
        groups = f"--groups={','.join(map(str, self.groups))}" if self.groups else "--clear-groups"
        ids = (f"--reuid={self.uid}", f"--regid={self.gid}")
        return ["setpriv", *ids, groups, "--inh-caps=-all", *words]

    def asking(self, path: Path) -> list[str]:
        """Connects to `path`, sends all of its standard input, and prints what comes back until the end."""
        return self.command(sys.executable, "-I", "-c", _ASKS, str(path))

    def asks(self, path: Path, request: bytes) -> bytes:
        """What came back; empty where the connection was closed. A file mode that is in the way fails it."""
        done = subprocess.run(
            self.asking(path), input=request, capture_output=True, timeout=60, check=False, cwd="/"
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        canary.session_watch().add(f"answers to user {self.uid}", done.stdout)
        return done.stdout


def need_users() -> None:
    """For a test that is more than one user."""
    if os.geteuid() != 0:
        do_without("only root can be another user: run it as root")
    try:
        command = User().command(sys.executable, "-I", "-c", "")
        subprocess.run(command, capture_output=True, check=True, cwd="/")
    except (FileNotFoundError, subprocess.CalledProcessError):
        do_without("no other user can run this Python (setpriv of util-linux)")
