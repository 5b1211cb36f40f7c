"""One request on its connection: what a resource renders, and an exchange's side towards the client."""

from collections.abc import Callable
from typing import Protocol as Interface

import attrs

from awfproxy.credentials.injector import (
    prepare_interim,
    prepare_response,
    prepare_response_trailers,
    prepare_switch,
)
from awfproxy.credentials.requestid import with_request_id
from awfproxy.errors.base import AwfError
from awfproxy.observe.accesslog import AccessRecord
from awfproxy.proxy.admission import persistent
from awfproxy.proxy.channelsite import ChannelSite
from awfproxy.proxy.exchange import Exchange
from awfproxy.proxy.responses import error_response, own_response
from awfproxy.proxy.tunnel import ClientEnd, Tunnel
from awfproxy.wire.chunked import encode_chunk, encode_end
from awfproxy.wire.framing import CHUNKED, NO_BODY, UNTIL_CLOSE, Framing
from awfproxy.wire.message import Fields, RequestHead, ResponseHead, field, serialise_response


class ClientConnection(ClientEnd, Interface):
    """The channel, as its requests see it."""

    site: ChannelSite
    """Whose API this is, and how it answers."""
    seconds: Callable[[], float]
    """The reactor's seconds."""

    @property
    def closing_after(self) -> bool:
        """The connection closes after the current response."""

    def request_finished(self, request: "Request") -> None:
        """The response is complete."""

    def become_tunnel(self, tunnel: Tunnel) -> None:
        """What comes from the client, and its end, goes to `tunnel`, with what was held up to now."""


class Request:
    """One request on its channel: what a resource renders, and an exchange's `Downstream`.

    For resources it offers `method`, `uri`, and `answer` for a whole response.
    """

    def __init__(
        self,
        channel: ClientConnection,
        head: RequestHead,
        framing: Framing,
        record: AccessRecord,
        websocket: bool = False,
    ) -> None:
        self.head = head
        self.framing = framing
        self.websocket = websocket
        self.record = record
        self.exchange: Exchange | None = None
        self.persistent = persistent(head)
        self.response_begun = False
        self.content = b""
        """What of the body came with the head."""
        self.complete = True
        """The body has ended; with `trailers`."""
        self.trailers: Fields = ()
        self._channel = channel
        self.now = channel.seconds
        self._out_framing: Framing = NO_BODY
        self._out: list[bytes] = []

    @property
    def method(self) -> bytes:
        return self.head.method

    @property
    def uri(self) -> bytes:
        return self.head.target

    # --- for resources ---------------------------------------------------------------------------

    def answer(self, status: int, fields: Fields, content: bytes) -> None:
        """A whole response of our own (local pages)."""
        self.response_begun = True
        self.persistent = self.persistent and self.complete
        self._channel.write(
            own_response(
                status,
                (*fields, *self._more_fields()),
                content,
                self.record.request_id,
                self._connection(),
                self.method,
            )
        )
        self._channel.request_finished(self)

    # --- Downstream ------------------------------------------------------------------------------

    def write_interim(self, head: ResponseHead) -> None:
        if self.head.version == b"1.1":  # RFC 9110 15.2: HTTP/1.0 has no 1xx
            self._channel.write(serialise_response(prepare_interim(head)))

    def write_head(self, head: ResponseHead, framing: Framing) -> None:
        self.response_begun = True
        self._out_framing = framing
        if framing is UNTIL_CLOSE:
            self.persistent = False
        prepared = prepare_response(head, framing, self.record.request_id, self._connection())
        if (name := self._channel.site.request_id_field) is not None:
            prepared = attrs.evolve(
                prepared, fields=with_request_id(prepared.fields, name, self.record.request_id)
            )
        self._out.append(serialise_response(prepared))

    def become_tunnel(self, head: ResponseHead, tunnel: Tunnel) -> None:
        self.response_begun = True
        self.exchange = None
        self._channel.write(serialise_response(prepare_switch(head, self.record.request_id)))
        tunnel.start(self._channel)
        self._channel.become_tunnel(tunnel)

    def write_body(self, content: bytes) -> None:
        self._out.append(encode_chunk(content) if self._out_framing is CHUNKED else content)

    def flush(self) -> None:
        # One send for what came in one read: a send costs as much as all our parsing.
        if self._out:
            out, self._out = self._out, []
            self._channel.write(b"".join(out))

    def finish(self, trailers: Fields) -> None:
        if self._out_framing is CHUNKED:
            self._out.append(encode_end(prepare_response_trailers(trailers)))
        self.flush()
        self._channel.request_finished(self)

    def refuse(self, error: AwfError) -> None:
        self.response_begun = True
        if not self.complete or error.status == 408:
            self.persistent = False
        self._channel.write(
            error_response(
                error,
                self._channel.site.provider,
                self.record.request_id,
                self._connection(),
                self.method,
                self._more_fields(),
            )
        )
        self._channel.request_finished(self)

    def abort(self) -> None:
        self.flush()
        self._channel.abort()

    def has_its_answer(self) -> bool:
        """The protocol's end marker has gone to the client: it may leave now, and lose nothing."""
        return self.exchange is not None and self.exchange.end_marker_seen

    def pause_upload(self) -> None:
        self._channel.pause_reading()

    def resume_upload(self) -> None:
        self._channel.resume_reading()

    def _more_fields(self) -> Fields:
        name = self._channel.site.request_id_field
        return () if name is None else (field(name, self.record.request_id),)

    def _connection(self) -> bytes | None:
        if not self.persistent or self._channel.closing_after:
            self.persistent = False
            return b"close"
        return b"keep-alive" if self.head.version == b"1.0" else None
