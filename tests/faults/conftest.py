"""What the end-to-end tests have, and the provider's TLS for scripted peers."""

import ssl

import pytest

from tests.e2e.conftest import NAME, Stack, authority, own_origin, own_stack, squid
from tests.kit.certificates import Authority

__all__ = ["Stack", "authority", "own_origin", "own_stack", "squid"]


@pytest.fixture(scope="session")
def context(authority: Authority) -> ssl.SSLContext:
    leaf = authority.leaf(NAME)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.certificate, leaf.key)
    context.set_alpn_protocols(["http/1.1"])
    return context
