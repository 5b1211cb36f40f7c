"""Every way a request can fail, as exception classes that carry their own row of the error table.

A row is what the client, the operator's log, the metrics and `docs/errors.md` all show: the client's
status, a stable code, the hop that failed, whether trying again can help, one sentence, and the fix.
The row is class data, so an error has exactly one of each. The text never holds bytes from a peer
(RFC 9110 5.5: field values are not trustworthy) and never a credential: `detail` is written by
awfproxy itself, for the operator, and `public` is awfproxy's or the operator's, for the client too.
"""

from enum import Enum
from typing import ClassVar


class Hop(Enum):
    """Where on the way from the agent to the provider something failed."""

    CLIENT = "client"
    AWFPROXY = "awfproxy"
    EGRESS = "egress"
    TLS = "tls"
    ORIGIN = "origin"
    CREDENTIAL = "credential"
    CONFIGURATION = "configuration"


class AwfError(Exception):
    """Base of all our errors; a concrete class fills in its row of the table.

    `detail` adds a fact for the operator's log and for `str()`; it is ours to write and is never
    sent to the client. `public` is sent: a fact without which the client could not act, such as the
    operator's rule that refused a request. Where only `public` is given, the log has it as the detail.
    """

    status: ClassVar[int]
    code: ClassVar[str]
    hop: ClassVar[Hop]
    retryable: ClassVar[bool] = False
    retry_after: ClassVar[int | None] = None
    """Seconds for the `Retry-After` field; small, since clients wait that long (docs: clients)."""
    sentence: ClassVar[str]
    fix: ClassVar[str]

    def __init__(self, detail: str = "", *, public: str = "") -> None:
        super().__init__(detail)
        self.detail = detail or public
        self.public = public

    @property
    def message(self) -> str:
        """What the client reads: the row's sentence and fix, and `public` behind them."""
        text = f"{self.sentence} {self.fix}"
        return f"{text} {self.public}" if self.public else text

    def __str__(self) -> str:
        return self.message if self.detail == self.public else f"{self.message} ({self.detail})"


# --- the client's side ---------------------------------------------------------------------------


class ClientError(AwfError):
    """The request itself cannot be forwarded; the client has to change it."""

    hop = Hop.CLIENT


class MalformedMessage(ClientError):
    status = 400
    code = "malformed_request"
    sentence = "The request is not well-formed HTTP/1.1."
    fix = "Send one request per RFC 9112, with one unambiguous framing."


class BadTarget(ClientError):
    status = 400
    code = "bad_target"
    sentence = "The request-target is not a path that can be forwarded."
    fix = "Send a target that starts with a single '/', or an absolute one for this proxy or the provider."


class BadHost(ClientError):
    status = 400
    code = "bad_host"
    sentence = "The request has no Host field, more than one, or a malformed one."
    fix = "Send exactly one Host field."


class CallerRefused(ClientError):
    """403 rather than 401, on which Claude Code tries again for minutes without a word."""

    status = 403


class CallerTokenMissing(CallerRefused):
    code = "caller_token_missing"
    sentence = "A caller token is wanted here, and the request has none."
    fix = "Give the agent one in place of a key, see docs/callers.md."


class CallerTokenInvalid(CallerRefused):
    """Why is for the operator alone: whoever tries forged ones is told nothing."""

    code = "caller_token_invalid"
    sentence = "The caller token is not one that is good here, for this provider."
    fix = "Issue one with the token key that awfproxy has, and for this provider: awfproxy token new."


class CallerTokenExpired(CallerRefused):
    code = "caller_token_expired"
    sentence = "The caller token has expired."
    fix = "Issue another one: awfproxy token new."


class CallerTokenRevoked(CallerRefused):
    code = "caller_token_revoked"
    sentence = "The caller token has been revoked."
    fix = "Ask awfproxy's operator for another one."


class CallerTokenScope(CallerRefused):
    """`public` names what the token does cover."""

    code = "caller_token_scope"
    sentence = "The caller token does not cover this method and path."
    fix = "Issue one that does: awfproxy token new."


class PathDenied(ClientError):
    """`public` names the rules, and the one that decided."""

    status = 403
    code = "path_denied"
    sentence = "A path rule of awfproxy's does not let this method and path through."
    fix = "Its operator can open it: by an allow rule in front of the one that decides, see docs/rules.md."


class AmbiguousTarget(ClientError):
    """`public` names what is ambiguous. Refused only where there are path rules."""

    status = 403
    code = "ambiguous_target"
    sentence = "There are path rules here, and this request can be read in two ways."
    fix = "Send a plain path, and the method itself, see docs/rules.md."


class ForeignOrigin(ClientError):
    """A page in a browser asks, for somebody who cannot ask by themselves. `detail` names the field alone."""

    status = 403
    code = "foreign_origin"
    sentence = "The request was made by a web page that may not call awfproxy."
    fix = "Call it from a program; --allow-origin lets the pages of an origin in."


class MethodNotAllowed(ClientError):
    status = 405
    code = "method_not_allowed"
    sentence = "CONNECT and TRACE are not forwarded."
    fix = "Use awfproxy as the API's base URL, not as an HTTP proxy."


class RequestHeadTimeout(ClientError):
    status = 408
    code = "request_head_timeout"
    sentence = "The request head did not arrive in time."
    fix = "Send the whole head at once; --head-deadline sets the limit."


class RequestBodyTimeout(ClientError):
    status = 408
    code = "request_body_timeout"
    sentence = "The request body stopped arriving."
    fix = "Keep sending; --body-deadline sets how long a pause may be."


class BadWebSocketHandshake(ClientError):
    status = 400
    code = "bad_websocket_handshake"
    sentence = "The WebSocket handshake is not one that can be forwarded."
    fix = (
        "Send GET over HTTP/1.1 without a body, with Connection: Upgrade, one Sec-WebSocket-Key and "
        "Sec-WebSocket-Version."
    )


class TargetTooLong(ClientError):
    status = 414
    code = "target_too_long"
    sentence = "The request-target is too long."
    fix = "Shorten the path or query."


class WebSocketUnsupported(ClientError):
    status = 426
    code = "websocket_unsupported"
    sentence = "WebSocket is not available here."
    fix = "Use HTTP with server-sent events; codex falls back by itself."


class HeadTooLarge(ClientError):
    status = 431
    code = "head_too_large"
    sentence = "The request head is too large or has too many fields."
    fix = "Send fewer or shorter fields."


class MethodUnknown(ClientError):
    status = 501
    code = "method_not_implemented"
    sentence = "The request method is not one that awfproxy knows."
    fix = "Use a registered HTTP method, in upper case."


class VersionNotSupported(ClientError):
    status = 505
    code = "version_not_supported"
    sentence = "Only HTTP/1.1 and HTTP/1.0 are spoken here."
    fix = "Use plain HTTP/1.1."


# --- awfproxy itself -----------------------------------------------------------------------------


class InternalError(AwfError):
    status = 500
    code = "internal_error"
    hop = Hop.AWFPROXY
    sentence = "awfproxy failed on this request."
    fix = "Report the request id with awfproxy's log."


class TooManyConnections(AwfError):
    status = 503
    code = "too_many_connections"
    hop = Hop.AWFPROXY
    retryable = True
    retry_after = 1
    sentence = "awfproxy has as many client connections as it may have."
    fix = "Close some, or raise --max-connections."


class OutOfDescriptors(AwfError):
    """For a connection to the egress proxy, or for the client's own."""

    status = 503
    code = "out_of_descriptors"
    hop = Hop.AWFPROXY
    retryable = True
    retry_after = 1
    sentence = "awfproxy has no file descriptor left for another connection."
    fix = "Raise its limit (LimitNOFILE=, ulimit -n), or lower --max-connections."


class PoolExhausted(AwfError):
    status = 503
    code = "pool_exhausted"
    hop = Hop.AWFPROXY
    retryable = True
    retry_after = 1
    sentence = "No connection to the provider became free in time."
    fix = "Send fewer requests at once, or raise --pool-max."


class ShuttingDown(AwfError):
    status = 503
    code = "shutting_down"
    hop = Hop.AWFPROXY
    retryable = True
    retry_after = 2
    sentence = "awfproxy is stopping."
    fix = "Try again once it is back."


class CredentialMissing(AwfError):
    status = 403
    code = "credential_missing"
    hop = Hop.CREDENTIAL
    sentence = "awfproxy holds no key for this provider, so nothing was forwarded."
    fix = "Give awfproxy the key; the agent needs none."


# --- the egress proxy ----------------------------------------------------------------------------


class EgressError(AwfError):
    """The egress proxy (Squid) could not be reached or would not open a tunnel."""

    hop = Hop.EGRESS


class EgressUnreachable(EgressError):
    status = 502
    code = "egress_unreachable"
    retryable = True
    retry_after = 2
    sentence = "The egress proxy cannot be reached."
    fix = "Check that Squid runs and that --egress-proxy names its address."


class EgressDenied(EgressError):
    status = 403
    code = "egress_denied"
    sentence = "The egress proxy does not allow the provider's host."
    fix = "Add the host to Squid's allowlist."


class EgressAuthRequired(EgressError):
    status = 502
    code = "egress_auth_required"
    sentence = "The egress proxy wants credentials, or refused the ones it got."
    fix = "Put user and password into the egress proxy's URL: http://USER:PASSWORD@HOST:PORT."


class EgressFailed(EgressError):
    status = 503
    code = "egress_failed"
    retryable = True
    retry_after = 2
    sentence = "The egress proxy could not open a tunnel to the provider."
    fix = "Check Squid's own way out: name resolution and network."


