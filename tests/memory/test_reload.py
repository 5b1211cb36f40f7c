"""Reload: what is good is put in force at once, what is not leaves the one before, and both are said."""

import os

import attrs
import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from awfproxy.callers.endpoint import parse_endpoint
from awfproxy.callers.store import CallersInForce
from awfproxy.credentials.secret import Secret
from awfproxy.credentials.store import CredentialStore
from awfproxy.credentials.verdict import Accepted, Rejected, Unverified
from awfproxy.errors.configuration import ConfigError
from awfproxy.errors.egress import EgressDenied, EgressUnreachable
from awfproxy.observe.health import Health
from awfproxy.providers import anthropic, openai
from awfproxy.providers.provider import Asked
from awfproxy.providers.rules import parse_rules
from awfproxy.service.probe import KeyProbe
from awfproxy.service.reload import (
    LOOK_INTERVAL,
    RETRY_AFTER,
    Judged,
    Reloader,
    judge_by_validator,
    key_files,
)
from awfproxy.service.watchedfiles import file_marks
from awfproxy.settings.callers import CallerSettings
from awfproxy.settings.provider import ProviderSettings
from awfproxy.settings.values import Entry, Probe, Settings, in_force
from awfproxy.wire.target import Origin

TCP = (parse_endpoint("tcp:0"),)
GOOD = Judged(taken=True, verdict=Accepted())


def one(provider, key, asked=None, **more):
    keys = (None if key is None else Secret(key),)
    return ProviderSettings(provider, provider.access(asked or Asked()), TCP, keys, **more)


def settings(*providers, entries=()):
    return Settings(providers, None, entries=entries)


class World:
    """A reloader whose settings, judge and files are given by the test."""

    def __init__(self, *providers, start=True, callers=None):
        self.now = settings(*(providers or (one(openai.PROVIDER, b"old"), one(anthropic.PROVIDER, b"old"))))
        self.clock = Clock()
        self.store = CredentialStore(in_force(self.now))
        self.health = {each.provider.name: Health(lambda: 7.0, True) for each in self.now.providers}
        self.verdicts, self.judged = {}, []
        self.files, self.told, self.counts, self.events = {}, [], [], []
        self.reloader = Reloader(
            self.clock,
            settings=self.now,
            load=self.load,
            judge=self.judge,
            credentials=self.store,
            health=self.health,
            notifier=self,
            counted=self.counts.append,
            callers=callers,
            marks=lambda names: {name: self.files.get(name) for name in names},
        )
        if start:
            self.reloader.startService()

    def load(self):
        if isinstance(self.now, Exception):
            raise self.now
        return self.now

    def judge(self, candidate):
        self.judged.append(candidate.provider.name)
        result = self.verdicts.get(candidate.provider.name, GOOD)
        return result if isinstance(result, Deferred) else succeed(result)

    def reloading(self):
        self.told.append("RELOADING")

    def ready(self):
        self.told.append("READY")

    def key(self, name):
        return self.store.current(name).keys[0].reveal()

    def logged(self, event):
        return [each for each in self.events if each.get("event") == event]


@pytest.fixture
def world():
    made = World()
    globalLogPublisher.addObserver(made.events.append)
    yield made
    globalLogPublisher.removeObserver(made.events.append)
    made.reloader.stopService()
    assert not made.clock.getDelayedCalls()


def test_new_key_is_judged_and_put_in_force(world):
    world.now = settings(one(openai.PROVIDER, b"new"), one(anthropic.PROVIDER, b"old"))
    world.reloader.reload("SIGHUP")
    assert (world.key("openai"), world.key("anthropic")) == (b"new", b"old")
    assert world.judged == ["openai"]
    assert world.health["openai"].verdict == Accepted()
    assert world.health["openai"].refused_reload is None
    assert world.told == ["RELOADING", "READY"]
    assert world.counts == [True]
    assert [event["cause"] for event in world.logged("reload")] == ["SIGHUP"]


def test_key_is_not_used_while_it_is_judged(world):
    world.verdicts["openai"] = Deferred()
    world.now = settings(one(openai.PROVIDER, b"new"))
    world.reloader.reload("SIGHUP")
    assert world.key("openai") == b"old"
    world.verdicts["openai"].callback(GOOD)
    assert world.key("openai") == b"new"


