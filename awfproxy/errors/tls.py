"""Failures of TLS with the provider, within the egress proxy's tunnel."""

from awfproxy.errors.base import AwfError, Hop


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
