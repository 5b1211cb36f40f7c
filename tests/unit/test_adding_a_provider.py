"""The page on adding a provider: its example works as it stands."""

import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from awfproxy.credentials.injector import prepare_request
from awfproxy.credentials.secret import Secret
from awfproxy.credentials.verdict import Accepted, Rejected, verdict
from awfproxy.errors.client import BadTarget
from awfproxy.providers import builtin
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.providers.provider import Access, Asked, Provider
from awfproxy.wire.framing import Length
from awfproxy.wire.message import RequestHead, field, serialise_request
from awfproxy.wire.target import Origin

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "adding-a-provider.md").read_text()


@pytest.fixture(scope="module")
def provider() -> Provider:
    example = re.search(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert example is not None
    namespace: dict[str, Any] = {}
    exec(compile(example[1], "the page's example", "exec"), namespace)
    made = namespace["PROVIDER"]
    assert isinstance(made, Provider)
    return made


def test_example_is_a_provider_beside_the_others(provider: Provider) -> None:
    for attribute in "name", "port", "variable", "credential_name":
        assert getattr(provider, attribute) not in {getattr(each, attribute) for each in BUILT_IN}
    assert provider.error_body(BadTarget(), "id").startswith(b'{"error":')
    assert verdict(provider, 200, None) == Accepted()
    assert verdict(provider, 401, "c") == Rejected("c")


def test_request_leaves_as_the_example_says(provider: Provider) -> None:
    sent = (field(b"Host", b"h"), field(b"Authorization", b"of-the-client"), field(b"Content-Length", b"2"))
    head = RequestHead(b"POST", b"/chat/completions", b"1.1", sent)
    after = prepare_request(head, Length(2), access=provider.access(Asked()), keys=(Secret(b"k"),))
    assert serialise_request(after) == (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: api.acme.example\r\nContent-Length: 2\r\n"
        b"Acme-Version: 2026-01-01\r\nAuthorization: Bearer k\r\n\r\n"
    )


def test_what_the_operator_sets_is_heeded(provider: Provider) -> None:
    access = provider.access(Asked(target=Origin("h", 444), base_path=b"", auth_field=b"X-Key"))
    sent = (field(b"x_key", b"of-the-client"), field(b"acme-version", b"2"))
    head = RequestHead(b"GET", b"/a", b"1.1", sent)
    after = prepare_request(head, Length(0), access=access, keys=(Secret(b"k"),))
    assert after.target == b"/a"
    assert after.fields == (field(b"Host", b"h:444"), field(b"acme-version", b"2"), field(b"X-Key", b"k"))


def test_line_is_one_as_the_others_are(provider: Provider) -> None:
    assert builtin.__file__ is not None
    lines = Path(builtin.__file__).read_text().splitlines()
    for each in BUILT_IN:
        assert f'        "{each.name}",' in lines
    assert f'        "{provider.name}",' in PAGE.splitlines()


@pytest.mark.parametrize("name", [attribute.name for attribute in attrs.fields(Access)])
def test_each_attribute_of_an_access_is_explained(name: str) -> None:
    rows = "".join(line for line in PAGE.splitlines(keepends=True) if line.startswith("| `"))
    assert f"`{name}`" in rows
