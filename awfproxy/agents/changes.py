"""What has to be different in a configuration file's content, whatever it is written in."""

import json
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import attrs

from awfproxy.agents.agent import Setting


class CannotEdit(Exception):
    """Why the text is left alone, as half a sentence that follows the file's name."""


@attrs.frozen
class Edited:
    text: str
    changes: tuple[str, ...]
    """One for each setting that was not yet so; none when the text is the old one."""


def changed(content: dict[str, Any], settings: Sequence[Setting]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What the content has to be, and what is different then."""
    new = deepcopy(content)
    changes = []
    for setting in settings:
        place, key, dotted = new, setting.path[-1], ".".join(setting.path)
        for depth, part in enumerate(setting.path[:-1], 1):
            if part not in place and setting.value is None:
                place = {}
                break
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                what = ".".join(setting.path[:depth])
                raise CannotEdit(f"has something else than a table at {what}. Correct it first.")
        old = place.get(key)
        if setting.value is None:
            if key in place:
                del place[key]
                changes.append(f"{dotted} removed")
        elif type(old) is not type(setting.value) or old != setting.value:
            place[key] = setting.value
            new_value = json.dumps(setting.value) if setting.shown else "(not shown)"
            changes.append(f"{dotted} = {new_value}{_before(old, setting.shown)}")
    return new, tuple(changes)


def _before(old: object, shown: bool) -> str:
    if old is None:
        return ""
    if not shown or not isinstance(old, str | bool | int):
        return " (in place of another value)"
    return f" (in place of {json.dumps(old)})"
