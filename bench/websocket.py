"""WebSocket messages of one size, a fixed number of them in flight on each connection; bytes are counted."""

import base64
import os
import select
import socket
import time

from bench.client import LoadFailed, Way, require
from bench.frames import client_frame, server_frame

_PATIENCE = 10.0
_RECEIVE = 1 << 18


def messages(way: Way, connections: int, in_flight: int, size: int, seconds: float) -> tuple[int, float]:
    """How many were answered, and in how many seconds. Raises LoadFailed if any is lost or wrong."""
    sockets = [_open(way, size) for _ in range(connections)]
    try:
        return _exchange(sockets, in_flight, size, seconds)
    finally:
        for sock in sockets:
            sock.close()


def _open(way: Way, size: int) -> socket.socket:
    sock = way.connect()
    key = base64.b64encode(os.urandom(16)).decode()
    head = way.head("GET", f"/v1/realtime?bytes={size}")[:-2]
    head += b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    sock.sendall(head + f"Sec-WebSocket-Key: {key}\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        data = sock.recv(4096)
        require(bool(data), "handshake not answered", answer)
        answer += data
    require(answer.startswith(b"HTTP/1.1 101 "), "handshake refused", answer)
    return sock


def _exchange(
    sockets: list[socket.socket], in_flight: int, size: int, seconds: float
) -> tuple[int, float]:
    frame, answer = client_frame(size), server_frame(size)
    batches = [frame * count for count in range(in_flight + 1)]
    by_descriptor = {sock.fileno(): sock for sock in sockets}
    partial = dict.fromkeys(by_descriptor, 0)
    buffer = bytearray(_RECEIVE)
    sent = answered = 0
    with select.epoll() as epoll:
        for sock in sockets:
            epoll.register(sock, select.EPOLLIN)
        began = time.perf_counter()
        for sock in sockets:
            sock.sendall(batches[in_flight])
            sent += in_flight
        while answered < sent:
            over = time.perf_counter() - began >= seconds
            ready = epoll.poll(_PATIENCE)
            if not ready:
                raise LoadFailed(f"{sent - answered} of {sent} answers missing")
            for descriptor, _ in ready:
                got = by_descriptor[descriptor].recv_into(buffer)
                begun = partial[descriptor]
                right = begun or buffer.startswith(answer[: min(got, 2)])
                require(bool(got and right), f"not an answer, after {answered}", buffer[:got])
                whole, partial[descriptor] = divmod(begun + got, len(answer))
                answered += whole
                if whole and not over:
                    by_descriptor[descriptor].sendall(batches[whole])
                    sent += whole
        return answered, time.perf_counter() - began
