"""Failures of the egress proxy (Squid): not reached, or no tunnel from it."""

from awfproxy.errors.base import AwfError, Hop


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
