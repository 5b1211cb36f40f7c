"""Every option of the daemon, as one table.

It is the only list of them: the command line, the environment variables (AWFPROXY_ and the name), the
keys of the TOML file, `--help` and `awfproxy check --show` all follow from it.
"""

from collections.abc import Callable
from typing import Any

import attrs

from awfproxy import syntax
from awfproxy.errors import ConfigError
from awfproxy.providers.provider import Provider


class CommandLineError(ConfigError):
    """The command line cannot be understood: exit status 64, where other configuration errors are 78."""


@attrs.frozen
class Option:
    name: str
    """Without the dashes; also the key in the TOML file."""

    metavar: str
    help: str
    group: str
    default: str | None
    """As an operator would write it; None where there is none, or where it depends on something."""

    parse: Callable[[str], Any]
    numeric: bool = False
    """In TOML a number, not a string."""

    repeatable: bool = False
    empty: bool = False
    """Whether the empty text is a value."""

    in_file: bool = True
    known_as: tuple[str, ...] = ()
    """Variables that other programs share, looked at after our own, in this order; empty means unset."""

    provider_variable: str | None = None
    """The attribute of `Provider` that names one more such variable."""

    @property
    def flag(self) -> str:
        return "--" + self.name

    @property
    def variable(self) -> str:
        return "AWFPROXY_" + self.name.upper().replace("-", "_")

    def shared_variables(self, provider: Provider) -> tuple[str, ...]:
        if self.provider_variable is None:
            return self.known_as
        return (*self.known_as, getattr(provider, self.provider_variable))


LISTENING = "Where agents connect"
WAY_OUT = "The way to the provider"
KEY = "The key"
STARTING = "Starting up"
DEADLINES = "Deadlines, in seconds"
POOL = "Connections to the provider"
WEBSOCKET = "WebSocket"
REST = "Logs and configuration"


def _deadline(name: str, default: str, help: str, *, zero: bool = False) -> Option:
    return Option(
        name + "-deadline", "SECONDS", help, DEADLINES, default, syntax.seconds(zero=zero), numeric=True
    )


def _count(name: str, default: str, help: str, group: str, minimum: int, maximum: int) -> Option:
    return Option(name, "N", help, group, default, syntax.whole(minimum, maximum), numeric=True)


