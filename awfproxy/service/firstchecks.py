"""What follows from the first checks of all keys, where they come after the opening."""

from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from awfproxy.credentials.verdict import sidecar_state
from awfproxy.observe.health import Health
from awfproxy.providers.provider import Provider
from awfproxy.service.exit import ExitCode


@attrs.frozen
class Checked:
    """One provider whose key is checked."""

    provider: Provider
    health: Health
    first_checked: Deferred[None]


class FirstChecks:
    """Waits for all of them, and tells the log; strict, it ends the process where a key is rejected."""

    _log = Logger()

    def __init__(
        self, checked: Sequence[Checked], strict: bool, end: Callable[[ExitCode, str], None]
    ) -> None:
        self._checked = tuple(checked)
        self._strict = strict
        self._end = end
        self.complete = False
        """All are over, whatever they found."""

    async def run(self) -> None:
        """Returns when the last one is over."""
        for each in self._checked:
            await each.first_checked
        self.complete = True
        rejected = [each.provider for each in self._checked if _is_rejected(each)]
        for provider in rejected:
            self._log.error(
                "The provider rejects the {title} key: put a valid one into {variable}, and run again",
                event="key_validation_failed",
                provider=provider.name,
                title=provider.title,
                variable=provider.variable,
            )
        if rejected and self._strict:
            names = ", ".join(provider.name for provider in rejected)
            self._log.error(
                "Ending, since a key is rejected: {providers}",
                event="key_validation_strict_exit",
                providers=names,
            )
            self._end(
                ExitCode.STRICT,
                f"The key is rejected by: {names}. Give a valid one, or check without ending: --probe after "
                "or AWF_VALIDATE_KEYS=warn.",
            )


def _is_rejected(each: Checked) -> bool:
    return sidecar_state(each.provider, each.health.verdict) == "auth_rejected"
