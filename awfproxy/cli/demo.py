"""`awfproxy demo`: the daemon as it is, before stand-ins for Squid and the provider.

Builds the far end (`awfproxy.demo`), then the same settings and services as `twistd awfproxy`, and says
what to try once the port is open. The key is random, made at every start, and known to the stand-in
alone, so whatever is answered came through the injector, the egress proxy and verified TLS.
"""

import os
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

from twisted.application.service import MultiService
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import ILogObserver, LogEvent, globalLogBeginner, globalLogPublisher
from zope.interface import implementer

from awfproxy.credentials.secret import Secret
from awfproxy.credentials.sources import mode_of, read_file
from awfproxy.daemon import make_services
from awfproxy.demo import egress, origin
from awfproxy.demo.certificates import make_identity
from awfproxy.errors.configuration import ConfigError
from awfproxy.observe.logs import LogWriter
from awfproxy.providers.openai import PROVIDER as OPENAI
from awfproxy.service.exit import ExitCode, complain
from awfproxy.service.gate import Gate
from awfproxy.settings.commandline import CommandLine, parse
from awfproxy.settings.load import load
from awfproxy.settings.options import BY_NAME, CommandLineError
from awfproxy.wire.target import Origin

TAKEN = ("port", "bind", "log-format")
"""The options that the demo has; they count from the command line and from AWFPROXY_PORT and so on."""

FIRST_LINE = "awfproxy demo: no key is set, so the API behind it is an embedded stand-in for OpenAI"

HELP = """\
Usage: awfproxy demo [--port PORT] [--bind ADDRESS] [--log-format text|json]

Runs the real daemon in the foreground, in front of a stand-in for the OpenAI API (GET /v1/models,
POST /v1/responses and /v1/chat/completions, whole or streamed) and a stand-in for Squid, both in
this process and on the loopback interface. Nothing outside this machine is contacted, and nothing is
kept. No key is needed; the agent needs none either.

  --port PORT          Port to listen on; 0 is any free one. [default 10000; or AWFPROXY_PORT]
  --bind ADDRESS       IP address to listen on. [default 127.0.0.1; or AWFPROXY_BIND]
  --log-format FORMAT  text or json; with json all but the log goes to standard error.
                       [default text; or AWFPROXY_LOG_FORMAT]

Ignored, whether set or not: OPENAI_API_KEY and every other source of a key, HTTPS_PROXY and NO_PROXY,
OPENAI_API_TARGET, OPENAI_API_BASE_PATH, SSL_CERT_FILE, NODE_EXTRA_CA_CERTS, configuration files, and
all other AWFPROXY_ variables. With a key: twistd -n --pidfile= awfproxy --help
"""


