"""Editing JSON: the order of keys, other keys and the indentation stay. Comments could not: refused."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from awfproxy.agents.agent import Setting
from awfproxy.agents.changes import CannotEdit, Edited, changed


def edit_json(text: str, settings: Sequence[Setting]) -> Edited:
    """`CannotEdit` where something would be lost: comments, a key given twice, a number out of range."""
    content = _parse_json(text) if text.strip() else {}
    wanted, changes = changed(content, settings)
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
