"""Every option of the daemon, as one table, and the settings that each provider has as another.

They are the only lists: the command line, the environment variables (AWFPROXY_ and the name), the
keys of the TOML file, `--help` and `awfproxy check --show` all follow from them.
"""

from collections.abc import Callable
from typing import Any

import attrs

from awfproxy.errors.configuration import ConfigError
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.providers.provider import Provider
from awfproxy.settings import syntax
from awfproxy.settings.accounts import group, user
from awfproxy.settings.profile import PROFILES


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

    switch: bool = False
    """On the command line its name alone is true; elsewhere it is true or false, in TOML without quotes."""

    repeatable: bool = False
    empty: bool = False
    """Whether the empty text is a value."""

    in_file: bool = True
    known_as: tuple[str, ...] = ()
    """Variables that other programs share, looked at after our own, in this order; empty means unset."""

    @property
    def flag(self) -> str:
        return "--" + self.name

    @property
    def usage(self) -> str:
        """As the command line has it."""
        return f"{self.flag} {self.metavar}".rstrip()

    @property
    def variable(self) -> str:
        return "AWFPROXY_" + self.name.upper().replace("-", "_")


LISTENING = "Where agents connect"
CALLERS = "Who may call"
WAY_OUT = "The way to the provider"
KEY = "The key"
STARTING = "Starting up"
EACH = "Each provider"
DEADLINES = "Deadlines, in seconds"
POOL = "Connections to the provider"
WEBSOCKET = "WebSocket"
PROCESS = "The process"
REST = "Logs and configuration"


def _deadline(name: str, default: str, help: str, *, zero: bool = False) -> Option:
    return Option(
        name + "-deadline", "SECONDS", help, DEADLINES, default, syntax.seconds(zero=zero), numeric=True
    )


def _count(name: str, default: str, help: str, group: str, minimum: int, maximum: int) -> Option:
    return Option(name, "N", help, group, default, syntax.whole(minimum, maximum), numeric=True)


PROVIDER_SETTINGS: tuple[Option, ...] = (
    Option("port", "PORT", "Port to listen on; 0 is any free one.", EACH, None, syntax.port, numeric=True),
    Option(
        "listen",
        "ENDPOINT",
        "Twisted server endpoint, in place of --bind and the port: unix:, tcp:, systemd:, any.",
        EACH,
        None,
        syntax.endpoint,
        repeatable=True,
    ),
    Option(
        "target",
        "HOST[:PORT]",
        "The provider's host, where it is not the usual one.",
        EACH,
        None,
        syntax.target,
    ),
    Option(
        "base-path",
        "PATH",
        "Put before each path that does not begin with it; / is none. The default is the "
        "provider's own at its usual host, and none elsewhere.",
        EACH,
        None,
        syntax.base_path,
    ),
    Option(
        "key-file",
        "FILE",
        "File with the key, and nothing else in it. Other sources: the provider's variable; a systemd "
        "credential. There is no option that takes the key itself.",
        EACH,
        None,
        syntax.path,
    ),
    Option(
        "auth-field",
        "NAME",
        "Field that carries the key, by itself, where it is not the provider's usual one.",
        EACH,
        None,
        syntax.auth_field,
    ),
    Option(
        "websocket",
        "HOW",
        "WebSocket: tunnel, or refuse, which is answered 426, on which clients fall back to HTTP.",
        EACH,
        "tunnel",
        syntax.choice(("tunnel", "refuse")),
    ),
)
"""Settings that every provider has: options by these names for OpenAI, `--anthropic-port` for another."""


def option_of(provider: Provider, setting: Option) -> Option:
    """A provider's setting as an option of its own."""
    variables = {
        "target": provider.target_variable,
        "base-path": provider.base_path_variable,
        "auth-field": provider.auth_field_variable,
    }
    variable = variables.get(setting.name)
    return attrs.evolve(
        setting,
        name=provider.option(setting.name),
        default=str(provider.port) if setting.name == "port" else setting.default,
        known_as=(variable,) if variable else (),
    )


