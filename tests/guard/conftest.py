"""The stack for what is counted on real connections: Squid, and an origin that always answers alike."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import NAME, authority, options, squid
from tests.guard.datapath import ANSWER
from tests.kit.certificates import Authority
from tests.kit.daemon import Daemon
from tests.kit.origin import Exchange, Origin
from tests.kit.squid import Squid

__all__ = ["authority", "squid"]


class Prompt(Exchange):
    """Answers in one piece, so that it is read in one."""

    def do_prompt(self) -> None:
        self.read_body()
        self.send(ANSWER)


@pytest.fixture
def prompt_origin(authority: Authority, canary: str) -> Iterator[Origin]:
    with Origin(authority.leaf(NAME), canary, exchange=Prompt) as origin:
        yield origin


@pytest.fixture
def daemon(authority: Authority, prompt_origin: Origin, squid: Squid, canary: str) -> Daemon:
    """Not started; `command` may be put behind another program's."""
    return Daemon(*options(authority, prompt_origin, squid), env={"OPENAI_API_KEY": canary})


def request(target: str, length: int = 1024) -> bytes:
    """A request like those that agents send, in one piece."""
    head = (
        f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1:10000\r\nAuthorization: Bearer placeholder\r\n"
        f"Content-Type: application/json\r\nUser-Agent: guard/1\r\nContent-Length: {length}\r\n\r\n"
    )
    return head.encode("ascii") + b"y" * length


def served(client: Any, target: str) -> None:
    """The answer to such a request has come, whole."""
    client.send(request(target))
    assert client.answer("POST").status == 200
