"""The table: every hop of the way times every fault, a row for each cell, or why there is none."""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from tests.faults.place import SHORT, Place, Serve
from tests.faults.scripts import (
    UPLOAD,
    UPLOAD_END,
    Ask,
    closed,
    connects_in_vain,
    gone,
    good,
    origin_says,
    sends,
    squid_says,
    takes_all,
    takes_nothing,
    tls_says,
)
from tests.memory.peers import SWITCHED, answer, chunk, chunked_post, get, handshake, post

HOPS = ("client", "listener", "Squid TCP", "CONNECT", "TLS", "request", "head", "body", "WebSocket")
FAULTS = ("refused", "reset", "stall", "slow drip", "garbage", "early close", "extra bytes")

NOT_THERE = {
    ("client", "refused"): "it is the client that connects; that it is not let in is the listener's row",
    ("listener", "slow drip"): "a connection is there or not; bytes that come slowly are the client's row",
    ("listener", "garbage"): "without bytes there is none; with bytes it is the client's row",
    ("listener", "extra bytes"): "the same",
    ("Squid TCP", "slow drip"): "TCP's handshake has no pieces that could come slowly",
    ("Squid TCP", "extra bytes"): "whatever comes before CONNECT was asked is its garbage",
    ("request", "extra bytes"): "what follows a request's end is the next request: the client's row",
    ("body", "refused"): "who refuses does so in the head",
}

STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = get()
DEFAULT_ASK = sends(GET)


@attrs.frozen(kw_only=True)
class Cell:
    """One cell: what happens, and what has to come of it."""

    hop: str = attrs.field(kw_only=False)
    fault: str = attrs.field(kw_only=False)
    client: str = attrs.field(kw_only=False)
    """What the client gets: statuses with our codes, then whether its connection is kept, closed or reset."""
    log: str = attrs.field(kw_only=False)
    """The access lines' outcome, status and code (`-` for none); no line at all is ''."""
    how: str = ""
    """Where a cell has several cases."""
    serve: Serve = good
    ask: Ask = DEFAULT_ASK
    blamed: str = ""
    """The hop and code in the log's warning (`request_error`), where there is one."""
    failed: int = 0
    """Tunnels that could not be opened, by the code of the answer."""
    tunnels: int = 1
    """Connections to "Squid" that it took."""
    prepare: Callable[[Place], Awaitable[None]] | None = None
    mend: Callable[[Place], Awaitable[None]] | None = None

    @property
    def name(self) -> str:
        return f"{self.hop}: {self.fault}" + (f" ({self.how})" if self.how else "")


def egress(fault: str, client: str, **more: Any) -> Cell:
    """Before a tunnel stands: our own answer, counted by its code, and the client is kept."""
    status, code = client.split(" ")
    hop = more.pop("hop")
    warned = "" if code == "egress_denied" else f"{'tls' if code.startswith('tls') else 'egress'} {code}"
    return Cell(
        hop, fault, f"{client}; kept", f"upstream_failed {status} {code}", blamed=warned, **more
    )


async def squid_away(place: Place) -> None:
    place.close_squid()


async def squid_back(place: Place) -> None:
    place.open_squid()


async def squid_full(place: Place) -> None:
    place.fill_backlog()


async def squid_free(place: Place) -> None:
    place.drain_backlog()


FATAL_ALERT = b"\x15\x03\x03\x00\x02\x02\x28"
TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200))
DENIED = b"HTTP/1.1 403 Forbidden\r\nX-Squid-Error: ERR_ACCESS_DENIED 0\r\nContent-Length: 0\r\n\r\n"
UNWILLING = b"HTTP/1.1 503 Service Unavailable\r\nX-Squid-Error: ERR_CONNECT_FAIL 111\r\n\r\n"

