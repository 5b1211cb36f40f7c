"""`Codex`: the real codex CLI, in a sandbox, without a key, and with awfproxy as its only provider."""

from pathlib import Path

from tests.kit.clients import commands
from tests.kit.clients.installed import search_path
from tests.kit.sandbox import Relay, Sandbox, Turn


class Codex:
    """`config` replaces the provider's definition: one of codex's own that names no key is the default."""

    def __init__(self, folder: Path, port: int, config: str | None = None) -> None:
        self._sandbox = Sandbox(folder / "sandbox", [Relay(port)], search_path())
        place = self._sandbox.home / ".codex"
        place.mkdir()
        (place / "config.toml").write_text(config or self.default_config(port))

    @staticmethod
    def default_config(port: int) -> str:
        return (
            'model = "kit-model"\nmodel_provider = "awf"\n\n[model_providers.awf]\nname = "awf"\n'
            f'base_url = "http://127.0.0.1:{port}/v1"\nwire_api = "responses"\n'
        )

    def exec(self, prompt: str, *options: str, deadline: float = 60.0) -> Turn:
        return self._sandbox.run(commands.codex(*options, prompt=prompt), {}, deadline)
