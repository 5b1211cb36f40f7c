"""All rows of the error table in one list, for its page and for what judges an answer's code."""

from awfproxy.errors import callers, client, configuration, egress, origin, own, tls
from awfproxy.errors.base import AwfError

_ALONG_THE_WAY = (client, callers, own, egress, tls, origin, configuration)


def table(root: type[AwfError] = AwfError) -> list[type[AwfError]]:
    """The concrete rows below `root`, in the order of the hops and then as they are written there."""
    return [
        kind
        for module in _ALONG_THE_WAY
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, root) and "code" in vars(kind)
    ]
