"""Where each provider lists its models, and what their names are in the answer. Pure."""

import json

from awfproxy.providers.provider import Access, Provider
from awfproxy.wire.target import join_base_path

_WHOLE_LIST = {"anthropic": b"?limit=1000", "gemini": b"?pageSize=1000"}
"""Queries for as many as there are, where the list comes in pages."""

_LONGEST_NAME = 200
_MOST_NAMES = 2000
"""Each answer of /reflect has them all: the bound keeps that small, whatever the provider says."""
_GEMINI_PREFIX = "models/"


def models_target(provider: Provider, access: Access) -> bytes | None:
    """The target of the list, base path included; None where there is none, or these keys are not for it."""
    if access.models is None or not access.lists_models:
        return None
    return join_base_path(access.base_path, access.models + _WHOLE_LIST.get(provider.name, b""))


def model_names(content: bytes) -> tuple[str, ...] | None:
    """The sorted names out of `{data: [{id}]}` or Gemini's `{models: [{name}]}`; None for no names."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    entries = document.get("data")
    if not isinstance(entries, list):
        entries = document.get("models")
    if not isinstance(entries, list):
        return None
    names = {_name(entry) for entry in entries if isinstance(entry, dict)} - {""}
    return tuple(sorted(names)[:_MOST_NAMES]) or None


def _name(entry: dict[str, object]) -> str:
    """A peer's string: one that no model has for a name is none."""
    name = entry.get("id") or entry.get("name")
    if not isinstance(name, str) or len(name) > _LONGEST_NAME or not name.isprintable():
        return ""
    return name.removeprefix(_GEMINI_PREFIX)
