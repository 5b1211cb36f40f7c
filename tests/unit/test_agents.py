"""What each agent needs: facts, formats, and the editing of its own file, without any file."""

import json
import re
import subprocess
import tomllib
from collections.abc import Callable

import pytest

from awfproxy.agents import noproxy
from awfproxy.agents.agent import Agent, Choice, Setting, Variable, merged, parse_model
from awfproxy.agents.changes import CannotEdit
from awfproxy.agents.claude import CLAUDE
from awfproxy.agents.codex import CODEX
from awfproxy.agents.copilot import COPILOT
from awfproxy.agents.edit import edit
from awfproxy.agents.formats import Command, Printout, dotenv, github, json_text, shell
from awfproxy.agents.gemini import GEMINI
from awfproxy.agents.place import PORTS, Place, parse_host, parse_port
from awfproxy.agents.registry import AGENTS, BY_NAME
from awfproxy.credentials.shape import check_shape
from awfproxy.errors.configuration import ConfigError
from awfproxy.providers.openai import PROVIDER as OPENAI

CHOICES = (Choice(), Choice(github_token=True), Choice(model="gpt-5.4", websocket=True))


def variables(agent: Agent, place: Place | None = None, choice: Choice | None = None) -> dict[str, str]:
    setup = agent.setup(place or Place(), choice or Choice())
    return {variable.name: variable.value for variable in setup.variables}


# --- where awfproxy is ------------------------------------------------------------------------------


def test_each_provider_has_its_port() -> None:
    assert PORTS == {"openai": 10000, "anthropic": 10001, "copilot": 10002, "gemini": 10003, "vertex": 10004}
    assert PORTS["openai"] == OPENAI.port


@pytest.mark.parametrize(
    ("text", "host", "url"),
    [
        ("127.0.0.1", "127.0.0.1", "http://127.0.0.1:10000"),
        ("api-proxy", "api-proxy", "http://api-proxy:10000"),
        ("Side.Car", "side.car", "http://side.car:10000"),
        ("::1", "::1", "http://[::1]:10000"),
        ("[FD00:0::2]", "fd00::2", "http://[fd00::2]:10000"),
    ],
)
def test_host_stands_in_a_url(text: str, host: str, url: str) -> None:
    assert parse_host(text) == host
    assert Place(host).url("openai") == url


@pytest.mark.parametrize(
    "text",
    ["", " ", "a b", "a\nb", "a'b", 'a"b', "a;b", "$(id)", "http://a", "a:80", "a/b", "u@a", "1.2.3",
     "999.1.1.1", "[a]", "[127.0.0.1", "fe80::1%eth0", "0.0.0.0", "::", "a..b", "a.", "-a",
     "ä", "127.0.0.1\n", "a" * 254],
)  # fmt: skip
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\. Give |none\. Give|host alone|one without"):
        parse_host(text)


@pytest.mark.parametrize("text", ["", "0", "65536", "1e3", "-1", " 1", "1\n", "²", "000001"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="1 to 65535"):
        parse_port(text)


@pytest.mark.parametrize("text", ["", "a b", "a\nb", "ä", "a" * 201])
def test_what_is_no_model_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="model's name"):
        parse_model(text)


# --- the agents -------------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_every_credential_that_is_printed_is_a_placeholder_to_the_daemon_too(
    agent: Agent, choice: Choice
) -> None:
    for name, value in variables(agent, choice=choice).items():
        if re.search("KEY|TOKEN", name):
            with pytest.raises(ConfigError, match="is a placeholder, not a key"):
                check_shape(value.encode(), name, OPENAI)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_every_url_is_of_a_port_that_the_agent_names(agent: Agent, choice: Choice) -> None:
    ports = {provider: 20000 + PORTS[provider] for provider in PORTS}
    setup = agent.setup(Place("fd00::2", ports), choice)
    text = repr(setup)
    found = {int(port) for port in re.findall(r"http://\[fd00::2\]:(\d+)", text)}
    assert found == {ports[provider] for provider in agent.providers}
    assert text.count("http://") == text.count("http://[fd00::2]:")


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_every_variable_has_a_reason_of_one_line(agent: Agent) -> None:
    for choice in CHOICES:
        for variable in agent.setup(Place(), choice).variables:
            assert re.fullmatch(r"[ -~]{5,80}", variable.reason)


