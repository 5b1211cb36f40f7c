"""The credentials in force, as one reference that is replaced as a whole."""

from collections.abc import Mapping

from awfproxy.credentials.secret import Secret


class CredentialStore:
    """A request sees the old set or the new one, never a mixture: `replace` is one assignment."""

    def __init__(self, credentials: Mapping[str, Secret]) -> None:
        self._current = dict(credentials)

    def current(self, provider: str) -> Secret | None:
        """The credential of the provider with that name."""
        return self._current.get(provider)

    def replace(self, credentials: Mapping[str, Secret]) -> None:
        """Puts another set in force."""
        self._current = dict(credentials)
