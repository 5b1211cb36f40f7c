"""The providers that awfproxy knows by itself: a new one is its module and a line here."""

from importlib import import_module

from awfproxy.providers.provider import Provider

BUILT_IN: tuple[Provider, ...] = tuple(
    import_module(f"awfproxy.providers.{name}").PROVIDER
    for name in (
        "openai",
        "anthropic",
        "copilot",
        "gemini",
        "vertex",
    )
)  # fmt: skip
"""In the order of their ports; the first one's port is the management port."""
