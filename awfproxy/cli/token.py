"""`awfproxy token`: makes caller tokens, and the key that signs them.

Connects to nothing. The token is all that goes to standard output; what it is for goes to standard error.
"""

import os
import re
import sys
import time
from collections.abc import Mapping, Sequence

from awfproxy.callers import token
from awfproxy.callers.claims import Claims, check_label
from awfproxy.callers.keyfile import new_key
from awfproxy.credentials.sources import read_file
from awfproxy.errors.configuration import ConfigError
from awfproxy.providers.rules import METHODS, check_pattern
from awfproxy.service.exit import ExitCode, complain
from awfproxy.settings.callers import KEY_FILE, token_keys
from awfproxy.settings.commandline import help_text, parse
from awfproxy.settings.given import AllGiven, resolve_all
from awfproxy.settings.options import CommandLineError, Option
from awfproxy.settings.syntax import names, path, quoted

LONGEST = 366 * 86400
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NEW = "The token"

OWN = (
    Option("provider", "NAMES", "Whom it is for, separated by commas: openai,anthropic.", _NEW, None, names),
    Option(
        "expires", "TIME", "How long it is good: a whole number with s, m, h or d, as in 2h.", _NEW, None, str
    ),
    Option(
        "label",
        "LABEL",
        "What it is called in logs, metrics and the list of revoked ones: letters, digits and . _ : @ -",
        _NEW,
        None,
        str,
    ),
    Option(
        "methods", "METHODS", "Which methods, separated by commas. The default is any.", _NEW, None, str
    ),
    Option(
        "paths",
        "PATH",
        "Which paths, as in path rules; several are separated by commas. The default is any.",
        _NEW,
        None,
        path,
        repeatable=True,
    ),
)

HELP = """\
awfproxy token new prints a signed token that an agent gets in place of a key; awfproxy token key prints a key
to sign with. Both only print.

  (umask 077; awfproxy token key > /etc/awfproxy/token.key)
  awfproxy token new --provider openai --expires 2h --label job-123 --token-key-file /etc/awfproxy/token.key
  awfproxy token new --provider openai --methods GET,POST --paths /v1/responses --expires 2h --label job-124

awfproxy itself is started with the same --token-key-file (or AWFPROXY_TOKEN_KEY_FILE, or its place in the
--config file). The agent's environment comes from awfproxy env AGENT --token. More: docs/callers.md.

All other options are the daemon's:

"""


def main(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    try:
        line = parse(arguments, own=OWN, most_words=1)
        if "help" in line.flags:
            sys.stdout.write(HELP + help_text("awfproxy token new", OWN, ending=()))
            return 0
        if line.words == ("key",):
            sys.stdout.write(new_key() + "\n")
            return 0
        if line.words != ("new",):
            raise CommandLineError("Write: awfproxy token new, or awfproxy token key. See --help")
        asked = {option.name: line.values.pop(option.name) for option in OWN}
        given = resolve_all(line.values, os.environ if environ is None else environ, read_file)
        claims = asked_claims(asked, given, int(time.time()))
        made = _issued(claims, given)
        sys.stdout.write(made + "\n")
        sys.stderr.write(f"awfproxy: {said(claims)}\n")
        return 0
    except CommandLineError as error:
        return complain(ExitCode.USAGE, str(error))
    except ConfigError as error:
        return complain(ExitCode.CONFIG, str(error))


def asked_claims(asked: Mapping[str, str | list[str] | None], given: AllGiven, now: int) -> Claims:
    """What the command line wants to be said; `CommandLineError` where it cannot be."""
    for name in "provider", "expires", "label":
        if not asked[name]:
            raise CommandLineError(f"--{name} is missing: a token says whom it is for, and until when.")
    label, methods, paths = _label(str(asked["label"])), _methods(asked["methods"]), _paths(asked["paths"])
    try:
        providers = names(str(asked["provider"]))
    except ValueError as error:
        raise CommandLineError(f"--provider: {error}") from None
    known = [provider.name for provider in given.providers]
    if unknown := [name for name in providers if name not in known]:
        raise CommandLineError(f"--provider names {unknown[0]}, but there are {', '.join(known)}.")
    try:
        return Claims(
            label=label,
            providers=providers,
            issued=now,
            expires=now + duration(str(asked["expires"])),
            methods=methods,
            paths=paths,
        )
    except ValueError as error:
        raise CommandLineError(f"No such token can be made: {error}") from None


def _label(text: str) -> str:
    try:
        return check_label(text)
    except ValueError as error:
        raise CommandLineError(f"--label: {error}") from None


def _methods(text: str | list[str] | None) -> tuple[str, ...]:
    """Empty for any."""
    methods = () if text is None else tuple(str(text).split(","))
    unknown = [method for method in methods if method not in METHODS]
    if unknown and methods != ("*",):
        raise CommandLineError(
            f"--methods: {quoted(unknown[0])} is not one of the methods. Give some of "
            f"{', '.join(sorted(METHODS))}, with commas and without spaces; or leave it out, for any."
        )
    return methods


def _paths(texts: str | list[str] | None) -> tuple[str, ...]:
    """Empty for any."""
    paths = tuple(each for text in texts or () for each in text.split(","))
    for each in paths:
        try:
            check_pattern(each)
        except ValueError as error:
            raise CommandLineError(f"--paths: {quoted(each)} {error}") from None
    return paths


def duration(text: str) -> int:
    """Seconds; `ValueError` with the form."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    seconds = int(found[1]) * _UNITS[found[2]] if found is not None else 0
    if not 0 < seconds <= LONGEST:
        raise ValueError("give --expires as a whole number with s, m, h or d, up to 366d: 2h.")
    return seconds


def said(claims: Claims) -> str:
    """The token in words."""
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(claims.expires))
    what = ", ".join(rule.text.removeprefix("allow ") for rule in claims.rules.rules) or "every request"
    return f"{claims.label}: {what} of {', '.join(claims.providers)}, until {until}"


def _issued(claims: Claims, given: AllGiven) -> str:
    key_file = given[KEY_FILE]
    if key_file.value is None:
        raise ConfigError(
            f"There is no key to sign with: --{KEY_FILE} FILE. A new one is made by: (umask 077; awfproxy "
            "token key > FILE)"
        )
    try:
        return token.issue(claims, token_keys(key_file, read_file)[0])
    except ValueError as error:
        raise CommandLineError(f"No such token can be made: {error}") from None
