"""Refusals of a caller token."""

from awfproxy.errors.client import ClientError


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