def main(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run the verb until it is stopped; returns the exit code."""
    from twisted.internet import reactor

    try:
        line = command_line(arguments)
        if "help" in line.flags:
            sys.stdout.write(HELP)
            return 0
        _run(reactor, line, os.environ if environ is None else environ)
        return 0
    except CommandLineError as error:
        return complain(ExitCode.USAGE, str(error))
    except ConfigError as error:
        return complain(ExitCode.CONFIG, str(error))
    except CannotListenError:
        return complain(ExitCode.OS_ERROR, "The demo's stand-ins cannot listen on 127.0.0.1, on any port.")


def _run(reactor: Any, line: CommandLine, environ: Mapping[str, str]) -> None:
    reactor.seconds = time.monotonic  # before the first timer, which is the stand-in's
    key = Secret(b"sk-" + secrets.token_hex(24).encode("ascii"))
    identity = make_identity(OPENAI.host, datetime.now(UTC))
    far = _port(origin.listen(reactor, origin.StandInSite(reactor, key, time.time), identity))
    way = _port(egress.listen(reactor, {Origin(OPENAI.host).authority: ("127.0.0.1", far)}))
    values = {**line.values, "egress-proxy": f"http://127.0.0.1:{way}"}
    # The services read it while they are built; so nothing is left behind, however the process ends.
    with TemporaryDirectory(prefix="awfproxy-demo-") as directory:
        authority = Path(directory, "ca.pem")
        authority.write_bytes(identity.authority)
        # The stand-in speaks HTTP alone; on a 426 clients fall back at once.
        # Its key is worth nothing, so it may be listened wherever the operator likes.
        own = {"AWFPROXY_WEBSOCKET": "refuse", "AWFPROXY_ALLOW_ANONYMOUS": "true"}
        seen = {**own, **environment(environ, key, str(authority))}
        settings = load(values, seen, read_file, mode_of)
        json_only = settings.log_format == "json"
        words = sys.stderr if json_only else sys.stdout
        _say(FIRST_LINE + "\n", words)
        writer = LogWriter(settings.log_format)
        globalLogBeginner.beginLoggingTo([writer.observer(sys.stdout)], redirectStandardIO=False)
        services = make_services(reactor, settings, seen, writer)
    globalLogPublisher.addObserver(
        _Announcement(services, lambda address: _say(what_to_try(address, environ), words))
    )
    services.privilegedStartService()  # type: ignore[no-untyped-call]
    services.startService()  # type: ignore[no-untyped-call]
    reactor.addSystemEventTrigger("before", "shutdown", services.stopService)
    reactor.run()


def _port(listening: IListeningPort) -> int:
    address = listening.getHost()
    assert isinstance(address, IPv4Address)
    return address.port


def _say(text: str, words: TextIO) -> None:
    words.write(text)
    words.flush()


@implementer(ILogObserver)
class _Announcement:
    """Waits in the log for the gate to say that the port is open, and then says what to try."""

    def __init__(self, services: MultiService, announce: Callable[[IPv4Address | IPv6Address], None]) -> None:
        self._gate = next(service for service in services if isinstance(service, Gate))
        self._announce = announce

    def __call__(self, event: LogEvent) -> None:
        if event.get("event") == "startup_complete":
            for address in self._gate.addresses:
                if isinstance(address, IPv4Address | IPv6Address):
                    self._announce(address)


def what_to_try(address: IPv4Address | IPv6Address, environ: Mapping[str, str]) -> str:
    """Commands that work as they stand when pasted into another terminal of the same environment."""
    host = reachable(address.host)
    url = f"http://[{host}]:{address.port}" if ":" in host else f"http://{host}:{address.port}"
    # Where HTTP_PROXY is set, clients would ask that proxy for an address that is ours.
    proxied = any(environ.get(name) for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"))
    # By name: codex does not take NO_PROXY='*'.
    direct = f"NO_PROXY={host} no_proxy={host} " if proxied else ""
    provider = f'{{name="awfproxy", base_url="{url}/v1", wire_api="responses"}}'
    request = '{"model": "gpt-5", "input": "Say hello", "stream": true}'
    return f"""\
awfproxy demo: ready at {url}

Try, in another terminal:

  {direct}curl {url}/v1/models

  {direct}curl -N {url}/v1/responses -H 'Content-Type: application/json' \\
    -d '{request}'

  {direct}codex exec --skip-git-repo-check -c model_provider=awfproxy \\
    -c 'model_providers.awfproxy={provider}' 'Say hello'

None of them sends a key. Ctrl-C here ends the demo.
"""


def reachable(host: str) -> str:
    """The address by which this machine reaches a listener: for the wildcard ones, the loopback."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def environment(environ: Mapping[str, str], key: Secret, authority: str) -> dict[str, str]:
    """All that the daemon gets to see of the environment: the demo's own, and the variables of `TAKEN`."""
    seen = {
        OPENAI.variable: key.reveal().decode("ascii"),
        # In place of the system's roots, not beside them: the demo trusts its own authority and no other.
        "SSL_CERT_FILE": authority,
    }
    for name in TAKEN:
        variable = BY_NAME[name].variable
        if variable in environ:
            seen[variable] = environ[variable]
    return seen


def command_line(arguments: Sequence[str]) -> CommandLine:
    line = parse(arguments)
    for name, value in line.values.items():
        if value not in (None, []) and name not in TAKEN:
            raise CommandLineError(
                f"--{name} has no place in the demo, which takes --port, --bind and --log-format. For the "
                "daemon itself set a key, and run: twistd -n --pidfile= awfproxy"
            )
    return line
