"""One run: real Squid, a TLS origin, awfproxy, the load, and samples as it goes."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from awfproxy.wire.target import Origin
from tests.kit.certificates import Authority
from tests.kit.daemon import PACKAGES, ROOT, Daemon
from tests.kit.ports import free_port
from tests.kit.reader import poll
from tests.kit.squid import Squid
from tests.soak.load import Load
from tests.soak.watch import Sample, Watch

NAME = "api.openai.com"
_INSIDE = Path(__file__).parent / "inside"
_REST = 20.0
"""Seconds for what has ended to be gone: a tunnel waits up to five for its end to be read."""


@attrs.frozen
class Soaked:
    """What came of it."""

    load: Load
    watch: Watch
    seconds: float
    left: dict[str, int]
    """Once everything has ended: what is still under way by the daemon's own gauges, and what it holds more
    than before the load. Descriptors of tunnels that are kept for the next request are no more."""


def soak(
    key: str, requests: int, streams: int, samples: int, said: Callable[[Load, Sample, float], None]
) -> Soaked:
    """Runs it to the end, with about so many samples; `said` hears of each, with the seconds so far."""
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch, _stack(Path(scratch), key) as daemon:
        watch = Watch(daemon, Path(scratch) / "counts")
        before = watch.look()
        load = Load(daemon.port, requests, streams)
        began = time.monotonic()
        next_ = 0.0

        def look() -> None:
            nonlocal next_
            if load.progress >= next_:
                next_ += 1 / samples
                said(load, watch.look(load.progress), time.monotonic() - began)

        load.run(look)
        seconds = time.monotonic() - began
        left: dict[str, int] = {}

        def nothing_left() -> bool:
            left.update(_left(daemon, before, watch.look_at_rest()))
            return not any(left.values())

        with suppress(TimeoutError):
            poll(nothing_left, _REST, 0.1)
        said(load, watch.look_at_rest(), seconds)
        return Soaked(load, watch, seconds, left)


def _left(daemon: Daemon, before: Sample, rest: Sample) -> dict[str, int]:
    active = daemon.ask("GET", "/metrics").json()["gauges"]["active_requests"]["openai"]
    tunnels = daemon.ask("GET", "/health").json()["tunnels"]
    return {
        "active requests": active,
        **{name: tunnels[name] for name in ("busy", "opening", "waiting")},
        "descriptors": max(rest.descriptors - before.descriptors - tunnels["idle"], 0),
        "timers": max(rest.timers - before.timers, 0),
    }


@contextmanager
def _stack(scratch: Path, key: str) -> Iterator[Daemon]:
    authority = Authority(scratch)
    port = free_port()
    with (
        _origin(authority, port, key),
        Squid([NAME], origins=[Origin(NAME, port)], local=["max_filedescriptors 4096"]) as squid,
        Daemon(
            "--egress-proxy", squid.url, "--ca-file", str(authority.file), "--target", f"{NAME}:{port}",
            # It writes its counts into a file here, which a confined one may not.
            "--confine", "off",
            env={
                "OPENAI_API_KEY": key,
                "SOAK_COUNTS": str(scratch / "counts"),
                "PYTHONPATH": f"{PACKAGES}:{_INSIDE}",
            },
        ) as daemon,
    ):  # fmt: skip
        daemon.ready("/readyz")
        yield daemon


@contextmanager
def _origin(authority: Authority, port: int, key: str) -> Iterator[None]:
    leaf = authority.leaf(NAME)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.soak.origin", str(port), str(leaf.certificate), str(leaf.key)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "SOAK_KEY": key},
        stdin=subprocess.DEVNULL,
    )
    try:
        poll(lambda: _accepts(process, port), 20, 0.02)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def _accepts(process: "subprocess.Popen[bytes]", port: int) -> bool:
    assert process.poll() is None, "the origin ended"
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