def test_systemd_hears_that_it_is_over_once_all_is_in_force(world):
    world.verdicts["openai"] = Deferred()
    world.now = settings(one(openai.PROVIDER, b"new"))
    world.reloader.reload("SIGHUP")
    assert world.told == ["RELOADING"]
    world.verdicts["openai"].callback(GOOD)
    assert world.told == ["RELOADING", "READY"]


def test_systemd_waits_for_the_reload_that_follows_the_one_under_way(world):
    """Who asked last would else hear of an end that came before what they wrote was read."""
    world.verdicts["openai"] = Deferred()
    world.now = settings(one(openai.PROVIDER, b"new"))
    world.reloader.reload("a key file has changed")
    world.reloader.reload("SIGHUP")
    world.verdicts.pop("openai").callback(GOOD)
    assert world.told == ["RELOADING"]
    world.clock.advance(0)
    assert world.told == ["RELOADING", "RELOADING", "READY"]


def test_refused_key_leaves_the_one_before_and_is_said(world):
    world.verdicts["openai"] = Judged(taken=False, sentence="OpenAI rejects the key.")
    world.now = settings(one(openai.PROVIDER, b"bad"), one(anthropic.PROVIDER, b"new"))
    world.reloader.reload("SIGHUP")
    assert (world.key("openai"), world.key("anthropic")) == (b"old", b"new")
    assert world.health["openai"].refused_reload == "OpenAI rejects the key."
    assert world.health["openai"].verdict is None
    assert world.health["anthropic"].refused_reload is None
    (event,) = world.logged("reload_refused")
    assert (event["provider"], event["sentence"]) == ("openai", "OpenAI rejects the key.")
    assert world.counts == [False]


def test_next_good_reload_takes_the_refusal_back(world):
    world.verdicts["openai"] = Judged(taken=False, sentence="no")
    world.now = settings(one(openai.PROVIDER, b"bad"))
    world.reloader.reload("SIGHUP")
    world.verdicts.clear()
    world.now = settings(one(openai.PROVIDER, b"new"))
    world.reloader.reload("SIGHUP")
    assert world.health["openai"].refused_reload is None
    assert world.key("openai") == b"new"


def test_settings_that_cannot_be_used_change_nothing(world):
    world.now = ConfigError("The OpenAI key (file /k) is set but empty.")
    world.reloader.reload("SIGHUP")
    assert world.key("openai") == b"old"
    assert all("empty" in health.refused_reload for health in world.health.values())
    assert world.told == ["RELOADING", "READY"]
    assert world.counts == [False]


def test_key_that_is_gone_leaves_the_one_before(world):
    world.now = settings(one(openai.PROVIDER, None), one(anthropic.PROVIDER, b"old"))
    world.reloader.reload("SIGHUP")
    assert world.key("openai") == b"old"
    assert "no key any more" in world.health["openai"].refused_reload


def test_provider_whose_port_is_open_without_a_key_gets_one():
    world = World(one(openai.PROVIDER, b"old"), one(anthropic.PROVIDER, None))
    assert world.store.current("anthropic") is None
    world.reloader.reload("SIGHUP")
    assert world.store.current("anthropic") is None
    world.now = settings(one(openai.PROVIDER, b"old"), one(anthropic.PROVIDER, b"new"))
    world.reloader.reload("SIGHUP")
    assert world.key("anthropic") == b"new"
    assert world.judged == ["anthropic"]
    world.reloader.stopService()


def test_rules_are_taken_without_asking_the_provider(world):
    rules = parse_rules(["deny * /v1/files/**"], "the file")
    world.now = settings(attrs.evolve(one(openai.PROVIDER, b"old"), rules=rules))
    world.reloader.reload("SIGHUP")
    assert world.store.current("openai").rules == rules
    assert world.judged == []


def test_rules_are_taken_where_the_new_key_is_refused_or_gone(world):
    """An operator who closes a path does not wait for a key."""
    rules = parse_rules(["deny * /v1/files/**"], "the file")
    world.verdicts["openai"] = Judged(taken=False, sentence="no")
    world.now = settings(
        attrs.evolve(one(openai.PROVIDER, b"bad"), rules=rules),
        attrs.evolve(one(anthropic.PROVIDER, None), rules=rules),
    )
    world.reloader.reload("SIGHUP")
    assert (world.key("openai"), world.key("anthropic")) == (b"old", b"old")
    assert world.store.current("openai").rules == rules
    assert world.store.current("anthropic").rules == rules


