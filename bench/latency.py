"""Times of single requests, in seconds: one after another, or at a fixed rate whatever the answers do."""

import gc
import select
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from bench.client import LoadFailed, Way, require
from bench.events import MARK, SMALL
from bench.streams import request as stream_request
from bench.wrk import BODY, RESPONSES

_RECEIVE = 1 << 16
_PATIENCE = 10.0
_END = b"0\r\n\r\n"


def one_by_one(way: Way, count: int) -> list[float]:
    """On one connection that is kept; its first request is not counted."""
    request = _request(way)
    with way.connect() as sock:
        _ask(sock, request)
        return [_ask(sock, request) for _ in range(count)]


def first_events(way: Way, count: int) -> list[float]:
    """From an event stream's request to its first event, on one connection that is kept."""
    request = stream_request(way, 2, SMALL)
    times = []
    with way.connect() as sock:
        for _ in range(count + 1):
            began = time.perf_counter()
            sock.sendall(request)
            heard = sock.recv(_RECEIVE)
            while MARK not in heard:
                heard = _more(sock, heard)
            times.append(time.perf_counter() - began)
            while not heard.endswith(_END):
                heard = _more(sock, heard)
            require(heard.startswith(b"HTTP/1.1 200 "), "stream refused", heard)
    return times[1:]


def paced(way: Way, connections: int, rate: float, seconds: float) -> list[float]:
    """`rate` requests a second over kept connections, each counted from when it was due.

    So one slow answer shows in all requests that it delayed.
    """
    request = _request(way)
    sockets = [way.connect() for _ in range(connections)]
    try:
        for sock in sockets:
            _ask(sock, request)
        with _exact():
            return _paced(sockets, request, rate, int(rate * seconds))
    finally:
        for sock in sockets:
            sock.close()


def _paced(sockets: list[socket.socket], request: bytes, rate: float, count: int) -> list[float]:
    free = deque(sockets)
    asked: dict[int, tuple[socket.socket, float]] = {}
    times: list[float] = []
    sent = 0
    began = time.perf_counter()
    while len(times) < count:
        now = time.perf_counter()
        while free and sent < count and (due := began + sent / rate) <= now:
            sock = free.popleft()
            sock.sendall(request)
            asked[sock.fileno()] = sock, due
            sent += 1
        pacing = bool(free) and sent < count
        wait = max(0.0, began + sent / rate - time.perf_counter()) if pacing else _PATIENCE
        # select and not epoll, whose timeout is in whole milliseconds.
        ready = select.select(list(asked), (), (), wait)[0]
        if not ready and not pacing:
            raise LoadFailed(f"{count - len(times)} of {count} answers missing")
        for descriptor in ready:
            sock, due = asked.pop(descriptor)
            _answer(sock)
            times.append(time.perf_counter() - due)
            free.append(sock)
    return times


def _request(way: Way) -> bytes:
    return way.head("POST", RESPONSES, len(BODY)) + BODY


def _ask(sock: socket.socket, request: bytes) -> float:
    began = time.perf_counter()
    sock.sendall(request)
    _answer(sock)
    return time.perf_counter() - began


def _answer(sock: socket.socket) -> None:
    heard = sock.recv(_RECEIVE)
    require(heard.startswith(b"HTTP/1.1 200 "), "refused", heard)
    while (end := heard.find(b"\r\n\r\n")) < 0:
        heard = _more(sock, heard)
    length = int(heard[:end].lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    while len(heard) < end + 4 + length:
        heard = _more(sock, heard)


def _more(sock: socket.socket, heard: bytes) -> bytes:
    data = sock.recv(_RECEIVE)
    require(bool(data), "ended early", heard)
    return heard + data


@contextmanager
def _exact() -> Iterator[None]:
    """Neither the collector's pauses nor the timers' usual slack of 50 us in the load itself."""
    slack = "/proc/self/timerslack_ns"
    with open(slack) as file:
        usual = file.read()
    gc.disable()
    try:
        _write(slack, "1000")
        yield
    finally:
        _write(slack, usual)
        gc.enable()


def _write(path: str, value: str) -> None:
    with open(path, "w") as file:
        file.write(value)
