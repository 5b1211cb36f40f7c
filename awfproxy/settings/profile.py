"""Profiles: sets of defaults for a way of running awfproxy, chosen by `--profile`. Plain data."""

from collections.abc import Callable, Iterable, Mapping

import attrs

from awfproxy.credentials.requestid import NAME, as_the_sidecar_sends
from awfproxy.providers.provider import Access, Provider
from awfproxy.providers.sidecar import in_its_style
from awfproxy.settings.readings import READINGS, Reading, notices
from awfproxy.wire.message import RequestHead


@attrs.frozen
class Profile:
    """What is taken where the operator says nothing else."""

    name: str
    defaults: Mapping[str, str] = attrs.field(factory=dict)
    """Values of options, as an operator would write them, in place of the options' own defaults."""

    variables: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    """Environment variables of options, after the options' own, in place of those that they share."""

    readings: Mapping[str, Reading] = attrs.field(factory=dict)
    """How such a variable's text becomes an option's, where it is not the same; by variable."""

    notices: Callable[[Mapping[str, str]], Iterable[str]] | None = None
    """From the environment to warnings for the operator."""

    opens_unconfigured: bool = False
    """A provider without a key has its port all the same, and answers there that it has none."""

    host: str | None = None
    """What agents know awfproxy's machine as; None where that is not known beforehand."""

    repairs_keys: bool = False
    """White space and `Bearer ` around a key are taken off, and an empty one counts as not set."""

    probed: Callable[[Provider, Access], bool] | None = None
    """Whether a key is checked at all, beside what the provider itself says about that."""

    errors: Callable[[Provider], Provider] | None = None
    """The provider with its errors in another style."""

    request_id_field: bytes | None = None
    """A second field for request ids in answers, where the provider's own of that name is replaced."""

    upstream_head: Callable[[RequestHead, bytes], RequestHead] | None = None
    """The last change to each head that goes upstream, given the request id."""

    sidecar_pages: bool = False
    """/health is as the sidecar has it: 200 on the management port whatever the state."""

    request_events: bool = False
    """Beside access lines the log has the other events of the sidecar's for each request."""

    event_names: Mapping[str, str] = attrs.field(factory=dict)
    """Events that have another name in the log."""

    lists_models: bool = False
    """Once open, each provider's list of models is fetched."""

    ends_with_0: bool = False
    """A signal is a success, and the drain deadline is for the whole stop: at it the process ends."""


DEFAULT = Profile("default")


def _at_usual_host(provider: Provider, access: Access) -> bool:
    return access.origin.host == provider.host


GH_AW = Profile(
    "gh-aw",
    defaults={
        "bind": "0.0.0.0",
        "allow-anonymous": "true",
        "egress-proxy": "direct",
        "probe": "after",
        "startup-grace": "10",
        "log-format": "json",
        "drain-deadline": "8",
    },
    variables={
        "egress-proxy": ("HTTPS_PROXY", "HTTP_PROXY"),
        "probe": ("AWF_VALIDATE_KEYS",),
        "drain-deadline": ("AWF_API_PROXY_SHUTDOWN_TIMEOUT_MS",),
    },
    readings=READINGS,
    notices=notices,
    opens_unconfigured=True,
    host="api-proxy",
    repairs_keys=True,
    probed=_at_usual_host,
    errors=in_its_style,
    request_id_field=NAME,
    upstream_head=as_the_sidecar_sends,
    sidecar_pages=True,
    request_events=True,
    event_names={"serving": "server_start"},
    lists_models=True,
    ends_with_0=True,
)
"""github/gh-aw-firewall's sidecar, so that what ran it runs awfproxy with the same environment and agents."""

PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in (DEFAULT, GH_AW)}
