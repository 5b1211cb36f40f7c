"""One request with its final response: the only place that joins the client's side with the upstream one.

`ACQUIRING -> RELAYING -> DONE`. Upload and download end independently. Backpressure goes straight through:
a full client pauses the upstream connection, a full upstream pauses the client; nothing is stored here but
the first piece of content that came with the head.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final
from typing import Protocol as Interface

import attrs

from awfproxy.callers.store import CallerStore
from awfproxy.credentials.injector import as_handshake, client_framing, prepare_trailers, prepare_with_key
from awfproxy.credentials.store import CredentialStore
from awfproxy.errors.base import AwfError
from awfproxy.errors.client import ClientError, RequestBodyTimeout
from awfproxy.errors.origin import IncompleteMessage, ResponseHeadTimeout, StreamSilent
from awfproxy.errors.own import (
    CredentialMissing,
    InternalError,
    NoKeyForHandshake,
    PoolExhausted,
    ShuttingDown,
)
from awfproxy.net.deadlines import NEVER
from awfproxy.observe.accesslog import AccessLog, AccessRecord, Outcome
from awfproxy.observe.endmarker import EndMarker
from awfproxy.observe.health import Health
from awfproxy.observe.leakguard import SHORTEST, LeakGuard, guard_of
from awfproxy.providers.provider import Access, Provider
from awfproxy.providers.rules import Rules
from awfproxy.proxy.tunnel import Tunnel
from awfproxy.settings.values import Deadlines, WebSocketLimits
from awfproxy.upstream.connection import UpstreamConnection
from awfproxy.upstream.pool import Pool
from awfproxy.wire.framing import NO_BODY, Framing
from awfproxy.wire.message import Fields, RequestHead, ResponseHead
from awfproxy.wire.target import join_base_path

_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})  # RFC 9110 9.2.2
_REQUEST_ID_FIELDS = (b"x-request-id", b"request-id")


@attrs.frozen
class Forwarding:
    """What every exchange of one provider shares."""

    provider: Provider
    access: Access
    credentials: CredentialStore
    pool: Pool
    deadlines: Deadlines
    websocket_limits: WebSocketLimits
    health: Health
    log: AccessLog
    upstream_head: Callable[[RequestHead, bytes], RequestHead] | None = None
    """The last change to each head that goes upstream, given the request id."""

    leak_guard: bool = True
    """Answers are searched for the key that was sent."""

    callers: CallerStore | None = None
    """Asked who calls, for each request; None where everyone may who reaches the port."""


class Downstream(Interface):
    """The client's side of one request, as its exchange sees it."""

    head: RequestHead
    framing: Framing
    websocket: bool
    """The request asks to become one."""
    record: AccessRecord
    now: Callable[[], float]
    """The reactor's seconds."""

    def write_interim(self, head: ResponseHead) -> None:
        """Relays a 1xx."""

    def write_head(self, head: ResponseHead, framing: Framing) -> None:
        """The final head; `framing` is towards the client."""

    def become_tunnel(self, head: ResponseHead, tunnel: Tunnel) -> None:
        """Relays the 101; from now on what the client sends, and its end, goes to `tunnel`."""

    def write_body(self, content: bytes) -> None:
        """Content of the response."""

    def flush(self) -> None:
        """Sends what has been written so far."""

    def finish(self, trailers: Fields) -> None:
        """The response is complete: sends what there is."""

    def refuse(self, error: AwfError) -> None:
        """An error response of our own, complete; only before a final head."""

    def abort(self) -> None:
        """Resets the client's connection: the response will not be complete."""

    def pause_upload(self) -> None:
        """Reads no more from the client for now."""

    def resume_upload(self) -> None:
        """Reads on."""


class _State(Enum):
    ACQUIRING = "ACQUIRING"
    RELAYING = "RELAYING"
    DONE = "DONE"


# Looking a member up on its Enum costs as much as a call (Python 3.11), and these are asked for all the time.
_ACQUIRING: Final = _State.ACQUIRING
_RELAYING: Final = _State.RELAYING
_DONE: Final = _State.DONE


