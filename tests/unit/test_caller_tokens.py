"""Caller tokens: what one says, who can sign one, and that nothing else is taken for one."""

import base64
import gc
import hmac
import json
import time
from collections.abc import Callable
from hashlib import sha256
from hmac import compare_digest
from types import FunctionType, ModuleType

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from awfproxy.callers.claims import Claims, check_label, read_claims
from awfproxy.callers.keyfile import MOST, SHORTEST, new_key, parse_keys, parse_labels
from awfproxy.callers.presented import presented
from awfproxy.callers.store import LEEWAY, REMEMBERED, CallersInForce, CallerStore
from awfproxy.callers.token import LONGEST, beginning, has_form, issue, read
from awfproxy.credentials.injector import prepare_request
from awfproxy.credentials.secret import Secret
from awfproxy.credentials.shape import looks_real
from awfproxy.errors.base import AwfError
from awfproxy.errors.callers import (
    CallerTokenExpired,
    CallerTokenInvalid,
    CallerTokenMissing,
    CallerTokenRevoked,
    CallerTokenScope,
)
from awfproxy.errors.client import AmbiguousTarget
from awfproxy.providers.anthropic import PROVIDER as ANTHROPIC
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.providers.gemini import PROVIDER as GEMINI
from awfproxy.providers.openai import PROVIDER as OPENAI
from awfproxy.providers.provider import Access, Asked
from awfproxy.wire.framing import NO_BODY
from awfproxy.wire.message import RequestHead, field
from tests.kit.tokens import KEY, signed, token

Seen = Callable[[str, str, str], None]
AREA = "Who may call"
NOW = 1_800_000_000
ACCESS = OPENAI.access(Asked())
CLAIMS = Claims(label="job-1", providers=("openai",), issued=NOW, expires=NOW + 60)
TOKEN = issue(CLAIMS, Secret(KEY)).encode()
SAID = CLAIMS.as_mapping()


def head(
    *fields: tuple[bytes, bytes], target: bytes = b"/v1/responses", method: bytes = b"GET"
) -> RequestHead:
    return RequestHead(method, target, b"1.1", (field(b"Host", b"h"), *(field(*each) for each in fields)))


def with_token(value: bytes, target: bytes = b"/v1/responses", method: bytes = b"GET") -> RequestHead:
    return head((b"Authorization", b"Bearer " + value), target=target, method=method)


def store(*keys: bytes, revoked: frozenset[str] = frozenset(), now: float = NOW) -> CallerStore:
    in_force = CallersInForce(tuple(map(Secret, keys or (KEY,))), revoked)
    return CallerStore(in_force, lambda: now)


def judged(
    callers: CallerStore, request: RequestHead, access: Access = ACCESS, name: str = "openai"
) -> Claims:
    claims = callers.identify(request, name, access)
    callers.judge(claims, request, access)
    return claims


# --- what a token says ------------------------------------------------------------------------------


