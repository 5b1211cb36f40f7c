"""`Codex`: the real codex CLI, with a home of its own, no key, and awfproxy as its only provider."""

import os
import shutil
import subprocess
from pathlib import Path

import attrs

from tests.kit import canary
from tests.kit.daemon import ROOT

VERSION = (ROOT / "tests" / "codex-version").read_text().strip()


def codex_binary() -> str | None:
    """The pinned version that `make test` installs; AWFPROXY_TEST_CODEX names another place."""
    named = os.environ.get("AWFPROXY_TEST_CODEX")
    place = Path(named) if named else ROOT / ".cache" / f"codex-{VERSION}" / "node_modules" / ".bin" / "codex"
    return str(place) if place.exists() else None


@attrs.frozen
class Turn:
    code: int
    stdout: str
    stderr: str


class Codex:
    """`config` replaces the provider's definition; the way of clients.md's "way 2" is the default."""

    def __init__(self, folder: Path, port: int, config: str | None = None) -> None:
        self._home = folder / "codex-home"
        self._work = folder / "work"
        self._home.mkdir()
        self._work.mkdir()
        (self._home / "config.toml").write_text(config or self.default_config(port))

    @staticmethod
    def default_config(port: int) -> str:
        return (
            'model = "kit-model"\nmodel_provider = "awf"\n\n[model_providers.awf]\nname = "awf"\n'
            f'base_url = "http://127.0.0.1:{port}/v1"\nwire_api = "responses"\n'
        )

    def environment(self) -> dict[str, str]:
        """No key, no proxy: nothing that could take codex anywhere else."""
        binary = codex_binary()
        assert binary is not None
        node = os.path.dirname(shutil.which("node") or "")
        return {
            "PATH": f"{os.path.dirname(binary)}:{node}:/usr/bin:/bin",
            "HOME": str(self._home),
            "CODEX_HOME": str(self._home),
        }

    def exec(self, prompt: str, *options: str, deadline: float = 60.0) -> Turn:
        binary = codex_binary()
        assert binary is not None
        done = subprocess.run(
            [binary, "exec", "--skip-git-repo-check", *options, prompt],
            env=self.environment(),
            cwd=self._work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=deadline,
            check=False,
        )
        watch = canary.session_watch()
        watch.add("codex stdout", done.stdout)
        watch.add("codex stderr", done.stderr)
        return Turn(
            done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )
