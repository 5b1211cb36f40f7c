"""Failures of a request itself: what the client sent, or did not send in time."""

from awfproxy.errors.base import AwfError, Hop


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
