"""The console script `awfproxy`: one verb, and the rest of the command line is the verb's."""

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

from awfproxy import __version__
from awfproxy.hardening.process import close_to_others

EX_USAGE = 64

VERBS = {
    "check": "judge settings, key and the way to the provider, as the daemon does before it listens",
    "squid-conf": "print the squid.conf that the configured providers need, for awfproxy alone",
    "rules": "say what the path rules make of a request, and which line decides: rules test METHOD PATH",
    "token": "make a caller token, which an agent gets in place of a key, or the key that signs them",
    "demo": "run the daemon against a provider and an egress proxy of its own: no key, no network",
    "doctor": "walk the way hop by hop, as a request goes it, and name the first hop that fails",
    "env": "print, or write, what makes codex, Claude Code or another agent use awfproxy",
}

HELP = """\
awfproxy lets a coding agent use a paid API without ever holding its key: it takes the agent's requests
without one, adds it, and forwards them through an egress proxy (Squid).

Usage: awfproxy VERB [options]

{verbs}

`awfproxy VERB --help` tells each one's options. The daemon itself is started by Twisted's own commands:

  export OPENAI_API_KEY=...
  twistd -n --pidfile= awfproxy --egress-proxy http://squid:3128        (all options: twistd awfproxy --help)

Then point the agent at it: eval "$(awfproxy env codex)"

Examples:
  awfproxy demo                                              try it without a key
  awfproxy check --egress-proxy http://squid:3128            would the daemon start, and if not, why?
  awfproxy squid-conf --sidecar-src 172.30.0.30              what Squid has to be told
  awfproxy doctor --egress-proxy http://squid:3128           it runs, but agents get nowhere: why?
  awfproxy check --show                                      each setting, and where its value is from
  awfproxy env all --format dotenv                           what agents need in their environment
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb; its module is only imported then, so that `--help` answers at once."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words:
        sys.stderr.write(_help())
        return EX_USAGE
    verb, rest = words[0], words[1:]
    if verb in ("--help", "-h", "help"):
        sys.stdout.write(_help())
        return 0
    if verb == "--version":
        sys.stdout.write(f"awfproxy {__version__}\n")
        return 0
    if verb not in VERBS:
        sys.stderr.write(f"awfproxy: {_unknown(verb)}\n")
        return EX_USAGE
    if arguments is None:  # a process of its own, which may come to hold the key
        close_to_others()
    status: int = import_module(f"awfproxy.cli.{verb.replace('-', '_')}").main(rest)
    return status


def _help() -> str:
    return HELP.format(verbs="\n".join(f"  {name:<12}{text}" for name, text in VERBS.items()))


def _unknown(verb: str) -> str:
    if verb.startswith("-"):
        return "options come after the verb: awfproxy check --show. See awfproxy --help"
    close = get_close_matches(verb, VERBS, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    if verb in ("run", "start", "serve"):
        hint = " The daemon is started with: twistd -n --pidfile= awfproxy"
    return f"there is no such verb.{hint} See awfproxy --help"
