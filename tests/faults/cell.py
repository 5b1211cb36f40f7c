"""`Cell`: one fault at one hop, by one side, and everything that has to come of it."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from awfproxy.errors.table import table
from tests.faults.asking import Ask, sends
from tests.faults.place import Place, Serve
from tests.faults.scripts import good
from tests.memory.peers import get

GET = get()
_GET = sends(GET)
_SENTENCES = {error.code: error.sentence for error in table()}
_FAILED = ("upstream_failed", "upstream_truncated")


@attrs.frozen(kw_only=True)
class Cell:
    """What happens, and what has to come of it."""

    hop: str = attrs.field(kw_only=False)
    side: str = attrs.field(kw_only=False)
    """Who does it."""
    fault: str = attrs.field(kw_only=False)
    client: str = attrs.field(kw_only=False)
    """What the client gets: statuses with our codes, then whether its connection is kept, closed or reset."""
    log: str = attrs.field(kw_only=False)
    """The access lines' outcome, status and code (`-` for none); no line at all is ''."""
    how: str = ""
    """Where a cell has several cases."""
    serve: Serve = good
    ask: Ask = _GET
    blamed: str = ""
    """The hop and code in the log's warning (`request_error`), where there is one."""
    methods: str = "GET"
    """As the metrics name them, one for each access line, or one for all."""
    up: int | None = 0
    """Octets of content that came from the client; None: as many as the kernel took meanwhile."""
    down: int | None = 0
    """Octets of content that went to it, alike."""
    failed: int = 0
    """Tunnels that could not be opened."""
    failed_code: str = ""
    """With this code; '': that of the answer."""
    tunnels: int = 1
    """Connections to "Squid" that it took."""
    served: int | None = None
    """Requests that were given one of these; None: as many as there are, at most one each."""
    reused: int = 0
    """Tunnels that served another request before."""
    masked: int = 0
    """Keys in the answer that did not reach the client."""
    prepare: Callable[[Place], Awaitable[None]] | None = None
    mend: Callable[[Place], Awaitable[None]] | None = None

    @property
    def name(self) -> str:
        return f"{self.hop}, {self.side}: {self.fault}" + (f" ({self.how})" if self.how else "")

    @property
    def lines(self) -> list[tuple[str, int, str]]:
        """The access lines: outcome, status, code."""
        words = [line.split(" ") for line in self.log.split("; ") if line]
        return [(outcome, int(status), code) for outcome, status, code in words]

    @property
    def code(self) -> str:
        """Of the attempts that failed; '' without any."""
        return (self.failed_code or self.lines[0][2]) if self.failed else ""

    @property
    def counters(self) -> Counter[str]:
        """Of /metrics all that are not nought; without `up` and `down` where they are None."""
        found: Counter[str] = Counter()
        methods = self.methods.split(" ")
        for number, (outcome, status, _) in enumerate(self.lines):
            method = methods[number] if len(methods) > 1 else methods[0]
            found[f"requests_total:{method}:{f'{status // 100}xx' if status else 'none'}"] += 1
            found[f"requests_by_outcome_total:{outcome}"] += 1
            found["requests_errors_total"] += status >= 500 or outcome in _FAILED
        found["request_bytes_total"] = self.up or 0
        found["response_bytes_total"] = self.down or 0
        found["leaks_masked_total"] = self.masked
        found["tunnels_opened_total"] = 0 if self.failed else self.tunnels
        found["tunnels_reused_total"] = self.reused
        if self.failed:
            found[f"tunnels_failed_total:{self.code}"] = self.failed
        opened = found["tunnels_opened_total"] + self.reused
        found["request_duration_ms"] = len(self.lines)
        found["tunnel_wait_ms"] = min(len(self.lines), opened) if self.served is None else self.served
        found["time_to_head_ms"] = sum(
            status > 0 and (code == "-" or status < 300) for _, status, code in self.lines
        )
        return +found

    @property
    def unknown(self) -> frozenset[str]:
        """The counters that differ from run to run."""
        named = {"request_bytes_total": self.up, "response_bytes_total": self.down}
        return frozenset(name for name, octets in named.items() if octets is None)

    @property
    def health(self) -> dict[str, Any]:
        """What /health says of the way out: its state, the last error's code, and why it is not ready."""
        if not self.failed:
            return {"state": "ok" if self.tunnels else "unknown", "error": None, "reason": None}
        return {"state": "failing", "error": self.code, "reason": _SENTENCES[self.code]}
