"""`awfproxy rules test METHOD PATH`: what the path rules make of a request, and which line decides.

Needs no key and connects to nothing: the rules are those that the daemon would have with the same options,
environment and file.
"""

import os
import re
import sys
from collections.abc import Mapping, Sequence

import attrs

from awfproxy.credentials.sources import read_file
from awfproxy.errors.client import ClientError
from awfproxy.errors.configuration import ConfigError
from awfproxy.providers.provider import Provider
from awfproxy.providers.rules import canonical
from awfproxy.proxy.admission import admit
from awfproxy.service.exit import ExitCode, complain, one_line
from awfproxy.settings.commandline import help_text, parse
from awfproxy.settings.given import AllGiven, resolve_all
from awfproxy.settings.options import CommandLineError, Option
from awfproxy.settings.provider import access_of
from awfproxy.settings.syntax import names
from awfproxy.wire.parser import RequestHeadReader
from awfproxy.wire.target import Origin, join_base_path

PROVIDER = Option(
    "provider",
    "NAMES",
    "Whose rules to ask, separated by commas. The default is every provider's.",
    "The test",
    None,
    names,
)

HELP = """\
awfproxy rules test METHOD PATH says what would happen to that request, and which rule decides. Nothing is
sent, and no key is needed.

  awfproxy rules test GET /v1/models
  awfproxy rules test --provider openai --config /etc/awfproxy.toml DELETE /v1/files/file-1
  awfproxy rules test --provider copilot POST /mcp/readonly

PATH is what the agent asks for; the base path is put in front of it as the daemon does. It ends with 0 if
the request would be forwarded by every provider asked, else with 1. How rules are written: docs/rules.md.

All other options are the daemon's:

"""
_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def main(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    try:
        words, options = _apart(arguments)
        line = parse(options, own=(PROVIDER,))
        if "help" in line.flags:
            sys.stdout.write(HELP + help_text("awfproxy rules test METHOD PATH", (PROVIDER,), ending=()))
            return 0
        if len(words) != 3 or words[0] != "test":
            raise CommandLineError("Write: awfproxy rules test METHOD PATH. See awfproxy rules --help")
        asked = line.values.pop("provider")
        environ = os.environ if environ is None else environ
        given = resolve_all(line.values, environ, read_file)
        refused = False
        for provider in _asked(given, asked):
            allowed, said = outcome(provider, given, environ, words[1], words[2])
            refused |= not allowed
            sys.stdout.write(f"{provider.name}: {one_line(said)}\n")
        return int(refused)
    except CommandLineError as error:
        return complain(ExitCode.USAGE, str(error))
    except ConfigError as error:
        return complain(ExitCode.CONFIG, str(error))


def outcome(
    provider: Provider, given: AllGiven, environ: Mapping[str, str], method: str, path: str
) -> tuple[bool, str]:
    """(whether the request would be forwarded, what decides) for one provider."""
    if not _METHOD.fullmatch(method):
        raise CommandLineError("The method is not one. Write GET, POST or another in upper case.")
    access = access_of(provider, given, environ, read_file)
    rules = given.rules.get(provider.name, access.rules)
    try:
        target = admitted_target(method.encode("ascii"), os.fsencode(path), access.origin)
        target = join_base_path(access.base_path, target)
        verdict = rules.judge(method.encode("ascii"), target)
        judged = canonical(target) if rules else target
    except ClientError as error:
        return False, f"refused, {error.status} {error.code}: {error}"
    shown = f"{method} {judged.decode('ascii', 'backslashreplace')}"
    if verdict.allowed:
        return True, f"forwarded, {shown}. {rules.explain(verdict)}"
    return False, f"refused, 403 path_denied, {shown}. {rules.explain(verdict)}"


def admitted_target(method: bytes, path: bytes, origin: Origin) -> bytes:
    """In origin-form; raises the `ClientError` with which the daemon refuses the method, or the target."""
    read = RequestHeadReader().feed(method + b" / HTTP/1.1\r\nHost: awfproxy\r\n\r\n")
    assert read is not None
    return admit(attrs.evolve(read[0], target=path), origin, None).head.target


def _asked(given: AllGiven, asked: str | list[str] | None) -> list[Provider]:
    by_name = {provider.name: provider for provider in given.providers}
    if asked is None:
        return list(by_name.values())
    try:
        wanted = names(str(asked))
    except ValueError as error:
        raise CommandLineError(f"--provider: {error}") from None
    if unknown := [name for name in wanted if name not in by_name]:
        raise CommandLineError(f"--provider names {unknown[0]}, but there are {', '.join(by_name)}.")
    return [by_name[name] for name in wanted]


def _apart(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that are no options, and the options with their values."""
    words: list[str] = []
    options: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-"):
            words.append(argument)
            continue
        options.append(argument)
        if "=" not in argument and argument not in ("--help", "-h"):
            options += [value for value in (next(rest, None),) if value is not None]
    return words, options