OPTIONS: tuple[Option, ...] = (
    Option(
        "bind",
        "ADDRESS",
        "IP address to listen on. What other machines reach takes a token of callers, or --allow-anonymous.",
        LISTENING,
        "127.0.0.1",
        syntax.address,
    ),
    Option(
        "reuse-port",
        "",
        "Other processes of the same user may open the same TCP ports (SO_REUSEPORT): one process for each "
        "core. Not for ssl: endpoints.",
        LISTENING,
        "false",
        syntax.switch,
        switch=True,
    ),
    _count(
        "max-connections",
        "2048",
        "Connections of clients at one time, to each provider; one more gets 503.",
        LISTENING,
        1,
        1000000,
    ),
    Option(
        "local-pages",
        "PREFIX",
        "Path below which /health and the other local pages stand, or off.",
        LISTENING,
        "",
        syntax.local_pages,
        empty=True,
    ),
    Option(
        "allow-origin",
        "ORIGIN",
        "Origin of web pages that may call: http://localhost:3000, null, or vscode-webview://* for all of a "
        "scheme beside http and https. A page of any other is answered 403.",
        LISTENING,
        None,
        syntax.web_origin,
        repeatable=True,
    ),
    Option(
        "token-key-file",
        "FILE",
        "Callers have to show tokens that were signed with this file's key; one key a line, the first signs. "
        "awfproxy token new makes one.",
        CALLERS,
        None,
        syntax.path,
    ),
    Option(
        "revoked-labels-file",
        "FILE",
        "Labels of tokens that are good no more, one a line; read again at a reload.",
        CALLERS,
        None,
        syntax.path,
    ),
    Option(
        "allow-uid",
        "USER",
        "User, by number or name, who may connect to unix sockets; with any of these two, nobody else.",
        CALLERS,
        None,
        user,
        repeatable=True,
    ),
    Option(
        "allow-gid",
        "GROUP",
        "Group, by number or name, whose members may connect to unix sockets.",
        CALLERS,
        None,
        group,
        repeatable=True,
    ),
    Option(
        "allow-anonymous",
        "",
        "Listen where other machines reach it though callers show no tokens: whoever reaches it can use the "
        "key.",
        CALLERS,
        "false",
        syntax.switch,
        switch=True,
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
        "probe",
        "HOW",
        "Whether path and key are tried before the port opens: try (opens after a while even if the "
        "egress proxy or provider does not answer), require, or off; or after it: after (no verdict ends the "
        "process), strict (a rejected key does, with 1).",
        STARTING,
        "try",
        syntax.choice(("try", "require", "off", "after", "strict")),
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
    Option(
        "require",
        "NAMES",
        "Providers, separated by commas, without whose key awfproxy does not start.",
        STARTING,
        None,
        syntax.names,
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
    Option(
        "leak-guard",
        "HOW",
        "on, or off: whether a key that the provider's answer repeats is masked before it reaches the agent.",
        KEY,
        "on",
        syntax.choice(("on", "off")),
    ),
    Option(
        "confine",
        "HOW",
        "on: once started, it keeps only what it needs of files and ports (Landlock) and of system calls "
        "(seccomp), as far as the kernel can; or off.",
        PROCESS,
        "on",
        syntax.choice(("on", "off")),
    ),
    Option(
        "dumpable",
        "",
        "Let profilers and debuggers look into the process, and it be dumped: they see the key.",
        PROCESS,
        "false",
        syntax.switch,
        switch=True,
    ),
    Option("log-format", "FORMAT", "text or json.", REST, "text", syntax.choice(("text", "json"))),
    Option(
        "profile",
        "NAME",
        "A set of defaults: default, or gh-aw, which takes the place of github/gh-aw-firewall's sidecar.",
        REST,
        "default",
        syntax.choice(PROFILES),
    ),
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

BUILT_IN_OPTIONS = tuple(
    option_of(provider, setting) for provider in BUILT_IN for setting in PROVIDER_SETTINGS
)
"""The settings of the providers that awfproxy knows by itself; the file alone names others."""

BY_NAME = {option.name: option for option in (*OPTIONS, *BUILT_IN_OPTIONS)}
