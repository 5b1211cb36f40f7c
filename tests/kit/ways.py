"""`way`: a Squid, an origin and a daemon of a test's own, for tests that break one of them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from tests.kit import canary
from tests.kit.certificates import Authority
from tests.kit.client import Client, Response
from tests.kit.daemon import Daemon
from tests.kit.origin import Origin
from tests.kit.squid import Squid

NAME = "api.openai.com"


@attrs.frozen
class Way:
    """All three; the daemon's log is JSON, unless `log_format` says otherwise."""

    origin: Origin
    squid: Squid
    daemon: Daemon
    log_file: Path

    @property
    def port(self) -> int:
        return self.daemon.port

    def ask(self, target: str, method: str = "GET", body: bytes | None = None) -> Response:
        return self.daemon.ask(method, target, body=body)

    def begin(self, target: str, method: str = "GET") -> Client:
        """A client that has asked, and waits; the test closes it."""
        client = Client(self.port)
        body = [] if method == "GET" else [(b"Content-Length", b"0")]
        client.send_head(method, target, body)
        return client

    def log(self, event: str, **values: object) -> list[dict[str, Any]]:
        """The log's lines of that event with these values, so far."""
        return [line for line in log_of(self.log_file) if matches(line, {"event": event, **values})]

    def counter(self, name: str) -> int:
        """Of /metrics; 0 where nothing has been counted under that name."""
        counters: dict[str, int] = self.ask("/metrics").json()["counters"]
        return counters.get(name, 0)

    def under_way(self) -> int:
        """Exchanges, busy tunnels, attempts and waiting requests, all together."""
        active = self.ask("/metrics").json()["gauges"]["active_requests"]["openai"]
        tunnels = self.ask("/health").json()["tunnels"]
        return int(active + tunnels["busy"] + tunnels["opening"] + tunnels["waiting"])


def log_of(file: Path) -> list[dict[str, Any]]:
    """Its whole lines."""
    lines = file.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def matches(line: Mapping[str, Any], values: Mapping[str, object]) -> bool:
    return all(line.get(name) == value for name, value in values.items())


@contextmanager
def way(
    folder: Path,
    key: str,
    *options: str,
    squid: Squid | None = None,
    runner: str = "twistd",
    command: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    log_file: Path | None = None,
    log_format: str = "json",
) -> Iterator[Way]:
    """Ready to serve. `command` is put in front of the daemon's own; `log_file` is twistd's `--logfile`."""
    authority = Authority(folder)
    with Origin(authority.leaf(NAME), key) as origin, squid or Squid([NAME]) as egress:
        daemon = Daemon(
            "--egress-proxy", egress.url, "--ca-file", str(authority.file),
            "--target", f"{NAME}:{origin.port}", "--log-format", log_format, *options,
            runner=runner, runner_options=[] if log_file is None else [f"--logfile={log_file}"],
            env={"OPENAI_API_KEY": key, **(env or {})},
        )  # fmt: skip
        daemon.command[:0] = command
        if log_file is not None:
            canary.session_watch().add_file(log_file)
        with daemon:
            daemon.ready("/readyz")
            yield Way(origin, egress, daemon, log_file or daemon.stdout)
