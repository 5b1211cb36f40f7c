"""From what an attempt came to, to the step's outcome. Pure; the exit codes are the validator's."""

import json
from collections.abc import Sequence

from awfproxy.agents.agent import Finding
from awfproxy.callers.allowed import Allowed, Peer
from awfproxy.credentials.injector import secrets_of
from awfproxy.credentials.quotes import quotes
from awfproxy.credentials.secret import Secret
from awfproxy.credentials.verdict import CannotTell, ProviderError, Rejected, describe, read_error
from awfproxy.doctor.client import Answer
from awfproxy.doctor.door import Door
from awfproxy.doctor.events import events, failure, has_ended
from awfproxy.doctor.step import Outcome, failed, ok
from awfproxy.errors.base import AwfError
from awfproxy.errors.callers import CallerRefused
from awfproxy.errors.client import AmbiguousTarget, PathDenied
from awfproxy.errors.configuration import ConfigError
from awfproxy.errors.own import CredentialMissing
from awfproxy.errors.table import table
from awfproxy.providers.provider import Provider, Trial
from awfproxy.service.exit import ExitCode
from awfproxy.service.probe import Attempt
from awfproxy.service.validator import Policy, Quit
from awfproxy.settings.provider import ProviderSettings
from awfproxy.settings.values import Probe
from awfproxy.wire.target import Origin

SERVICE = "awf-api-proxy"
SHOW = "awfproxy check --show prints each setting, and where it is from."


def configuration(error: ConfigError, code: int) -> Outcome:
    return failed(str(error), SHOW, code)


def attempt(found: Attempt, one: ProviderSettings) -> Outcome:
    """A hop's error, or the provider's verdict on the key."""
    return _attempt(found, one.provider, one.access.origin)


def _attempt(found: Attempt, provider: Provider, origin: Origin) -> Outcome:
    # Without patience, and with the probe required, the policy gives each cause its code.
    decision = Policy(Probe.REQUIRE, 0.0, 0.0, provider, origin).decide(found, 0.0, 1)
    if not isinstance(decision, Quit):
        assert not isinstance(found, AwfError)
        return ok(f"{describe(provider, found)}.")
    if isinstance(found, AwfError):
        said = found.sentence if not found.detail else f"{found.sentence} ({found.detail})"
        added = decision.sentence.removeprefix(str(found)).strip()
        fix = f"{found.fix} {added}" if decision.code is ExitCode.CONFIG and added else found.fix
        return failed(said, fix, decision.code)
    said = f"{describe(provider, found)}."
    if isinstance(found, Rejected):
        return failed(said, decision.sentence.removeprefix(said).strip(), decision.code)
    assert isinstance(found, CannotTell)
    return failed(said, f"Try again; if it stays, look for news of {provider.title}'s.", decision.code)


def certificate(shown: str, one: ProviderSettings) -> Outcome:
    """It is good. Its issuer's name is a peer's text."""
    quoted = quotes(shown, secrets_of(one.access, one.keys))
    return ok("The certificate is good." if quoted else f"The certificate is good: {shown}.")


def health(answer: Answer) -> Outcome:
    """Not ready is a symptom: which hop it is, the steps behind this one find out."""
    try:
        content = json.loads(answer.content)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.get("service") != SERVICE:
        return failed(
            "What listens there is not awfproxy: its /health is another's.",
            "Stop what holds the port, or give awfproxy another: --port. (Or --local-pages differs here.)",
            ExitCode.OS_ERROR,
        )
    reason = content.get("reason")
    if answer.status == 200 and reason is None:
        return ok("awfproxy is ready.")
    return failed(
        f"awfproxy is not ready: {str(reason)[:300]}",
        "That of the step below that fails. If none does, its settings or key are not those found here, or "
        "it has not looked again yet: restart it.",
        ExitCode.UNAVAILABLE,
        symptom=True,
    )


def no_answer(said: str) -> Outcome:
    """What came was no answer, or none in time."""
    return failed(said, "awfproxy's log has the hop and the cause.", ExitCode.UNAVAILABLE)


