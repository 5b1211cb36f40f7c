"""`awfproxy squid-conf`: prints the squid.conf that the configured providers need, and no more.

Needs neither a key nor an egress proxy: it is run where Squid is set up, perhaps before either is there.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from awfproxy.credentials.sources import mode_of, read_file
from awfproxy.errors.configuration import ConfigError
from awfproxy.service.exit import ExitCode, complain
from awfproxy.settings.commandline import CommandLine, help_text, parse
from awfproxy.settings.given import AllGiven, resolve_all
from awfproxy.settings.options import CommandLineError, Option
from awfproxy.settings.provider import access_of, provider_settings
from awfproxy.settings.syntax import names
from awfproxy.squid import included, listen, source, squid_conf
from awfproxy.wire.target import Origin

_GROUP = "Squid"

SIDECAR_SRC = Option(
    "sidecar-src",
    "ADDRESS",
    "Where awfproxy connects from: an IP address, or a network such as 172.30.0.0/28. Required.",
    _GROUP,
    None,
    source,
    repeatable=True,
)
HTTP_PORT = Option(
    "http-port",
    "[ADDRESS:]PORT",
    "Where Squid listens. The default is the port of --egress-proxy, or 3128.",
    _GROUP,
    None,
    listen,
)
INCLUDE = Option(
    "include",
    "FILE",
    "A file of local additions, by the name it has where Squid runs: access_log, users, what agents may "
    "reach. Its rules come before those that let awfproxy out, and after the one that keeps all others from "
    "the providers.",
    _GROUP,
    None,
    included,
    repeatable=True,
)
PROVIDERS = Option(
    "providers",
    "NAMES",
    "The providers to let awfproxy reach, separated by commas, where their keys are not at hand. The default "
    "are those that have a key here.",
    _GROUP,
    None,
    names,
)
OWN = (SIDECAR_SRC, HTTP_PORT, INCLUDE, PROVIDERS)

HELP = """\
awfproxy squid-conf prints a whole squid.conf: CONNECT from awfproxy to each configured provider's host and
port, and nothing else. An agent that shares this Squid does not reach the provider around awfproxy.

With containers on a network of their own:

  services:
    squid:                                              # 172.30.0.10
      volumes: ["./squid.conf:/etc/squid/squid.conf:ro"]
    awfproxy:                                           # 172.30.0.30
      environment: {HTTPS_PROXY: "http://172.30.0.10:3128"}
    agent:                                              # 172.30.0.20, has http://172.30.0.30:10000

  awfproxy squid-conf --sidecar-src 172.30.0.30 > squid.conf
  squid -k parse -f squid.conf

With both on one machine it is --sidecar-src 127.0.0.1; then every program there gets out that way too.

Options beside those of the group Squid are the daemon's, with the same environment and file. Of these
count --target and all else that says where a provider is, --connect-deadline, --drain-deadline and
--pool-max. No key is needed where --providers names the providers.

"""

WHY_REQUIRED = (
    "--sidecar-src is missing. Give the address that awfproxy connects to Squid from, such as --sidecar-src "
    "172.30.0.30: without it the providers would be open to every client of Squid, and an agent could reach "
    "them around awfproxy."
)


def main(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    try:
        line = parse(arguments, own=OWN)
        if "help" in line.flags:
            sys.stdout.write(HELP + help_text("awfproxy squid-conf --sidecar-src ADDRESS", OWN, ending=()))
            return 0
        sys.stdout.write(configuration(line, os.environ if environ is None else environ))
        return 0
    except CommandLineError as error:
        return complain(ExitCode.USAGE, str(error))
    except ConfigError as error:
        return complain(ExitCode.CONFIG, str(error))


def configuration(line: CommandLine, environ: Mapping[str, str]) -> str:
    """The squid.conf; `ConfigError` or `CommandLineError` where something is wrong with what was given."""
    sources = _values(line, SIDECAR_SRC)
    if not sources:
        raise CommandLineError(WHY_REQUIRED)
    http_port = _values(line, HTTP_PORT)
    given = resolve_all(line.values, environ, read_file)
    named = _values(line, PROVIDERS)
    egress = given["egress-proxy"].value
    return squid_conf(
        origins(given, environ, named[0] if named else None),
        sources,
        http_port=http_port[0] if http_port else str(egress.port if egress else 3128),
        include=_values(line, INCLUDE),
        connect_deadline=given["connect-deadline"].value,
        drain_deadline=given["drain-deadline"].value,
        tunnels=given["pool-max"].value,
    )


def origins(
    given: AllGiven, environ: Mapping[str, str], named: tuple[str, ...] | None
) -> tuple[Origin, ...]:
    """Where the daemon would connect with these options: for the providers named, or each configured one."""
    by_name = {provider.name: provider for provider in given.providers}
    if named is None:
        every = [
            provider_settings(provider, given, environ, read_file, mode_of) for provider in given.providers
        ]
        accesses = [one.access for one in every if one.configured]
        if not accesses:
            raise ConfigError(
                "No provider has a key here, so nothing would be allowed. Name those that awfproxy is to "
                "reach: --providers openai,anthropic"
            )
    else:
        if unknown := [name for name in named if name not in by_name]:
            raise CommandLineError(f"--providers names {unknown[0]}, but there are {', '.join(by_name)}.")
        accesses = [access_of(by_name[name], given, environ, read_file) for name in named]
    return tuple(dict.fromkeys(access.origin for access in accesses))


def _values(line: CommandLine, option: Option) -> list[Any]:
    found = line.values[option.name]
    try:
        return [option.parse(text) for text in ([found] if isinstance(found, str) else found or ())]
    except ValueError as error:
        raise CommandLineError(f"{option.flag}: {error}") from None
