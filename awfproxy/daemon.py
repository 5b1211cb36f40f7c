"""The daemon from its settings: every part is built here, and wired to the others."""

import os
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import attrs
from twisted.application.service import IService, MultiService
from twisted.internet.address import UNIXAddress
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IAddress, IStreamServerEndpoint
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized

from awfproxy.callers.endpoint import EndpointDescription
from awfproxy.callers.reach import Reach, reach
from awfproxy.callers.store import CallerStore
from awfproxy.credentials.store import CredentialStore
from awfproxy.errors.base import AwfError
from awfproxy.errors.configuration import ConfigError
from awfproxy.net.deadlines import Sweep
from awfproxy.net.hub import Hub
from awfproxy.net.listener import ListeningEndpoint, SharingPorts
from awfproxy.net.peercred import PeerCheck
from awfproxy.net.ready import OriginEndpoint, origin_endpoint
from awfproxy.net.trust import client_context
from awfproxy.observe.accesslog import AccessLog
from awfproxy.observe.health import Health
from awfproxy.observe.logs import LogWriter
from awfproxy.observe.metrics import PEER_NOT_ALLOWED, Metrics, ProcessMetrics
from awfproxy.observe.models import ModelLists
from awfproxy.observe.part import PagePart
from awfproxy.observe.requestevents import RequestEvents
from awfproxy.proxy.crossorigin import TrustedOrigins
from awfproxy.proxy.exchange import Forwarding
from awfproxy.proxy.pages import LocalPages
from awfproxy.proxy.resource import ReverseProxyResource
from awfproxy.proxy.sidecar_health import SidecarHealth
from awfproxy.proxy.site import ProxySite
from awfproxy.service.ask import Asker
from awfproxy.service.exit import ExitCode, ExitStatus, end_with_0
from awfproxy.service.firstchecks import Checked, FirstChecks
from awfproxy.service.front import Front
from awfproxy.service.gate import Gate
from awfproxy.service.models import Listed, ModelFetch
from awfproxy.service.places import host_and_port, is_local, shown
from awfproxy.service.probe import KeyProbe
from awfproxy.service.reload import Reloader, judge_by_validator, on_hangup
from awfproxy.service.secondsignal import end_at_second_signal
from awfproxy.service.systemd import Notifier, keep_alive, notify, watchdog_interval
from awfproxy.service.validator import NothingToCheck, Validator, validator_for
from awfproxy.settings.callers import ANONYMOUS, anonymous_warning, not_for_everyone
from awfproxy.settings.provider import ProviderSettings
from awfproxy.settings.readings import LOG_FOLDER, hidden_host, not_honoured
from awfproxy.settings.values import Probe, Settings, in_force
from awfproxy.upstream.pool import Pool

_log = Logger(namespace="awfproxy")
_BACKLOG = 1024
"""Connections that may wait to be accepted. With Twisted's 50 most of a burst is left to TCP's second try."""
_AFTER_DRAIN = 2.5
"""Seconds for clients that are still being told, and for the pool."""


class Daemon(MultiService):
    """All services. Under twistd it brings the log observer too, by the component that twistd looks for."""

    log_observer: ILogObserver | None = None

    def setServiceParent(self, parent: Any) -> None:
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]
        if self.log_observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self.log_observer)