def test_agents_agree_on_what_they_share() -> None:
    assert set(BY_NAME) == {
        "codex", "claude", "gemini", "copilot", "openai-sdk", "anthropic-sdk", "google-sdk"
    }  # fmt: skip
    for choice in CHOICES:
        names = [variable.name for variable in merged([a.setup(Place(), choice) for a in AGENTS])]
        assert len(names) == len(set(names))


def test_codex_gets_a_provider_that_asks_for_no_key() -> None:
    setup = CODEX.setup(Place(), Choice())
    assert setup.variables == ()
    said = tomllib.loads("\n".join(setup.arguments[1::2]))
    assert set(setup.arguments[::2]) == {"-c"}
    assert said == {
        "model_provider": "awfproxy",
        "model_providers": {
            "awfproxy": {
                "name": "awfproxy", "base_url": "http://127.0.0.1:10000/v1", "wire_api": "responses"
            }
        },
    }  # fmt: skip
    assert setup.file is not None
    assert tomllib.loads(edit("config.toml", "", setup.file.settings).text) == said


@pytest.mark.parametrize("model", ["gpt-6.1", "a\"b\\c'd$e`f"])
def test_codex_takes_model_and_websocket(model: str) -> None:
    setup = CODEX.setup(Place(), Choice(model=model, websocket=True))
    said = tomllib.loads("\n".join(setup.arguments[1::2]))
    assert said["model"] == model
    assert said["model_providers"]["awfproxy"]["supports_websockets"] is True
    assert setup.file is not None
    assert tomllib.loads(edit("config.toml", "", setup.file.settings).text) == said


def test_claude_gets_a_token_and_no_traffic_of_its_own() -> None:
    assert variables(CLAUDE, choice=Choice(model="m")) == {
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:10001",
        "ANTHROPIC_AUTH_TOKEN": "sk-ant-awfproxy-placeholder",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "ANTHROPIC_MODEL": "m",
    }


def test_gemini_needs_its_file() -> None:
    assert variables(GEMINI)["GEMINI_CLI_TRUST_WORKSPACE"] == "true"
    file = GEMINI.setup(Place(), Choice()).file
    assert file is not None
    assert file.needed
    assert json.loads(edit(file.name, "", file.settings).text) == {
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "privacy": {"usageStatisticsEnabled": False},
    }


def test_copilot_as_an_own_providers_client_has_no_token() -> None:
    assert variables(COPILOT) == {
        "COPILOT_OFFLINE": "true", "COPILOT_PROVIDER_BASE_URL": "http://127.0.0.1:10002"
    }  # fmt: skip
    assert [name for name, _ in COPILOT.setup(Place(), Choice()).missing] == ["COPILOT_MODEL"]


@pytest.mark.parametrize(
    ("choice", "wire_api", "transport"),
    [
        (Choice("gpt-4.1"), None, None),
        (Choice("gpt-5.4"), "responses", None),
        (Choice("o3-pro"), "responses", None),
        (Choice("gpt-4.1", websocket=True), "responses", "websockets"),
    ],
)
def test_copilots_wire_api_follows_the_model(
    choice: Choice, wire_api: str | None, transport: str | None
) -> None:
    found = variables(COPILOT, choice=choice)
    assert found.get("COPILOT_PROVIDER_WIRE_API") == wire_api
    assert found.get("COPILOT_PROVIDER_TRANSPORT") == transport
    assert COPILOT.setup(Place(), choice).missing == ()


def test_copilot_as_githubs_client_goes_without_githubs_mcp_server() -> None:
    setup = COPILOT.setup(Place(), Choice(github_token=True))
    assert setup.arguments == ("--disable-builtin-mcps",)
    found = variables(COPILOT, choice=Choice(github_token=True))
    assert found["COPILOT_GITHUB_TOKEN"].startswith("gho_")
    assert not {"COPILOT_OFFLINE", "COPILOT_PROVIDER_BASE_URL"} & found.keys()


