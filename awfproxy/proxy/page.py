"""`Page`: what answers one local path, and what it answers."""

import json
import time
from collections.abc import Callable

import attrs

from awfproxy.callers.store import CallerStore
from awfproxy.providers.provider import Access, Provider
from awfproxy.wire.message import Fields, RequestHead, field

JSON = b"application/json"


@attrs.frozen
class Answer:
    """A whole answer of a local page's."""

    status: int
    content: bytes
    content_type: bytes = JSON

    @property
    def fields(self) -> Fields:
        return (field(b"Content-Type", self.content_type), field(b"Cache-Control", b"no-store"))


Page = Callable[[RequestHead], Answer]
"""Called at each request for its path, and answers from memory; raises the `ClientError` that refuses it."""


def shown_time(seconds: float | None) -> str | None:
    """Seconds since the epoch as a page has them, in UTC."""
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def json_page(content: Callable[[], tuple[int, object]]) -> Page:
    """The page of what is, as (status, JSON), the same for everyone who asks."""

    def page(_: RequestHead) -> Answer:
        status, value = content()
        return Answer(status, compact(value))

    return page


def compact(value: object) -> bytes:
    """JSON without spaces: some readers search for a key and its value as text."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def for_callers(page: Page, callers: CallerStore, provider: Provider, access: Access) -> Page:
    """The page for those alone whose caller token covers it, as it would have to cover a provider's path."""
    here = attrs.evolve(access, base_path=b"")

    def guarded(head: RequestHead) -> Answer:
        callers.judge(callers.identify(head, provider.name, access), head, here)
        return page(head)

    return guarded
