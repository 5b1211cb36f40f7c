"""All agents that are known: one line each."""

from awfproxy.agents.agent import Agent
from awfproxy.agents.claude import CLAUDE
from awfproxy.agents.codex import CODEX
from awfproxy.agents.copilot import COPILOT
from awfproxy.agents.gemini import GEMINI
from awfproxy.agents.sdks import ANTHROPIC_SDK, GOOGLE_SDK, OPENAI_SDK

AGENTS: tuple[Agent, ...] = (
    CODEX,
    CLAUDE,
    GEMINI,
    COPILOT,
    OPENAI_SDK,
    ANTHROPIC_SDK,
    GOOGLE_SDK,
)

BY_NAME = {agent.name: agent for agent in AGENTS}