# --- NO_PROXY ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "host", "value"),
    [
        ({}, "127.0.0.1", "127.0.0.1,localhost"),
        ({}, "api-proxy", "127.0.0.1,localhost,api-proxy"),
        ({}, "::1", "127.0.0.1,localhost,::1,[::1]"),
        ({"NO_PROXY": "a, b", "no_proxy": "b,c"}, "h", "a,b,c,127.0.0.1,localhost,h"),
        ({"NO_PROXY": "localhost"}, "127.0.0.1", "localhost,127.0.0.1"),
        ({"no_proxy": "*"}, "127.0.0.1", "*,127.0.0.1,localhost"),
    ],
)
def test_no_proxy_loses_nothing_and_names_us(environ: dict[str, str], host: str, value: str) -> None:
    found = noproxy.variables(environ, host)
    assert {variable.name: variable.value for variable in found} == {"NO_PROXY": value, "no_proxy": value}


@pytest.mark.parametrize(
    ("no_proxy", "host", "covered"),
    [
        ("", "127.0.0.1", False),
        ("localhost", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("x,[::1]", "::1", True),
        (".example", "a.example", True),
        ("xample", "a.example", False),
        ("0.0.1", "127.0.0.1", False),
        ("*", "127.0.0.1", False),
    ],
)
def test_whether_a_proxy_would_get_our_requests(no_proxy: str, host: str, covered: bool) -> None:
    assert noproxy.is_covered({"http_proxy": "http://squid:3128", "NO_PROXY": no_proxy}, host) is covered
    assert noproxy.is_covered({"NO_PROXY": no_proxy}, host)


# --- formats ----------------------------------------------------------------------------------------

HOSTILE = [
    "plain", "", "a b", " a ", "it's", '"', "$HOME", "$(id)", "`id`", "a\\nb", "a\nb", "a\r\nb", "#a", "a#b",
    "a=b", "!x", "~", "é", "*,a", "a\nAWFPROXY_END\nb", "a'b\"c$d\\e", "a' b$HOME", "\t", "-n", "%s",
]  # fmt: skip


def printout(value: str, *commands: Command) -> Printout:
    return Printout("x", "makes X use awfproxy", (Variable("AWF_X", value, "a reason"),), commands)


def sh(script: str, shell: str = "sh") -> str:
    done = subprocess.run(
        [shell, "-euc", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=True, timeout=30
    )
    assert done.stderr == b""
    return done.stdout.decode()


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("program", ["sh", "bash"])
def test_shell_reads_back_every_value_from_its_environment(value: str, program: str) -> None:
    show = 'python3 -c \'import os; print(ascii(os.environ["AWF_X"]))\''
    text = shell(printout(value))
    assert sh(f"eval {quoted_once(text)}\n{show}", program) == ascii(value) + "\n"


def quoted_once(text: str) -> str:
    """What a shell has in `"$(awfproxy env X)"`."""
    return "'" + text.removesuffix("\n").replace("'", "'\\''") + "'"


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("program", ["sh", "bash"])
def test_shell_function_puts_its_arguments_before_the_users(value: str, program: str) -> None:
    text = shell(printout("", Command("printf", ("[%s]", value), "a reason")))
    assert sh(f"eval {quoted_once(text)}\nprintf 'user x' y", program) == f"[{value}][user x][y]"


def test_shell_function_is_defined_over_an_alias_of_its_name() -> None:
    text = shell(printout("", Command("printf", ("[%s]",), "a reason")))
    script = f"shopt -s expand_aliases\nalias printf='echo aliased'\neval {quoted_once(text)}\nprintf a"
    assert sh(script, "bash") == "[a]"


@pytest.mark.parametrize("value", HOSTILE)
def test_json_has_every_value_as_it_is(value: str) -> None:
    content = json.loads(json_text(printout(value, Command("c", ("-x", value), "r"))))
    assert content == {
        "agent": "x", "environment": {"AWF_X": value}, "arguments": {"c": ["-x", value]}, "files": {}
    }  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
def test_github_reads_back_every_value(value: str) -> None:
    assert read_github(github(printout(value, Command("c", (), "not a variable")))) == {"AWF_X": value}


def read_github(text: str) -> dict[str, str]:
    """As the runner does: NAME=VALUE, or NAME<<MARK, lines, MARK; whichever operator comes first."""
    found = {}
    lines = iter(text.removesuffix("\n").split("\n"))
    for line in lines:
        match = re.match(r"([A-Z_a-z]+)(=|<<)(.*)", line, re.DOTALL)
        assert match, f"the runner refuses the line {line!r}"
        name, operator, rest = match.groups()
        found[name] = rest if operator == "=" else "\n".join(iter(lambda: next(lines), rest))
    return found


@pytest.mark.parametrize("value", HOSTILE)
def test_dotenv_is_one_line_that_reads_back(value: str) -> None:
    text = dotenv(printout(value, Command("c", ("-x",), "it needs an argument")))
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) == 1
    name, _, written = lines[0].partition("=")
    assert name == "AWF_X"
    if written.startswith("'"):
        read = re.fullmatch("'([^']*)'", written)
        assert read
        assert read[1] == value
    elif written.startswith('"'):
        read = re.fullmatch(r'"((?:[^"\\$]|\\.)*)"', written)
        assert read
        escapes: Callable[[re.Match[str]], str] = lambda m: {"n": "\n", "r": "\r"}.get(m[1], m[1])  # noqa: E731
        assert re.sub(r"\\(.)", escapes, read[1]) == value
    else:
        assert re.fullmatch(r"[^\s#'\"$`\\]+", written)
        assert written == value


# --- editing files ----------------------------------------------------------------------------------

CODEX_FILE = CODEX.setup(Place(), Choice()).file
assert CODEX_FILE is not None
CODEX_SETTINGS = CODEX_FILE.settings
OURS = {"name": "awfproxy", "base_url": "http://127.0.0.1:10000/v1", "wire_api": "responses"}

TOML = [
    "",
    "# mine\n",
    'model = "x" # which\n\n# about tools\n[tools]\na = 1\n',
    '[model_providers.other]\nname = "o" # other\n\n[z]\nb = 1\n',
    'model_providers = {other = {name = "o"}}\n[z]\nb = 1\n',
    'model_providers.other.name = "o"\n[z]\nb = 1\n',
    'model_providers.awfproxy.name = "o"\n[z]\nb = 1\n',
    "[model_providers.a]\nx = 1\n[z]\nb = 1\n[model_providers.b]\nx = 1\n",
    'model_provider = "o" # why\n[model_providers]\n[model_providers.awfproxy]\nname = "q" # named\n[y]\n',
    'model_provider = "openai"\r\n# crlf\r\n[a]\r\nb = 1\r\n',
    '[[list]]\na = 1\n[[list]]\na = 2 # two\n[list.b]\nc = """\n# no comment\n"""\n',
    'x = 1\n[projects."/a b/c"]\ntrust_level = "trusted"',
]


@pytest.mark.parametrize("text", TOML)
def test_toml_keeps_every_comment_and_value_and_gets_ours(text: str) -> None:
    before = tomllib.loads(text)
    edited = edit("config.toml", text, CODEX_SETTINGS)
    after = tomllib.loads(edited.text)
    assert after.pop("model_provider") == "awfproxy"
    assert after["model_providers"].pop("awfproxy") == OURS
    before.pop("model_provider", None)
    before.setdefault("model_providers", {}).pop("awfproxy", None)
    assert after == before
    for comment in re.findall(r"#.*", text):
        assert comment in edited.text
    assert edit("config.toml", edited.text, CODEX_SETTINGS).changes == ()
    assert edit("config.toml", edited.text, CODEX_SETTINGS).text == edited.text


def test_comment_on_a_table_stays_above_that_table() -> None:
    edited = edit("config.toml", 'model = "x"\n\n# about tools\n[tools]\na = 1\n', CODEX_SETTINGS)
    assert "\n# about tools\n[tools]\n" in edited.text


def test_what_was_replaced_is_named() -> None:
    edited = edit("config.toml", 'model_provider = "mine"', CODEX_SETTINGS)
    assert edited.changes[0] == 'model_provider = "awfproxy" (in place of "mine")'


def test_key_that_would_lead_codex_to_a_credential_is_removed_and_never_shown() -> None:
    text = (
        '[model_providers.awfproxy]\nenv_key = "SECRET"\nexperimental_bearer_token = "sk-1"\n'
        "supports_websockets = true"
    )
    edited = edit("config.toml", text, CODEX_SETTINGS)
    assert tomllib.loads(edited.text)["model_providers"]["awfproxy"] == OURS
    assert "model_providers.awfproxy.env_key removed" in edited.changes
    assert "sk-1" not in repr(edited)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("c.toml", "a = ", "not valid TOML"),
        ("c.toml", "a = 1\na = 2", "not valid TOML"),
        ("c.toml", "model_providers = 1", "something else than a table at model_providers"),
        ("c.toml", "\ufeffa = 1", "not valid TOML"),
        ("c.json", "{", "not valid JSON"),
        ("c.json", "[]", "something else than a JSON object"),
        ("c.json", '{"a": 1, "a": 2}', "twice"),
        ("c.json", '{"a": 1 // why\n}', "comments"),
        ("c.json", '/* why */ {"a": "//"}', "comments"),
        ("c.json", '{"a": 1,}', "comments"),
        ("c.json", '{"a": NaN}', "cannot be written again"),
        ("c.json", '{"a": 1e999}', "cannot be written again"),
        ("c.json", '{"a": "\\ud800"}', "cannot be written again"),
        ("c.json", "[" * 100000, "nested too deeply"),
        ("c.json", '{"model_providers": []}', "something else than a table"),
    ],
)
def test_what_cannot_be_edited_without_loss_is_refused(name: str, text: str, said: str) -> None:
    with pytest.raises(CannotEdit, match=said):
        edit(name, text, CODEX_SETTINGS)


