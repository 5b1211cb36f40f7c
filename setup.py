"""Compiles the data path to C with mypyc where a C compiler is there; all else is in setup.cfg.

The modules stay plain Python: what is compiled are the same files, and both stand side by side in the wheel.
What cannot be compiled (no compiler, no Python headers, AWFPROXY_COMPILE=0) is installed as it is, and only
slower.
"""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

# What runs for each request, each event of a stream or each piece of a body.
COMPILED = [
    "awfproxy/wire/chunked.py",
    "awfproxy/wire/framing.py",
    "awfproxy/wire/message.py",
    "awfproxy/wire/parser.py",
    "awfproxy/wire/target.py",
    "awfproxy/credentials/injector.py",
    "awfproxy/net/hub.py",
    "awfproxy/net/tls.py",
    "awfproxy/net/transport.py",
    "awfproxy/observe/accesslog.py",
    "awfproxy/observe/endmarker.py",
    "awfproxy/observe/health.py",
    "awfproxy/observe/leakguard.py",
    "awfproxy/observe/logs.py",
    "awfproxy/observe/metrics.py",
    "awfproxy/observe/requestevents.py",
    "awfproxy/upstream/connection.py",
    "awfproxy/upstream/cooldown.py",
    "awfproxy/upstream/pool.py",
    "awfproxy/proxy/admission.py",
    "awfproxy/proxy/channel.py",
    "awfproxy/proxy/exchange.py",
    "awfproxy/proxy/request.py",
    "awfproxy/proxy/resource.py",
    "awfproxy/proxy/tunnel.py",
]


class AllOrNone(build_ext):
    """Builds all of the extensions or none: half of them would not find the other half."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as problem:
            say_plain(problem)
            for made in Path(self.build_lib).rglob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"):
                made.unlink()
            self.extensions = []


def extensions() -> list[object]:
    asked_to_build = {"build", "build_ext", "bdist_wheel", "install"}.intersection(sys.argv)
    if not asked_to_build or os.environ.get("AWFPROXY_COMPILE") == "0":
        return []
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if not shutil.which(compiler):
        say_plain(f"there is no {compiler}")
        return []
    try:
        from mypyc.build import mypycify

        found: list[object] = mypycify(COMPILED, opt_level="3", debug_level="0")
    except (Exception, SystemExit) as problem:  # it exits where it finds something to complain of
        say_plain(problem)
        return []
    return found


def say_plain(why: object) -> None:
    print(f"awfproxy: not compiled, so installed as plain Python: {why}", file=sys.stderr)


setup(ext_modules=extensions(), cmdclass={"build_ext": AllOrNone})
