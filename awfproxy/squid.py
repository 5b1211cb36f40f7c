"""Squid's configuration for exactly the origins that awfproxy forwards to, as commented text.

Pure. It is written for Squid 5 and 6, and has no directive that only one of them knows. Every scalar
stands before the included files and every rule about the origins around them, so that a local file can
set anything anew, add rules of its own, and still not open an origin to anyone but awfproxy.
"""

import math
import re
from collections.abc import Iterator, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
)

from awfproxy.settings.syntax import quoted
from awfproxy.wire.target import Origin

Network = IPv4Network | IPv6Network

_LISTEN = re.compile(r"(?:(?P<four>[0-9.]+):|\[(?P<six>[0-9A-Fa-f:.]+)\]:)?(?P<port>[0-9]{1,5})")
_INCLUDED = re.compile(r"/[A-Za-z0-9_./*?@+,:=~-]*[A-Za-z0-9_.*?@+,:=~-]")


def source(text: str) -> Network:
    """An address of awfproxy, or a network; not every address there is."""
    try:
        if "%" in text:  # a zone, which may be any text
            raise ValueError
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"{quoted(text)} is not an IP address or network. Give 172.30.0.30, or 172.30.0.0/28; a name "
            "would be looked up once, when Squid starts."
        ) from None
    written = text.partition("/")[0]
    if network.network_address != ip_address(written):
        raise ValueError(
            f"{quoted(text)} has bits set behind its prefix. Give {written} for that address alone, or "
            f"{network} for the network."
        )
    if network.prefixlen == 0 or network.network_address.is_unspecified:
        raise ValueError(
            "it stands for every address, and then agents reach the provider around awfproxy. Give the "
            "address that awfproxy connects from."
        )
    return network


def listen(text: str) -> str:
    """[ADDRESS:]PORT, as `http_port` takes it."""
    match = _LISTEN.fullmatch(text)
    if match is None or not 1 <= int(match["port"]) <= 65535:
        raise ValueError(
            f"{quoted(text)} is not a port. Give 3128, or with an address 172.30.0.10:3128 or [fd00::10]:3128"
        )
    try:
        if match["four"]:
            IPv4Address(match["four"])
        elif match["six"]:
            IPv6Address(match["six"])
    except ValueError:
        raise ValueError(f"what stands before the port of {quoted(text)} is not an IP address.") from None
    return text


def included(text: str) -> str:
    """A file for `include`, as Squid will see it: it need not be there where this runs."""
    if not _INCLUDED.fullmatch(text):
        raise ValueError(
            f"{quoted(text)} is not the absolute name of a file, without spaces and quotes. Give for example "
            "/etc/squid/local.conf, or /etc/squid/conf.d/*.conf"
        )
    return text


def squid_conf(
    origins: Sequence[Origin],
    sources: Sequence[Network],
    *,
    http_port: str = "3128",
    include: Sequence[str] = (),
    connect_deadline: float = 10.0,
    drain_deadline: float = 20.0,
    tunnels: int = 1024,
) -> str:
    """A whole squid.conf: CONNECT from `sources` to each origin's host and port, and nothing else.

    `http_port` is `listen`'s, `include` holds `included`'s. The deadlines are the daemon's own, in
    seconds: Squid gives up before the first, and outlasts the second. `tunnels` is how many the daemon
    may have to each origin.
    """
    hosts = _ports_by_host(origins)
    blocks = (
        _HEAD,
        _LISTENING.format(http_port=http_port),
        _PRIVACY,
        _CACHE,
        _TIMEOUTS.format(
            forward=max(1, int(connect_deadline * 0.8)),
            step=max(1, int(connect_deadline * 0.5)),
            retransmit=max(1, int(connect_deadline * 0.1)),
            shutdown=math.ceil(drain_deadline) + 1,
        ),
        _DESCRIPTORS.format(descriptors=2 * tunnels * len(set(origins)) + 1024),
        _WHO.format(sources=" ".join(_collapsed(sources))),
        _DESTINATIONS + "".join(line + "\n" for line in _destinations(hosts)),
        _GUARD + "".join(line + "\n" for line in _guard(hosts)),
        _LOCAL + "".join(f"include {file}\n" for file in include),
        _RULES + "".join(line + "\n" for line in _rules(hosts)),
    )
    return "\n".join(blocks)


def _ports_by_host(origins: Sequence[Origin]) -> dict[str, list[int]]:
    hosts: dict[str, list[int]] = {}
    for origin in origins:
        ports = hosts.setdefault(origin.host, [])
        if origin.port not in ports:
            ports.append(origin.port)
    return hosts


