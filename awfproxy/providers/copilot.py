"""GitHub Copilot, and any origin to which Copilot CLI brings a key of its own.

Hosts, fields and schemes are as github/gh-aw-firewall's sidecar has them: its `docs/auth-matrix.md`, and the
issues #8035 and #8098 on which scheme which token and host need.
"""

import re
from collections.abc import Callable, Mapping

from awfproxy.providers import anthropic, byok, openai
from awfproxy.providers.copilot_rules import DEFAULT_RULES
from awfproxy.providers.provider import (
    Access,
    Added,
    Asked,
    KeyUse,
    ProbeRequest,
    Provider,
    Trial,
    bearer,
    chat_completion,
)
from awfproxy.providers.rules import Rules, parse_rules
from awfproxy.wire.fieldname import field_value
from awfproxy.wire.target import Origin, join_base_path
from awfproxy.wire.url import host_of

ENTERPRISE_HOST = "api.enterprise.githubcopilot.com"
INTEGRATION_ID = "agentic-workflows"
PLATFORM_TYPES = ("github.com", "ghes", "ghec", "ghec-self-hosted")

_SCHEME_TOKEN_HOSTS = frozenset({ENTERPRISE_HOST, "api.business.githubcopilot.com"})
_DATA_RESIDENCY_HOST = re.compile(r"copilot-api\.[^.]+\.ghe\.com")
_MODELS = re.compile(rb"/models(?:/[A-Za-z0-9][A-Za-z0-9._:@-]*)*/?")
# In one form alone: GitHub's token must not be had by a path that only begins so.
_RUN = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_API_VERSIONS = {
    (b"GET", b"/models"): b"2026-07-01",
    (b"POST", b"/auto"): b"2026-08-01",
    (b"POST", b"/models/session"): b"2025-07-16",
    (b"POST", b"/models/session/intent"): b"2025-07-16",
}


def access(asked: Asked) -> Access:
    """With a key of the operator's own that one is used, except for listing models at a host of GitHub's.

    GitHub's token never goes to a host that only the operator's own key is for.
    """
    if asked.auth_field is not None:
        raise ValueError("Copilot takes its key in Authorization alone. Remove auth-field.")
    own_key = byok.has_key(asked)
    origin, base_path = _where(asked, own_key)
    at_github = is_githubs(origin.host)
    token = KeyUse(PROVIDER.variable, PROVIDER.credential_name, _with_scheme(origin.host, asked.environ))
    if not own_key:
        keys: tuple[KeyUse, ...] = (token,)
    else:
        extra = byok.extra_fields(asked.environ)
        brought = KeyUse(
            byok.KEY_VARIABLE,
            byok.CREDENTIAL_NAME,
            lambda key: (*extra, *bearer(key)),
            beside=byok.secrets_in(extra),
        )
        keys = (brought, token) if at_github else (brought,)

    def key_for(method: bytes, path: bytes) -> int:
        return int(method == b"GET" and _MODELS.fullmatch(path.removeprefix(base_path)) is not None)

    always = _always(origin.host, asked)
    # At GitHub's hosts the list of models, which the probe asks for, takes GitHub's tokens alone.
    listed = not (own_key and at_github) or asked.has(PROVIDER.variable, PROVIDER.credential_name)
    session = _session(asked.environ) if own_key else ()

    def defaults(method: bytes, path: bytes) -> Added:
        added = always
        if session and not (len(keys) > 1 and key_for(method, path)):
            added += session
        version = _API_VERSIONS.get((method, path.removeprefix(base_path))) if at_github else None
        return added if version is None else (*added, (b"X-GitHub-Api-Version", version))

    return Access(
        origin=origin,
        base_path=base_path,
        keys=keys,
        defaults=defaults if at_github or session else None,
        key_for=key_for if len(keys) > 1 else None,
        models=b"/models",
        rules=_default_rules(base_path),
        probed=listed,
        lists_models=listed,
    )


def _default_rules(base_path: bytes) -> Rules:
    """Forwarding every path would lend the agent GitHub's MCP server with the real token."""
    lines = []
    for line in DEFAULT_RULES:
        what, _, path = line.rpartition(" ")
        lines.append(f"{what} {join_base_path(base_path, path.encode('ascii')).decode('ascii')}")
    return parse_rules(lines, "Copilot's default")


def is_githubs(host: str) -> bool:
    """One of the hosts that know GitHub's tokens and Copilot's own paths."""
    return _is_copilots(host) or host.endswith(".ghe.com")


def usual_host(environ: Mapping[str, str]) -> str:
    """The host that goes with GITHUB_SERVER_URL; `ValueError` where that is no URL."""
    server = _server(environ)
    if server in ("", "github.com"):
        return PROVIDER.host
    if server.endswith(".ghe.com"):
        return f"copilot-api.{server}"
    return ENTERPRISE_HOST


