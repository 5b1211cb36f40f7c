"""The stack for the corpus of hostile clients: a witness behind Squid behind a daemon of short deadlines."""

from collections.abc import Iterator

import attrs
import pytest

from tests.hostile.client_witness import Witness
from tests.kit.certificates import Authority
from tests.kit.daemon import Daemon
from tests.kit.squid import Squid
from tests.kit.tools import need

NAME = "api.openai.com"
ALLOWED_PAGE = "http://localhost:3000"


@attrs.frozen
class Watched:
    """A daemon whose origin keeps every byte."""

    witness: Witness
    daemon: Daemon


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, canary: str) -> Iterator[Watched]:
    need("squid")
    authority = Authority(tmp_path_factory.mktemp("ca"))
    with (
        Witness(authority.leaf(NAME), canary) as witness,
        Squid([NAME]) as squid,
        Daemon(
            "--egress-proxy", squid.url, "--ca-file", str(authority.file),
            "--target", f"{NAME}:{witness.port}", "--allow-origin", ALLOWED_PAGE,
            "--head-deadline", "1.5", "--body-deadline", "1.5", "--idle-deadline", "2.5",
            "--response-deadline", "4", "--silence-deadline", "2", "--probe", "off",
            env={"OPENAI_API_KEY": canary},
        ) as daemon,
    ):  # fmt: skip
        daemon.ready("/readyz")
        yield Watched(witness, daemon)