OPTIONS: tuple[Option, ...] = (
    Option(
        "port", "PORT", "Port to listen on; 0 is any free one.", LISTENING, "10000", syntax.port, numeric=True
    ),
    Option(
        "bind",
        "ADDRESS",
        "IP address to listen on. Whoever reaches it can use the key.",
        LISTENING,
        "127.0.0.1",
        syntax.address,
    ),
    Option(
        "listen",
        "ENDPOINT",
        "Twisted server endpoint, in place of --port and --bind: unix:, tcp:, systemd:, any.",
        LISTENING,
        None,
        syntax.endpoint,
        repeatable=True,
    ),
    _count(
        "max-connections",
        "2048",
        "Connections of clients at one time; one more gets 503.",
        LISTENING,
        1,
        1000000,
    ),
    Option(
        "local-pages",
        "PREFIX",
        "Path below which /health, /healthz and /readyz stand, or off.",
        LISTENING,
        "",
        syntax.local_pages,
        empty=True,
    ),
    Option(
        "egress-proxy",
        "URL",
        "The egress proxy (Squid): http://HOST:PORT, http://USER:PASSWORD@HOST:PORT, or the "
        "word direct, which does without one. There is no default beside the variables: awfproxy never goes "
        "direct by itself, and NO_PROXY does not change that.",
        WAY_OUT,
        None,
        syntax.egress,
        known_as=("HTTPS_PROXY", "https_proxy"),
    ),
    Option(
        "target",
        "HOST[:PORT]",
        "The provider's host, where it is not the usual one.",
        WAY_OUT,
        None,
        syntax.target,
        provider_variable="target_variable",
    ),
    Option(
        "base-path",
        "PATH",
        "Put before each path that does not begin with it; / is none. The default is the "
        "provider's own at its usual host, and none elsewhere.",
        WAY_OUT,
        None,
        syntax.base_path,
        provider_variable="base_path_variable",
    ),
    Option(
        "ca-file",
        "FILE",
        "CA certificates (PEM) to trust beside the system's. SSL_CERT_FILE takes the place of the "
        "system's, NODE_EXTRA_CA_CERTS adds to them too.",
        WAY_OUT,
        None,
        syntax.path,
        repeatable=True,
    ),
    Option(
        "key-file",
        "FILE",
        "File with the key, and nothing else in it. Other sources: the variable OPENAI_API_KEY; "
        "a systemd credential, openai_api_key. There is no option that takes the key itself.",
        KEY,
        None,
        syntax.path,
    ),
    Option(
        "probe",
        "HOW",
        "Whether path and key are tried before the port opens: try (opens after a while even if the "
        "egress proxy or provider does not answer), require, or off.",
        STARTING,
        "try",
        syntax.choice(("try", "require", "off")),
    ),
    Option(
        "startup-grace",
        "SECONDS",
        "With try: for how long to retry before the port opens, not ready.",
        STARTING,
        "5",
        syntax.seconds(zero=True),
        numeric=True,
    ),
    Option(
        "startup-deadline",
        "SECONDS",
        "With require: for how long to retry before giving up.",
        STARTING,
        "60",
        syntax.seconds(),
        numeric=True,
    ),
    _deadline("head", "10", "A request's head has to arrive."),
    _deadline("idle", "75", "A client's connection may stay without a request."),
    _deadline("body", "60", "An upload may stall."),
    _deadline("connect", "10", "The egress proxy has to open a tunnel."),
    _deadline("tls", "10", "TLS with the provider has to stand."),
    _deadline("acquire", "30", "A request may wait for a connection to the provider."),
    _deadline("response", "900", "The provider has to begin to answer."),
    _deadline("silence", "900", "A begun answer may pause."),
    _deadline("drain", "20", "At a stop, exchanges have to finish.", zero=True),
    _count("pool-max", "1024", "Connections at one time.", POOL, 1, 65535),
    _count("pool-opening", "32", "Connections being opened at one time.", POOL, 1, 65535),
    _count("pool-warm", "1", "Connections kept open without use.", POOL, 0, 65535),
    Option(
        "pool-idle",
        "SECONDS",
        "One without use is closed after this; stay below the provider's own limit.",
        POOL,
        "50",
        syntax.seconds(),
        numeric=True,
    ),
    Option(
        "pool-lifetime",
        "SECONDS",
        "None is used for a new request after this.",
        POOL,
        "600",
        syntax.seconds(),
        numeric=True,
    ),
    Option(
        "websocket",
        "HOW",
        "tunnel, or refuse: answered 426, on which clients fall back to HTTP.",
        WEBSOCKET,
        "tunnel",
        syntax.choice(("tunnel", "refuse")),
    ),
    Option(
        "websocket-idle-deadline",
        "SECONDS",
        "One may stay without a byte in either direction.",
        WEBSOCKET,
        "1800",
        syntax.seconds(),
        numeric=True,
    ),
    Option(
        "websocket-lifetime",
        "SECONDS",
        "One is ended after this, whatever it does.",
        WEBSOCKET,
        "86400",
        syntax.seconds(),
        numeric=True,
    ),
    Option("log-format", "FORMAT", "text or json.", REST, "text", syntax.choice(("text", "json"))),
    Option(
        "config",
        "FILE",
        'TOML file with these options: port = 10000, egress-proxy = "http://squid:3128", and so on. '
        "The command line comes before the environment, that before the file, that before the defaults.",
        REST,
        None,
        syntax.path,
        in_file=False,
    ),
)

BY_NAME = {option.name: option for option in OPTIONS}
