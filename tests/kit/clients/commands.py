"""The command lines of one headless turn, for `Sandbox.run`. Where a client goes, its environment says.

Agents stand in the sandbox's search path; an SDK is run by a script in tests/clients, without an address too.
"""

from tests.kit.clients.installed import PINS, sdk_python

PROMPT = "Say hello"


def codex(*options: str, prompt: str = PROMPT) -> list[str]:
    """The answer is on stdout, what it does meanwhile on stderr."""
    return ["codex", "exec", "--skip-git-repo-check", *options, prompt]


def claude(*options: str, prompt: str = PROMPT) -> list[str]:
    """`claude("--output-format", "stream-json", "--verbose")` prints events."""
    return ["claude", "-p", *options, prompt]


def gemini(*options: str, prompt: str = PROMPT) -> list[str]:
    """`-o stream-json` prints events; without `-m` a router call comes first."""
    return ["gemini", *options, "-p", prompt]


def copilot(*options: str, prompt: str = PROMPT) -> list[str]:
    return ["copilot", *options, "-p", prompt]


def sdk(script: str, *how: str, prompt: str = PROMPT) -> list[str]:
    """`script` is openai_sdk, anthropic_sdk or google_sdk; `how` is said in its first line."""
    python = sdk_python()
    assert python is not None
    return [python, str(PINS / f"{script}.py"), *how, prompt]
