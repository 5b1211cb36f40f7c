"""Editing TOML: comments and layout stay as they are (tomlkit).

What was edited is read again by another parser, and has to hold what was there with our settings, and not a
thing more or less.
"""

import json
import tomllib
from collections.abc import Sequence
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from awfproxy.agents.agent import Setting
from awfproxy.agents.changes import CannotEdit, Edited, changed

_NOT_SAFE = "is written in a way that cannot be edited safely. Put the settings there by hand."


def edit_toml(text: str, settings: Sequence[Setting]) -> Edited:
    """`CannotEdit` where it is not TOML, or is written so that tomlkit would change something else."""
    content = _parse_toml(text)
    wanted, changes = changed(content, settings)
    if not changes:
        return Edited(text, ())
    new = _with_tables(_with_first_keys(text, content, settings), settings)
    if _parse_toml(new) != wanted:
        raise CannotEdit(_NOT_SAFE)
    return Edited(new, changes)


def _parse_toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CannotEdit(f"is not valid TOML ({error}). Correct it first.") from None


def _with_first_keys(text: str, content: dict[str, Any], settings: Sequence[Setting]) -> str:
    """New keys of the top come first: further down, comments on a table would seem to be about them."""
    top = (each for each in settings if len(each.path) == 1 and each.path[0] not in content)
    new = {each.path[0]: each.value for each in top if each.value is not None}
    if not new:
        return text
    end = "\r\n" if "\r\n" in text else "\n"
    head = "".join(f"{key} = {json.dumps(value)}{end}" for key, value in new.items())
    return head + (end if text else "") + text


def _with_tables(text: str, settings: Sequence[Setting]) -> str:
    try:
        document = tomlkit.parse(text)
        for setting in settings:
            _set(document, setting)
        return tomlkit.dumps(document)
    except (TOMLKitError, ValueError, TypeError):
        raise CannotEdit(_NOT_SAFE) from None


def _set(document: tomlkit.TOMLDocument, setting: Setting) -> None:
    place: Any = document
    for depth, part in enumerate(setting.path[:-1]):
        if part not in place:
            if setting.value is None:
                return
            inline = isinstance(place, tomlkit.items.InlineTable)
            is_last = depth == len(setting.path) - 2
            place[part] = tomlkit.inline_table() if inline else tomlkit.table(is_super_table=not is_last)
        place = place[part]
    key = setting.path[-1]
    if setting.value is None:
        if key in place:
            del place[key]
    elif key not in place or place[key] != setting.value:
        place[key] = setting.value
