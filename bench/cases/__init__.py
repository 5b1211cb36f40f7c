"""What is measured: one module per group of cases, each with `run(run)`; `CASES` has them in their order."""

from collections.abc import Callable

from bench.cases import (
    cold,
    latency,
    litellm,
    requests,
    short,
    sse,
    start,
    streams,
    transfer,
    tunnels,
    websocket,
)
from bench.run import Run

NOT_QUICK = ("litellm",)
"""Too slow to install and to start for a quick look."""

CASES: dict[str, Callable[[Run], None]] = {
    "start": start.run,
    "requests": requests.run,
    "cold": cold.run,
    "short": short.run,
    "latency": latency.run,
    "sse": sse.run,
    "streams": streams.run,
    "transfer": transfer.run,
    "websocket": websocket.run,
    "tunnels": tunnels.run,
    "litellm": litellm.run,
}
