"""The pages in docs/ agree with the code that they describe."""

import re
from pathlib import Path

import pytest

from awfproxy.agents.agent import Agent, Choice
from awfproxy.agents.place import Place
from awfproxy.agents.registry import AGENTS
from awfproxy.commandline import default, variables
from awfproxy.credentials.injector import HOP_BY_HOP, STRIPPED
from awfproxy.observe.accesslog import Outcome
from awfproxy.options import OPTIONS, PROVIDER_SETTINGS, Option
from awfproxy.service.exit import ExitCode

ROOT = Path(__file__).resolve().parents[2]


def page(name: str) -> str:
    return (ROOT / name).read_text()


def row(option: Option) -> str:
    shared = ", ".join(f"`{name}`" for name in variables(option))
    shown = f"`{default(option)}`" if default(option) else ""
    text = option.help + (" May be repeated." if option.repeatable else "")
    return f"| `{option.flag} {option.metavar}` | {shown} | {shared} | {text} |"


EVERY = (*PROVIDER_SETTINGS, *OPTIONS)


@pytest.mark.parametrize("option", EVERY, ids=lambda option: option.name)
def test_each_option_has_its_row(option: Option) -> None:
    assert row(option) in page("docs/configuration.md").splitlines()


def test_no_row_is_about_an_option_that_is_gone() -> None:
    rows = re.findall(r"^\| `--.*$", page("docs/configuration.md"), re.MULTILINE)
    assert rows == [row(option) for option in EVERY]


@pytest.mark.parametrize("code", ExitCode, ids=lambda code: code.name)
def test_each_exit_code_is_in_the_readme(code: ExitCode) -> None:
    assert re.search(rf"^\| {int(code)} \|", page("README.md"), re.MULTILINE)


@pytest.mark.parametrize("name", [*STRIPPED, *HOP_BY_HOP], ids=lambda name: name.decode())
def test_each_removed_field_is_named(name: bytes) -> None:
    assert f"`{name.decode()}`" in page("docs/forwarding.md")


@pytest.mark.parametrize("outcome", Outcome, ids=lambda outcome: outcome.name)
def test_each_outcome_is_explained(outcome: Outcome) -> None:
    assert f"`{outcome.value}`" in page("docs/forwarding.md")


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_each_agent_has_its_command_and_all_that_is_set_is_named(agent: Agent) -> None:
    assert agent.title in page("docs/agents.md")
    for name in ("docs/agents.md", "README.md"):
        assert re.search(rf"awfproxy env {agent.name}\b|`{agent.name}`", page(name))
    for choice in (Choice("m", websocket=True), Choice("m", github_token=True)):
        for variable in agent.setup(Place(), choice).variables:
            assert re.search(rf"`{variable.name}\b", page("docs/agents.md"))
