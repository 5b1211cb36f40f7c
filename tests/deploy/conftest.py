"""What the tests of the packages share with the end-to-end tests: an authority, an origin, a Squid."""

from tests.e2e.conftest import authority, origin, own_origin, squid

__all__ = ["authority", "origin", "own_origin", "squid"]
