"""How the gh-aw profile reads the variables of github/gh-aw-firewall's sidecar, and which it cannot heed.

Pure. A reading turns a variable's text into the text of an option of ours, with a warning for what is lost.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase

import attrs

from awfproxy.settings.syntax import quoted, target

LOG_FOLDER = "/var/log/api-proxy"
"""Where the sidecar puts its files, unless AWF_API_PROXY_LOG_DIR names another folder."""

_MILLISECONDS = re.compile(r"\s*\+?([0-9]{1,9})")
_KEY_CHECKS = {"off": "off", "warn": "after", "strict": "strict"}
_OFF = frozenset({"", "0", "false", "off", "no"})

NOT_HONOURED = (
    "ACTIONS_ID_TOKEN_REQUEST_*", "AWF_AGENT_TIMEOUT_MINUTES", "AWF_ALLOWED_MODELS",
    "AWF_ANTHROPIC_AUTO_CACHE", "AWF_ANTHROPIC_CACHE_TAIL_TTL", "AWF_ANTHROPIC_DROP_TOOLS",
    "AWF_ANTHROPIC_STRIP_ANSI", "AWF_ANTHROPIC_TRANSFORM_FILE", "AWF_API_PROXY_PROVIDERS", "AWF_AUTH_*",
    "AWF_BYOK_EXTRA_BODY_FIELDS", "AWF_CAPTURE_BLOCKED_LLM_REQUESTS", "AWF_DEBUG_TOKENS",
    "AWF_DEFAULT_AI_CREDITS_PRICING", "AWF_DISALLOWED_MODELS", "AWF_EFFECTIVE_TOKEN_*",
    "AWF_ENABLE_TOKEN_STEERING", "AWF_MAX_AI_CREDITS", "AWF_MAX_BLOCKED_CAPTURE_BYTES",
    "AWF_MAX_CACHE_MISSES", "AWF_MAX_EFFECTIVE_TOKENS", "AWF_MAX_MODEL_MULTIPLIER",
    "AWF_MAX_PERMISSION_DENIED", "AWF_MAX_RUNS", "AWF_MODEL_ALIASES", "AWF_MODEL_API_MAPPING_PATH",
    "AWF_MODEL_FALLBACK", "AWF_RATE_LIMIT_*", "AWF_ROUTING_CONFIG", "AWF_TOKEN_LOG_DIR", "GH_AW_OTLP_*",
    "GITHUB_AW_OTEL_*", "OTEL_*",
)  # fmt: skip
"""Guards, credits, rate limits, changes of bodies, usage files, workload identity and traces: what the
sidecar does at these variables' word is not done here. A star stands for any end."""


@attrs.frozen
class Read:
    """What a variable's text comes to."""

    text: str | None
    """As the option is written; None: as if the variable were not set."""

    warning: str = ""


Reading = Callable[[str], Read]


def host_alone(text: str) -> Read:
    """A target: the host counts, and the port is always 443. Raises `ValueError` as `--target` does."""
    text = text.strip()
    if not text:
        return Read(None)
    found = target(text)
    host = f"[{found.origin.host}]" if ":" in found.origin.host else found.origin.host
    dropped = [*found.dropped, *(["port"] if found.origin.port != 443 else [])]
    if not dropped:
        return Read(host)
    return Read(
        host,
        f"its {', '.join(dropped)} will not be used: the origin is {found.origin.host}, port 443. A path has "
        "a variable of its own; another port takes the option.",
    )


def trimmed(text: str) -> Read:
    """Without white space around it; nothing but white space counts as not set."""
    return Read(text.strip() or None)


def key_check(text: str) -> Read:
    """AWF_VALIDATE_KEYS: off, warn or strict, in any case; anything else is warn, as it was there."""
    mode = _KEY_CHECKS.get(text.strip().lower())
    if mode is None:
        return Read("after", f"{quoted(text)} is none of {', '.join(_KEY_CHECKS)}, and is taken as warn.")
    return Read(mode)


def milliseconds(text: str) -> Read:
    """A time in milliseconds, as seconds; what is none, or zero, leaves the default."""
    match = _MILLISECONDS.match(text)
    if match is None or int(match[1]) == 0:
        return Read(None, f"{quoted(text)} is no number of milliseconds above 0: the default is taken.")
    return Read(f"{min(int(match[1]) / 1000, 86400):.3f}")


READINGS: Mapping[str, Reading] = {
    "AWF_VALIDATE_KEYS": key_check,
    "AWF_API_PROXY_SHUTDOWN_TIMEOUT_MS": milliseconds,
    "AWF_OPENAI_AUTH_HEADER": trimmed,
    "AWF_ANTHROPIC_AUTH_HEADER": trimmed,
    **{
        f"{name}_API_{what}": reading
        for name in ("OPENAI", "ANTHROPIC", "COPILOT", "GEMINI", "VERTEX")
        for what, reading in (("TARGET", host_alone), ("BASE_PATH", trimmed))
    },
}
"""By variable."""


def not_honoured(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the variables that are set, mean something to the sidecar, and nothing here yet."""
    return tuple(
        sorted(
            name
            for name, value in environ.items()
            if value.strip().lower() not in _OFF
            and any(fnmatchcase(name, pattern) for pattern in NOT_HONOURED)
        )
    )


def notices(environ: Mapping[str, str]) -> Iterator[str]:
    """What the operator is told at the start about the variables as a whole."""
    names = not_honoured(environ)
    if names:
        yield (
            f"NOT HONOURED YET: {', '.join(names)}. What github/gh-aw-firewall's sidecar does at their word "
            "(guards, credits, rate limits, changes of bodies, usage files, OIDC, OTEL) is not done here: "
            "docs/migrating.md."
        )


def hidden_host(environ: Mapping[str, str]) -> str | None:
    """A host's name that the operator does not want in logs and files."""
    return environ.get("AWF_SENSITIVE_OPENAI_TARGET", "").strip() or None
