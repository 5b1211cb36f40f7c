"""Copilot's rules where the operator sets none: inference, model listing and session calls pass.

With every path open, `/mcp/readonly` and its like would lend the agent GitHub's own MCP server with the real
token. Which paths clients need is in docs/rules.md.
"""

DEFAULT_RULES: tuple[str, ...] = (
    "allow GET /models/**",
    "allow POST /models/session",
    "allow POST /models/session/intent",
    "allow POST /auto",
    "allow POST /chat/completions",
    "allow GET,POST /responses",
    "allow POST /v1/messages",
    "allow POST /v1/messages/count_tokens",
    "allow POST /embeddings",
)
"""`GET /responses` is how a WebSocket to it begins. An allow rule closes all that no rule allows."""
