"""Requests by wrk: 1 KB POST, 1 KB answer. Errors are counted; storm.py says what wrk does not."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.client import FIELDS, LoadFailed

RESPONSES = "/v1/responses"
COMPLETIONS = "/v1/chat/completions"
_BEFORE, _AFTER = '{"model": "gpt-5", "messages": [{"role": "user", "content": "', '"}]}'
BODY = (_BEFORE + "x" * (1024 - len(_BEFORE) - len(_AFTER)) + _AFTER).encode()

# No request or response function: wrk then sends one prepared request and runs no Lua while it measures.
_SCRIPT = """\
wrk.method = "POST"
wrk.body = '{body}'
{fields}
done = function(summary, latency, requests)
  io.write(string.format(
    '\\n{{"requests":%d,"seconds":%f,"p50_us":%f,"p99_us":%f,"not_2xx":%d,"socket_errors":%d,"timeouts":%d}}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write,
    summary.errors.timeout))
end
"""


@dataclass(frozen=True)
class Seen:
    count: int
    per_second: float
    p50: float
    p99: float
    """Seconds, as all times here. wrk adds what it could not send meanwhile (coordinated omission)."""
    errors: int
    """Answers that are not 2xx, connections lost or refused, and answers that took over 2 s."""


class Wrk:
    def __init__(self, program: str, directory: Path) -> None:
        self._program = program
        self._directory = directory

    def run(
        self, port: int, connections: int, seconds: int, *, path: str = RESPONSES, close: bool = False
    ) -> Seen:
        """`close`: each connection serves one request. Raises LoadFailed where nothing was answered."""
        command = [self._program, "--threads", "1", "--connections", str(connections)]
        command += ["--duration", f"{seconds}s", "--script", str(self._script())]
        if close:
            command += ["--header", "Connection: close"]
        command.append(f"http://127.0.0.1:{port}{path}")
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
        if done.returncode:
            raise LoadFailed(f"wrk: {done.stderr.strip() or done.stdout.strip()}")
        said = json.loads(done.stdout.strip().splitlines()[-1])
        right = said["requests"] - said["not_2xx"]
        if not right:
            raise LoadFailed(f"{connections} connections, no right answer: {said}")
        return Seen(
            right,
            right / said["seconds"],
            said["p50_us"] / 1e6,
            said["p99_us"] / 1e6,
            said["not_2xx"] + said["socket_errors"] + said["timeouts"],
        )

    def _script(self) -> Path:
        script = self._directory / "post.lua"
        if not script.exists():
            fields = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in FIELDS.items())
            script.write_text(_SCRIPT.format(body=BODY.decode(), fields=fields))
        return script
