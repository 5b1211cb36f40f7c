"""Reload of a running daemon: no request is lost, a bad key changes nothing, and links are followed."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import options
from tests.kit.certificates import Authority
from tests.kit.client import Client
from tests.kit.daemon import RUNNERS, Daemon
from tests.kit.origin import Exchange, Origin
from tests.kit.reader import poll
from tests.kit.squid import Squid


class EitherKey(Exchange):
    """Takes the canary, and the canary with one more character: the key that comes after it."""

    def admitted(self) -> bool:
        return self.seen.values(b"authorization") in ([b"Bearer THE-KEY"], [b"Bearer THE-KEY2"])


@pytest.fixture
def either_origin(authority: Authority, canary: str) -> Iterator[Origin]:
    with Origin(authority.leaf("api.openai.com"), canary, exchange=EitherKey) as origin:
        yield origin


@pytest.fixture
def key_file(tmp_path: Path, canary: str) -> Path:
    file = tmp_path / "key"
    file.write_text(canary + "\n")
    file.chmod(0o600)
    return file


def replace(file: Path, key: str) -> None:
    new = file.with_name("new")
    new.write_text(key + "\n")
    new.chmod(0o600)
    new.rename(file)


def reloaded(daemon: Daemon) -> list[dict[str, object]]:
    whole = daemon.stdout.read_text().rpartition("\n")[0]  # the last line may be on its way
    lines = (json.loads(line) for line in whole.splitlines())
    return [line for line in lines if line["event"] in ("reload_complete", "reload_refused")]


def key_seen(daemon: Daemon) -> str:
    head = daemon.ask("GET", "/v1/which").json()["head"]
    (line,) = [line for line in head.split("\r\n") if line.lower().startswith("authorization")]
    return str(line).rpartition(" ")[2]


@pytest.mark.parametrize("runner", RUNNERS)
def test_hangup_takes_a_new_key_while_requests_go_on_and_none_fails(
    authority: Authority, either_origin: Origin, squid: Squid, canary: str, key_file: Path, runner: str
) -> None:
    """Requests without a pause on eight connections, over ten reloads from one key to the other and back."""
    words = (*options(authority, either_origin, squid), "--key-file", str(key_file), "--log-format", "json")
    with Daemon(*words, runner=runner) as daemon:
        daemon.ready("/readyz")
        stop = threading.Event()
        statuses: list[int] = []
        problems: list[BaseException] = []

        def ask_on() -> None:
            try:
                with Client(daemon.port) as client:
                    while not stop.is_set():
                        statuses.append(client.request("POST", "/v1/kit/echo", body=b"x" * 3000).status)
            except BaseException as problem:
                problems.append(problem)

        clients = [threading.Thread(target=ask_on) for _ in range(8)]
        for client in clients:
            client.start()
        for count in range(1, 11):
            replace(key_file, canary + "2" * (count % 2))
            daemon.running.send_signal(signal.SIGHUP)
            poll(lambda wanted=count: len(reloaded(daemon)) >= wanted, 20, 0.02)
        stop.set()
        for client in clients:
            client.join(20)
        assert not problems
        assert set(statuses) == {200}
        assert len(statuses) > 100
        assert key_seen(daemon) == "THE-KEY"
        keys = {seen.values(b"authorization")[0] for seen in either_origin.find(b"/v1/kit/echo")}
        assert keys == {b"Bearer THE-KEY", b"Bearer THE-KEY2"}


def test_rejected_key_is_refused_logged_and_shown_and_the_old_one_serves_on(
    authority: Authority, either_origin: Origin, squid: Squid, canary: str, key_file: Path
) -> None:
    words = (*options(authority, either_origin, squid), "--key-file", str(key_file), "--log-format", "json")
    with Daemon(*words) as daemon:
        daemon.ready("/readyz")
        replace(key_file, canary + "3")
        daemon.running.send_signal(signal.SIGHUP)
        daemon.wait_for_output("reload_refused")
        assert daemon.ask("GET", "/readyz").status == 200
        assert "rejects the key" in str(daemon.health()["refused_reload"])
        assert key_seen(daemon) == "THE-KEY"
        replace(key_file, "")
        daemon.running.send_signal(signal.SIGHUP)
        poll(lambda: "is set but empty" in str(daemon.health()["refused_reload"]), 20, 0.02)
        assert key_seen(daemon) == "THE-KEY"
        replace(key_file, canary + "2")
        daemon.running.send_signal(signal.SIGHUP)
        poll(lambda: daemon.health()["refused_reload"] is None, 20, 0.02)
        assert key_seen(daemon) == "THE-KEY2"


def test_pipe_in_place_of_the_key_file_holds_up_nobody(
    authority: Authority, either_origin: Origin, squid: Squid, canary: str, key_file: Path
) -> None:
    """Reading one to which nobody writes would never end."""
    with Daemon(*options(authority, either_origin, squid), "--key-file", str(key_file)) as daemon:
        daemon.ready("/readyz")
        pipe = key_file.with_name("pipe")
        os.mkfifo(pipe, 0o600)
        pipe.rename(key_file)
        poll(lambda: "is set but empty" in str(daemon.health()["refused_reload"]), 20, 0.02)
        assert key_seen(daemon) == "THE-KEY"


def test_swapped_link_is_noticed_without_a_signal(
    authority: Authority, either_origin: Origin, squid: Squid, canary: str, tmp_path: Path
) -> None:
    """As Kubernetes does it: key -> data/key, data -> ..1, and then data -> ..2 in one rename."""
    for folder, key in ("..1", canary), ("..2", canary + "2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "key").write_text(key)
        (tmp_path / folder / "key").chmod(0o600)
    (tmp_path / "data").symlink_to("..1")
    (tmp_path / "key").symlink_to("data/key")
    words = (*options(authority, either_origin, squid), "--key-file", str(tmp_path / "key"))
    with Daemon(*words) as daemon:
        daemon.ready("/readyz")
        assert key_seen(daemon) == "THE-KEY"
        (tmp_path / "swap").symlink_to("..2")
        os.rename(tmp_path / "swap", tmp_path / "data")
        poll(lambda: key_seen(daemon) == "THE-KEY2", 20, 0.1)


def test_rules_of_the_file_are_reloaded_and_what_needs_a_restart_is_named(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.toml"
    file.write_text("")
    words = (*options(authority, own_origin, squid), "--config", str(file), "--log-format", "json")
    with Daemon(*words, env={"OPENAI_API_KEY": canary}) as daemon:
        daemon.ready("/readyz")
        assert daemon.ask("GET", "/v1/files").status == 200
        file.write_text('max-connections = 7\n[providers.openai]\nrules = ["deny * /v1/files/**"]\n')
        daemon.running.send_signal(signal.SIGHUP)
        poll(lambda: daemon.ask("GET", "/v1/files").status == 403, 20, 0.05)
        line = daemon.wait_for_output("reload_needs_restart")
        assert "max-connections" in line
        file.write_text("no toml")
        daemon.running.send_signal(signal.SIGHUP)
        daemon.wait_for_output("reload_refused")
        assert daemon.ask("GET", "/v1/files").status == 403