def make_services(
    reactor: Any,
    settings: Settings,
    environ: Mapping[str, str],
    writer: LogWriter,
    load: Callable[[], Settings] | None = None,
    first: Sequence[IService] = (),
) -> Daemon:
    """The daemon from its settings; raises `ConfigError` for what only building it can tell.

    `load` reads the settings again; without it there is no reload. Services in `first` start before the
    others.
    """
    exit_status = ExitStatus()
    callers = None
    if settings.callers.in_force is not None:
        callers = CallerStore(settings.callers.in_force, time.time)
    shared = _Shared(
        reactor=reactor,
        ports=SharingPorts(reactor) if settings.reuse_port else reactor,
        settings=settings,
        hub=Hub(reactor),
        sweep=Sweep(reactor),
        context=client_context(settings.roots_file, settings.extra_ca_files),
        credentials=CredentialStore(in_force(settings)),
        writer=writer,
        process=ProcessMetrics(reactor.seconds, lambda: writer.lines_lost),
        callers=callers,
    )
    writer.gather(shared.sweep)
    profile = settings.profile
    parts = [_part(shared, one) for one in settings.providers]
    models = ModelLists()
    checks = _first_checks(shared, parts, exit_status)
    health = SidecarHealth(
        egress=None if settings.egress is None else str(settings.egress),
        has_key=lambda name: shared.credentials.current(name) is not None,
        models=models,
        checks_complete=lambda: checks.complete,
        not_honoured=not_honoured(environ),
    )
    pages = LocalPages(
        prefix=settings.local_pages,
        egress=str(settings.egress) if settings.egress else "direct",
        parts=tuple(
            PagePart(part.one.provider, part.one.access, part.health, part.metrics, part.pool)
            for part in parts
        ),
        credentials=shared.credentials,
        process=shared.process,
        models=models,
        place=lambda name: next(filter(None, map(host_and_port, gate.addresses_of(name))), None),
        host=profile.host,
        health=health.page if profile.sidecar_pages else None,
        callers=callers,
    )
    afterwards = [checks.run]
    if profile.lists_models:
        afterwards.append(_model_fetch(shared, parts, models, environ).run)
    for warning in settings.warnings:
        _log.warn("{warning}", event="configuration_warning", warning=warning)
    notifier = notify(environ)
    reloader = None if load is None else _reloader(shared, parts, notifier, load)
    gate = Gate(
        reactor,
        fronts=[_front(shared, part, pages) for part in parts],
        closed=settings.closed,
        exit_status=exit_status,
        notifier=notifier,
        drain_deadline=_drain(settings),
        requests_seen=lambda: sum(part.metrics.requests_seen for part in parts),
        services=[] if reloader is None else [IService(reloader)],
        afterwards=afterwards,
        stop_limit=settings.deadlines.drain if profile.ends_with_0 else None,
        refuses_place=partial(_refuses_place, settings),
    )
    if profile.ends_with_0:
        reactor.callWhenRunning(end_with_0, reactor)
    reactor.callWhenRunning(
        end_at_second_signal, reactor, exit_status, cut=gate.cut, with_0=profile.ends_with_0
    )
    if (interval := watchdog_interval(environ, os.getpid())) is not None:
        reactor.callWhenRunning(keep_alive, reactor, notifier, interval)
    services = Daemon()  # type: ignore[no-untyped-call]
    for service in first:
        service.setServiceParent(services)
    gate.setServiceParent(services)  # type: ignore[no-untyped-call]
    return services


@attrs.frozen
class _Shared:
    """What all providers of the process have together."""

    reactor: Any
    ports: Any
    """What opens the listeners' ports: the reactor, or that with --reuse-port."""

    settings: Settings
    hub: Hub
    sweep: Sweep
    context: ssl.SSLContext
    """Whom to trust, whatever the origin."""

    credentials: CredentialStore
    writer: LogWriter
    process: ProcessMetrics
    callers: CallerStore | None
    """None where no token is wanted."""


@attrs.frozen
class _Part:
    """What one provider has of its own."""

    one: ProviderSettings
    endpoint: OriginEndpoint
    pool: Pool
    health: Health
    metrics: Metrics
    validator: Validator | NothingToCheck


def _part(shared: _Shared, one: ProviderSettings) -> _Part:
    settings = shared.settings
    probed = settings.probe is not Probe.OFF and one.access.probed and one.configured
    health = Health(time.time, probed)
    endpoint = origin_endpoint(shared.hub, settings, one.access.origin, shared.context)

    def heard(error: AwfError | None) -> None:
        if error is None:
            health.egress_ok()
        else:
            health.egress_failed(error)

    # Without a key there is nothing to keep a tunnel warm for.
    limits = settings.pool if one.configured else attrs.evolve(settings.pool, warm=0)
    pool = Pool(shared.sweep, endpoint, limits, heard)
    validator: Validator | NothingToCheck = NothingToCheck()
    if one.configured:
        probe = KeyProbe(shared.reactor, endpoint, one.provider, one.access, shared.credentials)
        validator = validator_for(shared.reactor, settings, one, probe, health)
    return _Part(one, endpoint, pool, health, Metrics(), validator)


def _first_checks(shared: _Shared, parts: Sequence[_Part], exit_status: ExitStatus) -> FirstChecks:
    """Of those keys that are checked after the opening."""

    def end(code: ExitCode, sentence: str) -> None:
        exit_status.fail(code, sentence)
        with suppress(ReactorNotRunning):  # a signal was faster
            shared.reactor.stop()

    probe = shared.settings.probe
    checked = [
        Checked(part.one.provider, part.health, part.validator.first_checked)
        for part in parts
        if probe.is_after_opening and part.health.is_probed and isinstance(part.validator, Validator)
    ]
    return FirstChecks(checked, probe is Probe.STRICT, end)


def _model_fetch(
    shared: _Shared, parts: Sequence[_Part], models: ModelLists, environ: Mapping[str, str]
) -> ModelFetch:
    return ModelFetch(
        [
            Listed(part.one, Asker(shared.reactor, part.endpoint, part.one.access.origin), part.metrics)
            for part in parts
        ],
        shared.credentials,
        models,
        folder=environ.get("AWF_API_PROXY_LOG_DIR") or LOG_FOLDER,
        requested=environ.get("AWF_REQUESTED_MODEL", "").strip(),
        hidden=hidden_host(environ),
        now=lambda: datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    )


def _drain(settings: Settings) -> float:
    """How long exchanges get at a stop. Where the deadline is for all of it, the rest is for what follows."""
    deadline = settings.deadlines.drain
    return max(deadline - _AFTER_DRAIN, deadline / 2) if settings.profile.ends_with_0 else deadline


