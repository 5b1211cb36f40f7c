"""The page /metrics: JSON, or one of Prometheus's text formats for who asks for it."""

import re
from collections.abc import Sequence
from typing import Literal

from awfproxy.observe.metrics import ProcessMetrics
from awfproxy.observe.part import PagePart
from awfproxy.observe.snapshot import snapshot
from awfproxy.proxy.page import Answer, Page, compact
from awfproxy.wire.message import RequestHead

Format = Literal["json", "text", "openmetrics"]

_MEMBER = re.compile(
    rb"\s*([!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+)\s*((?:;[^,;]*)*)", re.IGNORECASE
)
_WEIGHT = re.compile(rb";\s*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*(?:;|$)", re.IGNORECASE)


def metrics_page(parts: Sequence[PagePart], process: ProcessMetrics) -> Page:
    """The numbers of all these providers."""

    def page(request: RequestHead) -> Answer:
        wanted = asked_format(request)
        if wanted == "json":
            return Answer(200, compact(snapshot(parts, process)))
        # Only here: importing it takes 40 ms, most of it for servers and pushing that are not used.
        from awfproxy.observe.prometheus import exposition

        content_type, content = exposition(parts, process, wanted == "openmetrics")
        return Answer(200, content, content_type)

    return page


def asked_format(request: RequestHead) -> Format:
    """By the query `format=prometheus`, else by Accept (RFC 9110 12.5.1); JSON where both would do."""
    if b"format=prometheus" in request.target.partition(b"?")[2].split(b"&"):
        return "openmetrics" if _weights(request).get(b"application/openmetrics-text") else "text"
    weights = _weights(request)
    text = weights.get(b"text/plain", 0.0)
    openmetrics = weights.get(b"application/openmetrics-text", 0.0)
    any_json = weights.get(b"application/*", weights.get(b"*/*", 0.0))
    if max(text, openmetrics) <= weights.get(b"application/json", any_json):
        return "json"
    return "openmetrics" if openmetrics >= text else "text"


def _weights(request: RequestHead) -> dict[bytes, float]:
    """The media ranges in lower case, each with its greatest weight; what cannot be read is left out."""
    weights: dict[bytes, float] = {}
    for value in request.values(b"accept"):
        for member in value.split(b","):
            match = _MEMBER.fullmatch(member)
            if match is None:
                continue
            weight = _WEIGHT.search(match[2])
            name = match[1].lower()
            weights[name] = max(weights.get(name, 0.0), float(weight[1]) if weight else 1.0)
    return weights
