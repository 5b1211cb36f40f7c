"""A setting that cannot be used."""

from awfproxy.errors.base import AwfError, Hop


class ConfigError(AwfError):
    """A setting cannot be used. The text names the setting, the place it came from, and the fix."""

    status = 403
    code = "configuration"
    hop = Hop.CONFIGURATION
    sentence = "awfproxy is not configured correctly."
    fix = "See its log."

    def __str__(self) -> str:
        return self.detail or super().__str__()
