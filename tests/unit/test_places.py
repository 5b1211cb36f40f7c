"""Where a client on this machine reaches what is listened on."""

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from awfproxy.service.places import host_and_port


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (IPv4Address("TCP", "127.0.0.1", 10000), ("127.0.0.1", 10000)),
        (IPv4Address("TCP", "172.30.0.30", 10001), ("172.30.0.30", 10001)),
        (IPv4Address("TCP", "0.0.0.0", 10000), ("127.0.0.1", 10000)),
        (IPv6Address("TCP", "::1", 10000), ("[::1]", 10000)),
        (IPv6Address("TCP", "::", 10000), ("[::1]", 10000)),
        (UNIXAddress("/run/awfproxy.sock"), None),
    ],
)
def test_host_and_port(address: IAddress, expected: tuple[str, int] | None) -> None:
    assert host_and_port(address) == expected
