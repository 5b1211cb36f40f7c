"""The page /reflect: which providers are served where, in the shape of github/gh-aw-firewall's sidecar.

Its readers look for every key, so those of what awfproxy does not do are there too, each saying so.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs

from awfproxy.observe.models import ModelLists
from awfproxy.observe.part import PagePart
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.providers.provider import Provider
from awfproxy.wire.target import join_base_path

Place = tuple[str, int]
"""Host as in a URL, and port."""

_FALLBACK = {"enabled": False, "strategy": "middle_power", "excludeEngines": []}
_OFF: Mapping[str, object] = {
    "ai_credits": {"total": 0, "by_model": {}},
    "effective_tokens": {
        "enabled": False,
        "max_effective_tokens": None,
        "total_effective_tokens": 0,
        "remaining_effective_tokens": None,
    },
    "runs": {"enabled": False, "max_runs": None, "invocation_count": 0, "remaining_runs": None},
    "cache_misses": {
        "enabled": False,
        "max_cache_misses": None,
        "consecutive_cache_misses": 0,
        "remaining_cache_misses": None,
    },
    "permission_denied": {"enabled": False, "max_permission_denied": None, "denied_count": 0},
    "model_api_mapping": {
        "available": False,
        "last_updated": None,
        "providers": [],
        "models": [],
        "error": None,
    },
}


@attrs.frozen
class Reflect:
    """What the page is made from."""

    parts: Sequence[PagePart]
    has_key: Callable[[str], bool]
    """By provider's name: whether it has a key in force."""
    place: Callable[[str], Place | None]
    """By provider's name: where it listens now; None where it does not, or has no such address."""
    models: ModelLists
    host: str | None = None
    """What agents know this machine as, where that is a contract; None: the address listened on."""

    def content(self) -> dict[str, object]:
        endpoints = list(self._endpoints())
        effective = {str(endpoint["provider"]): {**_FALLBACK, "suppressed": False} for endpoint in endpoints}
        return {
            "endpoints": endpoints,
            "models_fetch_complete": self.models.complete,
            "model_aliases": None,
            "model_fallback": _FALLBACK,
            "model_fallback_effective": effective,
            **_OFF,
        }

    def _endpoints(self) -> Iterator[dict[str, object]]:
        served = {part.provider.name: part for part in self.parts}
        for provider in BUILT_IN:
            yield self._endpoint(provider, served.pop(provider.name, None))
        for part in served.values():
            yield self._endpoint(part.provider, part)

    def _endpoint(self, provider: Provider, part: PagePart | None) -> dict[str, object]:
        name = provider.name
        place = None if part is None else self.place(name)
        port = (provider.port or None) if place is None else place[1]
        base_url = None
        if part is not None and self.host is not None:
            base_url = f"http://{self.host}:{port}"
        elif place is not None:
            base_url = f"http://{place[0]}:{port}"
        configured = self.has_key(name)
        return {
            "provider": name,
            "port": port,
            "base_url": base_url,
            "configured": configured,
            "auth_type": "static" if configured else None,
            "models": self.models.lists.get(name),
            "model_metadata": self.models.metadata.get(name),
            "models_url": None if part is None else _models_url(base_url, part),
        }


def _models_url(base_url: str | None, part: PagePart) -> str | None:
    target = part.access.models
    if base_url is None or target is None:
        return None
    return base_url + join_base_path(part.access.base_path, target).decode("ascii")
