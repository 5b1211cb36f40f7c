"""Errors as github/gh-aw-firewall's sidecar words them: `{error, message}`, and its answers without a key.

Its agents and tests read the status and the type of `error`; our code, hop and retryability stand beside.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus

import attrs

from awfproxy.errors.base import AwfError, Hop
from awfproxy.errors.client import ClientError, RequestBodyTimeout
from awfproxy.errors.egress import EgressError
from awfproxy.errors.origin import IncompleteMessage, OriginError, ResponseHeadTimeout, StreamSilent
from awfproxy.errors.own import CredentialMissing, NoKeyForHandshake
from awfproxy.errors.tls import TlsFailed
from awfproxy.providers import byok
from awfproxy.providers.provider import Provider

_NO_KEY = {"openai": 404, "gemini": 503, "vertex": 503}
"""The status where there is no key, with a plain string for `error`; all others have 403 and an object."""

_NO_KEY_AS_OBJECT = 403
_FURTHER_VARIABLES = {"copilot": (byok.KEY_VARIABLE,)}


def in_its_style(provider: Provider) -> Provider:
    """The provider with the sidecar's errors: without a key WebSocket is answered by a bare 503."""

    def status(error: AwfError) -> int:
        if isinstance(error, NoKeyForHandshake):
            return 503
        if isinstance(error, CredentialMissing):
            return _NO_KEY.get(provider.name, _NO_KEY_AS_OBJECT)
        return 502 if _is_proxy_error(error) else error.status

    def body(error: AwfError, request_id: str) -> bytes:
        if isinstance(error, NoKeyForHandshake):
            return b""
        if isinstance(error, CredentialMissing):
            return _compact({"error": _no_key(provider), **_ours(error, request_id)})
        content = {"error": _word(error), "message": error.message, **_ours(error, request_id)}
        return _compact(content)

    return attrs.evolve(provider, error_status=status, error_body=body)


def not_configured(provider: Provider) -> str:
    """One sentence for people, without a full stop."""
    variables = " or ".join((provider.variable, *_FURTHER_VARIABLES.get(provider.name, ())))
    return f"{provider.title} proxy not configured (no {variables})"


def _no_key(provider: Provider) -> object:
    if provider.name in _NO_KEY:
        return not_configured(provider)
    return {
        "message": f"{not_configured(provider)}: give awfproxy the key, the agent needs none.",
        "type": "provider_not_configured",
        "provider": provider.name,
        "port": provider.port,
        "retryable": False,
    }


def _is_proxy_error(error: AwfError) -> bool:
    """The way to the provider failed, at whichever hop; a provider that is only slow is none of it."""
    on_the_way = isinstance(error, EgressError | TlsFailed | OriginError)
    return on_the_way and not isinstance(error, ResponseHeadTimeout | StreamSilent)


def _word(error: AwfError) -> str:
    match error:
        case IncompleteMessage() | StreamSilent():
            return "Response stream error"
        case RequestBodyTimeout():
            return "Client error"
        case ClientError():
            return HTTPStatus(error.status).phrase
    if error.hop in (Hop.EGRESS, Hop.TLS, Hop.ORIGIN):
        return "Proxy error"
    return HTTPStatus(error.status).phrase


def _ours(error: AwfError, request_id: str) -> Mapping[str, object]:
    return {
        "code": error.code,
        "hop": error.hop.value,
        "retryable": error.retryable,
        "request_id": request_id,
    }


def _compact(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode("ascii")
