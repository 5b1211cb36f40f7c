"""Editing an agent's configuration file: from its text and our settings to the new text."""

from collections.abc import Sequence

from awfproxy.agents.agent import Setting
from awfproxy.agents.changes import Edited
from awfproxy.agents.jsonfile import edit_json


def edit(name: str, text: str, settings: Sequence[Setting]) -> Edited:
    """The ending of the file's name says what the text is; an empty text is an empty file.

    `CannotEdit` where it cannot be done without loss.
    """
    if not name.endswith(".toml"):
        return edit_json(text, settings)
    # Not at the top: tomlkit alone would double the time that printing takes.
    from awfproxy.agents.tomlfile import edit_toml

    return edit_toml(text, settings)
