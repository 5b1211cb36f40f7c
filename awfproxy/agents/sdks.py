"""The providers' own SDKs for Python and JavaScript: they read base URL and key from the environment.

A base URL or a key that the program passes itself is stronger than any variable.
"""

from awfproxy.agents.agent import Agent, Choice, Setup, Variable
from awfproxy.agents.place import Place

_REASON = "the SDK wants one; awfproxy puts in the real key"

PLACEHOLDERS = {
    "OPENAI_API_KEY": "sk-awfproxy-placeholder",
    "ANTHROPIC_API_KEY": "sk-ant-awfproxy-placeholder",
    "GEMINI_API_KEY": "awfproxy-placeholder",
}


def _key(name: str, choice: Choice) -> Variable:
    return Variable(name, choice.token or PLACEHOLDERS[name], _REASON)


def _openai(place: Place, choice: Choice) -> Setup:
    url = place.url("openai") + "/v1"
    return Setup((Variable("OPENAI_BASE_URL", url, "where OpenAI's API is"), _key("OPENAI_API_KEY", choice)))


def _anthropic(place: Place, choice: Choice) -> Setup:
    url = Variable("ANTHROPIC_BASE_URL", place.url("anthropic"), "where Anthropic's API is")
    return Setup((url, _key("ANTHROPIC_API_KEY", choice)))


def _google(place: Place, choice: Choice) -> Setup:
    return Setup(
        (
            Variable("GOOGLE_GEMINI_BASE_URL", place.url("gemini"), "where the Gemini API is"),
            Variable("GOOGLE_VERTEX_BASE_URL", place.url("vertex"), "where Vertex AI is, if used"),
            _key("GEMINI_API_KEY", choice),
        )
    )


OPENAI_SDK = Agent(
    name="openai-sdk",
    title="OpenAI SDK",
    command=None,
    providers=("openai",),
    setup=_openai,
    credentials=("OPENAI_API_KEY", "OPENAI_ADMIN_KEY"),
)

ANTHROPIC_SDK = Agent(
    name="anthropic-sdk",
    title="Anthropic SDK",
    command=None,
    providers=("anthropic",),
    setup=_anthropic,
    credentials=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
)

GOOGLE_SDK = Agent(
    name="google-sdk",
    title="Google Gen AI SDK",
    command=None,
    providers=("gemini", "vertex"),
    setup=_google,
    credentials=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
)
