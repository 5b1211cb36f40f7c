"""What has changed in the settings that a reload does not put in force: all but keys and path rules."""

from awfproxy.settings.options import PROVIDER_SETTINGS
from awfproxy.settings.values import Settings


def only_by_restart(before: Settings, after: Settings) -> list[str]:
    """The names of the settings that differ, as an operator would write them."""
    was = {entry.name: entry.shown for entry in before.entries}
    now = {entry.name: entry.shown for entry in after.entries}
    beyond_comparison = _shown_once(before, after)
    return [
        name
        for name in dict.fromkeys([*was, *now])
        if was.get(name) != now.get(name)
        and not name.endswith((" key", ": rules"))
        and name not in beyond_comparison
    ]


def _shown_once(before: Settings, after: Settings) -> set[str]:
    """The settings of each provider that had no key and has one now, or the other way round: of one without
    a key nothing else is shown."""
    configured = {one.provider.name: one.configured for one in before.providers}
    return {
        one.provider.option(setting.name)
        for one in after.providers
        if configured.get(one.provider.name, one.configured) is not one.configured
        for setting in PROVIDER_SETTINGS
    }
