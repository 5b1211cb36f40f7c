"""Claude Code: https://code.claude.com/docs/en/settings (environment variables, settings.json's `env`).

ANTHROPIC_AUTH_TOKEN rather than ANTHROPIC_API_KEY: an API key found in the environment has to be approved in
a dialogue first, a token is used as it is. With neither it says "Not logged in".
"""

from awfproxy.agents.agent import Agent, Choice, ConfigFile, Setting, Setup, Variable
from awfproxy.agents.place import Place

PLACEHOLDER = "sk-ant-awfproxy-placeholder"


def setup(place: Place, choice: Choice) -> Setup:
    token = choice.token or PLACEHOLDER
    variables = [
        Variable("ANTHROPIC_BASE_URL", place.url("anthropic"), "where Anthropic's API is"),
        Variable("ANTHROPIC_AUTH_TOKEN", token, "it wants one; awfproxy puts in the real key"),
        Variable(
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1", "or it dials api.anthropic.com for its telemetry"
        ),
    ]
    if choice.model is not None:
        variables.append(Variable("ANTHROPIC_MODEL", choice.model, "the model"))
    settings = tuple(
        Setting(("env", each.name), each.value, shown=each.name != "ANTHROPIC_AUTH_TOKEN")
        for each in variables
    )
    # A key left there beside the token would be sent too, and the agent would hold it.
    key = Setting(("env", "ANTHROPIC_API_KEY"), None, shown=False)
    return Setup(
        tuple(variables),
        file=ConfigFile(
            "CLAUDE_CONFIG_DIR",
            "",
            ".claude",
            "settings.json",
            (*settings, key),
            instead_of=frozenset(each.name for each in variables),
        ),
    )


CLAUDE = Agent(
    name="claude",
    title="Claude Code",
    command="claude",
    providers=("anthropic",),
    setup=setup,
    credentials=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
    diverting=(
        ("CLAUDE_CODE_USE_BEDROCK", "go to Amazon Bedrock"),
        ("CLAUDE_CODE_USE_VERTEX", "go to Google's Vertex AI"),
        ("CLAUDE_CODE_USE_FOUNDRY", "go to Microsoft Foundry"),
    ),
    login_file=".credentials.json",
    options=frozenset({"model"}),
)
