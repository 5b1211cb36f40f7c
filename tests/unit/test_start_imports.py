"""What the daemon has imported once it stands: what nothing uses by default would cost memory and time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

HEAVY = {
    "OpenSSL": "13 MB with cryptography; TLS is the standard library's, see awfproxy.tap",
    "cryptography": "a second OpenSSL, for pyOpenSSL and the demo's certificates",
    "service_identity": "only pyOpenSSL needs it; the standard library's TLS compares names itself",
    "twisted.web.server": "1.9 MB of templates, sessions and Perspective Broker, see awfproxy.proxy.site",
    "twisted.web.static": "pages are made in memory",
    "twisted.conch": "nothing here speaks SSH",
    "twisted.names": "Squid resolves names",
    "prometheus_client": "brings servers and pushing along; imported when its format is asked for",
    "tomlkit": "edits agents' files; the daemon reads its own by tomllib",
    "xml": "nothing here is XML",
    "awfproxy.agents": "the commands' room",
    "awfproxy.cli": "the commands' room",
    "awfproxy.demo": "the commands' room",
    "awfproxy.doctor": "the commands' room",
}
"""With the reason why the daemon does without."""

_START = """
import json, sys
heavy, options = json.loads(sys.argv[1]), json.loads(sys.argv[2])
pulled = {}
class Watch:
    def find_spec(self, name, path=None, target=None):
        for each in heavy:
            if name == each or name.startswith(each + "."):
                frame = sys._getframe(1)
                while "importlib" in frame.f_code.co_filename:
                    frame = frame.f_back
                pulled.setdefault(each, f"{frame.f_globals['__name__']}, line {frame.f_lineno}")
sys.meta_path.insert(0, Watch())
from awfproxy import tap
asked = tap.Options()
asked.parseOptions(options)
tap.makeService(asked)
print(json.dumps({name: pulled[name] for name in heavy if name in sys.modules}))
"""


def heavy_after_start(*options: str) -> dict[str, str]:
    """Of the heavy modules those that a daemon with these options has, each with what imported it."""
    done = subprocess.run(
        [sys.executable, "-c", _START, json.dumps(list(HEAVY)), json.dumps(options)],
        env={"PYTHONPATH": str(ROOT), "OPENAI_API_KEY": "sk-proj-" + "Zq8kT3vB9xW2mN7pL4rD6sF1" * 2},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_daemon_starts_without_what_it_does_not_use() -> None:
    found = heavy_after_start("--port", "0", "--egress-proxy", "http://127.0.0.1:3128")
    said = [f"{name} (imported by {by}): {HEAVY[name]}" for name, by in found.items()]
    assert not said, "the daemon has imported\n" + "\n".join(said)


@pytest.mark.parametrize("listen", ["tcp:0:interface=127.0.0.1", "unix:/run/none/awfproxy.sock"])
def test_a_plain_listener_needs_no_openssl(listen: str) -> None:
    assert "OpenSSL" not in heavy_after_start("--listen", listen, "--egress-proxy", "http://127.0.0.1:3128")
