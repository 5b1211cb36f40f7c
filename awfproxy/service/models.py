"""The lists of models, fetched once the ports are open, for the local pages, a file, and one check.

Whatever fails leaves a provider's list at None. Nothing waits for it.
"""

import json
import os
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path

import attrs
from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from awfproxy.credentials.injector import prepare_request, secrets_of
from awfproxy.credentials.quotes import quotes
from awfproxy.credentials.store import CredentialStore
from awfproxy.errors.base import AwfError
from awfproxy.observe.leakguard import guard_of
from awfproxy.observe.metrics import Metrics
from awfproxy.observe.models import ModelLists
from awfproxy.providers.models import model_names, models_target
from awfproxy.service.ask import Answer, Asker
from awfproxy.service.together import all_of
from awfproxy.settings.provider import ProviderSettings
from awfproxy.wire.framing import NO_BODY
from awfproxy.wire.message import RequestHead

LIMIT = 10.0
"""Seconds for one list."""

LARGEST = 8 * 1024 * 1024
_SHOWN = 20


@attrs.frozen
class Listed:
    """One provider of the process, and how it is asked."""

    one: ProviderSettings
    asker: Asker
    metrics: Metrics


class ModelFetch:
    """Runs once; tells `ModelLists`."""

    _log = Logger()

    def __init__(
        self,
        listed: Sequence[Listed],
        credentials: CredentialStore,
        lists: ModelLists,
        *,
        folder: str,
        requested: str,
        hidden: str | None,
        now: Callable[[], str],
    ) -> None:
        """`folder` is where models.json goes, `requested` a model's name or empty, `hidden` a host's name
        that is not to be shown, `now` the time in ISO 8601."""
        self._listed = tuple(listed)
        self._credentials = credentials
        self._lists = lists
        self._folder = folder
        self._requested = requested
        self._hidden = hidden
        self._now = now

    async def run(self) -> None:
        """All lists at once, then the file and the check."""
        try:
            await all_of([self._fetch(each) for each in self._listed])
        finally:
            self._lists.complete = True
        self._write()
        self._check_requested()

    async def _fetch(self, each: Listed) -> None:
        one, provider = each.one, each.one.provider
        self._lists.lists[provider.name] = None
        target = models_target(provider, one.access) if one.configured else None
        in_force = self._credentials.current(provider.name)
        if target is None or in_force is None:
            return
        asked = RequestHead(b"GET", target, b"1.1", ())
        head = prepare_request(asked, NO_BODY, access=one.access, keys=in_force.keys)
        try:
            answer = await each.asker.ask(head, None, LIMIT, _most)
        except CancelledError:
            raise
        except Exception as problem:
            # Only the type: the text of a library's exception is not ours to vouch for.
            self._failed(provider.name, type(problem).__name__)
            return
        if not isinstance(answer, Answer):
            self._failed(provider.name, answer.code if isinstance(answer, AwfError) else "no answer")
        elif not 200 <= answer.status < 300 or not answer.complete:
            self._failed(provider.name, f"status {answer.status}")
        else:
            secrets = {*secrets_of(one.access, in_force.keys), *self._secrets_in_force()}
            names = self._without_secrets(model_names(answer.content) or (), secrets, each)
            self._lists.lists[provider.name] = names
            if names is None:
                self._failed(provider.name, "no list in the answer")

    # --- what must not be in the lists -----------------------------------------------------------

    def _secrets_in_force(self) -> set[bytes]:
        """Those of all providers: one gateway may stand behind several."""
        found: set[bytes] = set()
        for each in self._listed:
            in_force = self._credentials.current(each.one.provider.name)
            if in_force is not None:
                found.update(secrets_of(each.one.access, in_force.keys))
        return found

    def _without_secrets(
        self, names: Sequence[str], secrets: Collection[bytes], each: Listed
    ) -> tuple[str, ...] | None:
        """The names as the leak guard would leave them; those that quote a part of a key are none.

        It looks at what the JSON says, in which the key may have been escaped.
        """
        guard = guard_of(secrets)
        if guard is None:
            return tuple(names) or None
        masked = {guard.text(name.encode()).decode() for name in names}
        kept = {name for name in masked if not quotes(name, secrets)}
        times = guard.masked + len(masked) - len(kept)
        if times:
            each.metrics.leaks_masked += times
            self._log.warn(
                "{provider}: the list of models had the key or a part of it in it, {times} times; it is not "
                "shown.",
                event="leak_masked",
                provider=each.one.provider.name,
                times=times,
            )
        return tuple(sorted(kept)) or None

    def _failed(self, name: str, reason: str) -> None:
        self._log.warn(
            "{provider}: no list of models ({reason})",
            event="model_fetch_error",
            provider=name,
            reason=reason,
        )

    # --- the file --------------------------------------------------------------------------------

    def _write(self) -> None:
        path = Path(self._folder) / "models.json"
        try:
            _write_anew(path, json.dumps(self._content(), indent=2) + "\n")
        except OSError as error:
            self._log.warn(
                "{path} cannot be written: {reason}",
                event="models_json_write_failed",
                path=str(path),
                reason=error.strerror or "no reason given",
            )
        else:
            self._log.info("{path} is written", event="models_json_written", path=str(path))

    def _content(self) -> dict[str, object]:
        return {
            "timestamp": self._now(),
            "providers": {each.one.provider.name: self._entry(each.one) for each in self._listed},
            "model_aliases": None,
        }

    def _entry(self, one: ProviderSettings) -> dict[str, object]:
        host: str | None = one.access.origin.host if one.configured else None
        if host is not None and self._hidden and self._hidden.lower() in host.lower():
            host = "[REDACTED]"
        return {
            "configured": one.configured,
            "models": self._lists.lists.get(one.provider.name),
            "model_metadata": self._lists.metadata.get(one.provider.name),
            "target": host,
        }

    # --- the check -------------------------------------------------------------------------------

    def _check_requested(self) -> None:
        if not self._requested:
            return
        known = [name for names in self._lists.lists.values() for name in names or ()]
        asked = self._requested.lower()
        if not known:
            self._log.warn(
                "Whether {requested_model!a} is available is not known: no provider has given a list",
                event="model_validation_skipped",
                requested_model=self._requested,
            )
        elif any(name.lower() == asked for name in known):
            self._log.info(
                "The requested model {requested_model!a} is available",
                event="model_validation",
                requested_model=self._requested,
                resolved_via="direct",
            )
        else:
            more = f" (and {len(known) - _SHOWN} more)" if len(known) > _SHOWN else ""
            self._log.error(
                "The requested model {requested_model!a} is in no provider's list: retired, restricted, or "
                "misspelt. Available: {available}{more}",
                event="model_unavailable_at_startup",
                requested_model=self._requested,
                available=", ".join(known[:_SHOWN]),
                more=more,
                available_count=len(known),
            )


def _write_anew(path: Path, text: str) -> None:
    """For its owner's eyes, whose user those run as that read it. One that is there is not written into:
    the folder is open to others, and it may be theirs, or a link."""
    with suppress(FileNotFoundError):
        path.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with open(os.open(path, flags, 0o600), "w", encoding="ascii") as file:
        file.write(text)


def _most(status: int) -> int:
    return LARGEST if 200 <= status < 300 else 0
