"""How each candidate is started, for one of the two origins."""

import http.client
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from bench import envoy
from bench.processes import Peer, free_port, started
from bench.surroundings import HOST, Surroundings

ENVOY, AWFPROXY = "envoy", "awfproxy"
NAMES = (ENVOY, AWFPROXY)
PLACEHOLDERS = {"Authorization": "Bearer x", "X-Api-Key": "x", "Content-Type": "application/json"}


def start(
    name: str, around: Surroundings, origin_port: int, *, envoy_log: Path | None = None
) -> AbstractContextManager[Peer]:
    """Ready is the first right answer to an agent's request: it proves injection and path, too."""
    if name == ENVOY:
        return _envoy(around, origin_port, envoy_log)
    return _awfproxy(around, origin_port)


def _envoy(around: Surroundings, origin_port: int, log: Path | None) -> AbstractContextManager[Peer]:
    port = free_port()
    config = envoy.configuration(
        port, around.squid_port, HOST, origin_port, around.ca, around.key, access_log=log
    )
    path = around.directory / "envoy.json"
    path.write_text(json.dumps(config))
    command = [around.environment.envoy, "--config-path", str(path), "--concurrency", "1"]
    command += ["--disable-hot-restart", "--log-level", "error"]
    return started(ENVOY, command, port, around.directory, answers)


def _awfproxy(around: Surroundings, origin_port: int) -> AbstractContextManager[Peer]:
    """As users start it: `twistd awfproxy`, installed, default settings, log to a file.

    --dumpable is for py-spy, where that is not root's, and changes no figure.
    """
    port = free_port()
    command = [around.environment.twistd, "-n", "--pidfile=", "awfproxy", "--port", str(port)]
    command += ["--ca-file", str(around.ca), "--target", f"{HOST}:{origin_port}", "--dumpable"]
    variables = {"OPENAI_API_KEY": around.key, "HTTPS_PROXY": f"http://127.0.0.1:{around.squid_port}"}
    return started(AWFPROXY, command, port, around.directory, answers, variables)


def answers(port: int) -> bool:
    return answered(port, lambda connection: connection.request("GET", "/v1/models", headers=PLACEHOLDERS))


def answered(port: int, ask: Callable[[http.client.HTTPConnection], None]) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        ask(connection)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()

