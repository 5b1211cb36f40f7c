"""The load: wrk for requests, asyncio for many slow streams, one blocking socket for a large body."""

import asyncio
import json
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.peers import DOWNLOAD

_FIELDS = {
    "Host": "127.0.0.1",
    "Authorization": "Bearer placeholder",
    "X-Api-Key": "placeholder",
    "Content-Type": "application/json",
    "Accept": "application/json",
    "User-Agent": "benchmark/1",
}
_BODY_BYTES = 1024
_BLOCK = bytes(1 << 18)

# No request or response function: wrk then sends one prepared request and runs no Lua while it measures.
_SCRIPT = """\
wrk.method = "POST"
wrk.body = '{body}'
{fields}
done = function(summary, latency, requests)
  io.write(string.format(
    '\\n{{"requests":%d,"seconds":%f,"p50_us":%f,"p99_us":%f,"not_2xx":%d,"socket_errors":%d}}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""


class LoadFailed(Exception):
    """The candidate gave wrong answers, or none: its figures would mean nothing."""


@dataclass(frozen=True)
class Requests:
    count: int
    per_second: float
    p50: float
    p99: float
    """Seconds, as all times here."""


@dataclass(frozen=True)
class Streams:
    received: int
    lost: int


def requests(wrk: str, directory: Path, port: int, connections: int, seconds: int) -> Requests:
    script = directory / "post.lua"
    if not script.exists():
        fields = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in _FIELDS.items())
        body = json.dumps({"model": "gpt-5", "input": "x" * 2000})
        body = body[: _BODY_BYTES - 2] + '"}'
        script.write_text(_SCRIPT.format(body=body, fields=fields))
    command = [wrk, "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    command += ["--script", str(script), f"http://127.0.0.1:{port}/v1/responses"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=True)
    said = json.loads(done.stdout.strip().splitlines()[-1])
    if said["not_2xx"] or said["socket_errors"] or not said["requests"]:
        raise LoadFailed(f"{connections} connections: {said}")
    return Requests(
        said["requests"], said["requests"] / said["seconds"], said["p50_us"] / 1e6, said["p99_us"] / 1e6
    )


async def streams(
    port: int, count: int, events: int, interval: float, all_open: Callable[[], None]
) -> Streams:
    """`all_open` is called once every stream has had its first event, while all of them go on."""
    waiting = count

    async def one() -> int:
        nonlocal waiting
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            body = json.dumps({"events": events, "interval": interval, "stream": True}).encode()
            writer.write(_head("POST", "/v1/chat/completions", len(body)) + body)
            head = await reader.readuntil(b"\r\n\r\n")
            _require(b" 200 " in head.partition(b"\r\n")[0], "stream refused", head)
            heard = await reader.readuntil(b"\n\n")
            waiting -= 1
            if not waiting:
                all_open()
            heard += await reader.readuntil(b"data: [DONE]\n\n")
            return heard.count(b'"sequence_number"')
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0
        finally:
            writer.close()

    received = sum(await asyncio.wait_for(asyncio.gather(*(one() for _ in range(count))), 120))
    return Streams(received, count * events - received)


def download(port: int, size: int) -> float:
    """Seconds for `size` bytes of the origin's large file."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(_head("GET", DOWNLOAD, 0))
        stored = bytearray(1 << 18)
        view = memoryview(stored)
        got = client.recv_into(view)
        while b"\r\n\r\n" not in stored[:got]:
            more = client.recv_into(view[got:])
            _require(more > 0, "download ended within the head", stored[:got])
            got += more
        head, _, first = bytes(stored[:got]).partition(b"\r\n\r\n")
        _require(b" 200 " in head.partition(b"\r\n")[0], "download refused", head)
        left = size - len(first)
        while left > 0:
            got = client.recv_into(view)
            _require(got > 0, f"download ended {left} bytes early", b"")
            left -= got
    return time.monotonic() - began


def upload(port: int, size: int) -> float:
    """Seconds until the origin says that all `size` bytes have arrived."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(_head("POST", "/v1/files", size))
        left = size
        while left:
            part = min(left, len(_BLOCK))
            client.sendall(_BLOCK if part == len(_BLOCK) else _BLOCK[:part])
            left -= part
        answer = b""
        while b'"bytes": ' not in answer:
            data = client.recv(65536)
            _require(bool(data), "upload not answered", answer)
            answer += data
        _require(b" 200 " in answer and b'"bytes": %d}' % size in answer, "upload incomplete", answer)
    return time.monotonic() - began


def _head(method: str, path: str, length: int) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in _FIELDS.items())]
    if method == "POST":
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _require(holds: bool, what: str, seen: bytes | bytearray) -> None:
    if not holds:
        raise LoadFailed(f"{what}: {bytes(seen[:200])!r}")
