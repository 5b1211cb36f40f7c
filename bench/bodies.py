"""Large bodies on one blocking socket, as fast as they go or deliberately slowly."""

import select
import socket
import time

from bench.client import Way, require

_BLOCK = bytes(1 << 18)
_SIP = 1 << 16
_SIP_EVERY = 0.05


def download(way: Way, size: int) -> float:
    """Seconds for `size` bytes."""
    began = time.perf_counter()
    with way.connect() as client:
        left = size - _download_begun(client, way, size)
        view = memoryview(bytearray(1 << 18))
        while left > 0:
            got = client.recv_into(view)
            require(got > 0, f"download ended {left} bytes early", b"")
            left -= got
        require(left == 0, f"download has {-left} bytes too many", b"")
    return time.perf_counter() - began


def sip(way: Way, size: int, seconds: float) -> None:
    """Part of a download of `size`, by a reader much slower than the origin; then it leaves."""
    with way.connect() as client:
        _download_begun(client, way, size)
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            require(bool(client.recv(_SIP)), "download ended early", b"")
            time.sleep(_SIP_EVERY)


def upload(way: Way, size: int) -> float:
    """Seconds until the origin says that all `size` bytes have arrived."""
    began = time.perf_counter()
    with way.connect() as client:
        client.sendall(way.head("POST", "/v1/files", size))
        left = size
        while left:
            part = min(left, len(_BLOCK))
            client.sendall(_BLOCK if part == len(_BLOCK) else _BLOCK[:part])
            left -= part
        answer = b""
        while b'"bytes": ' not in answer:
            data = client.recv(65536)
            require(bool(data), "upload not answered", answer)
            answer += data
        require(b" 200 " in answer and b'"bytes": %d}' % size in answer, "upload incomplete", answer)
    return time.perf_counter() - began


def push(way: Way, size: int, seconds: float) -> int:
    """Part of an upload of `size` to an origin that reads slowly; then it leaves. How much could be sent."""
    with way.connect() as client:
        client.sendall(way.head("POST", "/v1/files?slow", size))
        client.setblocking(False)
        until = time.perf_counter() + seconds
        sent = 0
        while (now := time.perf_counter()) < until and sent < size:
            if select.select((), (client,), (), until - now)[1]:
                sent += client.send(_BLOCK)
        return sent


def _download_begun(client: socket.socket, way: Way, size: int) -> int:
    """How much of the content came with the head."""
    client.sendall(way.head("GET", f"/v1/files/large/content?bytes={size}"))
    stored = b""
    while b"\r\n\r\n" not in stored:
        data = client.recv(65536)
        require(bool(data), "download ended within the head", stored)
        stored += data
    require(b" 200 " in stored.partition(b"\r\n")[0], "download refused", stored)
    return len(stored.partition(b"\r\n\r\n")[2])
