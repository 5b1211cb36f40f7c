"""What is in force for each provider, as one reference that is replaced as a whole."""

from collections.abc import Mapping

import attrs

from awfproxy.credentials.secret import Secret
from awfproxy.providers.rules import NO_RULES, Rules


@attrs.frozen
class InForce:
    """One provider's keys, as in its `Access`, and the rules on what may be done with them."""

    keys: tuple[Secret | None, ...]
    rules: Rules = NO_RULES


class CredentialStore:
    """A request sees the old set or the new one, never a mixture: `replace` is one assignment."""

    def __init__(self, in_force: Mapping[str, InForce]) -> None:
        self._current = dict(in_force)

    def current(self, provider: str) -> InForce | None:
        """What is in force for the provider of that name; None where it has no key."""
        return self._current.get(provider)

    def every(self) -> Mapping[str, InForce]:
        """All that is in force, by provider."""
        return self._current

    def replace(self, in_force: Mapping[str, InForce]) -> None:
        """Puts another set in force."""
        self._current = dict(in_force)