def test_what_was_issued_is_what_is_read() -> None:
    claims = Claims(
        label="a.b:c@d_e-1",
        providers=("openai", "mistral"),
        issued=NOW,
        expires=NOW + 1,
        methods=("GET", "POST"),
        paths=("/v1/responses", "/v1/models/**"),
        not_before=NOW,
    )
    made = issue(claims, Secret(KEY)).encode()
    assert read(made, (Secret(KEY),), "openai") == read(made, (Secret(KEY),), "mistral") == claims


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"iss": "awfproxy/2"}, "InvalidIssuerError"),
        ({"iss": None}, "MissingRequiredClaimError"),
        ({"aud": "anthropic"}, "InvalidAudienceError"),
        ({"aud": ["anthropic", "gemini"]}, "InvalidAudienceError"),
        ({"aud": []}, "MissingRequiredClaimError|InvalidAudienceError"),
        ({"aud": None}, "MissingRequiredClaimError"),
        ({"exp": None}, "MissingRequiredClaimError"),
        ({"iat": None}, "MissingRequiredClaimError"),
        ({"sub": None}, "MissingRequiredClaimError"),
        ({"exp": "1900000000"}, "its exp is not a time"),
        ({"exp": NOW + 0.5}, "its exp is not a time"),
        ({"exp": True}, "its exp is not a time"),
        ({"exp": 1 << 60}, "its exp is not a time"),
        ({"iat": -1}, "its iat is not a time"),
        ({"nbf": "soon"}, "its nbf is not a time"),
        ({"sub": "a b"}, "a label has"),
        ({"sub": ""}, "a label has"),
        ({"sub": "-a"}, "a label has"),
        ({"sub": "a\n"}, "a label has"),
        ({"sub": "x" * 65}, "a label has"),
        ({"sub": "é"}, "a label has"),
        ({"methods": []}, "its methods is not a list"),
        ({"methods": "GET"}, "its methods is not a list"),
        ({"methods": [1]}, "its methods is not a list"),
        ({"methods": ["get"]}, "its method is not one"),
        ({"methods": ["GET,POST /x\nallow *"]}, "a rule has three words"),
        ({"paths": []}, "its paths is not a list"),
        ({"paths": ["v1"]}, "does not begin with a slash"),
        ({"paths": ["/v1/../x"]}, "ends with a dot"),
        ({"models": ["gpt-5"]}, "a claim that is not known"),
        ({"jti": "1"}, "a claim that is not known"),
    ],
)  # fmt: skip
def test_claims_that_are_not_of_this_form_are_refused_whoever_signed_them(
    change: dict[str, object], why: str
) -> None:
    said = {name: value for name, value in (SAID | change).items() if value is not None}
    with pytest.raises(CallerTokenInvalid, match=why):
        read(signed(said), (Secret(KEY),), "openai")


def test_none_of_them_is_of_another_form() -> None:
    assert read(signed(SAID), (Secret(KEY),), "openai") == CLAIMS
    assert read_claims(SAID) == CLAIMS
    with pytest.raises(ValueError, match="another form"):
        read_claims(SAID | {"iss": "x"})
    with pytest.raises(ValueError, match="no provider"):
        Claims(label="a", providers=(), issued=0, expires=1)


@pytest.mark.parametrize("label", ["a", "Job-1", "a.b_c:d@e", "9" * 64])
def test_label_is_of_characters_that_logs_and_metrics_take_as_they_are(label: str) -> None:
    assert check_label(label) == label


# --- who can sign one -------------------------------------------------------------------------------


def unsigned(algorithm: str, signature: bytes = b"") -> bytes:
    parts = [json.dumps({"alg": algorithm, "typ": "JWT"}).encode(), json.dumps(SAID).encode(), signature]
    return b"sk-awfproxy-" + b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("alg none", unsigned("none")),
        ("alg none, with a signature", unsigned("none", bytes(32))),
        ("alg None", unsigned("None", bytes(32))),
        ("alg RS256", unsigned("RS256", bytes(32))),
        ("alg HS512", b"sk-awfproxy-" + jwt.encode(SAID, KEY, "HS512").encode()),
        ("alg HS512, signed for HS256's length", unsigned("HS512", bytes(32))),
        ("another key", signed(SAID, b"another-" + KEY)),
        ("an empty key", signed(SAID, b"\0" * 32)),
        ("no signature", TOKEN.rpartition(b".")[0] + b"."),
        ("a signature cut short", TOKEN[:-1]),
        ("a signature of zeros", unsigned("HS256", bytes(32))),
        ("a fourth part", TOKEN + b".e30"),
        ("white space", TOKEN[:40] + b" " + TOKEN[40:]),
        ("padding", TOKEN + b"="),
        ("not ASCII", TOKEN + b"\xe9"),
        ("too long", b"sk-awfproxy-" + b"a" * LONGEST),
        ("the beginning of another provider's", b"gho_awfproxy_" + TOKEN.removeprefix(b"sk-awfproxy-")),
        ("critical parts of the head", signed(SAID, crit=["exp"], exp=1)),
    ],
)
def test_what_no_key_here_has_signed_as_it_is_is_refused(kind: str, value: bytes, outcome: Seen) -> None:
    with pytest.raises(CallerTokenInvalid) as caught:
        read(value, (Secret(KEY),), "openai")
    assert value.decode("latin-1") not in str(caught.value)
    outcome(AREA, "forged token", "403 caller_token_invalid; nothing sent")


