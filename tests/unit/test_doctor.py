"""`awfproxy doctor` without its walk: steps, judgements, the door, the events, and how all is shown."""

import io
import json
from typing import Any

import pytest

from awfproxy.callers.allowed import Allowed, Peer
from awfproxy.callers.endpoint import parse_endpoint
from awfproxy.cli import doctor
from awfproxy.credentials.secret import Secret
from awfproxy.credentials.verdict import Accepted, CannotTell, Rejected, Unverified
from awfproxy.doctor import judge
from awfproxy.doctor.client import Answer
from awfproxy.doctor.door import Door, door
from awfproxy.doctor.events import events, failure, has_ended
from awfproxy.doctor.show import Lines, as_json
from awfproxy.doctor.step import Outcome, State, Step, cause, exit_code, failed, ok, skipped
from awfproxy.errors.base import AwfError
from awfproxy.errors.client import PathDenied
from awfproxy.errors.configuration import ConfigError
from awfproxy.errors.egress import EgressAuthRequired, EgressDenied, EgressProtocolError, EgressUnreachable
from awfproxy.errors.origin import OriginClosed
from awfproxy.errors.tls import TlsUntrusted
from awfproxy.providers import anthropic, copilot, gemini, openai, vertex
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.providers.compatible import compatible
from awfproxy.providers.provider import Asked, Provider, Trial
from awfproxy.service.probe import Attempt
from awfproxy.settings.provider import ProviderSettings

OPENAI = openai.PROVIDER
ACCESS = OPENAI.access(Asked())
ONE = ProviderSettings(OPENAI, ACCESS, (parse_endpoint("tcp:10000:interface=127.0.0.1"),), (None,))


def reply(
    status: int = 200,
    content: bytes = b"{}",
    *,
    own: str = "",
    kind: str = "application/json",
    whole: bool = True,
) -> Answer:
    return Answer(status, own, kind, content, whole, 0.25)


# --- steps --------------------------------------------------------------------------------------------


def test_cause_is_the_first_failure_that_is_no_symptom() -> None:
    symptom = Step("health", "openai", failed("not ready", "wait", 69, symptom=True))
    first, fine = Step("key", "openai", failed("no", "do", 77)), Step("port", "openai", ok("fine"))
    assert cause([fine]) is None
    assert exit_code([fine]) == 0
    assert cause([fine, symptom, first]) is first
    assert exit_code([symptom, first]) == 77


def test_symptom_is_the_cause_where_nothing_else_failed() -> None:
    symptom = Step("health", "openai", failed("not ready", "wait", 69, symptom=True))
    assert cause([symptom, Step("key", "openai", ok("fine"))]) is symptom
    assert exit_code([symptom]) == 69


# --- the door -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "found", "shown"),
    [
        ("tcp:10000:interface=127.0.0.1", Door("127.0.0.1", 10000), "127.0.0.1:10000"),
        ("tcp:10000:interface=0.0.0.0", Door("127.0.0.1", 10000), "127.0.0.1:10000"),
        ("tcp:port=10000", Door("127.0.0.1", 10000), "127.0.0.1:10000"),
        ("tcp6:10000:interface=\\:\\:", Door("::1", 10000), "[::1]:10000"),
        ("tcp6:10000", Door("::1", 10000), "[::1]:10000"),
        ("tcp:10000:interface=172.30.0.30", Door("172.30.0.30", 10000), "172.30.0.30:10000"),
        ("tcp:10000:172.30.0.30", Door("172.30.0.30", 10000), "172.30.0.30:10000"),
        ("unix:/run/a\\\\:mode=660", Door(path="/run/a\\"), "unix:/run/a\\"),
        ("unix:/run/a\\:b.sock:mode=660", Door(path="/run/a:b.sock"), "unix:/run/a:b.sock"),
    ],
)
def test_door_is_where_this_machine_reaches_the_listener(endpoint: str, found: Door, shown: str) -> None:
    assert door(parse_endpoint(endpoint)) == found
    assert str(found) == shown


@pytest.mark.parametrize(
    "endpoint", ["systemd:domain=INET:index=0", "tcp:0:interface=127.0.0.1", "tcp:http", "fd:3"]
)
def test_address_that_stands_elsewhere_is_not_guessed(endpoint: str) -> None:
    assert door(parse_endpoint(endpoint)) is None


# --- judgements ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (EgressUnreachable("refused"), 69),
        (EgressDenied(), 78),
        (EgressAuthRequired(), 78),
        (EgressProtocolError(), 78),
        (ConfigError("X"), 78),
        (TlsUntrusted("self-signed"), 76),
        (OriginClosed(), 69),
        (Rejected("invalid_api_key"), 77),
        (CannotTell("OpenAI failed (500)"), 69),
    ],
    ids=repr,
)
def test_failed_hop_has_the_daemons_exit_code_its_cause_and_a_fix(found: Attempt, code: int) -> None:
    outcome = judge.attempt(found, ONE)
    assert (outcome.state, outcome.code) == (State.FAILED, code)
    assert outcome.fix
    assert "Gave up" not in outcome.said + outcome.fix
    if isinstance(found, AwfError):
        assert outcome.said.startswith(found.sentence)
        assert found.detail in outcome.said


