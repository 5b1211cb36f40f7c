"""`PagePart`: one provider, as the local pages see it."""

import attrs

from awfproxy.observe.health import Health
from awfproxy.observe.metrics import Metrics
from awfproxy.providers.provider import Access, Provider
from awfproxy.upstream.pool import Pool


@attrs.frozen
class PagePart:
    """What the pages tell of one provider."""

    provider: Provider
    access: Access
    health: Health
    metrics: Metrics
    pool: Pool