def test_key_in_the_head_of_a_token_counts_for_nothing() -> None:
    own = b"the-forger-s-own-key-0123456789-0123456789"
    shown = base64.urlsafe_b64encode(own).rstrip(b"=").decode()
    forged = signed(SAID, own, jwk={"kty": "oct", "k": shown}, kid="x", jku="https://forger.example/keys")
    with pytest.raises(CallerTokenInvalid, match="no token key here"):
        read(forged, (Secret(KEY),), "openai")


@given(place=st.integers(0, len(TOKEN) - 1), octet=st.integers(0, 255))
@settings(max_examples=600, deadline=None)
def test_token_with_any_one_octet_changed_is_refused(place: int, octet: int) -> None:
    changed = TOKEN[:place] + bytes([octet]) + TOKEN[place + 1 :]
    if changed == TOKEN:
        assert read(changed, (Secret(KEY),), "openai") == CLAIMS
        return
    with pytest.raises(CallerTokenInvalid):
        read(changed, (Secret(KEY),), "openai")


def test_each_other_last_character_of_the_signature_is_refused(outcome: Seen) -> None:
    """Four of them stand for the same octets: base64's spare bits must be zero."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    taken = 0
    for octet in alphabet:
        try:
            taken += read(TOKEN[:-1] + bytes([octet]), (Secret(KEY),), "openai") == CLAIMS
        except CallerTokenInvalid:
            continue
    assert taken == 1
    outcome(AREA, "changed token", "403 caller_token_invalid; nothing sent")


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_no_other_text_is_taken_for_a_token_nor_breaks_what_reads_it(text: bytes) -> None:
    for value in (text, b"sk-awfproxy-" + text, TOKEN + text[1:] + text[:1]):
        if value != TOKEN:
            with pytest.raises(CallerTokenInvalid):
                read(value, (Secret(KEY),), "openai")


def test_while_keys_change_tokens_of_both_are_good() -> None:
    old, new = signed(SAID, b"old-" + KEY), signed(SAID, b"new-" + KEY)
    both = (Secret(b"new-" + KEY), Secret(b"old-" + KEY))
    assert read(old, both, "openai") == read(new, both, "openai") == CLAIMS
    with pytest.raises(CallerTokenInvalid):
        read(old, both[:1], "openai")


# --- its shape --------------------------------------------------------------------------------------


def test_token_begins_as_its_provider_s_clients_want_a_key_to() -> None:
    assert beginning(["openai"]) == "sk-awfproxy-"
    assert beginning(["anthropic", "openai"]) == "sk-ant-awfproxy-"
    assert beginning(["openai", "copilot"]) == "gho_awfproxy_"
    assert beginning(["gemini"]) == beginning(["mistral"]) == "awfproxy-"


@pytest.mark.parametrize("provider", BUILT_IN, ids=lambda provider: provider.name)
def test_token_has_the_form_of_one_and_is_never_taken_for_the_daemons_key(provider) -> None:
    made = token(provider.name).encode()
    assert has_form(made)
    assert not looks_real(made)
    assert len(made) < 400


def test_token_that_would_be_too_long_is_not_issued() -> None:
    many = tuple(f"/v1/files/{number:060}" for number in range(60))
    claims = Claims(label="a", providers=("openai",), issued=NOW, expires=NOW + 1, paths=many)
    with pytest.raises(ValueError, match="longer than"):
        issue(claims, Secret(KEY))


# --- where it is presented --------------------------------------------------------------------------

BROWSER = b"realtime, openai-insecure-api-key." + TOKEN + b", openai-beta.realtime-v1"
GOOGLE = GEMINI.access(Asked())
OWN_FIELD = OPENAI.access(Asked(auth_field=b"X-Own_Key"))

PLACES = [
    ("Authorization: Bearer", ACCESS, head((b"Authorization", b"Bearer " + TOKEN))),
    ("Authorization: bearer", ACCESS, head((b"authorization", b"bearer   " + TOKEN))),
    ("Authorization: token", ACCESS, head((b"Authorization", b"token " + TOKEN))),
    ("Authorization alone", ACCESS, head((b"Authorization", TOKEN))),
    ("x-api-key", ANTHROPIC.access(Asked()), head((b"X-Api-Key", TOKEN))),
    ("x-api-key of another provider's", ACCESS, head((b"X-Api-Key", TOKEN))),
    ("x-goog-api-key of another provider's", ACCESS, head((b"x-goog-api-key", TOKEN))),
    ("api-key", ACCESS, head((b"api-key", TOKEN))),
    ("x-goog-api-key", GOOGLE, head((b"x-goog-api-key", TOKEN))),
    ("an auth-field", OWN_FIELD, head((b"x-own-key", TOKEN))),
    ("?key=", GOOGLE, head(target=b"/v1beta/models?alt=sse&key=" + TOKEN)),
    ("?Key= in escapes", GOOGLE, head(target=b"/v1beta/models?K%65y=%73" + TOKEN[1:])),
    ("Sec-WebSocket-Protocol", ACCESS, head((b"Sec-WebSocket-Protocol", BROWSER))),
]  # fmt: skip


@pytest.mark.parametrize(("place", "access", "request_"), PLACES, ids=[place for place, *_ in PLACES])
def test_token_is_found_where_clients_put_keys_and_never_goes_on(
    place: str, access: Access, request_: RequestHead, outcome: Seen
) -> None:
    assert presented(request_, access) == TOKEN
    keys = tuple(Secret(b"real") for _ in access.keys)
    sent = prepare_request(request_, NO_BODY, access=access, keys=keys)
    everything = b"\n".join([sent.target, *(name + value for _, name, value in sent.fields)])
    assert TOKEN[1:] not in everything
    outcome(AREA, "place of the token", "found there; taken out before the request goes on")


@pytest.mark.parametrize(
    "request_",
    [
        head(),
        head((b"Authorization", b"Bearer sk-proj-someone-else-s-key-0123456789")),
        head((b"Authorization", b"Bearer sk-awfproxy-placeholder")),
        head((b"x-api-key", b"sk-ant-awfproxy-placeholder")),
        head((b"Authorization", b"Basic c2stYXdmcHJveHk6")),
        head((b"Proxy-Authorization", b"Bearer " + TOKEN)),
        head((b"Cookie", b"key=" + TOKEN)),
        head(target=b"/v1/responses?key=" + TOKEN),
        head((b"x-token", TOKEN)),
    ],
)
def test_nowhere_else_it_counts(request_: RequestHead, outcome: Seen) -> None:
    with pytest.raises(CallerTokenMissing):
        presented(request_, ACCESS)
    outcome(AREA, "no token", "403 caller_token_missing; nothing sent")


def test_same_token_twice_is_one_and_a_key_beside_it_is_passed_over() -> None:
    both = head((b"x-api-key", TOKEN), (b"Authorization", b"Bearer " + TOKEN), (b"api-key", b"sk-real-key"))
    assert presented(both, ACCESS) == TOKEN


def test_two_tokens_that_differ_are_refused(outcome: Seen) -> None:
    other = issue(Claims(label="other", providers=("openai",), issued=NOW, expires=NOW + 60), Secret(KEY))
    with pytest.raises(CallerTokenInvalid, match="several"):
        presented(head((b"x-api-key", TOKEN), (b"Authorization", b"Bearer " + other.encode())), ACCESS)
    outcome(AREA, "two tokens", "403 caller_token_invalid; nothing sent")


# --- what it is good for ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "now", "error"),
    [
        ("good from its first second", NOW, None),
        ("good up to its last", NOW + 59.99, None),
        ("expired", NOW + 60, CallerTokenExpired),
        ("long expired", NOW + 10**8, CallerTokenExpired),
        ("issued by a clock a little ahead", NOW - LEEWAY, None),
        ("not good yet", NOW - LEEWAY - 0.1, CallerTokenInvalid),
    ],
)
def test_it_is_good_between_its_times(
    kind: str, now: float, error: type[AwfError] | None, outcome: Seen
) -> None:
    if error is None:
        assert judged(store(now=now), with_token(TOKEN)) == CLAIMS
    else:
        with pytest.raises(error):
            judged(store(now=now), with_token(TOKEN))
    outcome(AREA, f"token {kind}", f"403 {error.code}; nothing sent" if error else "forwarded")


def test_not_before_counts_like_the_time_of_issue() -> None:
    later = signed(SAID | {"nbf": NOW + 30})
    with pytest.raises(CallerTokenInvalid):
        judged(store(), with_token(later))
    assert judged(store(now=NOW + 30), with_token(later)).label == "job-1"


def test_known_token_expires_all_the_same() -> None:
    clock = [float(NOW)]
    callers = CallerStore(CallersInForce((Secret(KEY),)), lambda: clock[0])
    judged(callers, with_token(TOKEN))
    clock[0] = NOW + 60
    with pytest.raises(CallerTokenExpired):
        judged(callers, with_token(TOKEN))


def test_revoked_label_is_refused_whichever_token_has_it(outcome: Seen) -> None:
    another = signed(SAID | {"iat": NOW - 1})
    for value in (TOKEN, another):
        with pytest.raises(CallerTokenRevoked):
            judged(store(revoked=frozenset({"job-1"})), with_token(value))
        assert judged(store(revoked=frozenset({"job-10", "job"})), with_token(value)).label == "job-1"
    outcome(AREA, "revoked label", "403 caller_token_revoked; nothing sent")


def test_what_was_known_is_forgotten_when_others_are_put_in_force() -> None:
    callers = store()
    judged(callers, with_token(TOKEN))
    callers.replace(CallersInForce((Secret(b"new-" + KEY),)))
    with pytest.raises(CallerTokenInvalid):
        judged(callers, with_token(TOKEN))
    callers.replace(CallersInForce((Secret(KEY),), frozenset({"job-1"})))
    with pytest.raises(CallerTokenRevoked):
        judged(callers, with_token(TOKEN))


def test_token_of_one_provider_is_none_of_another_even_when_it_is_known(outcome: Seen) -> None:
    callers = store()
    judged(callers, with_token(TOKEN))
    with pytest.raises(CallerTokenInvalid, match="InvalidAudienceError"):
        judged(callers, with_token(TOKEN), ANTHROPIC.access(Asked()), "anthropic")
    outcome(AREA, "token for another provider", "403 caller_token_invalid; nothing sent")


def test_signature_is_verified_once_while_the_token_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    verified = []
    real = jwt.decode
    monkeypatch.setattr(jwt, "decode", lambda *args, **more: verified.append(1) or real(*args, **more))
    callers = store()
    for _ in range(3):
        judged(callers, with_token(TOKEN))
    assert len(verified) == 1
    for number in range(REMEMBERED):
        judged(callers, with_token(signed(SAID | {"iat": NOW - 1 - number})))
    judged(callers, with_token(TOKEN))
    assert len(verified) == REMEMBERED + 2


NARROW = signed(SAID | {"methods": ["GET", "POST"], "paths": ["/v1/responses", "/v1/models/*"]})

REQUESTS = [
    (b"POST", b"/v1/responses", None),
    (b"GET", b"/v1/responses?stream=true", None),
    (b"HEAD", b"/v1/responses/", None),
    (b"POST", b"/responses", None),
    (b"GET", b"/v1/models/gpt-5", None),
    (b"POST", b"/v1/respons%65s", None),
    (b"DELETE", b"/v1/responses", CallerTokenScope),
    (b"GET", b"/v1/responses/1", CallerTokenScope),
    (b"GET", b"/v1/models", CallerTokenScope),
    (b"GET", b"/V1/Responses", CallerTokenScope),
    (b"POST", b"/v1/files", CallerTokenScope),
    (b"POST", b"/v1/x/../responses", AmbiguousTarget),
    (b"POST", b"/v1/responses%2F..%2Ffiles", AmbiguousTarget),
    (b"POST", b"//v1/responses", AmbiguousTarget),
    (b"POST", b"/v1/responses?_method=DELETE", AmbiguousTarget),
]  # fmt: skip


@pytest.mark.parametrize(("method", "target", "error"), REQUESTS)
def test_narrow_token_covers_what_it_names_by_the_form_that_path_rules_judge(
    method: bytes, target: bytes, error: type[AwfError] | None, outcome: Seen
) -> None:
    request = with_token(NARROW, target, method)
    if error is None:
        judged(store(), request)
        outcome(AREA, "narrow token, what it covers", "forwarded")
        return
    with pytest.raises(error) as caught:
        judged(store(), request)
    assert caught.value.status == 403
    outcome(AREA, "narrow token, anything else", f"403 {error.code}; nothing sent")


def test_field_that_overrides_the_method_is_ambiguous_to_a_narrow_token() -> None:
    request = head((b"Authorization", b"Bearer " + NARROW), (b"X-HTTP-Method_Override", b"DELETE"))
    with pytest.raises(AmbiguousTarget):
        judged(store(), request)


def test_refused_client_is_told_what_its_token_covers() -> None:
    with pytest.raises(CallerTokenScope) as caught:
        judged(store(), with_token(NARROW, b"/v1/files"))
    assert caught.value.message.endswith("It covers GET,POST /v1/responses, GET,POST /v1/models/*.")
    many = signed(SAID | {"paths": [f"/{number}" for number in range(9)]})
    with pytest.raises(CallerTokenScope) as caught:
        judged(store(), with_token(many, b"/v1/files"))
    assert caught.value.message.endswith("* /4, and 4 more.")


def test_methods_alone_and_paths_alone_leave_the_other_open() -> None:
    reads = signed(SAID | {"methods": ["GET"]})
    judged(store(), with_token(reads, b"/v1/anything"))
    with pytest.raises(CallerTokenScope):
        judged(store(), with_token(reads, method=b"POST"))
    there = signed(SAID | {"paths": ["/v1/responses/**"]})
    judged(store(), with_token(there, b"/v1/responses/1", b"DELETE"))
    with pytest.raises(CallerTokenScope):
        judged(store(), with_token(there, b"/v1/files"))


# --- the files --------------------------------------------------------------------------------------


def test_new_key_is_one_that_is_taken_and_never_the_same() -> None:
    assert new_key() != new_key()
    (key,) = parse_keys(new_key().encode() + b"\n")
    assert len(key) == 64


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "line 1 is empty"),
        (b"\n", "line 1 is empty"),
        (b"x" * (SHORTEST - 1), f"fewer than {SHORTEST}"),
        (KEY + b"\n\n" + KEY, "line 2 is empty"),
        (KEY + b"\n" + KEY[:9], "line 2 has fewer"),
        (KEY + b" x", "line 1 is empty, or has a space"),
        (KEY + b"\r\n", "line 1 is empty, or has"),
        (b"\xef\xbb\xbf" + KEY, "visible ASCII"),
        (b"\n".join([KEY] * (MOST + 1)), f"more than {MOST} lines"),
    ],
)
def test_key_file_of_another_form_is_refused_and_nothing_of_it_is_shown(content: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse_keys(content)
    assert KEY[:8].decode() not in str(caught.value)


def test_labels_are_one_a_line_with_comments() -> None:
    assert parse_labels(b"# gone\njob-1\n\n  job-2  # stolen\r\n") == {"job-1", "job-2"}
    assert parse_labels(b"") == frozenset()
    for content in (b"job-1\njob 2\n", b"job-1\n\xff\n", b"a\n*\n"):
        with pytest.raises(ValueError, match="line 2"):
            parse_labels(content)


def test_token_of_the_kit_is_good_now() -> None:
    callers = CallerStore(CallersInForce((Secret(KEY),)), time.time)
    assert judged(callers, with_token(token("openai").encode())).label == "job-123"


# --- in constant time -------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [(KEY,), (b"o" * SHORTEST, KEY), (KEY, b"o" * SHORTEST)])
@pytest.mark.parametrize("forged", [False, True])
def test_signature_is_compared_in_constant_time_with_that_of_each_key(
    keys: tuple[bytes, ...], forged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyJWT's verifying asks `hmac.compare_digest`, and takes its word."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return compare_digest(a, b)

    monkeypatch.setattr("hmac.compare_digest", compare)
    content, _, signature = TOKEN.removeprefix(b"sk-awfproxy-").rpartition(b".")
    if forged:
        signature = (b"B" if signature[:1] == b"A" else b"A") + signature[1:]
    given = base64.urlsafe_b64decode(signature + b"=")
    expected = [(given, hmac.digest(key, content, "sha256")) for key in keys]
    found = b"sk-awfproxy-" + content + b"." + signature
    if forged:
        with pytest.raises(CallerTokenInvalid):
            read(found, tuple(map(Secret, keys)), "openai")
        assert compared == expected
    else:
        assert read(found, tuple(map(Secret, keys)), "openai") == CLAIMS
        assert compared == expected[: keys.index(KEY) + 1]


def test_no_signature_counts_that_compare_digest_does_not_find_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hmac.compare_digest", lambda a, b: False)
    with pytest.raises(CallerTokenInvalid):
        read(TOKEN, (Secret(KEY),), "openai")


class Looked(dict):  # type: ignore[type-arg]
    """A dict that remembers what was looked for in it."""

    def __init__(self) -> None:
        super().__init__()
        self.keys_seen: list[object] = []

    def get(self, key: object, default: object = None) -> object:
        self.keys_seen.append(key)
        return super().get(key, default)

    def __getitem__(self, key: object) -> object:
        self.keys_seen.append(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.keys_seen.append(key)
        return super().__contains__(key)

    def __setitem__(self, key: object, value: object) -> None:
        self.keys_seen.append(key)
        super().__setitem__(key, value)


def test_what_is_known_of_tokens_is_looked_up_by_digest_alone() -> None:
    """How long a lookup by text takes may tell how much of it is right."""
    callers = store()
    known = callers._known = Looked()
    forged = TOKEN[:-2] + b"AA"
    for _ in range(2):
        judged(callers, with_token(TOKEN))
        with pytest.raises(CallerTokenInvalid):
            judged(callers, with_token(forged))
    digests = {("openai", sha256(each).digest()) for each in (TOKEN, forged)}
    assert set(known.keys_seen) == digests
    assert list(known) == [("openai", sha256(TOKEN).digest())]


def test_nothing_that_stays_in_the_store_is_a_tokens_text() -> None:
    callers = store(revoked=frozenset({"another"}))
    judged(callers, with_token(TOKEN))
    held, left = {id(callers): callers}, [callers]
    while left:
        for each in gc.get_referents(left.pop()):
            if id(each) not in held and not isinstance(each, type | ModuleType | FunctionType):
                held[id(each)] = each
                left.append(each)
    texts = [each if isinstance(each, bytes) else each.encode() for each in held.values()
             if isinstance(each, bytes | str)]  # fmt: skip
    assert sha256(TOKEN).digest() in texts
    parts = [TOKEN, *TOKEN.removeprefix(b"sk-awfproxy-").split(b".")[1:]]
    assert not [part for part in parts for text in texts if part in text]


def test_revoked_labels_are_asked_about_tokens_alone_whose_signature_is_good() -> None:
    """Else a forged token would tell which labels are revoked."""
    forged = signed({**SAID, "sub": "gone"}, b"o" * SHORTEST)
    with pytest.raises(CallerTokenInvalid):
        judged(store(revoked=frozenset({"gone"})), with_token(forged))