def _front(shared: _Shared, part: _Part, pages: LocalPages) -> Front:
    settings, one, profile = shared.settings, part.one, shared.settings.profile
    provider, access = one.provider, one.access
    log = AccessLog(provider.name, part.metrics, shared.writer.access)
    if profile.request_events:
        log = RequestEvents(provider.name, access.origin.host, part.metrics, shared.writer.access)
    forwarding = Forwarding(
        provider=provider,
        access=access,
        credentials=shared.credentials,
        pool=part.pool,
        deadlines=settings.deadlines,
        websocket_limits=settings.websocket_limits,
        health=part.health,
        log=log,
        upstream_head=profile.upstream_head,
        leak_guard=settings.leak_guard,
        callers=shared.callers,
    )
    site = ProxySite(
        ReverseProxyResource(forwarding, pages.by_path(provider)),
        reactor=shared.reactor,
        sweep=shared.sweep,
        provider=provider,
        origin=access.origin,
        deadlines=settings.deadlines,
        websocket=one.websocket,
        access_log=forwarding.log,
        metrics=part.metrics,
        max_connections=settings.max_connections,
        request_id_field=profile.request_id_field,
        trusted=TrustedOrigins(
            settings.allowed_origins, frozenset({profile.host.encode("ascii")} if profile.host else ())
        ),
    )
    return Front(
        name=provider.name,
        validator=part.validator,
        listeners=tuple(
            (description, _listener(shared, part.metrics, description)) for description in one.listen
        ),
        site=site,
        health=part.health,
        configured=one.configured,
        setting=provider.written("port" if one.listen[0].kind in ("tcp", "tcp6") else "listen"),
        children=(IService(part.pool),),
    )


def _reloader(
    shared: _Shared, parts: Sequence[_Part], notifier: Notifier, load: Callable[[], Settings]
) -> Reloader:
    endpoints = {part.one.provider.name: part.endpoint for part in parts}
    reloader = Reloader(
        shared.reactor,
        settings=shared.settings,
        load=load,
        judge=judge_by_validator(shared.reactor, shared.settings, endpoints),
        credentials=shared.credentials,
        health={part.one.provider.name: part.health for part in parts},
        notifier=notifier,
        counted=shared.process.reloaded,
        callers=shared.callers,
    )
    on_hangup(shared.reactor, lambda: reloader.reload("SIGHUP"))
    return reloader


def _refuses_place(
    settings: Settings, front: Front, description: EndpointDescription, address: IAddress
) -> str | None:
    """For what the settings could not judge by the description."""
    local = is_local(address)
    callers = settings.callers
    everyone = callers.peers and callers.in_force is None and not isinstance(address, UNIXAddress)
    if everyone and reach(description) is Reach.UNKNOWN:
        return (
            f"{front.name}: --allow-uid and --allow-gid are for unix sockets, and {description} has brought "
            f"{shown(address)}, which every user reaches. Give a unix socket, or leave them out."
        )
    if callers.peers and isinstance(address, UNIXAddress) and not description.is_plain_socket:
        return (
            f"{front.name}: --allow-uid and --allow-gid are in force, and at {shown(address)} users cannot "
            f"be told, since {description.kind}: has transports of its own. Listen there by unix: alone."
        )
    if not callers.may_listen(local):
        return not_for_everyone(front.name, shown(address))
    if not local and callers.in_force is None and reach(description) is Reach.UNKNOWN:
        (source,) = [entry.source for entry in settings.entries if entry.name == ANONYMOUS]
        warning = anonymous_warning(source, shown(address))
        _log.warn("{warning}", event="configuration_warning", warning=warning)
    return None


def _listener(shared: _Shared, metrics: Metrics, description: EndpointDescription) -> IStreamServerEndpoint:
    added = {"backlog": str(_BACKLOG)} if description.kind in ("tcp", "tcp6", "unix") else {}
    if description.kind == "unix":
        added["mode"] = "660"  # Twisted's own default lets every user in
    try:
        endpoint: IStreamServerEndpoint = serverFromString(shared.ports, description.completed(**added))
    except (ValueError, TypeError, KeyError, LookupError, OSError):
        why = "is not an endpoint that Twisted can open here. Examples: tcp:10000:interface=127.0.0.1, "
        if description.kind == "systemd":
            why = "names no inherited socket: LISTEN_FDS and LISTEN_FDNAMES come from a .socket unit. Also: "
        raise ConfigError(f"--listen: {description} {why}unix:/run/awfproxy.sock.") from None
    if not description.is_plain_socket:
        return endpoint
    peers = shared.settings.callers.peers
    admits = PeerCheck(peers, partial(metrics.connection_refused, PEER_NOT_ALLOWED)) if peers else None
    return ListeningEndpoint(shared.hub, endpoint, admits)


