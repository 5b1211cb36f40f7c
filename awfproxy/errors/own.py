"""awfproxy's own failures: at a limit, stopping, or broken."""

from awfproxy.errors.base import AwfError, Hop


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


class NoKeyForHandshake(CredentialMissing):
    """The same where a WebSocket is asked for: a style may answer that in another way."""
