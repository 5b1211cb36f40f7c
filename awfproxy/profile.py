"""Profiles: sets of defaults for a way of running awfproxy, chosen by `--profile`. Plain data."""

from collections.abc import Mapping

import attrs


@attrs.frozen
class Profile:
    """What is taken where the operator says nothing else."""

    name: str
    defaults: Mapping[str, str] = attrs.field(factory=dict)
    """Values of options, as an operator would write them, in place of the options' own defaults."""

    variables: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    """Further environment variables of options, looked at after the options' own."""

    opens_unconfigured: bool = False
    """A provider without a key has its port all the same, and answers there that it has none."""

    host: str | None = None
    """What agents know awfproxy's machine as; None where that is not known beforehand."""

    repairs_keys: bool = False
    """White space and `Bearer ` around a key are taken off, and an empty one counts as not set."""


DEFAULT = Profile("default")

GH_AW = Profile(
    "gh-aw",
    defaults={"bind": "0.0.0.0", "egress-proxy": "direct", "log-format": "json", "drain-deadline": "8"},
    variables={"egress-proxy": ("HTTP_PROXY",)},
    opens_unconfigured=True,
    host="api-proxy",
    repairs_keys=True,
)
"""github/gh-aw-firewall's sidecar, so that what ran it runs awfproxy with the same environment and agents."""

PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in (DEFAULT, GH_AW)}
