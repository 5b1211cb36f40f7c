"""The lists of models: what is asked, what becomes of each answer, the file, and the requested model."""

import json
import stat
from pathlib import Path

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import formatEvent, globalLogPublisher

from awfproxy.credentials.secret import Secret
from awfproxy.credentials.store import CredentialStore, InForce
from awfproxy.errors.egress import EgressDenied
from awfproxy.observe.metrics import Metrics
from awfproxy.observe.models import ModelLists
from awfproxy.service.ask import Answer, NoAnswer
from awfproxy.service.models import LARGEST, LIMIT, Listed, ModelFetch
from awfproxy.settings.commandline import parse
from awfproxy.settings.load import load
from awfproxy.settings.values import in_force

NOW = "2026-01-02T03:04:05.678Z"


class Asked:
    """Stands in for an `Asker`."""

    def __init__(self):
        self.head = None
        self.answer = Deferred()

    def ask(self, head, body, limit, most):
        assert self.head is None
        assert body is None
        assert limit == LIMIT
        assert (most(200), most(404)) == (LARGEST, 0)
        self.head = head
        return self.answer


class Fetch:
    def __init__(self, environ, folder, requested="", hidden=None):
        settings = load(
            parse(("--profile", "gh-aw")).values, environ, Path.read_bytes, lambda name: 0o100600
        )
        self.lists = ModelLists()
        self.askers = {one.provider.name: Asked() for one in settings.providers}
        self.metrics = {one.provider.name: Metrics() for one in settings.providers}
        self.credentials = CredentialStore(in_force(settings))
        self.events = []
        globalLogPublisher.addObserver(self.events.append)
        self.folder = folder
        fetch = ModelFetch(
            [
                Listed(one, self.askers[one.provider.name], self.metrics[one.provider.name])
                for one in settings.providers
            ],
            self.credentials,
            self.lists,
            folder=str(folder),
            requested=requested,
            hidden=hidden,
            now=lambda: NOW,
        )
        self.running = Deferred.fromCoroutine(fetch.run())

    def asked(self):
        return {name: asker.head.target for name, asker in self.askers.items() if asker.head is not None}

    def answer(self, name, *models, status=200):
        document = {"data": [{"id": model} for model in models]}
        self.askers[name].answer.callback(Answer(status, json.dumps(document).encode(), complete=True))

    def logged(self, event):
        return [each for each in self.events if each.get("event") == event]

    def file(self):
        return json.loads((self.folder / "models.json").read_text())


@pytest.fixture
def fetch(tmp_path):
    made = []

    def start(environ, **more):
        made.append(Fetch(environ, more.pop("folder", tmp_path), **more))
        return made[-1]

    yield start
    for each in made:
        globalLogPublisher.removeObserver(each.events.append)


@pytest.fixture
def two(canary):
    return {"OPENAI_API_KEY": canary, "ANTHROPIC_API_KEY": canary}


def test_each_configured_provider_is_asked_with_its_key_and_no_other(fetch, two, canary):
    made = fetch({**two, "GOOGLE_API_KEY": canary})
    assert made.asked() == {"openai": b"/v1/models", "anthropic": b"/v1/models?limit=1000"}
    head = made.askers["openai"].head
    assert head.values(b"authorization") == [b"Bearer " + canary.encode()]
    assert head.values(b"host") == [b"api.openai.com"]
    made.running.addErrback(lambda failure: None).cancel()


def test_own_key_of_copilots_is_not_shown_to_a_list_that_takes_githubs_tokens_alone(fetch, canary):
    assert fetch({"COPILOT_PROVIDER_API_KEY": canary}).asked() == {}


def test_own_key_goes_to_the_list_of_its_own_origin(fetch, canary):
    made = fetch(
        {"COPILOT_PROVIDER_API_KEY": canary, "COPILOT_GITHUB_TOKEN": "gho_x1y2z3",
         "COPILOT_PROVIDER_BASE_URL": "https://llm.example/api/v1"}
    )  # fmt: skip
    assert made.asked() == {"copilot": b"/api/v1/models"}
    assert made.askers["copilot"].head.values(b"authorization") == [b"Bearer " + canary.encode()]
    made.running.addErrback(lambda failure: None).cancel()


