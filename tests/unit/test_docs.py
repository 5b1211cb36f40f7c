"""The pages in docs/ agree with the code that they describe."""

import re
from pathlib import Path

import pytest

from awfproxy.agents.agent import Agent, Choice
from awfproxy.agents.place import Place
from awfproxy.agents.registry import AGENTS
from awfproxy.credentials.injector import HOP_BY_HOP, STRIPPED
from awfproxy.credentials.sources import read_file
from awfproxy.observe.accesslog import Outcome
from awfproxy.service.exit import ExitCode
from awfproxy.settings.commandline import default, variables
from awfproxy.settings.given import resolve_all
from awfproxy.settings.options import OPTIONS, PROVIDER_SETTINGS, Option
from tests.kit.outcomes import PROPERTIES

ROOT = Path(__file__).resolve().parents[2]


def page(name: str) -> str:
    return (ROOT / name).read_text()


def row(option: Option) -> str:
    shared = ", ".join(f"`{name}`" for name in variables(option))
    shown = f"`{default(option)}`" if default(option) else ""
    text = option.help + (" May be repeated." if option.repeatable else "")
    return f"| `{option.usage}` | {shown} | {shared} | {text} |"


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


SOURCE = "".join(path.read_text() for path in sorted((ROOT / "awfproxy").rglob("*.py")))


@pytest.mark.parametrize("event", sorted(set(re.findall(r'event="(\w+)"', SOURCE))))
def test_each_event_of_the_log_is_in_its_table(event: str) -> None:
    log = page("docs/observing.md").split("## The log")[1]
    assert f"`{event}`" in log.replace("(or\n`…_write_failed`)", "`models_json_write_failed`")


DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = ["README.md", "CHANGELOG.md", "bench/README.md", *(f"docs/{each.name}" for each in DOCS)]


def anchors(text: str) -> set[str]:
    """Of each heading, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", sorted(PAGES))
def test_each_link_within_the_repository_leads_somewhere(name: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page(name)):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = (ROOT / name).parent / file if file else ROOT / name
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target.read_text()), link


EXAMPLES = [
    (name, example)
    for name in sorted(PAGES)
    for example in re.findall(r"```toml\n(.*?)```", page(name), re.DOTALL)
    if "model_provider" not in example  # codex's own file
]


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_each_example_of_a_configuration_file_is_taken(name: str, example: str, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(example)
    given = resolve_all({"config": str(file)}, {}, read_file)
    assert given["config"].value == str(file)
    assert given.rules or any(value.source.startswith(str(file)) for value in given.options.values())


def test_each_key_of_a_provider_of_the_files_own_is_in_its_table() -> None:
    section = page("docs/configuration.md").split("## A provider of the file's own")[1].split("\n## ")[0]
    names = {setting.name for setting in PROVIDER_SETTINGS} - {"target"} | {"origin", "key-variable", "rules"}
    table = section.split("| key | |")[1]
    assert all(f"`{name}`" in table for name in names)


# --- what was tried on it -------------------------------------------------------------------------------


def named(text: str) -> list[str]:
    """Files and folders of the tree, and patterns of them."""
    return re.findall(r"`((?:tests|fuzz|bench)/[\w/.*-]*)`", text)


def test_each_path_that_the_reliability_page_names_is_there() -> None:
    paths = named(page("docs/reliability.md"))
    assert len(paths) > 20
    assert [path for path in paths if not list(ROOT.glob(path))] == []


RELIABILITY = page("docs/reliability.md").split("\n## ")
AREAS = {
    area: section.split("<!--")[0]
    for section in RELIABILITY
    for area in re.findall(r"<!-- outcomes: (.*?) -->", section)
}
TESTS = {path: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}


@pytest.mark.parametrize("area", AREAS)
def test_above_each_table_of_it_stand_the_tests_that_write_its_rows(area: str) -> None:
    """They say what it ran against: a row that moves to another file needs a look at these sentences."""
    assert "own process" in AREAS[area] or "the real parts" in AREAS[area]
    of_area = {path for pattern in named(AREAS[area]) for path in ROOT.glob(pattern)}
    writes = ("\n@given(", "outcome(PROPERTIES") if area == PROPERTIES else (f'"{area}"',)
    found = {path for path, text in TESTS.items() if any(word in text for word in writes)}
    assert found
    missing = found - of_area
    assert not missing, f"not named: {sorted(path.relative_to(ROOT) for path in missing)}"
