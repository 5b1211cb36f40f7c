"""What the end-to-end tests have: one Squid for those that leave it running, origins and daemons to break."""

from tests.e2e.conftest import Stack, authority, own_origin, own_stack, squid

__all__ = ["Stack", "authority", "own_origin", "own_stack", "squid"]