def test_lists_are_told_and_complete_at_the_end(fetch, two):
    made = fetch(two)
    made.answer("openai", "gpt-5", "gpt-4o")
    assert made.lists.lists["openai"] == ("gpt-4o", "gpt-5")
    assert not made.lists.complete
    made.answer("anthropic", "claude")
    assert made.lists.complete
    assert made.lists.lists == {
        "openai": ("gpt-4o", "gpt-5"), "anthropic": ("claude",),
        "copilot": None, "gemini": None, "vertex": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "answer",
    [
        Answer(401, b"", complete=True),
        Answer(200, b"<html>", complete=True),
        Answer(200, b'{"data":[{"id":"a"}]}', complete=False),
        NoAnswer(LIMIT),
        EgressDenied(),
    ],
)
def test_failure_leaves_none_and_the_others_alone(fetch, two, answer):
    made = fetch(two)
    made.askers["openai"].answer.callback(answer)
    made.answer("anthropic", "claude")
    assert made.lists.complete
    assert made.lists.lists["openai"] is None
    assert made.lists.lists["anthropic"] == ("claude",)
    assert [each["provider"] for each in made.logged("model_fetch_error")] == ["openai"]


def test_exception_leaves_none_too(fetch, two):
    made = fetch(two)
    made.askers["openai"].answer.errback(ZeroDivisionError("with the key in it"))
    made.answer("anthropic", "claude")
    assert made.lists.complete
    (event,) = made.logged("model_fetch_error")
    assert event["reason"] == "ZeroDivisionError"


def test_stopping_ends_what_is_under_way(fetch, two):
    made = fetch(two)
    ends = []
    made.running.addErrback(lambda failure: ends.append(failure.type))
    made.running.cancel()
    assert ends == [CancelledError]
    assert made.askers["openai"].answer.called
    assert not (made.folder / "models.json").exists()


# --- an origin that repeats what it was sent ----------------------------------------------------------


def everywhere(made):
    """All that comes of the lists: what the pages have, the file, and the log with its values."""
    logged = [f"{formatEvent(event)} {event}" for event in made.events]
    return "\n".join([str(made.lists), (made.folder / "models.json").read_text(), *logged])


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize("form", [{"id": "echo-KEY"}, {"name": "models/KEY"}, {"id": "KEYKEY-KEY"}])
def test_name_with_the_key_in_it_is_masked_and_counted(fetch, canary, form, escaped):
    made = fetch({"OPENAI_API_KEY": canary}, requested="gpt-9")
    text = json.dumps({"data": [{"id": "gpt-5"}, form]})
    said = "".join(f"\\u{ord(each):04x}" for each in canary) if escaped else canary
    made.askers["openai"].answer.callback(Answer(200, text.replace("KEY", said).encode(), complete=True))
    (name,) = form.values()
    masked = name.removeprefix("models/").replace("KEY", "*" * len(canary))
    assert made.lists.lists["openai"] == tuple(sorted(("gpt-5", masked)))
    assert made.file()["providers"]["openai"]["models"] == list(made.lists.lists["openai"])
    assert canary not in everywhere(made)
    assert made.metrics["openai"].leaks_masked == name.count("KEY")
    (event,) = made.logged("leak_masked")
    assert (event["provider"], event["times"]) == ("openai", name.count("KEY"))
    assert masked in made.logged("model_unavailable_at_startup")[0]["available"]


@pytest.mark.parametrize("part", [slice(0, 16), slice(-12, None), slice(20, 28)], ids=["head", "end", "mid"])
def test_name_that_quotes_a_part_of_the_key_is_none(fetch, canary, part):
    made = fetch({"OPENAI_API_KEY": canary}, requested="gpt-9")
    made.answer("openai", "gpt-5", f"wrong-{canary[part]}")
    assert made.lists.lists["openai"] == ("gpt-5",)
    assert canary[part] not in everywhere(made)
    assert made.metrics["openai"].leaks_masked == 1
    assert len(made.logged("leak_masked")) == 1


def test_list_of_nothing_but_parts_of_the_key_is_none(fetch, canary):
    made = fetch({"OPENAI_API_KEY": canary})
    made.answer("openai", canary[20:40])
    assert made.lists.lists["openai"] is None
    assert len(made.logged("model_fetch_error")) == 1


