"""What stands around the candidates: Squid, nginx for small answers, and our own origin for the rest.

Everything listens on loopback and lives in one scratch directory.
"""

import json
import secrets
import string
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.environment import REPOSITORY, Environment
from bench.processes import Peer, accepts, free_port, started

HOST = "api.openai.com"
_HERE = Path(__file__).resolve().parent

_SQUID = """\
http_port 127.0.0.1:{port}
hosts_file {directory}/hosts
acl CONNECT method CONNECT
acl providers dstdomain {host}
acl origin_port port {small_port} {large_port}
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
    location = /v1/chat/completions {{ return 200 '{completion}'; }}
  }}
}}
"""

_ANSWER = {"id": "resp_1", "object": "response", "output": [{"text": "x" * 930}]}
_COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1760000000,
    "model": "gpt-5",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "x" * 700}}
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


@dataclass
class Surroundings:
    environment: Environment
    directory: Path
    key: str = field(default_factory=lambda: "sk-proj-" + _letters(48))
    squid_port: int = field(default_factory=free_port)
    small_port: int = field(default_factory=free_port)
    """nginx: `/v1/models`, `/v1/responses`, `/v1/chat/completions`."""
    large_port: int = field(default_factory=free_port)
    """Ours (`bench.origin`): event streams, bodies, WebSocket."""
    squid: Peer | None = None

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    @property
    def squid_log(self) -> Path:
        return self.directory / "squid" / "access.log"

    def start(self, stack: ExitStack) -> None:
        # Squid and nginx give up root if they have it, and must still reach their files.
        self.directory.chmod(0o755)
        for name in "squid", "nginx":
            (self.directory / name).mkdir()
            (self.directory / name).chmod(0o777)
        (self.directory / "hosts").write_text(f"127.0.0.1 {HOST}\n")
        (self.directory / "key").write_text(self.key)
        certificates = [self.environment.python, str(_HERE / "certificates.py"), str(self.directory), HOST]
        subprocess.run(certificates, check=True, timeout=60)
        self._write("nginx.conf", _NGINX, self.small_port)
        self._write("squid.conf", _SQUID, self.squid_port)
        nginx = [self.environment.nginx, "-p", str(self.directory), "-c", str(self.directory / "nginx.conf")]
        squid = [self.environment.squid, "-N", "-f", str(self.directory / "squid.conf")]
        origin = [self.environment.python, "-m", "bench.origin", str(self.large_port), str(self.directory)]
        ours = {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
        stack.enter_context(started("origin", origin, self.large_port, self.directory, accepts, ours))
        stack.enter_context(started("nginx", nginx, self.small_port, self.directory, accepts))
        self.squid = stack.enter_context(started("squid", squid, self.squid_port, self.directory, accepts))

    def _write(self, name: str, text: str, port: int) -> None:
        filled = text.format(
            directory=self.directory,
            port=port,
            host=HOST,
            key=self.key,
            small_port=self.small_port,
            large_port=self.large_port,
            answer=json.dumps(_ANSWER),
            completion=json.dumps(_COMPLETION),
        )
        (self.directory / name).write_text(filled)


def _letters(count: int) -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(count))