CELLS = (
    # --- the client's own connection
    Cell("client", "reset", "-", "client_left 0 -", serve=origin_says(then="stall"),
         ask=sends(GET, then="reset")),
    Cell("client", "stall", "408 request_head_timeout; closed", "refused 408 request_head_timeout",
         ask=sends(GET[:20]), tunnels=0),
    Cell("client", "slow drip", "408 request_head_timeout; closed", "refused 408 request_head_timeout",
         ask=sends(*(bytes([octet]) for octet in GET[:12])), tunnels=0),
    Cell("client", "garbage", "400 malformed_request; closed", "refused 400 malformed_request",
         ask=sends(TLS_HELLO), tunnels=0),
    Cell("client", "early close", "closed", "", ask=sends(GET[:20], then="finish"), tunnels=0),
    Cell("client", "extra bytes", "200; 400 malformed_request; closed",
         "completed 200 -; refused 400 malformed_request",
         ask=sends(post(2, b"{}\x00\x01\r\n\r\n"), answers=2)),
    # --- being let in
    Cell("listener", "refused", "refused", "", how="while it is closed", ask=connects_in_vain, tunnels=0),
    Cell("listener", "reset", "-", "", ask=sends(then="reset"), tunnels=0),
    Cell("listener", "stall", "closed", "", ask=sends(), tunnels=0),
    Cell("listener", "early close", "closed", "", ask=sends(then="finish"), tunnels=0),
    # --- TCP to the egress proxy
    egress("refused", "502 egress_unreachable", hop="Squid TCP", failed=2, tunnels=0, prepare=squid_away,
           mend=squid_back),
    egress("reset", "503 egress_failed", hop="Squid TCP", serve=gone, failed=2, tunnels=2),
    egress("stall", "504 egress_timeout", hop="Squid TCP", failed=1, tunnels=0, prepare=squid_full,
           mend=squid_free),
    egress("garbage", "502 egress_protocol_error", hop="Squid TCP", serve=squid_says(b"SSH-2.0-x\r\n"),
           failed=1),
    egress("early close", "503 egress_failed", hop="Squid TCP", serve=closed, failed=2, tunnels=2),
    # --- CONNECT
    egress("refused", "403 egress_denied", hop="CONNECT", how="403", serve=squid_says(DENIED), failed=1),
    egress("refused", "502 egress_auth_required", hop="CONNECT", how="407",
           serve=squid_says(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"), failed=1),
    egress("refused", "503 egress_failed", hop="CONNECT", how="503", serve=squid_says(UNWILLING), failed=2,
           tunnels=2),
    egress("reset", "503 egress_failed", hop="CONNECT", serve=squid_says(then="reset"), failed=2, tunnels=2),
    egress("stall", "504 egress_timeout", hop="CONNECT", serve=squid_says(then="stall"), failed=1),
    egress("slow drip", "504 egress_timeout", hop="CONNECT",
           serve=squid_says(*(bytes([octet]) for octet in b"HTTP/1.1 200 OK")), failed=1),
    egress("garbage", "502 egress_protocol_error", hop="CONNECT", serve=squid_says(bytes(range(64))),
           failed=1),
    egress("early close", "503 egress_failed", hop="CONNECT", how="no byte", serve=squid_says(), failed=2,
           tunnels=2),
    egress("early close", "503 egress_failed", hop="CONNECT", how="half an answer",
           serve=squid_says(b"HTTP/1.1 200"), failed=2, tunnels=2),
    egress("extra bytes", "502 tls_protocol_error", hop="CONNECT",
           serve=squid_says(b"HTTP/1.1 200 OK\r\n\r\n<html>", then="stall"), failed=1),
    # --- TLS
    egress("refused", "502 tls_protocol_error", hop="TLS", serve=tls_says(FATAL_ALERT), failed=1),
    egress("reset", "502 tls_closed", hop="TLS", serve=tls_says(then="reset"), failed=2, tunnels=2),
    egress("stall", "504 tls_timeout", hop="TLS", serve=tls_says(then="stall"), failed=1),
    egress("slow drip", "504 tls_timeout", hop="TLS",
           serve=tls_says(*(bytes([octet]) for octet in b"\x16\x03\x03\x40\x00" + bytes(9))), failed=1),
    egress("garbage", "502 tls_protocol_error", hop="TLS",
           serve=tls_says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), failed=1),
    egress("early close", "502 tls_closed", hop="TLS", serve=tls_says(), failed=2, tunnels=2),
    Cell("TLS", "extra bytes", "200 cut; reset", "upstream_truncated 200 origin_truncated",
         how="what is not TLS, within an answer",
         serve=origin_says(STREAM + chunk(b"x"), below=bytes(99), then="stall"),
         blamed="origin origin_truncated"),
    # --- sending the request
    Cell("request", "refused", "413; closed", "completed 413 -", how="answered before its end",
         ask=sends(UPLOAD),
         serve=origin_says(answer(b"no", b"Connection: close", status=b"413 Content Too Large"))),
    Cell("request", "reset", "502 origin_closed; closed", "upstream_failed 502 origin_closed",
         ask=sends(UPLOAD), serve=origin_says(then="reset"), blamed="origin origin_closed"),
    Cell("request", "stall", "504 origin_timeout; closed", "timed_out 504 origin_timeout",
         how="the origin takes nothing", serve=takes_nothing, ask=sends(post(1 << 25, bytes(1 << 25))),
         blamed="origin origin_timeout"),
    Cell("request", "stall", "408 request_body_timeout; closed", "timed_out 408 request_body_timeout",
         how="the client sends nothing more", ask=sends(UPLOAD), serve=origin_says(then="stall")),
    Cell("request", "slow drip", "200; kept", "completed 200 -", how="longer than any deadline, never silent",
         serve=takes_all, ask=sends(UPLOAD, *[b"0123456789"] * 8, UPLOAD_END, between=SHORT / 5)),
    Cell("request", "garbage", "400 malformed_request; closed", "refused 400 malformed_request",
         how="within its framing", serve=origin_says(then="stall"),
         ask=sends(chunked_post(b"2\r\n{}\r\n"), b"xyz\r\n")),
    Cell("request", "early close", "reset", "client_left 0 -", how="the client's",
         ask=sends(UPLOAD, b"", then="finish"), serve=origin_says(then="stall")),
    Cell("request", "early close", "502 origin_closed; closed", "upstream_failed 502 origin_closed",
         how="the origin's", ask=sends(UPLOAD), serve=origin_says(), blamed="origin origin_closed"),
    # --- the answer's head
    Cell("head", "refused", "503; kept", "completed 503 -", how="by a status: it is relayed",
         serve=origin_says(answer(b"busy", status=b"503 Service Unavailable"), then="answer")),
    Cell("head", "reset", "502 origin_closed; kept", "upstream_failed 502 origin_closed",
         how="GET: tried twice", serve=origin_says(then="reset"), tunnels=2, blamed="origin origin_closed"),
    Cell("head", "reset", "502 origin_closed; kept", "upstream_failed 502 origin_closed",
         how="POST: sent once", serve=origin_says(then="reset"), ask=sends(post(2, b"{}")),
         blamed="origin origin_closed"),
    Cell("head", "stall", "504 origin_timeout; kept", "timed_out 504 origin_timeout",
         serve=origin_says(then="stall"), blamed="origin origin_timeout"),
    Cell("head", "slow drip", "504 origin_timeout; kept", "timed_out 504 origin_timeout",
         serve=origin_says(*(bytes([octet]) for octet in STREAM[:12])), blamed="origin origin_timeout"),
    Cell("head", "garbage", "502 origin_malformed; kept", "upstream_failed 502 origin_malformed",
         serve=origin_says(b"220 mail.test ESMTP\r\n\r\n", then="stall"), blamed="origin origin_malformed"),
    Cell("head", "early close", "502 origin_closed; kept", "upstream_failed 502 origin_closed",
         how="half a head", serve=origin_says(STREAM[:20]), blamed="origin origin_closed"),
    Cell("head", "extra bytes", "502 origin_malformed; kept", "upstream_failed 502 origin_malformed",
         how="interim answers without end",
         serve=origin_says(b"HTTP/1.1 102 Processing\r\n\r\n" * 20, then="stall"),
         blamed="origin origin_malformed"),
    # --- the answer's body
    Cell("body", "reset", "200 cut; reset", "upstream_truncated 200 origin_truncated",
         serve=origin_says(STREAM + chunk(b"x"), then="reset"), blamed="origin origin_truncated"),
    Cell("body", "stall", "200 cut; reset", "timed_out 200 origin_silent",
         serve=origin_says(STREAM + chunk(b"x"), then="stall"), blamed="origin origin_silent"),
    Cell("body", "slow drip", "200; kept", "completed 200 -", how="longer than any deadline, never silent",
         serve=origin_says(STREAM, *[chunk(b"x")] * 8, b"0\r\n\r\n", between=SHORT / 5, then="answer")),
    Cell("body", "garbage", "200 cut; reset", "upstream_failed 200 origin_malformed",
         how="within its framing", serve=origin_says(STREAM + chunk(b"x") + b"xyz\r\n", then="stall"),
         blamed="origin origin_malformed"),
    Cell("body", "early close", "200 cut; reset", "upstream_truncated 200 origin_truncated", how="in order",
         serve=origin_says(answer(b"whole")[:-2]), blamed="origin origin_truncated"),
    Cell("body", "early close", "200 cut; reset", "upstream_truncated 200 origin_truncated",
         how="without close_notify, where only the close tells the end",
         serve=origin_says(b"HTTP/1.1 200 OK\r\n\r\nsome", then="fin"), blamed="origin origin_truncated"),
    Cell("body", "extra bytes", "200; kept", "completed 200 -; completed 200 -",
         how="that tunnel is not used again", serve=origin_says(answer() + answer(b"stray"), then="stall"),
         ask=sends(GET, before=GET), tunnels=2),
    # --- WebSocket
    Cell("WebSocket", "refused", "403; closed", "completed 403 -", ask=sends(handshake()),
         serve=origin_says(answer(b"no", status=b"403 Forbidden"))),
    Cell("WebSocket", "reset", "101; '<'; reset", "upstream_truncated 101 origin_truncated",
         ask=sends(handshake()), serve=origin_says(SWITCHED, b"<", then="reset"),
         blamed="origin origin_truncated"),
    Cell("WebSocket", "reset", "-", "client_left 101 -", how="the client's",
         ask=sends(handshake(), then="reset"), serve=origin_says(SWITCHED, then="stall")),
    Cell("WebSocket", "stall", "101; '<'; closed", "timed_out 101 -", ask=sends(handshake()),
         serve=origin_says(SWITCHED, b"<", then="stall")),
    Cell("WebSocket", "slow drip", "101; '<<<<<<<<'; closed", "completed 101 -",
         how="longer than any deadline, never silent", ask=sends(handshake()),
         serve=origin_says(SWITCHED, *[b"<"] * 8, between=SHORT / 5)),
    Cell("WebSocket", "garbage", "502 origin_unexpected_upgrade; closed",
         "upstream_failed 502 origin_unexpected_upgrade", how="another protocol", ask=sends(handshake()),
         serve=origin_says(SWITCHED.replace(b"websocket", b"h2c"), then="stall"),
         blamed="origin origin_unexpected_upgrade"),
    Cell("WebSocket", "early close", "101; ''; reset", "upstream_truncated 101 origin_truncated",
         how="without close_notify", ask=sends(handshake()), serve=origin_says(SWITCHED, then="fin"),
         blamed="origin origin_truncated"),
    Cell("WebSocket", "extra bytes", "101; 'first'; closed", "completed 101 -",
         how="behind the 101 in one piece", ask=sends(handshake()), serve=origin_says(SWITCHED + b"first")),
)  # fmt: skip