@pytest.mark.parametrize(
    "asked",
    [Asked(target=Origin("elsewhere.example")), Asked(base_path=b"/other"), Asked(auth_field=b"api-key")],
    ids=["origin", "base path", "field"],
)
def test_key_for_another_place_never_goes_to_the_one_in_use(world, asked):
    """Where the key goes only a restart changes: until then the key is neither tried nor used."""
    rules = parse_rules(["allow * /other/**"], "the file")
    world.now = settings(one(openai.PROVIDER, b"theirs", asked, rules=rules), one(anthropic.PROVIDER, b"old"))
    world.reloader.reload("SIGHUP")
    assert world.judged == []
    assert world.key("openai") == b"old"
    assert not world.store.current("openai").rules
    assert "restart" in world.health["openai"].refused_reload
    assert world.counts == [False]


def test_provider_that_is_no_longer_configured_leaves_its_key_and_says_so(world):
    world.now = settings(one(openai.PROVIDER, b"old"))
    world.reloader.reload("SIGHUP")
    assert world.key("anthropic") == b"old"
    assert "no key any more" in world.health["anthropic"].refused_reload
    assert world.counts == [False]


def test_request_sees_the_old_set_or_the_new_one(world):
    before = world.store.current("openai")
    world.now = settings(one(openai.PROVIDER, b"new"))
    world.reloader.reload("SIGHUP")
    assert before.keys[0].reveal() == b"old"


def test_what_only_a_restart_changes_is_named(world):
    world.now = settings(
        one(openai.PROVIDER, b"new"),
        entries=(Entry("port", "10009", "file"), Entry("OpenAI key", "set, 3 characters", "file")),
    )
    world.reloader.reload("SIGHUP")
    (event,) = world.logged("reload_needs_restart")
    assert event["names"] == "port"


def test_settings_of_a_provider_that_are_shown_since_it_has_a_key_have_not_changed():
    """Of one without a key nothing else is shown."""
    world = World(one(openai.PROVIDER, b"old"), one(anthropic.PROVIDER, None))
    globalLogPublisher.addObserver(world.events.append)
    shown = Entry("anthropic-target", "api.anthropic.com", "default"), Entry("port", "10009", "file")
    world.now = settings(one(openai.PROVIDER, b"old"), one(anthropic.PROVIDER, b"first"), entries=shown)
    world.reloader.reload("SIGHUP")
    globalLogPublisher.removeObserver(world.events.append)
    assert world.key("anthropic") == b"first"
    (event,) = world.logged("reload_needs_restart")
    assert event["names"] == "port"
    world.reloader.stopService()


def test_reload_asked_for_during_another_follows_it(world):
    world.verdicts["openai"] = Deferred()
    world.now = settings(one(openai.PROVIDER, b"first"))
    world.reloader.reload("SIGHUP")
    world.now = settings(one(openai.PROVIDER, b"second"))
    world.reloader.reload("SIGHUP")
    world.reloader.reload("SIGHUP")
    judging, world.verdicts["openai"] = world.verdicts["openai"], GOOD
    judging.callback(GOOD)
    assert world.key("openai") == b"first"
    world.clock.advance(0)
    assert world.key("openai") == b"second"
    assert len(world.logged("reload")) == 2


@pytest.fixture
def from_file(world):
    """A world whose key came from a file."""
    world.now = settings(one(openai.PROVIDER, b"old", key_files=("/k",)))
    world.reloader.reload("SIGHUP")
    world.events.clear()
    return world


def test_changed_file_is_noticed_and_an_unchanged_one_is_not(from_file):
    world = from_file
    world.clock.pump([LOOK_INTERVAL] * 3)
    assert world.logged("reload") == []
    world.files["/k"] = 2
    world.now = settings(one(openai.PROVIDER, b"new", key_files=("/k",)))
    world.clock.advance(LOOK_INTERVAL)
    assert world.key("openai") == b"new"
    world.clock.pump([LOOK_INTERVAL] * 3)
    assert len(world.logged("reload")) == 1


