"""The stack that most end-to-end tests share: one origin, one Squid, one daemon, started once."""

from collections.abc import Iterator

import attrs
import pytest

from tests.kit.certificates import Authority
from tests.kit.daemon import Daemon
from tests.kit.origin import Origin
from tests.kit.squid import Squid
from tests.kit.tools import need

NAME = "api.openai.com"


@attrs.frozen
class Stack:
    """A daemon in front of a Squid in front of an origin."""

    authority: Authority
    origin: Origin
    squid: Squid
    daemon: Daemon

    @property
    def port(self) -> int:
        return self.daemon.port


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def origin(authority: Authority, canary: str) -> Iterator[Origin]:
    """For tests that leave it as it is; its requests are told apart by their targets."""
    with Origin(authority.leaf(NAME), canary) as origin:
        yield origin


@pytest.fixture(scope="session")
def squid() -> Iterator[Squid]:
    """For tests that leave it running."""
    need("squid")
    with Squid([NAME]) as squid:
        yield squid


@pytest.fixture(scope="session")
def stack(authority: Authority, origin: Origin, squid: Squid, canary: str) -> Iterator[Stack]:
    with Daemon(
        *options(authority, origin, squid), "--log-format", "json", env={"OPENAI_API_KEY": canary}
    ) as daemon:
        daemon.ready("/readyz")
        yield Stack(authority, origin, squid, daemon)


@pytest.fixture
def own_origin(authority: Authority, canary: str) -> Iterator[Origin]:
    """An origin that a test may change and break."""
    with Origin(authority.leaf(NAME), canary) as origin:
        yield origin


@pytest.fixture
def own_stack(authority: Authority, own_origin: Origin, squid: Squid, canary: str) -> Iterator[Stack]:
    """A daemon and an origin that a test may break and stop."""
    with Daemon(*options(authority, own_origin, squid), env={"OPENAI_API_KEY": canary}) as daemon:
        daemon.ready("/readyz")
        yield Stack(authority, own_origin, squid, daemon)


def options(authority: Authority, origin: Origin, squid: Squid) -> tuple[str, ...]:
    """The way to the origin, for a daemon of a test's own."""
    return (
        "--egress-proxy", squid.url,
        "--ca-file", str(authority.file),
        "--target", f"{NAME}:{origin.port}",
    )  # fmt: skip