def takes_scheme_token(host: str, environ: Mapping[str, str]) -> bool:
    """Whether the host takes a GitHub token as `token …`: two of GitHub's do, and those of a GHES.

    AWF_PLATFORM_TYPE decides for all others; where it is not set, GITHUB_SERVER_URL does.
    """
    platform = environ.get("AWF_PLATFORM_TYPE", "").strip()
    if platform and platform not in PLATFORM_TYPES:
        known = ", ".join(PLATFORM_TYPES)
        raise ValueError(f"AWF_PLATFORM_TYPE is not one of its values: {known}. Set one, or none.")
    if host in _SCHEME_TOKEN_HOSTS or platform == "ghes":
        return True
    if platform or _DATA_RESIDENCY_HOST.fullmatch(host):
        return False
    server = _server(environ)
    return server not in ("", "github.com") and not server.endswith(".ghe.com")


def _where(asked: Asked, own_key: bool) -> tuple[Origin, bytes]:
    url = byok.base_url(asked.environ) if own_key and asked.target is None else None
    if url is not None:
        return url[0], url[1] if asked.base_path is None else asked.base_path
    return asked.target or Origin(usual_host(asked.environ)), asked.base_path or b""


def _with_scheme(host: str, environ: Mapping[str, str]) -> Callable[[bytes], Added]:
    if not takes_scheme_token(host, environ):
        return bearer

    def inject(token: bytes) -> Added:
        # A fine-grained personal access token is taken as Bearer by every host.
        return bearer(token) if token.startswith(b"github_pat_") else ((b"Authorization", b"token " + token),)

    return inject


def _always(host: str, asked: Asked) -> Added:
    """What says on whose account, and for which conversation, whatever the path."""
    added: list[tuple[bytes, bytes]] = []
    if _is_copilots(host):
        added.append((b"x-initiator", b"agent"))
        if interaction := _interaction(asked):
            added.append((b"x-interaction-id", interaction))
    if _is_copilots(host) or _DATA_RESIDENCY_HOST.fullmatch(host):
        added.append((b"Copilot-Integration-Id", _integration(asked.environ)))
    return tuple(added)


def _interaction(asked: Asked) -> bytes:
    """The same for all requests of one run: Copilot's prompt cache goes by it."""
    run = asked.environ.get("GITHUB_RUN_ID", "").strip()
    attempt = asked.environ.get("GITHUB_RUN_ATTEMPT", "").strip() or "1"
    name = f"{run}-{attempt}"
    return (name if run and _RUN.fullmatch(name) else asked.instance).encode("ascii")


def _integration(environ: Mapping[str, str]) -> bytes:
    for variable in "COPILOT_INTEGRATION_ID", "GITHUB_COPILOT_INTEGRATION_ID":
        if text := environ.get(variable, "").strip():
            return _value(variable, text)
    return INTEGRATION_ID.encode("ascii")


def _session(environ: Mapping[str, str]) -> Added:
    text = environ.get("AWF_PROVIDER_SESSION_ID", "").strip()
    return ((b"x-session-id", _value("AWF_PROVIDER_SESSION_ID", text)),) if text else ()


def _value(variable: str, text: str) -> bytes:
    try:
        return field_value(text)
    except ValueError as error:
        raise ValueError(f"{variable}: {error}") from None


def _server(environ: Mapping[str, str]) -> str:
    text = environ.get("GITHUB_SERVER_URL", "").strip()
    try:
        return host_of(text) if text else ""
    except ValueError as error:
        raise ValueError(f"GITHUB_SERVER_URL: {error}") from None


def _is_copilots(host: str) -> bool:
    return host == "githubcopilot.com" or host.endswith(".githubcopilot.com")


PROVIDER = Provider(
    name="copilot",
    title="Copilot",
    host="api.githubcopilot.com",
    port=10002,
    variable="COPILOT_GITHUB_TOKEN",
    further_variables=(byok.KEY_VARIABLE,),
    further_credentials=(byok.CREDENTIAL_NAME,),
    target_variable="COPILOT_API_TARGET",
    base_path_variable="COPILOT_API_BASE_PATH",
    auth_field_variable=None,
    credential_name="copilot_github_token",
    access=access,
    probe=ProbeRequest(b"/models"),
    restricted_words=(),
    end_markers=(*openai.END_MARKERS, *anthropic.END_MARKERS),
    error_body=openai.error_body,
    # Without a limit: which of its two names a model takes depends on the model.
    trial=Trial("gpt-5-mini", chat_completion(None)),
)
