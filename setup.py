"""Compiles the data path to C with mypyc where a C compiler is there; all else is in setup.cfg.

The modules stay plain Python: the compiled ones are the same files, and stand beside them in the wheel. What
cannot be compiled (no compiler, no Python headers, AWFPROXY_COMPILE=0) is installed as it is, and only slower.
"""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

COMPILED = """
    awfproxy/wire/message.py awfproxy/wire/parser.py awfproxy/wire/framing.py awfproxy/wire/chunked.py
    awfproxy/wire/target.py
    awfproxy/credentials/injector.py
    awfproxy/net/hub.py awfproxy/net/transport.py
    awfproxy/observe/metrics.py awfproxy/observe/accesslog.py awfproxy/observe/logs.py
    awfproxy/upstream/connection.py awfproxy/upstream/pool.py
    awfproxy/proxy/admission.py awfproxy/proxy/channel.py awfproxy/proxy/exchange.py
    awfproxy/proxy/request.py awfproxy/proxy/resource.py
""".split()


class BuildOrLeave(build_ext):
    """Builds all of the extensions or none: half of them would not find the other half."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as problem:
            _left(problem)
            for made in Path(self.build_lib).rglob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"):
                made.unlink()
            self.extensions = []


def extensions() -> list[object]:
    if os.environ.get("AWFPROXY_COMPILE") == "0" or not shutil.which(_compiler()):
        return []
    try:
        from mypyc.build import mypycify

        found: list[object] = mypycify(COMPILED, opt_level="3", debug_level="0")
    except (ImportError, SystemExit) as problem:  # it exits where it finds something to complain of
        return _left(problem)
    return found


def _left(problem: BaseException) -> list[object]:
    print(f"awfproxy: not compiled, so installed as plain Python: {problem}", file=sys.stderr)
    return []


def _compiler() -> str:
    command = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    return str(command).split()[0]


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildOrLeave})