@pytest.mark.parametrize("found", [Accepted(), Accepted("restricted"), Unverified(404)], ids=repr)
def test_key_that_the_daemon_would_serve_with_is_ok(found: Attempt) -> None:
    assert judge.attempt(found, ONE).state is State.OK


def test_rejected_key_is_told_how_to_give_another() -> None:
    outcome = judge.attempt(Rejected("invalid_api_key"), ONE)
    assert outcome.said == "OpenAI rejects the key (401 invalid_api_key)."
    assert outcome.fix.startswith("Give a valid key: OPENAI_API_KEY, --key-file")


HEALTHY: dict[str, Any] = {"service": "awf-api-proxy", "status": "healthy"}


def test_health_is_judged_by_what_awfproxy_says() -> None:
    assert judge.health(reply(200, json.dumps(HEALTHY).encode())).state is State.OK
    sick = judge.health(reply(503, json.dumps({**HEALTHY, "reason": "The key."}).encode()))
    assert (sick.state, sick.code, sick.symptom) == (State.FAILED, 69, True)
    assert sick.said == "awfproxy is not ready: The key."
    always_200 = judge.health(reply(200, json.dumps({**HEALTHY, "reason": "The key."}).encode()))
    assert always_200.symptom


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b'{"service":"x"}', b"[" * 100_000])
def test_what_is_not_awfproxy_is_a_cause(content: bytes) -> None:
    outcome = judge.health(reply(200, content))
    assert (outcome.state, outcome.code, outcome.symptom) == (State.FAILED, 71, False)


def test_user_whom_the_list_does_not_have_is_named_with_the_list_and_the_fix() -> None:
    place, peers = Door(path="/run/a.sock"), Allowed(frozenset({7, 5}), frozenset({50}))
    refused = judge.cut_at_unix_socket(place, peers, Peer(1000, frozenset({1000, 27})))
    assert (refused.state, refused.code, refused.symptom) == (State.FAILED, 78, False)
    assert "unix:/run/a.sock is closed to user 1000 (groups 27, 1000)" in refused.said
    assert "--allow-uid 5 --allow-uid 7 --allow-gid 50" in refused.said
    assert "add --allow-uid 1000" in refused.fix
    for listed in Peer(5, frozenset({1})), Peer(1000, frozenset({50})):
        outcome = judge.cut_at_unix_socket(place, peers, listed)
        assert (outcome.state, outcome.code) == (State.FAILED, 69)
        assert "PrivateUsers=no" in outcome.fix


def ask(found: Answer, key: bytes | None = None) -> Outcome:
    keys = () if key is None else (Secret(key),)
    return judge.answer(found, OPENAI, ACCESS.origin, "m", keys)


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, 77, "OpenAI refuses a request to m (401 c)."),
        (403, 77, "OpenAI refuses a request to m (403 c)."),
        (404, 69, "OpenAI refuses a request to m (404 c)."),
        (429, 69, "OpenAI refuses a request to m (429 c)."),
        (500, 69, "OpenAI refuses a request to m (500 c)."),
    ],
)
def test_providers_refusal_is_its_status_and_code_and_none_of_its_words(
    status: int, code: int, said: str
) -> None:
    outcome = ask(reply(status, b'{"error":{"code":"c","message":"WORDS"}}'))
    assert (outcome.code, outcome.said) == (code, said)
    assert outcome.fix
    assert "WORDS" not in outcome.said + outcome.fix


def test_code_that_quotes_the_key_is_not_shown() -> None:
    outcome = ask(reply(400, b'{"error":{"code":"bad_abcdefgh"}}'), b"sk-abcdefghijkl")
    assert outcome.said == "OpenAI refuses a request to m (400)."


def test_awfproxys_own_error_is_told_with_its_hop_and_code() -> None:
    outcome = ask(reply(502, own="egress_unreachable"))
    assert outcome.said == EgressUnreachable.sentence
    assert outcome.code == 69
    assert ask(reply(403, own=PathDenied.code)).code == 78
    assert ask(reply(403, own="credential_missing")).code == 78
    assert ask(reply(500, own="of-another-version")).code == 69


def test_answer_that_is_cut_short_failed() -> None:
    assert ask(reply(whole=False)).state is State.FAILED
    assert ask(reply()).state is State.OK


# --- events and trials --------------------------------------------------------------------------------


