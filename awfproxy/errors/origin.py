"""Failures of the provider: not reached through the egress proxy, or its answer cannot be used."""

from awfproxy.errors.base import AwfError, Hop


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