def test_files_that_a_reload_names_are_those_watched_from_then_on(from_file):
    """What the start named and nobody names now is neither watched nor a change at each look."""
    world = from_file
    world.now = settings(one(openai.PROVIDER, b"new", key_files=("/other",)))
    world.reloader.reload("SIGHUP")
    world.files["/k"] = 2
    world.clock.pump([LOOK_INTERVAL] * 3)
    assert len(world.logged("reload")) == 1
    world.files["/other"] = 2
    world.clock.advance(LOOK_INTERVAL)
    assert len(world.logged("reload")) == 2


def test_file_that_changes_while_the_daemon_starts_is_noticed():
    """The ports may open long after the settings were read: once the way to the provider is there."""
    world = World(one(openai.PROVIDER, b"old", key_files=("/k",)), start=False)
    world.files["/k"] = 2
    world.now = settings(one(openai.PROVIDER, b"new", key_files=("/k",)))
    world.reloader.startService()
    world.clock.advance(LOOK_INTERVAL)
    assert world.key("openai") == b"new"
    world.reloader.stopService()


def test_file_that_changes_while_it_is_read_is_noticed(from_file):
    world = from_file
    late = settings(one(openai.PROVIDER, b"new", key_files=("/k",)))
    load = world.load

    def changing():
        world.files["/k"] = 3
        return load()

    world.reloader._load = changing
    world.reloader.reload("SIGHUP")
    world.reloader._load, world.now = load, late
    world.clock.advance(LOOK_INTERVAL)
    assert world.key("openai") == b"new"


def test_key_that_could_not_be_checked_is_tried_again(world):
    world.verdicts["openai"] = Judged(taken=False, sentence="The egress proxy cannot be reached.", again=True)
    world.now = settings(one(openai.PROVIDER, b"new"))
    world.reloader.reload("SIGHUP")
    world.clock.pump([LOOK_INTERVAL] * int(RETRY_AFTER / LOOK_INTERVAL - 1))
    assert world.judged == ["openai"]
    world.verdicts.clear()
    world.clock.pump([LOOK_INTERVAL] * 2)
    assert world.key("openai") == b"new"
    assert world.judged == ["openai", "openai"]


def test_rejected_key_is_not_tried_again_by_itself(world):
    world.verdicts["openai"] = Judged(taken=False, sentence="no")
    world.now = settings(one(openai.PROVIDER, b"bad"))
    world.reloader.reload("SIGHUP")
    world.clock.pump([LOOK_INTERVAL] * 60)
    assert world.judged == ["openai"]


def test_judge_that_fails_by_itself_changes_nothing_and_quotes_nothing(world, canary):
    world.verdicts["openai"] = Deferred()
    world.now = settings(one(openai.PROVIDER, b"new"))
    world.reloader.reload("SIGHUP")
    world.verdicts["openai"].errback(RuntimeError(canary))
    assert world.key("openai") == b"old"
    (event,) = world.logged("internal_error")
    assert canary not in str(event)
    world.verdicts.clear()
    world.reloader.reload("SIGHUP")
    assert world.key("openai") == b"new"


def test_stop_ends_the_judging(world):
    cancelled = []
    world.verdicts["openai"] = Deferred(lambda _: cancelled.append(True))
    world.now = settings(one(openai.PROVIDER, b"new"))
    world.reloader.reload("SIGHUP")
    world.reloader.stopService()
    assert cancelled == [True]
    assert world.key("openai") == b"old"
    assert world.logged("internal_error") == []


def test_before_the_start_and_after_the_end_nothing_is_reloaded(world):
    world.reloader.stopService()
    world.now = settings(one(openai.PROVIDER, b"new"))
    world.reloader.reload("SIGHUP")
    assert world.key("openai") == b"old"


# --- the judge --------------------------------------------------------------------------------------


@pytest.mark.parametrize("probe", [Probe.TRY, Probe.REQUIRE, Probe.AFTER, Probe.STRICT])
@pytest.mark.parametrize(
    ("attempt", "taken", "again", "said"),
    [
        (Accepted(), True, False, ""),
        (Unverified(403), True, False, ""),
        (Rejected("invalid_api_key"), False, False, "OpenAI rejects the key (401 invalid_api_key)."),
        (EgressDenied(), False, True, "does not allow the provider's host"),
        (EgressUnreachable(), False, True, "The egress proxy cannot be reached."),
    ],
)
def test_new_key_is_judged_as_at_a_start_that_waits(monkeypatch, probe, attempt, taken, again, said):
    async def always(self, limit):
        return attempt

    monkeypatch.setattr(KeyProbe, "attempt", always)
    clock, found = Clock(), []
    candidate = one(openai.PROVIDER, b"new")
    judge = judge_by_validator(clock, Settings((candidate,), None, probe=probe), {"openai": None})
    Deferred.fromCoroutine(judge(candidate)).addCallback(found.append)
    while not found:
        assert clock.seconds() < 100
        clock.advance(0.5)
    assert (found[0].taken, found[0].again) == (taken, again)
    assert said in found[0].sentence