@pytest.mark.parametrize("indent", ["  ", "    ", "\t"])
def test_json_keeps_order_unknown_keys_and_indentation(indent: str) -> None:
    content = {"z": {"b": [1, 2.5, None, "é"]}, "env": {"PATH": "/x", "ANTHROPIC_BASE_URL": "u"}, "a": True}
    text = json.dumps(content, indent=indent, ensure_ascii=False) + "\n"
    settings = [Setting(("env", "ANTHROPIC_BASE_URL"), "v"), Setting(("n", "m"), False)]
    edited = edit("settings.json", text, settings)
    content["env"] = {"PATH": "/x", "ANTHROPIC_BASE_URL": "v"}
    content["n"] = {"m": False}
    assert edited.text == json.dumps(content, indent=indent, ensure_ascii=False) + "\n"
    assert edited.changes == ('env.ANTHROPIC_BASE_URL = "v" (in place of "u")', "n.m = false")


def test_true_is_not_one() -> None:
    assert edit("s.json", '{"a": 1}', [Setting(("a",), True)]).changes == ("a = true (in place of 1)",)


def test_key_in_claudes_file_is_replaced_or_removed_and_never_shown() -> None:
    file = CLAUDE.setup(Place(), Choice()).file
    assert file is not None
    text = '{"env": {"ANTHROPIC_API_KEY": "sk-ant-real", "ANTHROPIC_AUTH_TOKEN": "sk-ant-other", "X": "y"}}'
    edited = edit(file.name, text, file.settings)
    assert json.loads(edited.text)["env"] == {**variables(CLAUDE), "X": "y"}
    assert "env.ANTHROPIC_API_KEY removed" in edited.changes
    assert "real" not in repr(edited)
    assert "other" not in " ".join(edited.changes).replace("another value", "")
