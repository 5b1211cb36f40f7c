"""WebSocket messages, echoed by the origin."""

from functools import partial

from bench import measure, websocket
from bench.client import Way
from bench.run import Figures, Run

_SMALL, _LARGE = 100, 16384

# Name -> connections, messages in flight on each, bytes of each.
_SHAPES = {
    "ping-pong": (1, 1, _SMALL),
    "32 connections": (32, 1, _SMALL),
    "64 in flight": (1, 64, _SMALL),
    "16 KB": (1, 4, _LARGE),
}


def run(run: Run) -> None:
    with run.all(run.around.large_port) as peers:

        def seen_by(shape: str, name: str) -> Figures:
            peer = peers[name]
            before = measure.cpu_seconds(peer.pid)
            count, seconds = websocket.messages(Way(peer.port), *_SHAPES[shape], run.size.messages)
            used = measure.cpu_seconds(peer.pid) - before
            return {
                f"{shape} messages/s": count / seconds,
                f"{shape} CPU us/message": used / count * 1e6,
            }

        for number in range(run.size.rounds):
            for shape in _SHAPES:
                run.turn(number, f"WebSocket, {shape}", partial(seen_by, shape))