def test_without_a_probe_a_new_key_is_taken_by_its_form():
    found = []
    candidate = one(openai.PROVIDER, b"new")
    judge = judge_by_validator(Clock(), Settings((candidate,), None, probe=Probe.OFF), {"openai": None})
    Deferred.fromCoroutine(judge(candidate)).addCallback(found.append)
    assert found == [Judged(taken=True)]


# --- files -----------------------------------------------------------------------------------------


def test_all_files_that_keys_came_from_are_watched():
    made = settings(
        one(openai.PROVIDER, b"k", key_files=("/a", "/run/credentials/openai_api_key")),
        one(anthropic.PROVIDER, b"k", key_files=("/b",)),
    )
    assert key_files(made) == ["/a", "/run/credentials/openai_api_key", "/b"]


def test_every_way_to_change_a_file_is_seen(tmp_path):
    """Written in place, replaced with the same size and time, gone, and a link swapped as Kubernetes does."""
    file = tmp_path / "key"
    name = str(file)
    seen = [file_marks([name])]

    def changed():
        seen.append(file_marks([name]))
        return seen[-1] != seen[-2]

    file.write_text("first")
    os.utime(file, ns=(0, 0))
    assert changed()
    assert not changed()
    os.utime(file, ns=(0, 1))
    assert changed()
    other = tmp_path / "other"
    other.write_text("later")
    os.utime(other, ns=(0, 1))
    other.rename(file)
    assert changed()
    file.unlink()
    assert changed()
    for each in "..1", "..2":
        (tmp_path / each).mkdir()
        (tmp_path / each / "key").write_text("first")
        os.utime(tmp_path / each / "key", ns=(0, 1))
    (tmp_path / "data").symlink_to("..1")
    file.symlink_to("data/key")
    assert changed()
    (tmp_path / "swap").symlink_to("..2")
    (tmp_path / "swap").rename(tmp_path / "data")
    assert changed()


# --- callers ----------------------------------------------------------------------------------------


class Callers:
    """What was put in force on callers, in order."""

    def __init__(self):
        self.put = []

    def replace(self, in_force):
        self.put.append(in_force)


def with_callers(in_force, *files):
    return Settings((one(openai.PROVIDER, b"old"),), None, callers=CallerSettings(in_force, files=files))


def test_token_keys_and_revocations_are_put_in_force_before_a_key_is_judged():
    callers = Callers()
    world = World(callers=callers)
    revoked = CallersInForce((Secret(b"k"),), frozenset({"job-1"}))
    world.verdicts["openai"] = Deferred()
    world.now = attrs.evolve(with_callers(revoked), providers=(one(openai.PROVIDER, b"new"),))
    world.reloader.reload("SIGHUP")
    assert callers.put == [revoked]
    assert world.key("openai") == b"old"
    world.reloader.stopService()


def test_what_cannot_be_read_leaves_them_as_they_were_and_is_said():
    callers = Callers()
    world = World(callers=callers)
    world.now = ConfigError("--revoked-labels-file: /etc/revoked cannot be read.")
    world.reloader.reload("SIGHUP")
    assert callers.put == []
    assert "/etc/revoked" in world.health["openai"].refused_reload
    world.reloader.stopService()


def test_tokens_that_are_wanted_no_more_are_wanted_until_a_restart():
    callers = Callers()
    world = World(callers=callers)
    world.now = with_callers(None)
    world.reloader.reload("SIGHUP")
    assert callers.put == []
    world.reloader.stopService()


def test_files_on_callers_are_looked_at_too():
    made = with_callers(CallersInForce((Secret(b"k"),)), "/etc/token.key", "/etc/revoked")
    assert key_files(made) == ["/etc/token.key", "/etc/revoked"]
