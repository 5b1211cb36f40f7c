"""The cells from the client's connection to TLS: before anything of a request has left for the origin."""

from typing import Any

from tests.faults.asking import connects_in_vain, sends
from tests.faults.cell import GET, Cell
from tests.faults.place import Place
from tests.faults.scripts import (
    STREAM,
    closed,
    gone,
    late_connect,
    late_tls,
    origin_says,
    squid_says,
    tls_says,
)
from tests.memory.peers import chunk, post


def egress(fault: str, client: str, *, hop: str, **more: Any) -> Cell:
    """Before a tunnel stands: our own answer, counted by its code, and the client is kept."""
    status, code = client.split(" ")
    warned = "" if code == "egress_denied" else f"{'tls' if code.startswith('tls') else 'egress'} {code}"
    log = f"upstream_failed {status} {code}"
    side = "origin" if hop == "TLS" else "Squid"
    return Cell(hop, side, fault, f"{client}; kept", log, blamed=warned, **more)


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

OPENING = (
    # --- the client's own connection
    Cell("client", "client", "reset", "-", "", how="within the head", ask=sends(GET[:20], then="reset"),
         tunnels=0),
    Cell("client", "client", "reset", "-", "client_left 0 -", how="a pipeline",
         ask=sends(GET * 3, then="reset"), serve=origin_says(then="stall")),
    Cell("client", "client", "stall", "408 request_head_timeout; closed", "refused 408 request_head_timeout",
         ask=sends(GET[:20]), methods="other", tunnels=0),
    Cell("client", "client", "slow drip", "408 request_head_timeout; closed",
         "refused 408 request_head_timeout", methods="other",
         ask=sends(*(bytes([octet]) for octet in GET[:12])), tunnels=0),
    Cell("client", "client", "garbage", "400 malformed_request; closed", "refused 400 malformed_request",
         ask=sends(TLS_HELLO), methods="other", tunnels=0),
    Cell("client", "client", "early close", "closed", "", ask=sends(GET[:20], then="finish"), tunnels=0),
    Cell("client", "client", "extra bytes", "200; 400 malformed_request; closed",
         "completed 200 -; refused 400 malformed_request",
         ask=sends(post(2, b"{}\x00\x01\r\n\r\n"), answers=2), methods="POST other", up=2, down=2),
    # --- being let in
    Cell("listener", "client", "refused", "refused", "", how="while it is closed", ask=connects_in_vain,
         tunnels=0),
    Cell("listener", "client", "reset", "-", "", ask=sends(then="reset"), tunnels=0),
    Cell("listener", "client", "stall", "closed", "", ask=sends(), tunnels=0),
    Cell("listener", "client", "early close", "closed", "", ask=sends(then="finish"), tunnels=0),
    # --- TCP to the egress proxy
    egress("refused", "502 egress_unreachable", hop="Squid TCP", failed=2, tunnels=0, prepare=squid_away,
           mend=squid_back),
    egress("reset", "503 egress_failed", hop="Squid TCP", serve=gone, failed=2, tunnels=2),
    egress("stall", "504 egress_timeout", hop="Squid TCP", failed=1, tunnels=0, prepare=squid_full,
           mend=squid_free),
    egress("garbage", "502 egress_protocol_error", hop="Squid TCP", serve=squid_says(b"SSH-2.0-x\r\n"),
           failed=1),
    egress("early close", "503 egress_failed", hop="Squid TCP", serve=closed, failed=2, tunnels=2),
    Cell("Squid TCP", "client", "reset", "-", "client_left 0 -", ask=sends(GET, then="reset"), failed=1,
         failed_code="egress_timeout", tunnels=0, prepare=squid_full, mend=squid_free),
    Cell("Squid TCP", "client", "early close", "504 egress_timeout; closed",
         "upstream_failed 504 egress_timeout", how="it has sent all", ask=sends(GET, then="finish"), failed=1,
         tunnels=0, prepare=squid_full, mend=squid_free, blamed="egress egress_timeout"),
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
    Cell("CONNECT", "client", "reset", "-", "client_left 0 -", ask=sends(GET, then="reset"),
         serve=late_connect, served=0),
    Cell("CONNECT", "client", "early close", "200; closed", "completed 200 -", how="it has sent all",
         ask=sends(GET, then="finish"), serve=late_connect, down=2),
    # --- TLS
    egress("refused", "502 tls_protocol_error", hop="TLS", serve=tls_says(FATAL_ALERT), failed=1),
    egress("reset", "502 tls_closed", hop="TLS", serve=tls_says(then="reset"), failed=2, tunnels=2),
    egress("stall", "504 tls_timeout", hop="TLS", serve=tls_says(then="stall"), failed=1),
    egress("slow drip", "504 tls_timeout", hop="TLS",
           serve=tls_says(*(bytes([octet]) for octet in b"\x16\x03\x03\x40\x00" + bytes(9))), failed=1),
    egress("garbage", "502 tls_protocol_error", hop="TLS",
           serve=tls_says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), failed=1),
    egress("early close", "502 tls_closed", hop="TLS", serve=tls_says(), failed=2, tunnels=2),
    Cell("TLS", "origin", "extra bytes", "200 cut; reset", "upstream_truncated 200 origin_truncated",
         how="what is not TLS, within an answer",
         serve=origin_says(STREAM + chunk(b"x"), below=bytes(99), then="stall"),
         blamed="origin origin_truncated", down=1),
    Cell("TLS", "client", "reset", "-", "client_left 0 -", ask=sends(GET, then="reset"),
         serve=late_tls, served=0),
    Cell("TLS", "client", "early close", "200; closed", "completed 200 -", how="it has sent all",
         ask=sends(GET, then="finish"), serve=late_tls, down=2),
)  # fmt: skip