def test_key_of_another_provider_and_one_just_replaced_are_masked_too(fetch, canary):
    """One gateway may stand behind two providers; and the answer may be longer under way than a reload."""
    old, other, new = canary, canary[::-1], canary[30:] + canary[:30]
    made = fetch({"OPENAI_API_KEY": old, "ANTHROPIC_API_KEY": other})
    made.credentials.replace({**made.credentials.every(), "openai": InForce((Secret(new.encode()),))})
    made.answer("openai", *(f"{at}-{key}" for at, key in enumerate((old, other, new))))
    stars = "*" * len(canary)
    assert made.lists.lists["openai"] == (f"0-{stars}", f"1-{stars}", f"2-{stars}")
    assert made.metrics["openai"].leaks_masked == 3
    made.running.addErrback(lambda failure: None).cancel()


def test_list_without_a_key_in_it_is_counted_nowhere(fetch, canary):
    made = fetch({"OPENAI_API_KEY": canary})
    made.answer("openai", "gpt-5", "sk-proj")
    assert made.lists.lists["openai"] == ("gpt-5", "sk-proj")
    assert made.metrics["openai"].leaks_masked == 0
    assert made.logged("leak_masked") == []


# --- the file ---------------------------------------------------------------------------------------


def test_file_has_all_providers_their_lists_and_hosts(fetch, two):
    made = fetch(two)
    made.answer("openai", "gpt-5")
    made.answer("anthropic", status=500)
    assert made.file() == {
        "timestamp": NOW,
        "providers": {
            "openai": {
                "configured": True, "models": ["gpt-5"], "model_metadata": None, "target": "api.openai.com"
            },
            "anthropic": {
                "configured": True, "models": None, "model_metadata": None, "target": "api.anthropic.com"
            },
            **{
                name: {"configured": False, "models": None, "model_metadata": None, "target": None}
                for name in ("copilot", "gemini", "vertex")
            },
        },
        "model_aliases": None,
    }  # fmt: skip
    assert '\n  "providers"' in (made.folder / "models.json").read_text()
    assert len(made.logged("models_json_written")) == 1


def test_host_that_is_not_to_be_shown_is_not_in_it(fetch, canary):
    made = fetch(
        {"OPENAI_API_KEY": canary, "OPENAI_API_TARGET": "llm.secret.example"}, hidden="LLM.secret.example"
    )
    made.answer("openai", "gpt-5")
    assert made.file()["providers"]["openai"]["target"] == "[REDACTED]"


def test_file_is_its_owners_alone(fetch, tmp_path):
    made = fetch({})
    assert stat.S_IMODE((tmp_path / "models.json").stat().st_mode) == 0o600
    assert made.logged("models_json_written")


@pytest.mark.parametrize("kind", ["link", "open to all"])
def test_file_is_made_anew_whatever_stood_there(fetch, tmp_path, kind):
    """Others may write into the folder, too."""
    path, other = tmp_path / "models.json", tmp_path / "other"
    other.write_text("before")
    if kind == "link":
        path.symlink_to(other)
    else:
        path.write_text("x" * 100_000)
        path.chmod(0o666)
    fetch({})
    assert other.read_text() == "before"
    assert not path.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())


def test_folder_that_is_not_there_is_said_once_and_not_made(fetch, tmp_path):
    made = fetch({}, folder=tmp_path / "none")
    (event,) = made.logged("models_json_write_failed")
    assert event["reason"] == "No such file or directory"
    assert not (tmp_path / "none").exists()
    assert made.lists.complete


# --- the requested model ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requested", "event"),
    [("gpt-5", "model_validation"), ("GPT-5", "model_validation"), ("gpt-6", "model_unavailable_at_startup")],
)
def test_requested_model_is_looked_for_in_the_lists(fetch, canary, requested, event):
    made = fetch({"OPENAI_API_KEY": canary}, requested=requested)
    made.answer("openai", "gpt-4o", "gpt-5")
    assert [each["event"] for each in made.events if "requested_model" in each] == [event]
    assert made.logged(event)[0]["requested_model"] == requested


def test_without_any_list_it_is_not_judged(fetch, canary):
    made = fetch({"OPENAI_API_KEY": canary}, requested="gpt-5")
    made.answer("openai", status=500)
    events = [each["event"] for each in made.events if "requested_model" in each]
    assert events == ["model_validation_skipped"]


def test_nothing_is_said_where_none_is_requested(fetch, canary):
    made = fetch({"OPENAI_API_KEY": canary})
    made.answer("openai", "gpt-5")
    assert not [each for each in made.events if "requested_model" in each]
