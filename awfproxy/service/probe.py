"""One authenticated request that tells whether the way to the provider and the key are good.

What comes out is an `Attempt`: a verdict of the provider, or our error for the hop that failed.
"""

from collections.abc import Iterable

import attrs
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from awfproxy.credentials.injector import prepare_request, secrets_of
from awfproxy.credentials.quotes import quotes
from awfproxy.credentials.store import CredentialStore
from awfproxy.credentials.verdict import CannotTell, ProviderError, Verdict, read_error, verdict
from awfproxy.errors.base import AwfError
from awfproxy.errors.origin import IncompleteMessage
from awfproxy.providers.provider import Access, Provider
from awfproxy.service.ask import Answer, Asker, NoAnswer
from awfproxy.wire.framing import NO_BODY
from awfproxy.wire.message import RequestHead

BODY_LIMIT = 64 * 1024
"""An error object is small; what is longer is cut, and then has no code."""

_SAYS_NO = (400, 401, 403)
# Half an error says nothing.

Attempt = Verdict | AwfError
"""What one probe found out."""


class KeyProbe:
    """Asks the provider once per `attempt()`. The validator calls it; it calls `Asker`."""

    def __init__(
        self,
        reactor: IReactorTime,
        endpoint: IStreamClientEndpoint,
        provider: Provider,
        access: Access,
        credentials: CredentialStore,
    ) -> None:
        """It asks with the key that `credentials` has in force at each attempt."""
        self._asker = Asker(reactor, endpoint, access.origin)
        self._provider = provider
        self._access = access
        self._credentials = credentials

    async def attempt(self, limit: float) -> Attempt:
        """One request, over within `limit` seconds; whatever the peers do becomes an `Attempt`."""
        probe = self._provider.probe
        asked = RequestHead(probe.method, probe.target, b"1.1", ())
        in_force = self._credentials.current(self._provider.name)
        keys = () if in_force is None else in_force.keys
        try:
            head = prepare_request(asked, NO_BODY, access=self._access, keys=keys or (None,))
        except AwfError as missing:
            return missing
        match await self._asker.ask(head, probe.body, limit, _most):
            case Answer() as answer:
                return self._verdict(answer, secrets_of(self._access, keys))
            case NoAnswer():
                return CannotTell(f"{self._provider.title} did not answer within {limit:g} s")
            case problem:
                return problem

    def _verdict(self, answer: Answer, secrets: Iterable[bytes]) -> Attempt:
        if not answer.complete and answer.status in _SAYS_NO:
            return IncompleteMessage("in the answer to the key check")
        found = read_error(answer.content) if answer.content else ProviderError()
        if quotes(found.code, secrets):
            found = attrs.evolve(found, code="")
        return verdict(self._provider, answer.status, found.code, found.text)


def _most(status: int) -> int:
    return BODY_LIMIT if 400 <= status < 500 else 0