class Exchange:
    """Made by the resource at the end of a request's head; calls down into the pool and up to the client."""

    __slots__ = (
        "_body_complete",
        "_client",
        "_client_full",
        "_connection",
        "_content",
        "_end_marker",
        "_expects",
        "_forwarding",
        "_guard",
        "_head",
        "_head_sent",
        "_log_guard",
        "_moved",
        "_retried",
        "_sent_body",
        "_state",
        "_trailers",
        "_upload_paused",
        "deadline",
    )

    def __init__(self, forwarding: Forwarding, client: Downstream) -> None:
        self._forwarding = forwarding
        self._client = client
        self._state = _ACQUIRING
        self._connection: UpstreamConnection | None = None
        self._head: RequestHead | None = None
        self._content = b""
        self._trailers: Fields = ()
        self._body_complete = self._expects = False
        self._sent_body = False
        self._upload_paused = False
        self._client_full = False
        self._head_sent = self._moved = False
        self._retried = False
        self._end_marker: EndMarker | None = None
        self._guard: LeakGuard | None = None
        self._log_guard: LeakGuard | None = None
        """For what is logged, where the client gets all as it is."""
        self.deadline = NEVER
        """In the reactor's seconds; whoever sweeps calls `deadline_passed` after it."""

    # --- from the client's side ------------------------------------------------------------------

    def start(self, content: bytes, complete: bool, trailers: Fields) -> None:
        """Begins, with as much of the request's content as came with its head."""
        shared = self._forwarding
        shared.log.begun(self._client.record)
        if self._client.websocket:
            shared.log.websocket_begun(self._client.record)
        if shared.callers is not None and not self._may_call(shared.callers):
            return
        in_force = shared.credentials.current(shared.provider.name)
        if in_force is None:
            missing = NoKeyForHandshake() if self._client.websocket else CredentialMissing()
            self._refuse(missing, Outcome.REFUSED)
            return
        if in_force.rules and not self._allowed(in_force.rules):
            return
        self._head, key, beside = prepare_with_key(
            self._client.head, self._client.framing, shared.access, in_force.keys
        )
        if beside or not shared.leak_guard:
            self._guard_all((key, *beside))
        elif len(key) >= SHORTEST:
            self._guard = LeakGuard(key)
        if self._client.websocket:
            self._head = as_handshake(self._head)
        if shared.upstream_head is not None:
            self._head = shared.upstream_head(self._head, self._client.record.request_id)
        self._content, self._body_complete = content, complete
        self._trailers = prepare_trailers(trailers, shared.access)
        self._expects = not content and bool(self._client.head.values(b"expect"))
        if not complete:
            self._pause_upload()
        self.deadline = self._client.now() + shared.deadlines.acquire
        shared.pool.acquire(self)

    def _guard_all(self, secrets: tuple[bytes, ...]) -> None:
        if self._forwarding.leak_guard:
            self._guard = guard_of(secrets)
        else:
            self._log_guard = guard_of(secrets)

    def _may_call(self, callers: CallerStore) -> bool:
        """Whether the caller's token lets the request pass; if not, it has been answered."""
        shared, head, record = self._forwarding, self._client.head, self._client.record
        try:
            claims = callers.identify(head, shared.provider.name, shared.access)
            record.caller = claims.label
            callers.judge(claims, head, shared.access)
        except ClientError as refusal:
            shared.log.refused_caller(record, refusal)
            self._refuse(refusal, Outcome.REFUSED)
            return False
        return True

    def _allowed(self, rules: Rules) -> bool:
        """Whether the operator's rules let the request pass; if not, it has been answered."""
        head = self._client.head
        target = join_base_path(self._forwarding.access.base_path, head.target)
        try:
            rules.enforce(head.method, target, [name for name, _, _ in head.fields])
        except ClientError as refusal:
            self._forwarding.log.refused_by_rule()
            self._refuse(refusal, Outcome.REFUSED)
            return False
        return True

    def upload(self, content: bytes) -> None:
        """More content of the request."""
        self._expects = False
        if self._connection is not None:
            self._sent_body = True
            self._connection.write(content)
            self._progress()
        else:
            self._content += content  # what was on its way when reading was paused

    def upload_done(self, trailers: Fields) -> None:
        """The request's content is complete."""
        self._body_complete = True
        self._trailers = prepare_trailers(trailers, self._forwarding.access)
        if self._upload_paused:
            self._resume_upload()  # nothing more to hold up, and the client's leaving is to be seen
        if self._connection is not None:
            self._connection.end(self._trailers)
            self._progress()

    def lost(self) -> None:
        """The client has left: the upstream request is aborted at once."""
        if self._state is _DONE:
            return
        self._drop_upstream()
        self._done(Outcome.CLIENT_LEFT_AFTER_DONE if self.end_marker_seen else Outcome.CLIENT_LEFT)

    @property
    def end_marker_seen(self) -> bool:
        """The stream has come to its end on the protocol's own level."""
        return self._end_marker is not None and self._end_marker.seen

    def client_failed(self, error: AwfError) -> None:
        """What the client sends cannot be read on: nothing more of it goes upstream."""
        self._give_up(error, Outcome.REFUSED)

    def client_full(self) -> None:
        """The client takes no more for now."""
        self._client_full = True
        if self._connection is not None:
            self._connection.pause_response()

    def client_ready(self) -> None:
        """It does again."""
        self._client_full = False
        if self._connection is not None:
            self._connection.resume_response()
            self._progress()

    def drain_deadline_passed(self) -> None:
        """The process stops and waits no longer."""
        self._give_up(ShuttingDown(), Outcome.DRAINED)

    def deadline_passed(self) -> None:
        """The current phase took too long."""
        error: AwfError
        if self._state is _ACQUIRING:
            error = PoolExhausted()
        elif self._waits_for_client() and not self._head_sent:
            error = RequestBodyTimeout()
        else:
            error = StreamSilent() if self._head_sent else ResponseHeadTimeout()
        self._give_up(error, Outcome.TIMED_OUT)

    # --- from the pool ---------------------------------------------------------------------------

    def tunnel_ready(self, connection: UpstreamConnection) -> None:
        """Sends the request; a new exchange has nothing to lose up to here."""
        assert self._head is not None
        self._state = _RELAYING
        self._connection = connection
        record = self._client.record
        record.acquired = self._client.now()
        record.reused = connection.requests > 0
        content, self._content = self._content, b""
        self._sent_body = bool(content)
        if self._client_full:
            connection.pause_response()
        if not self._body_complete:
            self._resume_upload()
        complete = self._body_complete and not self._trailers
        websocket = self._client.websocket
        try:
            connection.send(self._head, self._client.framing, content, complete, self, websocket=websocket)
        except InternalError as problem:
            # The last check of what is written has struck. Nobody else would answer, or free the tunnel.
            self._give_up(problem, Outcome.REFUSED)
            return
        if self._body_complete and not complete:
            connection.end(self._trailers)
        self._progress()

    def tunnel_failed(self, reason: AwfError) -> None:
        """No tunnel to be had; not a byte of the request has left."""
        self._refuse(reason)

    # --- from the upstream connection (ResponseSink) ---------------------------------------------

    def interim(self, head: ResponseHead) -> None:
        self._expects = self._expects and head.status != 100
        self._moved = True
        if self._guard is not None:
            head = self._guard.head(head)
        self._client.write_interim(head)

    def response_head(self, head: ResponseHead, framing: Framing) -> None:
        client = self._client
        self._head_sent = self._moved = True
        if self._guard is not None:
            head = self._guard.head(head)
        self._note(head)
        if 200 <= head.status < 300:
            self._forwarding.health.succeeded()
        elif head.status == 401:
            self._forwarding.health.doubt()
        content_type = head.values(b"content-type")
        if content_type and content_type[0].lower().startswith(b"text/event-stream"):
            self._end_marker = EndMarker(self._forwarding.provider.end_markers)
        client.write_head(head, client_framing(framing, client.head.version))

    def switched(self, head: ResponseHead) -> None:
        """The origin's 101: the exchange is over, and a tunnel takes its place."""
        client, connection, shared = self._client, self._connection, self._forwarding
        assert connection is not None
        guard = self._guard
        if guard is not None:
            head = guard.head(head)
        self._note(head)
        shared.health.succeeded()
        limits = shared.websocket_limits
        tunnel = Tunnel(
            connection, record=client.record, log=shared.log, limits=limits, now=client.now, guard=guard
        )
        self._state, self._connection, self.deadline = _DONE, None, NEVER
        connection.become_tunnel(tunnel)
        client.become_tunnel(head, tunnel)

    def response_body(self, content: bytes) -> None:
        self._moved = True
        self._client.record.response_bytes += len(content)
        if self._end_marker is not None:
            self._end_marker.feed(content)
        if self._guard is not None:
            content = self._guard.feed(content)
        if content:
            self._client.write_body(content)

    def response_end(self, trailers: Fields) -> None:
        self._connection = None
        client, guard = self._client, self._guard
        if guard is not None:
            if guard.held:
                client.write_body(guard.end())
            if trailers:
                trailers = guard.fields(trailers)
        self._done(Outcome.COMPLETED)
        client.finish(trailers)

    def flush(self) -> None:
        if self._moved:  # bytes of a head or of framing alone do not put the deadline off
            self._moved = False
            self._progress()
        self._client.flush()

    def upstream_failed(self, reason: AwfError) -> None:
        connection, self._connection = self._connection, None
        if self._head_sent:
            truncated = isinstance(reason, IncompleteMessage)
            self._cut(reason, Outcome.UPSTREAM_TRUNCATED if truncated else Outcome.UPSTREAM_FAILED)
        elif connection is not None and self._may_retry(connection):
            self._retried = True
            self._state = _ACQUIRING
            self.deadline = self._client.now() + self._forwarding.deadlines.acquire
            self._forwarding.pool.acquire(self, fresh=True)
        else:
            self._refuse(reason)

    def pause_upload(self) -> None:
        if not self._body_complete:
            self._pause_upload()
            self._progress()

    def resume_upload(self) -> None:
        if self._upload_paused:
            self._resume_upload()
            self._progress()

    # --- inside ----------------------------------------------------------------------------------

    def _note(self, head: ResponseHead) -> None:
        record = self._client.record
        if self._log_guard is not None:
            head = self._log_guard.head(head)
        record.head_at = self._client.now()
        record.status = head.status
        for name in _REQUEST_ID_FIELDS:
            for value in head.values(name)[:1]:
                record.provider_request_id = record.provider_request_id or value[:128]

    def _may_retry(self, connection: UpstreamConnection) -> bool:
        """RFC 9110 9.2.2: only what may be sent twice, and only while nothing was answered."""
        return (
            not self._retried
            and not connection.answered
            and not self._sent_body
            and self._body_complete
            and self._client.framing is NO_BODY
            and self._client.head.method in _IDEMPOTENT
        )

    def _progress(self) -> None:
        """Something moved: the deadline of the current phase starts anew."""
        if self._state is not _RELAYING:
            return
        deadlines = self._forwarding.deadlines
        if self._head_sent:
            seconds = deadlines.silence
        else:
            seconds = deadlines.body if self._waits_for_client() else deadlines.response
        self.deadline = self._client.now() + seconds

    def _waits_for_client(self) -> bool:
        """The upload's next piece is outstanding; with `Expect`, the first only after the origin's 100."""
        return not (self._body_complete or self._upload_paused or self._expects)

    def _pause_upload(self) -> None:
        self._upload_paused = True
        self._client.pause_upload()

    def _resume_upload(self) -> None:
        self._upload_paused = False
        self._client.resume_upload()

    def _drop_upstream(self) -> None:
        if self._state is _ACQUIRING:
            self._forwarding.pool.cancel(self)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    def _give_up(self, error: AwfError, outcome: Outcome) -> None:
        if self._state is _DONE:
            return
        self._drop_upstream()
        if self._head_sent:
            self._cut(error, outcome)
        else:
            self._refuse(error, outcome)

    def _cut(self, error: AwfError, outcome: Outcome) -> None:
        """After the head there is no second answer: the client's connection is reset."""
        client = self._client
        client.record.error = type(error)
        self._done(outcome, error.detail)
        client.abort()

    def _refuse(self, error: AwfError, outcome: Outcome = Outcome.UPSTREAM_FAILED) -> None:
        client = self._client
        record = client.record
        record.error, record.status = type(error), self._forwarding.provider.error_status(error)
        self._done(outcome, error.detail)
        client.refuse(error)

    def _done(self, outcome: Outcome, detail: str = "") -> None:
        self._state = _DONE
        self.deadline = NEVER
        if self._guard is not None:
            self._client.record.leaks_masked = self._guard.masked
        self._forwarding.log.ended(self._client.record, outcome, self._client.now(), detail)