def _collapsed(sources: Sequence[Network]) -> Iterator[str]:
    """Squid warns of an address that another one covers already."""
    four = collapse_addresses([one for one in sources if isinstance(one, IPv4Network)])
    six = collapse_addresses([one for one in sources if isinstance(one, IPv6Network)])
    networks: list[Network] = [*four, *six]
    for network in networks:
        alone = network.prefixlen == network.max_prefixlen
        yield str(network.network_address if alone else network)


def _destinations(hosts: dict[str, list[int]]) -> Iterator[str]:
    for number, (host, ports) in enumerate(hosts.items(), 1):
        yield f"acl awfproxy_host_{number} {_kind(host)} -n {host}"
        yield f"acl awfproxy_port_{number} port {' '.join(map(str, ports))}"


def _guard(hosts: dict[str, list[int]]) -> Iterator[str]:
    yield "http_access deny manager"
    for number in range(1, len(hosts) + 1):
        yield f"http_access deny awfproxy_host_{number} !awfproxy"


def _rules(hosts: dict[str, list[int]]) -> Iterator[str]:
    for number in range(1, len(hosts) + 1):
        yield (
            f"http_access allow awfproxy awfproxy_connect awfproxy_host_{number} awfproxy_port_{number}"
        )
    yield "http_access deny all"


def _kind(host: str) -> str:
    try:
        ip_address(host)
    except ValueError:
        return "dstdomain"
    return "dst"


_HEAD = """\
# Squid as the only way out of awfproxy. Written by `awfproxy squid-conf`: do not edit, write it anew.
# To judge it: squid -k parse -f FILE
"""

_LISTENING = """\
# Where awfproxy connects to. The kernel asks idle tunnels whether awfproxy's host is still there; a
# tunnel is quiet for as long as the provider thinks.
http_port {http_port} tcpkeepalive=60,30,3

# No pid file: one that a killed container left behind keeps Squid from starting again. Where squid -k
# is used (Debian's package rotates logs with it), put pid_filename /run/squid.pid into an included file.
pid_filename none

# Not the machine's own name, which Squid would put on error pages; nor a helper that pings origins.
visible_hostname squid
pinger_enable off
"""

_PRIVACY = """\
# Nothing about who asked goes on. A tunnel has no fields, so this counts for what local rules allow.
forwarded_for delete
request_header_access Via deny all
request_header_access X-Forwarded-For deny all
request_header_access Forwarded deny all

# The address that a rule sees is the connection's own, never one that a field claims.
follow_x_forwarded_for deny all

# Error pages name neither Squid's version nor details of the request by mail.
httpd_suppress_version_string on
email_err_data off
"""

_CACHE = """\
# What is in a tunnel is TLS and cannot be cached; nothing else is kept either, in memory or on disk.
cache deny all
cache_mem 8 MB
"""

_TIMEOUTS = """\
# Before a tunnel stands, Squid gives up before awfproxy does, so that its answer names the cause. A lookup
# is given up at a repetition, and each comes twice as late as the one before, so the first comes soon.
request_start_timeout 30 seconds
request_timeout 30 seconds
dns_timeout {step} seconds
dns_retransmit_interval {retransmit} seconds
negative_dns_ttl 10 seconds
connect_timeout {step} seconds
forward_timeout {forward} seconds

# Once it stands, awfproxy alone judges what takes too long, none of it above a day. Squid's own 15
# minutes would cut off an answer that is long in coming, and an upload or download that is held back.
read_timeout 2 days
write_timeout 2 days
client_lifetime 2 days

# A side that closes ends the tunnel at once: whoever leaves is noticed on the other side.
half_closed_clients off

# At a stop, what awfproxy drains may end. With containers, the time until the kill has to be above it.
shutdown_lifetime {shutdown} seconds
"""

_DESCRIPTORS = """\
# Two for each tunnel that awfproxy may have, and some. Without this, Squid allocates for as many as it
# may open, which in containers can be a thousand million.
max_filedescriptors {descriptors}
"""

_WHO = """\
# Where awfproxy connects from. Nobody else reaches the providers through this Squid.
acl awfproxy src {sources}
acl awfproxy_connect method CONNECT
"""

_DESTINATIONS = """\
# The providers, each with its own ports. The names are whole (a leading dot would add all names below
# it), and -n compares what the request names: without it a request for any address is looked up, and
# whoever owns that address answers with the name.
"""

_GUARD = """\
# Before any local rule: nobody asks for Squid's internals, and only awfproxy for the providers.
"""

_LOCAL = """\
# Local additions (--include). They may set anything above anew, but for what adds up, such as http_port.
# Without access_log the log is Squid's usual file. access_log stdio:/dev/stdout is good for a container
# that runs as Squid's own user; as root, Squid gives that up first and then may not open it.
# The first http_access line that matches decides: a deny restricts awfproxy too.
"""

_RULES = """\
# awfproxy's tunnels, each host at its ports alone; and all else is denied.
"""
