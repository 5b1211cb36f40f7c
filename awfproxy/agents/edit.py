"""Editing an agent's configuration file: from its text and our settings to the new text.

TOML keeps its comments and layout (tomlkit); JSON keeps the order of its keys and its indentation. What
cannot be edited without loss is refused with `CannotEdit`: comments in JSON, or a key given twice. Whatever
was edited is read again, and has to hold what was there with our settings, and not a thing more or less.
"""

import json
import re
import tomllib
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import attrs
import tomlkit
from tomlkit.exceptions import TOMLKitError

from awfproxy.agents.agent import Setting


class CannotEdit(Exception):
    """Why the text is left alone, as half a sentence that follows the file's name."""


@attrs.frozen
class Edited:
    text: str
    changes: tuple[str, ...]
    """One for each setting that was not yet so; none when the text is the old one."""


def edit(name: str, text: str, settings: Sequence[Setting]) -> Edited:
    """`name` is the file's: its ending says what the text is. An empty text is an empty file."""
    return _edit_toml(text, settings) if name.endswith(".toml") else _edit_json(text, settings)


def _changes(content: dict[str, Any], settings: Sequence[Setting]) -> tuple[dict[str, Any], tuple[str, ...]]:
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
            changes.append(f"{dotted} = {json.dumps(setting.value)}{_before(old, setting.shown)}")
    return new, tuple(changes)


def _before(old: object, shown: bool) -> str:
    if old is None:
        return ""
    if not shown or not isinstance(old, str | bool | int):
        return " (in place of another value)"
    return f" (in place of {json.dumps(old)})"


# --- TOML -------------------------------------------------------------------------------------------

_NOT_SAFE = "is written in a way that cannot be edited safely. Put the settings there by hand."


def _edit_toml(text: str, settings: Sequence[Setting]) -> Edited:
    content = _parse_toml(text)
    wanted, changes = _changes(content, settings)
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


# --- JSON -------------------------------------------------------------------------------------------


def _edit_json(text: str, settings: Sequence[Setting]) -> Edited:
    content = _parse_json(text) if text.strip() else {}
    wanted, changes = _changes(content, settings)
    if not changes:
        return Edited(text, ())
    indent = re.search(r"^([ \t]+)\S", text, re.MULTILINE)
    try:
        step = indent[1] if indent else 2
        new = json.dumps(wanted, indent=step, ensure_ascii=False, allow_nan=False) + "\n"
        new.encode()
    except ValueError:
        raise CannotEdit("has a number or character that cannot be written again. Edit it by hand.") from None
    return Edited(new.replace("\n", "\r\n") if "\r\n" in text else new, changes)


def _parse_json(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text, object_pairs_hook=_once)
    except ValueError as error:
        if _is_json_with_comments(text):
            raise CannotEdit("has comments in it, which would be lost. Edit it by hand.") from None
        raise CannotEdit(f"is not valid JSON ({error}). Correct it first.") from None
    except RecursionError:
        raise CannotEdit("is nested too deeply. Edit it by hand.") from None
    if not isinstance(content, dict):
        raise CannotEdit("holds something else than a JSON object. Correct it first.")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise CannotEdit("has a key twice in one object, and one would be lost. Edit it by hand.")
    return content


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\r\n]*|/\*.*?\*/|,(?=\s*[}\]])', re.DOTALL)


def _is_json_with_comments(text: str) -> bool:
    """Whether it is JSON once comments, and commas before a closing bracket, are taken out."""
    keep: Callable[[re.Match[str]], str] = lambda match: match[0] if match[0].startswith('"') else ""  # noqa: E731
    bare = _TOKEN.sub(keep, _TOKEN.sub(keep, text))
    try:
        json.loads(bare)
    except (ValueError, RecursionError):
        return False
    return True
