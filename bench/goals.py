"""What awfproxy must reach, and what it aims at: bounds on a ratio to Envoy, or on a value."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    kind: str
    """"ratio" to Envoy, or the "value" itself."""
    direction: str
    """"min": at least; "max": at most."""
    must: float
    aim: float

    def reached(self, seen: float, bound: float) -> bool:
        return seen >= bound if self.direction == "min" else seen <= bound


def _at_least(must: float, aim: float) -> Goal:
    return Goal("ratio", "min", must, aim)


def _at_most(must: float, aim: float) -> Goal:
    return Goal("ratio", "max", must, aim)


def _value(must: float, aim: float) -> Goal:
    return Goal("value", "max", must, aim)


GOALS = {
    "first answer s": _value(0.5, 0.25),
    "idle MB": _value(55, 48),
    "requests/s, 1": _at_least(1.1, 1.3),
    "requests/s, 16": _at_least(1.2, 1.5),
    "requests/s, 64": _at_least(1.2, 1.5),
    "CPU us/request, 16": _at_most(0.8, 0.5),
    "p99 ms, 256": _at_most(1.0, 0.5),
    "p99 ms, 1024": _at_most(1.0, 0.5),
    "errors, 1024": _value(0, 0),
    "cold p99 ms, 256": _at_most(1.0, 0.5),
    "cold p99 ms, 1024": _at_most(1.0, 0.5),
    "cold errors, 1024": _value(0, 0),
    "short requests/s": _at_least(0.8, 1.0),
    "added p50 ms": _at_most(0.8, 0.5),
    "half load p99 ms": _at_most(1.0, 0.5),
    "SSE MB/s, 1 stream": _at_least(1.0, 1.4),
    "SSE MB/s, 32 streams": _at_least(1.0, 1.4),
    "SSE bulk MB/s, 1 stream": _at_least(0.8, 1.0),
    "SSE bulk MB/s, 32 streams": _at_least(0.8, 1.0),
    "1,000 streams CPU us/event": _at_most(1.2, 0.9),
    "1,000 streams kB each": _value(60, 45),
    "1,000 streams events lost": _value(0, 0),
    "upload MB/s": _at_least(0.8, 1.0),
    "download MB/s": _at_least(0.8, 1.0),
    "upload growth MB": _value(5, 2),
    "download growth MB": _value(5, 2),
    "slow upload growth MB": _value(5, 2),
    "slow download growth MB": _value(5, 2),
    "ping-pong messages/s": _at_least(0.8, 1.0),
    "32 connections messages/s": _at_least(0.8, 1.0),
    "64 in flight messages/s": _at_least(0.8, 1.0),
    "16 KB messages/s": _at_least(0.8, 1.0),
}
