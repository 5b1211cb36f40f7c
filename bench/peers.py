"""Starts and ends the processes: Squid, the origin (nginx with a small helper behind it), and the candidates.

Everything listens on loopback and lives in one scratch directory.
"""

import http.client
import json
import os
import secrets
import signal
import socket
import string
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench import envoy
from bench.environment import Environment

HOST = "api.openai.com"
DOWNLOAD = "/v1/files/large/content"
_PATIENCE = 30.0
_HERE = Path(__file__).resolve().parent

_SQUID = """\
http_port 127.0.0.1:{port}
hosts_file {directory}/hosts
acl CONNECT method CONNECT
acl providers dstdomain {host}
acl origin_port port {origin_port}
http_access allow CONNECT providers origin_port
http_access deny all
cache deny all
access_log stdio:{directory}/squid/access.log
cache_log {directory}/squid/cache.log
coredump_dir {directory}/squid
pid_filename none
max_filedescriptors 16384
shutdown_lifetime 0 seconds
netdb_filename none
"""

# A request with the wrong key, or with a credential that should have been removed, gets 401.
# One cipher for all: left alone, the candidates' TLS libraries would choose different ones.
_NGINX = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {directory}/nginx/pid;
error_log stderr error;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  client_max_body_size 0;
  client_body_temp_path {directory}/nginx/body;
  proxy_temp_path {directory}/nginx/proxy;
  fastcgi_temp_path {directory}/nginx/fastcgi;
  uwsgi_temp_path {directory}/nginx/uwsgi;
  scgi_temp_path {directory}/nginx/scgi;
  map_hash_bucket_size 256;
  map "$http_authorization|$http_x_api_key|$http_cookie" $refused {{ default 1; "Bearer {key}||" 0; }}
  server {{
    listen 127.0.0.1:{port} ssl backlog=4096;
    server_name {host};
    ssl_certificate {directory}/leaf.pem;
    ssl_certificate_key {directory}/leaf.key;
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites TLS_AES_256_GCM_SHA384;
    default_type application/json;
    if ($refused) {{ return 401 '{{"error":{{"code":"invalid_api_key","message":"wrong credentials"}}}}'; }}
    location = /v1/models {{ return 200 '{{"object":"list","data":[]}}'; }}
    location = /v1/responses {{ return 200 '{answer}'; }}
    location = {download} {{ alias {directory}/large; }}
    location / {{
      proxy_pass http://127.0.0.1:{helper_port};
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_read_timeout 300s;
    }}
  }}
}}
"""


class NotStarted(Exception):
    """A process ended or stayed silent; the text has the last line it wrote."""


@dataclass
class Peer:
    name: str
    process: subprocess.Popen[bytes]
    port: int
    log: Path
    started: float
    ready_after: float = 0.0

    @property
    def pid(self) -> int:
        return self.process.pid

    def check(self) -> None:
        if self.process.poll() is not None:
            lines = self.log.read_text(errors="replace").strip().splitlines() or ["it wrote nothing"]
            raise NotStarted(f"{self.name} ended with {self.process.returncode}: {lines[-1]}")


@dataclass
class Stage:
    """One scratch directory with its processes; `stack` ends them in reverse order."""

    environment: Environment
    directory: Path
    stack: ExitStack
    key: str = field(default_factory=lambda: "sk-proj-" + _letters(48))
    squid_port: int = field(default_factory=lambda: free_port())
    origin_port: int = field(default_factory=lambda: free_port())

    def start_surroundings(self, download_bytes: int) -> None:
        # Squid and nginx give up root if they have it, and must still reach their files.
        self.directory.chmod(0o755)
        for name in "squid", "nginx":
            (self.directory / name).mkdir()
            (self.directory / name).chmod(0o777)
        (self.directory / "hosts").write_text(f"127.0.0.1 {HOST}\n")
        with (self.directory / "large").open("w+b") as large:
            large.truncate(download_bytes)
            while large.read(1 << 20):
                pass  # into the page cache: else the first candidate's download would pay for it
        certificates = [self.environment.python, str(_HERE / "certificates.py"), str(self.directory), HOST]
        subprocess.run(certificates, check=True, timeout=60)
        helper_port = free_port()
        answer = json.dumps({"id": "resp_1", "object": "response", "output": [{"text": "x" * 930}]})
        nginx = _NGINX.format(
            directory=self.directory,
            port=self.origin_port,
            helper_port=helper_port,
            host=HOST,
            key=self.key,
            answer=answer,
            download=DOWNLOAD,
        )
        squid = _SQUID.format(
            directory=self.directory, port=self.squid_port, origin_port=self.origin_port, host=HOST
        )
        (self.directory / "nginx.conf").write_text(nginx)
        (self.directory / "squid.conf").write_text(squid)
        helper_command = [self.environment.python, str(_HERE / "origin.py"), str(helper_port)]
        nginx_command = [self.environment.nginx, "-p", str(self.directory)]
        nginx_command += ["-c", str(self.directory / "nginx.conf")]
        squid_command = [self.environment.squid, "-N", "-f", str(self.directory / "squid.conf")]
        for peer in (
            self._start("helper", helper_command, helper_port),
            self._start("nginx", nginx_command, self.origin_port),
            self._start("squid", squid_command, self.squid_port),
        ):
            _until(peer, _accepts)

    def start_envoy(self) -> Peer:
        port = free_port()
        config = envoy.configuration(
            port, self.squid_port, HOST, self.origin_port, self.directory / "ca.pem", self.key
        )
        path = self.directory / "envoy.json"
        path.write_text(json.dumps(config))
        command = [self.environment.envoy, "--config-path", str(path), "--concurrency", "1"]
        command += ["--disable-hot-restart", "--log-level", "error"]
        return self._answering(self._start("envoy", command, port))

    def start_awfproxy(self) -> Peer:
        """As users start it: `twistd awfproxy`, installed, default settings, log to a file."""
        port = free_port()
        command = [self.environment.twistd, "-n", "--pidfile=", "awfproxy", "--port", str(port)]
        command += ["--ca-file", str(self.directory / "ca.pem"), "--target", f"{HOST}:{self.origin_port}"]
        variables = {"OPENAI_API_KEY": self.key, "HTTPS_PROXY": f"http://127.0.0.1:{self.squid_port}"}
        return self._answering(self._start("awfproxy", command, port, variables))

    def _start(
        self, name: str, command: Sequence[str], port: int, variables: Mapping[str, str] | None = None
    ) -> Peer:
        log = self.directory / f"{name}.log"
        surroundings = {each: os.environ[each] for each in ("PATH", "HOME", "LANG") if each in os.environ}
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=self.directory,
                env={**surroundings, **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.stack.callback(_end, process)
        return Peer(name, process, port, log, time.monotonic())

    def _answering(self, peer: Peer) -> Peer:
        """Ready is the first right answer to an agent's request: it proves injection and path, too."""
        _until(peer, _answers)
        peer.ready_after = time.monotonic() - peer.started
        return peer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _letters(count: int) -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(count))


def _until(peer: Peer, ready: Callable[[int], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not ready(peer.port):
        peer.check()
        if time.monotonic() > deadline:
            raise NotStarted(f"{peer.name} did not become ready in {_PATIENCE:.0f} s; its log is {peer.log}")
        time.sleep(0.005)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v1/models", headers={"Authorization": "Bearer x", "X-Api-Key": "x"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)
