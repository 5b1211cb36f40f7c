"""gemini-cli: https://geminicli.com/docs/reference/configuration

Which kind of credential it uses is a setting of settings.json alone. From the environment it would guess, but
GOOGLE_GEMINI_BASE_URL makes it guess a kind that it then refuses (exit code 41, seen in 0.61.0);
GEMINI_DEFAULT_AUTH_TYPE only preselects an answer in its dialogue, and a file named by
GEMINI_CLI_SYSTEM_DEFAULTS_PATH must be root's. So the file has to be written once.
"""

from awfproxy.agents.agent import Agent, Choice, ConfigFile, Setting, Setup, Variable
from awfproxy.agents.place import Place

PLACEHOLDER = "awfproxy-placeholder"


def setup(place: Place, choice: Choice) -> Setup:
    key = choice.token or PLACEHOLDER
    variables = [
        Variable("GOOGLE_GEMINI_BASE_URL", place.url("gemini"), "where the Gemini API is"),
        Variable("GEMINI_API_KEY", key, "it wants one; awfproxy puts in the real key"),
        Variable("GEMINI_CLI_TRUST_WORKSPACE", "true", "or it ends with 55 where it has no terminal"),
    ]
    if choice.model is not None:
        variables.append(Variable("GEMINI_MODEL", choice.model, "the model"))
    return Setup(
        tuple(variables),
        file=ConfigFile(
            "GEMINI_CLI_HOME",
            ".gemini",
            ".gemini",
            "settings.json",
            (
                Setting(("security", "auth", "selectedType"), "gemini-api-key"),
                Setting(("privacy", "usageStatisticsEnabled"), False),
            ),
            needed=True,
        ),
    )


GEMINI = Agent(
    name="gemini",
    title="Gemini CLI",
    command="gemini",
    providers=("gemini",),
    setup=setup,
    credentials=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    diverting=(
        ("GOOGLE_GENAI_USE_VERTEXAI", "go to Vertex AI"),
        ("GOOGLE_GENAI_USE_GCA", "log in with Google"),
    ),
    login_file="oauth_creds.json",
    options=frozenset({"model"}),
)