class EgressProtocolError(EgressError):
    status = 502
    code = "egress_protocol_error"
    sentence = "The egress proxy did not answer CONNECT as an HTTP proxy does."
    fix = "Check that --egress-proxy names an HTTP proxy's port."


class EgressTimeout(EgressError):
    status = 504
    code = "egress_timeout"
    retryable = True
    retry_after = 2
    sentence = "The egress proxy did not open the tunnel in time."
    fix = "Check Squid and its way out; --connect-deadline sets the limit."


# --- TLS to the provider -------------------------------------------------------------------------


class TlsFailed(AwfError):
    """TLS to the provider could not be established; no byte of a request was sent."""

    hop = Hop.TLS


class TlsUntrusted(TlsFailed):
    status = 502
    code = "tls_untrusted"
    sentence = "The provider's certificate is not trusted."
    fix = "If a proxy of yours re-signs TLS, name its CA with --ca-file."


class TlsNameMismatch(TlsFailed):
    status = 502
    code = "tls_name_mismatch"
    sentence = "The provider's certificate is for another name."
    fix = "Check --target and where the egress proxy sends that name."


class TlsProtocolError(TlsFailed):
    status = 502
    code = "tls_protocol_error"
    sentence = "The provider's side does not speak TLS with HTTP/1.1 as we need it."
    fix = "Check --target's host and port, and what stands behind the egress proxy."


class TlsClosed(TlsFailed):
    status = 502
    code = "tls_closed"
    retryable = True
    retry_after = 1
    sentence = "The connection was closed while TLS was being set up."
    fix = "Try again; if it stays, check what the egress proxy does with the tunnel."


class TlsTimeout(TlsFailed):
    status = 504
    code = "tls_timeout"
    retryable = True
    retry_after = 2
    sentence = "TLS to the provider was not set up in time."
    fix = "Check the network behind the egress proxy; --tls-deadline sets the limit."


# --- the provider --------------------------------------------------------------------------------


class OriginError(AwfError):
    """The provider's side failed after the tunnel stood."""

    hop = Hop.ORIGIN


class OriginUnreachable(OriginError):
    """Only where the operator said `direct`: else it is the egress proxy that connects to the origin."""

    status = 502
    code = "origin_unreachable"
    retryable = True
    retry_after = 2
    sentence = "The provider cannot be reached directly."
    fix = "Check name resolution, network and --target, or name an egress proxy."


class OriginConnectTimeout(OriginError):
    """Only where the operator said `direct`."""

    status = 504
    code = "origin_connect_timeout"
    retryable = True
    retry_after = 2
    sentence = "The provider did not take a direct connection in time."
    fix = "Check the network and --target; --connect-deadline sets the limit."


class OriginClosed(OriginError):
    status = 502
    code = "origin_closed"
    retryable = True
    retry_after = 1
    sentence = "The provider closed the connection without an answer."
    fix = "Try again."


class OriginMalformed(OriginError):
    status = 502
    code = "origin_malformed"
    sentence = "The provider's answer is not well-formed HTTP/1.1."
    fix = "Check that --target names an HTTP API."


class OriginUnexpectedUpgrade(OriginError):
    status = 502
    code = "origin_unexpected_upgrade"
    sentence = "The provider switched to a protocol that was not asked for."
    fix = "Check that --target names an HTTP API."


class IncompleteMessage(OriginError):
    """RFC 9112 8: the response ended before its framing said so; the client is reset, never told 'done'."""

    status = 502
    code = "origin_truncated"
    retryable = True
    retry_after = 1
    sentence = "The provider's answer was cut short."
    fix = "Try again."


class ResponseHeadTimeout(OriginError):
    status = 504
    code = "origin_timeout"
    retryable = True
    retry_after = 1
    sentence = "The provider did not begin to answer in time."
    fix = "Try again; --response-deadline sets the limit."


class StreamSilent(OriginError):
    status = 504
    code = "origin_silent"
    retryable = True
    retry_after = 1
    sentence = "The provider's answer stopped half-way."
    fix = "Try again; --silence-deadline sets how long a pause may be."


# --- starting up ---------------------------------------------------------------------------------


class ConfigError(AwfError):
    """A setting cannot be used. The text names the setting, the place it came from, and the fix."""

    status = 403
    code = "configuration"
    hop = Hop.CONFIGURATION
    sentence = "awfproxy is not configured correctly."
    fix = "See its log."

    def __str__(self) -> str:
        return self.detail or super().__str__()


def table(root: type[AwfError] = AwfError) -> list[type[AwfError]]:
    """All concrete rows below `root`, in the order in which they are written above."""
    rows: list[type[AwfError]] = []
    for kind in root.__subclasses__():
        if "code" in vars(kind):
            rows.append(kind)
        rows.extend(table(kind))
    return rows