def test_events_are_counted_whole() -> None:
    assert events(b"data: 1\n\n: comment\n\nevent: x\r\ndata: 2\r\n\r\ndata: half") == [
        b"data: 1", b"event: x\r\ndata: 2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("provider", "content"),
    [
        (OPENAI, b"event: response.incomplete\ndata: {}\n\n"),
        (anthropic.PROVIDER, b"event: message_stop\ndata: {}\n\n"),
        (copilot.PROVIDER, b"data: [DONE]\n\n"),
        (gemini.PROVIDER, b'data: {"candidates":[{"finishReason":"STOP"}]}\r\n\r\n'),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_end_of_each_providers_stream_is_known(provider: Provider, content: bytes) -> None:
    assert provider.trial is not None
    before = b"data: {}\n\n"
    assert has_ended(provider, provider.trial, before + content)
    assert not has_ended(provider, provider.trial, before)
    assert not has_ended(provider, provider.trial, before + content[:-3])


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n', "overloaded_error"),
        (b"event: response.failed\ndata: {}\n\n", ""),
    ],
)
def test_error_within_a_stream_is_a_failure(content: bytes, code: str) -> None:
    found = failure(b"data: {}\n\n" + content)
    assert found is not None
    assert found.code == code
    assert failure(b'data: {"text":"event: error"}\n\n') is None


def test_vertex_alone_has_no_trial() -> None:
    assert [provider for provider in BUILT_IN if provider.trial is None] == [vertex.PROVIDER]


@pytest.mark.parametrize("provider", [p for p in (*BUILT_IN, compatible("acme")) if p.trial], ids=str)
@pytest.mark.parametrize("stream", [False, True])
def test_trial_asks_the_model_for_little(provider: Provider, stream: bool) -> None:
    trial = provider.trial
    assert isinstance(trial, Trial)
    target, content = trial.request("a/model", stream)
    text = json.dumps(content)
    assert target.startswith(b"/")
    assert len(text) < 300
    if provider is gemini.PROVIDER:
        assert target == (
            b"/v1beta/models/a%2Fmodel:streamGenerateContent?alt=sse" if stream
            else b"/v1beta/models/a%2Fmodel:generateContent"
        )  # fmt: skip
    else:
        assert (content["model"], content["stream"]) == ("a/model", stream)
    assert (": 16" in text) is (provider is not copilot.PROVIDER)


# --- how it is shown ----------------------------------------------------------------------------------

STEPS = [
    Step("configuration", "", ok("read")),
    Step("egress", "openai", skipped("direct")),
    Step("key", "openai", failed("rejected\nFORGED\x1b[31m", "give another", 77), 1.5),
]


def test_lines_are_one_for_a_step_and_one_for_its_fix() -> None:
    out = io.StringIO()
    lines = Lines(out, None)
    for step in STEPS:
        lines.begun(step.name, step.provider)
        lines.waiting()
        lines.done(step)
    lines.end(STEPS)
    assert out.getvalue().splitlines() == [
        "  ok       configuration   0.00 s  read",
        "openai",
        "  skipped  egress                  direct",
        "  failed   key             1.50 s  rejected\\nFORGED\\x1b[31m",
        "                                   Fix: give another",
        "The first cause is at key of openai; exit code 77.",
    ]


def test_live_line_tells_what_is_waited_for_and_is_gone_at_the_end() -> None:
    out, now = io.StringIO(), [0.0]
    lines = Lines(out, lambda: now[0])
    lines.begun("key", "openai")
    now[0] = 2.5
    lines.waiting()
    drawn = out.getvalue().split("\r")
    assert "key" in drawn[-1]
    assert "2.5 s  asking the provider about the key" in drawn[-1]
    lines.done(STEPS[2])
    lines.waiting()
    assert out.getvalue().split("\r")[-2].strip() == ""
    assert out.getvalue().split("\r")[-1].startswith("  failed   key")


def test_json_has_every_step_and_the_cause() -> None:
    document = json.loads(as_json(STEPS))
    assert (document["ok"], document["exit_code"]) == (False, 77)
    assert document["cause"] == document["steps"][-1]
    assert document["steps"] == [
        {"provider": None, "step": "configuration", "state": "ok", "seconds": 0.0, "said": "read",
         "fix": None},
        {"provider": "openai", "step": "egress", "state": "skipped", "seconds": None, "said": "direct",
         "fix": None},
        {"provider": "openai", "step": "key", "state": "failed", "seconds": 1.5,
         "said": "rejected\nFORGED\x1b[31m", "fix": "give another"},
    ]  # fmt: skip
    assert json.loads(as_json(STEPS[:1]))["cause"] is None


# --- the command line ---------------------------------------------------------------------------------


def test_help_teaches_steps_cost_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["--help"], {}) == 0
    out = capsys.readouterr().out
    for word in ("cost a few tokens", "--no-request", "--json", "--agent NAME", "--home DIR", "--egress"):
        assert word in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--agent", "codx"], "Did you mean codex?"),
        (["--home", "/x"], "--home is the agent's: give --agent as well."),
        (["--model", "a b"], "--model: it is empty, or has a space"),
        (["--host", "0.0.0.0"], "--host: 0.0.0.0 and :: are what a server binds to."),
        (["openai", "gemini"], "something on it that is no option"),
        (["--prot", "1"], "Did you mean --port?"),
    ],
)
def test_command_line_that_cannot_be_understood_is_64(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert doctor.main(words, {}) == 64
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