def cut_at_unix_socket(door: Door, peers: Allowed, own: Peer) -> Outcome:
    """The connection stood and was closed, as awfproxy does it with whoever its list does not have."""
    if peers.admits(own):
        return failed(
            f"{door} has closed the connection, though its list of users has user {own.uid}, as whom this "
            "runs.",
            "awfproxy's log has the cause. If it is peer_refused, awfproxy knows this user by another "
            "number: for a unit of systemd's set PrivateUsers=no; or it has another list than is found here: "
            "restart it.",
            ExitCode.UNAVAILABLE,
        )
    listed = " ".join(
        [f"--allow-uid {uid}" for uid in sorted(peers.uids)]
        + [f"--allow-gid {gid}" for gid in sorted(peers.gids)]
    )
    groups = ", ".join(map(str, sorted(own.gids)))
    return failed(
        f"{door} is closed to user {own.uid} (groups {groups}), as whom this runs: awfproxy's list of those "
        f"who may connect is {listed}.",
        f"Run this as one who is listed, as the agent is; or add --allow-uid {own.uid} and restart awfproxy.",
        ExitCode.CONFIG,
    )


def answer(
    found: Answer, provider: Provider, origin: Origin, model: str, keys: Sequence[Secret | None] = ()
) -> Outcome:
    """What came back for the tiny request."""
    if found.own_error:
        return _own_error(found.own_error, provider, origin)
    if not 200 <= found.status < 300:
        return _refused(found.status, read_error(found.content), provider, model, keys)
    if not found.is_whole:
        return _cut("The answer")
    return ok(f"{model} answered ({found.status}).")


def stream(
    found: Answer,
    provider: Provider,
    origin: Origin,
    trial: Trial,
    model: str,
    keys: Sequence[Secret | None] = (),
) -> Outcome:
    """The same, streamed: events, and the protocol's own end."""
    if found.own_error or not 200 <= found.status < 300:
        return answer(found, provider, origin, model, keys)
    error = failure(found.content)
    if error is not None:
        return _refused(found.status, error, provider, model, keys)
    if not found.is_whole:
        return _cut("The stream")
    many = len(events(found.content))
    if not found.content_type.startswith("text/event-stream") or not many:
        return failed(
            "The answer is no stream of events, though one was asked for.",
            "Check that --target and --base-path name the API itself.",
            ExitCode.UNAVAILABLE,
        )
    if not has_ended(provider, trial, found.content):
        return failed(
            f"The stream stopped after {many} events, before the one that ends it.",
            "Try again; if it stays, look at what stands between Squid and the provider.",
            ExitCode.UNAVAILABLE,
        )
    return ok(f"{many} events, the first after {found.first_after:.2f} s, and the end.")


def agent(title: str, found: Sequence[Finding]) -> Outcome:
    fatal = [finding for finding in found if finding.fatal]
    if fatal:
        fixes = dict.fromkeys(finding.fix for finding in fatal if finding.fix)
        return failed(" ".join(finding.said for finding in fatal), " ".join(fixes), ExitCode.CONFIG)
    notes = " ".join(f"Note: {finding.said} {finding.fix}".rstrip() for finding in found)
    return ok(f"{title}, as it is set up here, comes to awfproxy. {notes}".rstrip())


def _own_error(code: str, provider: Provider, origin: Origin) -> Outcome:
    kind = next((row for row in table() if row.code == code), None)
    if kind is None:
        return failed("awfproxy refuses the request.", "See its log.", ExitCode.UNAVAILABLE)
    outcome = _attempt(kind(), provider, origin)
    if issubclass(kind, PathDenied | AmbiguousTarget | CallerRefused | CredentialMissing):
        return failed(outcome.said, outcome.fix, ExitCode.CONFIG)
    return outcome


def _refused(
    status: int, error: ProviderError, provider: Provider, model: str, keys: Sequence[Secret | None]
) -> Outcome:
    """The provider's refusal: its status and code are shown, never its words."""
    code = error.code
    if quotes(code, [key.reveal() for key in keys if key is not None]):
        code = ""
    said = f"{provider.title} refuses a request to {model} ({f'{status} {code}'.strip()})."
    if status == 401:
        fix = "The daemon's key is not taken: give it a valid one, and restart it."
    elif status in (400, 403, 404):
        fix = "If the model is not there for this key, name another: --model NAME."
    elif status == 429:
        fix = "A limit of rate, or credit that is used up: wait, or look at the account."
    else:
        fix = f"Try again; if it stays, look for news of {provider.title}'s."
    return failed(said, fix, ExitCode.NO_PERMISSION if status in (401, 403) else ExitCode.UNAVAILABLE)


def _cut(what: str) -> Outcome:
    return failed(
        f"{what} was cut short.",
        "Try again; if it stays, awfproxy's log has the hop and the cause.",
        ExitCode.UNAVAILABLE,
    )
