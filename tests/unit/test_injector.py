"""Heads between the two sides: what is taken off, what is put in, and that all else is left as it is."""

import itertools
import tracemalloc
from typing import Any

import attrs
import pytest

from awfproxy.credentials.injector import (
    HOP_BY_HOP,
    STRIPPED,
    as_handshake,
    client_framing,
    prepare_interim,
    prepare_request,
    prepare_response,
    prepare_response_trailers,
    prepare_switch,
    prepare_trailers,
    prepare_with_key,
)
from awfproxy.credentials.secret import Secret
from awfproxy.errors.own import CredentialMissing
from awfproxy.providers.openai import PROVIDER as OPENAI
from awfproxy.providers.provider import Access, Asked, KeyUse, bare_key, bearer
from awfproxy.providers.rules import OVERRIDES
from awfproxy.wire.framing import CHUNKED, NO_BODY, UNTIL_CLOSE, Framing, Length
from awfproxy.wire.message import Fields, RequestHead, ResponseHead, field, serialise_request, values
from awfproxy.wire.target import Origin

ORIGIN = Origin("api.openai.com")
ACCESS = OPENAI.access(Asked())
K = (Secret(b"k"),)
CLIENTS = b"of-the-client"
"""The value of every credential that a client sends here."""

Pair = tuple[bytes, bytes]


def fields(*pairs: Pair) -> Fields:
    return tuple(field(name, value) for name, value in pairs)


def prepared(
    *pairs: Pair,
    framing: Framing = NO_BODY,
    key: str = "key",
    target: bytes = b"/v1/a",
    origin: Origin = ORIGIN,
) -> list[Pair]:
    head = RequestHead(b"POST", target, b"1.1", fields(*pairs))
    access = attrs.evolve(ACCESS, origin=origin)
    after = prepare_request(head, framing, access=access, keys=(Secret(key.encode()),))
    assert all(lower == name.lower() for lower, name, _ in after.fields)
    return [(name, value) for _, name, value in after.fields]


HOST = (b"Host", b"api.openai.com")
KEY = (b"Authorization", b"Bearer key")


def spellings(name: bytes) -> set[bytes]:
    """The name in several cases, with each `-` also as `_`."""
    parts = name.split(b"-")
    joined = set()
    for marks in itertools.product(b"-_", repeat=len(parts) - 1):
        spelled = parts[0]
        for mark, part in zip(marks, parts[1:], strict=True):
            spelled += bytes([mark]) + part
        joined |= {spelled, spelled.upper(), spelled.title(), spelled.swapcase()}
    return joined


# --- requests: what stays ---------------------------------------------------------------------------


def test_all_other_fields_keep_order_case_duplicates_and_bytes() -> None:
    kept = (
        (b"X-Twice", b"1"),
        (b"accept", b"*/*"),
        (b"x-TWICE", b"2 \xff"),
        (b"Content-Encoding", b"zstd"),
        (b"Expect", b"100-continue"),
        (b"X-Twice", b"1"),
        (b"OpenAI-Organization", b"org"),
        (b"Empty", b""),
        (b"x-request-id", b"id"),
        (b"Trailer", b"X-Sum"),
        (b"X_under-score", b"_"),
    )
    assert prepared((b"HOST", b"evil"), *kept) == [(b"HOST", b"api.openai.com"), *kept, KEY]


def test_start_line_keeps_its_method_and_bytes_and_gets_the_base_path() -> None:
    head = RequestHead(b"QUERY", b"/files/a:b%2Fc?", b"1.0", ())
    after = prepare_request(head, NO_BODY, access=ACCESS, keys=K)
    assert (after.method, after.target, after.version) == (b"QUERY", b"/v1/files/a:b%2Fc?", b"1.1")


@pytest.mark.parametrize(
    "name", [b"Authorizations", b"X-Authorization-2", b"cookies", b"x-forwarded", b"vias", b"tee"]
)
def test_names_that_only_begin_like_a_stripped_one_stay(name: bytes) -> None:
    assert (name, b"v") in prepared((name, b"v"))


# --- requests: what goes ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({*STRIPPED, *HOP_BY_HOP, b"x-forwarded-for", b"x-forwarded-x-y"}))
def test_stripped_field_goes_in_every_spelling(name: bytes) -> None:
    for spelled in spellings(name):
        if spelled.lower() == b"transfer-encoding":
            continue  # framing: written anew
        after = prepared((b"A", b"1"), (spelled, CLIENTS), (b"B", b"2"))
        assert after == [HOST, (b"A", b"1"), (b"B", b"2"), KEY], spelled


def test_the_list_names_every_credential_and_what_tells_about_the_sandbox() -> None:
    assert set(STRIPPED) >= {
        b"authorization", b"proxy-authorization", b"x-api-key", b"api-key", b"x-goog-api-key",
        b"chatgpt-account-id", b"cookie", b"forwarded", b"via",
    }  # fmt: skip
    assert set(HOP_BY_HOP) == {
        b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"
    }  # fmt: skip
    assert all(reason for reason in (*STRIPPED.values(), *HOP_BY_HOP.values()))


def test_the_field_that_is_injected_goes_whichever_it_is() -> None:
    for ours in b"X-Own-Key", b"X_Own_Key", b"x" * 64:
        access = access_with(KeyUse("V", "c", bare_key(ours)))
        for spelled in spellings(ours.replace(b"_", b"-")):
            head = RequestHead(b"GET", b"/", b"1.1", fields((spelled, CLIENTS)))
            after = prepare_request(head, NO_BODY, access=access, keys=K)
            assert after.fields == fields(HOST, (ours, b"k"))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_exactly_one_authorization_leaves_and_it_is_ours(count: int, canary: str) -> None:
    after = prepared(*[(b"Authorization", b"Bearer " + CLIENTS)] * count, key=canary)
    found = [value for name, value in after if name.lower() == b"authorization"]
    assert (found == [b"Bearer " + canary.encode()]) is True


def test_fields_named_by_connection_go() -> None:
    after = prepared(
        (b"X-Hop", b"1"),
        (b"Connection", b"close, x-hop ,"),
        (b"x-HOP", b"2"),
        (b"Other", b"3"),
        (b"connection", b"Other"),
        (b"X-Stays", b"4"),
    )
    assert after == [HOST, (b"X-Stays", b"4"), KEY]


@pytest.mark.parametrize("spelled", [b"authorization", b"Authorization", b"AUTHORIZATION"])
def test_connection_never_removes_our_own_injection(spelled: bytes) -> None:
    assert prepared((b"Connection", spelled), (b"Authorization", CLIENTS)) == [HOST, KEY]


def test_connection_never_removes_host_or_framing() -> None:
    nominating = (b"Connection", b"host, content-length, transfer-encoding")
    assert prepared(nominating, (b"Host", b"h"), (b"Content-Length", b"5"), framing=Length(5)) == [
        HOST,
        (b"Content-Length", b"5"),
        KEY,
    ]
    assert prepared(nominating, (b"Transfer-Encoding", b"chunked"), framing=CHUNKED) == [
        HOST,
        (b"Transfer-Encoding", b"chunked"),
        KEY,
    ]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (
            b"realtime, openai-insecure-api-key.@, openai-beta.realtime-v1",
            b"realtime, openai-beta.realtime-v1",
        ),
        (b"openai-insecure-api-key.@, realtime", b"realtime"),
        (b"realtime,\tOpenAI-Insecure-API-Key.@", b"realtime"),
        (b"openai-insecure-api-key.@,openai-insecure-api-key.@2", None),
        (b" ,openai-insecure-api-key.@, ,", None),
        (b"openai-insecure-api-key.", None),
        (b"realtime", b"realtime"),
        (b"x-openai-insecure-api-key.1", b"x-openai-insecure-api-key.1"),
    ],
)
@pytest.mark.parametrize("name", sorted(spellings(b"sec-websocket-protocol")))
def test_key_among_the_subprotocols_goes_and_the_others_stay(
    name: bytes, value: bytes, kept: bytes | None
) -> None:
    after = prepared((name, value.replace(b"@", CLIENTS)), (b"B", b"2"))
    assert after == [HOST, *([] if kept is None else [(name, kept)]), (b"B", b"2"), KEY]


def test_key_on_a_second_line_of_subprotocols_goes() -> None:
    name = b"Sec-WebSocket-Protocol"
    after = prepared((name, b"realtime"), (name, b"openai-insecure-api-key." + CLIENTS))
    assert after == [HOST, (name, b"realtime"), KEY]


def test_long_names_are_judged_right_and_not_held_in_memory() -> None:
    long = b"x" * 60000
    assert prepared((b"x-forwarded-" + long, CLIENTS), (b"cookie" + long, b"1")) == [
        HOST,
        (b"cookie" + long, b"1"),
        KEY,
    ]
    tracemalloc.start()
    try:
        for number in range(1100):
            prepared((b"%d" % number + long, b"1"))
        assert tracemalloc.get_traced_memory()[0] < 2_000_000
    finally:
        tracemalloc.stop()


# --- requests: Host and framing ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "value"),
    [(ORIGIN, b"api.openai.com"), (Origin("h", 8443), b"h:8443"), (Origin("::1", 8443), b"[::1]:8443")],
)
def test_host_is_the_origins_where_it_stood_or_first(origin: Origin, value: bytes) -> None:
    assert prepared((b"A", b"1"), (b"hOsT", b"evil"), origin=origin) == [(b"A", b"1"), (b"hOsT", value), KEY]
    assert prepared((b"A", b"1"), origin=origin) == [(b"Host", value), (b"A", b"1"), KEY]


def test_a_second_host_goes() -> None:
    assert prepared((b"Host", b"a"), (b"A", b"1"), (b"HOST", b"b")) == [HOST, (b"A", b"1"), KEY]


@pytest.mark.parametrize(
    ("given", "framing", "written"),
    [
        ((b"content-LENGTH", b"5"), Length(5), [(b"content-LENGTH", b"5")]),
        ((b"Content-Length", b"005"), Length(5), [(b"Content-Length", b"5")]),
        ((b"Content-Length", b"0"), NO_BODY, [(b"Content-Length", b"0")]),
        ((b"transfer-encoding", b"CHUNKED"), CHUNKED, [(b"Transfer-Encoding", b"chunked")]),
        ((b"Content_Length", b"5"), NO_BODY, []),
        ((b"Transfer_Encoding", b"chunked"), NO_BODY, []),
        ((b"X", b"1"), NO_BODY, [(b"X", b"1")]),
    ],
)
def test_framing_is_written_anew_where_it_stood(given: Pair, framing: Framing, written: list[Pair]) -> None:
    after = prepared((b"A", b"1"), given, (b"B", b"2"), framing=framing)
    assert after == [HOST, (b"A", b"1"), *written, (b"B", b"2"), KEY]


@pytest.mark.parametrize(
    "pairs",
    [
        ((b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")),
        ((b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"5")),
        ((b"Transfer-Encoding", b"gzip"), (b"Transfer-Encoding", b"chunked"), (b"Content_Length", b"5")),
    ],
)
@pytest.mark.parametrize("framing", [CHUNKED, Length(5), NO_BODY])
def test_never_more_than_one_framing_field_leaves(pairs: tuple[Pair, ...], framing: Framing) -> None:
    after = prepared(*pairs, framing=framing)
    assert len(after) == 3
    assert (b"Transfer-Encoding", b"gzip") not in after


def test_written_request_is_exactly_this(canary: str) -> None:
    head = RequestHead(
        b"POST",
        b"/responses?a",
        b"1.1",
        fields((b"host", b"h"), (b"authorization", CLIENTS), (b"content-length", b"2"), (b"Via", b"x")),
    )
    after = prepare_request(head, Length(2), access=ACCESS, keys=(Secret(canary.encode()),))
    start = b"POST /v1/responses?a HTTP/1.1\r\nhost: api.openai.com\r\ncontent-length: 2\r\n"
    key = b"Authorization: Bearer " + canary.encode()
    assert (serialise_request(after) == start + key + b"\r\n\r\n") is True


# --- requests: what an access asks for --------------------------------------------------------------


def access_with(*keys: KeyUse, **more: Any) -> Access:
    return Access(origin=ORIGIN, base_path=b"", keys=keys or (KeyUse("V", "c", bearer),), **more)


def with_defaults(*sent: Pair) -> list[Pair]:
    access = access_with(defaults=lambda method, path: ((b"X-Version", b"1"), (b"X-By", b"us")))
    after = prepare_request(RequestHead(b"GET", b"/", b"1.1", fields(*sent)), NO_BODY, access=access, keys=K)
    return [(name, value) for _, name, value in after.fields]


OURS = (b"Authorization", b"Bearer k")


def test_defaults_are_put_in_before_the_key_where_the_client_sent_none() -> None:
    assert with_defaults((b"A", b"1")) == [HOST, (b"A", b"1"), (b"X-Version", b"1"), (b"X-By", b"us"), OURS]


@pytest.mark.parametrize("spelled", sorted(spellings(b"x-version")))
def test_what_the_client_sent_in_any_spelling_stays_in_place_of_a_default(spelled: bytes) -> None:
    sent = (spelled, b"2")
    assert with_defaults(sent, (b"A", b"1")) == [HOST, sent, (b"A", b"1"), (b"X-By", b"us"), OURS]


def test_field_that_the_client_left_empty_gives_way_to_the_default() -> None:
    assert with_defaults((b"x_version", b""), (b"Empty", b"")) == [
        HOST,
        (b"Empty", b""),
        (b"X-Version", b"1"),
        (b"X-By", b"us"),
        OURS,
    ]
    both = ((b"x-version", b""), (b"X-VERSION", b"2"))
    assert with_defaults(*both) == [HOST, *both, (b"X-By", b"us"), OURS]


def test_field_that_connection_names_does_not_stand_in_for_a_default() -> None:
    sent = ((b"Connection", b"x-version"), (b"X-Version", b"2"))
    assert with_defaults(*sent) == [HOST, (b"X-Version", b"1"), (b"X-By", b"us"), OURS]


def test_defaults_and_choice_of_key_go_by_method_and_path_after_the_base_path_rule() -> None:
    asked: list[Pair] = []

    def defaults(method: bytes, path: bytes) -> tuple[Pair, ...]:
        asked.append((method, path))
        return ()

    def key_for(method: bytes, path: bytes) -> int:
        asked.append((method, path))
        return 0

    access = attrs.evolve(access_with(defaults=defaults, key_for=key_for), base_path=b"/v1")
    for target in b"/a%2Fb?c", b"/v1/a%2Fb?c":
        prepare_request(RequestHead(b"PUT", target, b"1.1", ()), NO_BODY, access=access, keys=K)
    assert asked == [(b"PUT", b"/v1/a%2Fb")] * 4


@pytest.mark.parametrize(
    ("method", "keys", "expected"),
    [
        (b"GET", (b"first", b"second"), (b"X-Second", b"second")),
        (b"POST", (b"first", b"second"), (b"X-First", b"first")),
        (b"GET", (b"first", None), (b"X-First", b"first")),
    ],
)
def test_key_is_the_chosen_one_or_the_first_where_that_is_missing(
    method: bytes, keys: tuple[bytes | None, ...], expected: Pair
) -> None:
    access = access_with(
        KeyUse("A", "a", bare_key(b"X-First")),
        KeyUse("B", "b", bare_key(b"X-Second")),
        key_for=lambda method, path: int(method == b"GET"),
    )
    sent = fields((b"x-first", CLIENTS), (b"x_second", CLIENTS))
    secrets = [None if key is None else Secret(key) for key in keys]
    after = prepare_request(RequestHead(method, b"/", b"1.1", sent), NO_BODY, access=access, keys=secrets)
    assert after.fields == fields(HOST, expected)


@pytest.mark.parametrize(
    ("method", "keys", "expected"),
    [(b"POST", (b"k1", b"k2"), b"k1"), (b"GET", (b"k1", b"k2"), b"k2"), (b"GET", (b"k1", None), b"k1")],
)
def test_the_key_that_is_given_back_is_the_one_in_the_head(
    method: bytes, keys: tuple[bytes | None, ...], expected: bytes
) -> None:
    access = access_with(
        KeyUse("A", "a", bearer), KeyUse("B", "b", bearer), key_for=lambda method, path: int(method == b"GET")
    )
    secrets = [None if key is None else Secret(key) for key in keys]
    after, key, _ = prepare_with_key(RequestHead(method, b"/", b"1.1", ()), NO_BODY, access, secrets)
    assert key == expected
    assert after.fields == fields(HOST, (b"Authorization", b"Bearer " + expected))


def test_only_the_chosen_key_is_revealed() -> None:
    class Untouchable:
        def reveal(self) -> bytes:
            raise AssertionError("revealed")

    access = access_with(
        KeyUse("A", "a", bearer), KeyUse("B", "b", bearer), key_for=lambda method, path: 1
    )
    keys: Any = (Untouchable(), Secret(b"k"))
    after = prepare_request(RequestHead(b"GET", b"/", b"1.1", ()), NO_BODY, access=access, keys=keys)
    assert after.fields == fields(HOST, OURS)


@pytest.mark.parametrize("index", [0, 1])
def test_without_the_first_key_nothing_is_prepared(index: int) -> None:
    access = access_with(
        KeyUse("A", "a", bearer), KeyUse("B", "b", bearer), key_for=lambda method, path: index
    )
    head = RequestHead(b"GET", b"/", b"1.1", ())
    with pytest.raises(CredentialMissing):
        prepare_request(head, NO_BODY, access=access, keys=(None, None))


def test_keys_among_the_query_parameters_go_before_the_base_path_is_joined() -> None:
    access = attrs.evolve(access_with(without_query=frozenset({b"key"})), base_path=b"/v1")
    head = RequestHead(b"GET", b"/v1?Key=" + CLIENTS, b"1.1", ())
    assert prepare_request(head, NO_BODY, access=access, keys=K).target == b"/v1"


# --- trailers of requests ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    sorted(
        {*STRIPPED, *HOP_BY_HOP, *OVERRIDES, b"x-forwarded-for", b"host", b"content-length", b"trailer",
         b"content-encoding", b"content-type", b"expect", b"sec-websocket-protocol"}
    ),
)  # fmt: skip
def test_trailer_that_must_not_reach_a_head_goes_in_every_spelling(name: bytes) -> None:
    for spelled in spellings(name):
        kept = prepare_trailers(fields((b"X-Sum", b"1"), (spelled, CLIENTS), (b"x-sum", b"2")), ACCESS)
        assert kept == fields((b"X-Sum", b"1"), (b"x-sum", b"2")), spelled


# --- responses --------------------------------------------------------------------------------------


def relayed(
    *pairs: Pair, framing: Framing = NO_BODY, status: int = 200, connection: bytes | None = None
) -> list[Pair]:
    head = ResponseHead(b"1.1", status, b"Fine \xfc", fields(*pairs))
    after = prepare_response(head, framing, b"id", connection)
    assert (after.version, after.status, after.reason) == (b"1.1", status, b"Fine \xfc")
    return [(name, value) for _, name, value in after.fields]


ID = (b"awfproxy-request-id", b"id")


def test_response_keeps_order_case_duplicates_and_bytes_and_gets_the_request_id_alone() -> None:
    kept = (
        (b"DATE", b"x"),
        (b"set-cookie", b"a"),
        (b"Set-Cookie", b"b"),
        (b"x-request-id", b"of-the-provider"),
        (b"Content-Encoding", b"br"),
        (b"openai-model", b"\xff"),
        (b"Content-Length", b"5"),
        (b"Server", b""),
        (b"WWW-Authenticate", b"Bearer"),
        (b"Via", b"1.1 cdn"),
        (b"Trailer", b"X-Sum"),
    )
    assert relayed(*kept, framing=Length(5)) == [*kept, ID]


@pytest.mark.parametrize("name", [*sorted(HOP_BY_HOP), b"proxy-authenticate", b"proxy-authentication-info"])
def test_hop_by_hop_fields_of_a_response_go_in_any_case(name: bytes) -> None:
    for spelled in (name, name.upper(), name.title()):
        assert relayed((b"A", b"1"), (spelled, b"x"), (b"B", b"2")) == [(b"A", b"1"), (b"B", b"2"), ID]


def test_fields_that_a_responses_connection_names_go_but_not_the_length() -> None:
    nominating = (b"Connection", b"x-hop, content-length, awfproxy-request-id")
    pairs = ((b"X-Hop", b"1"), (b"Content-Length", b"5"), nominating)
    assert relayed(*pairs, framing=Length(5)) == [(b"Content-Length", b"5"), ID]


def test_the_origin_cannot_set_our_own_fields() -> None:
    assert relayed((b"AwfProxy-Request-Id", b"forged"), (b"awfproxy-error", b"forged")) == [ID]


@pytest.mark.parametrize("connection", [b"close", b"keep-alive"])
def test_connection_is_ours_and_last(connection: bytes) -> None:
    assert relayed((b"Connection", b"upgrade"), connection=connection) == [ID, (b"Connection", connection)]


@pytest.mark.parametrize("status", [200, 304])
def test_length_of_a_response_without_body_stays(status: int) -> None:
    assert relayed((b"content-length", b"5"), framing=NO_BODY, status=status) == [
        (b"content-length", b"5"),
        ID,
    ]


def test_coding_is_written_anew_where_it_stood_or_at_the_end() -> None:
    chunked = (b"Transfer-Encoding", b"chunked")
    assert relayed((b"transfer-ENCODING", b"Chunked"), (b"A", b"1"), framing=CHUNKED) == [
        chunked,
        (b"A", b"1"),
        ID,
    ]
    assert relayed((b"A", b"1"), framing=CHUNKED) == [(b"A", b"1"), chunked, ID]


@pytest.mark.parametrize("framing", [UNTIL_CLOSE, NO_BODY])
def test_coding_goes_where_the_body_has_none(framing: Framing) -> None:
    assert relayed((b"Transfer-Encoding", b"chunked"), framing=framing) == [ID]


@pytest.mark.parametrize(
    ("upstream", "version", "downstream"),
    [
        (CHUNKED, b"1.1", CHUNKED),
        (UNTIL_CLOSE, b"1.1", CHUNKED),
        (CHUNKED, b"1.0", UNTIL_CLOSE),
        (UNTIL_CLOSE, b"1.0", UNTIL_CLOSE),
        (Length(5), b"1.1", Length(5)),
        (Length(5), b"1.0", Length(5)),
        (NO_BODY, b"1.1", NO_BODY),
        (NO_BODY, b"1.0", NO_BODY),
    ],
)
def test_framing_towards_the_client(upstream: Framing, version: bytes, downstream: Framing) -> None:
    assert client_framing(upstream, version) == downstream


def test_interim_response_loses_what_is_for_one_hop_and_what_frames() -> None:
    pairs = (
        (b"Link", b"</a>"),
        (b"Connection", b"x-hop"),
        (b"X-Hop", b"1"),
        (b"Keep-Alive", b"1"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Content-Length", b"5"),
        (b"awfproxy-request-id", b"forged"),
        (b"link", b"</b>"),
    )
    after = prepare_interim(ResponseHead(b"1.1", 103, b"Early Hints", fields(*pairs)))
    assert after == ResponseHead(b"1.1", 103, b"Early Hints", fields((b"Link", b"</a>"), (b"link", b"</b>")))


def test_a_handshake_asks_for_a_websocket_in_our_own_two_fields_alone() -> None:
    pairs = (
        (b"Connection", b"keep-alive, Upgrade, X-Hop"),
        (b"X-Hop", b"1"),
        (b"Upgrade", b"h2c, websocket"),
        (b"Sec-WebSocket-Key", b"a"),
        (b"sec-websocket-extensions", b"permessage-deflate"),
    )
    head = RequestHead(b"GET", b"/v1/a", b"1.1", fields(*pairs))
    before = prepare_request(head, NO_BODY, access=ACCESS, keys=(Secret(b"key"),))
    assert as_handshake(before) == RequestHead(
        b"GET",
        b"/v1/a",
        b"1.1",
        fields(HOST, *pairs[3:], KEY, (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")),
    )


def test_a_101_gets_our_id_and_our_two_fields_for_one_hop() -> None:
    pairs = (
        (b"upgrade", b"WebSocket"),
        (b"Sec-WebSocket-Accept", b"a"),
        (b"connection", b"upgrade, x-hop"),
        (b"X-Hop", b"1"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Content-Length", b"5"),
        (b"awfproxy-request-id", b"forged"),
    )
    after = prepare_switch(ResponseHead(b"1.1", 101, b"Yes", fields(*pairs)), b"id")
    own = ((b"awfproxy-request-id", b"id"), (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))
    assert after == ResponseHead(b"1.1", 101, b"Yes", fields(pairs[1], *own))


def test_trailers_of_a_response_lose_what_must_not_reach_a_head() -> None:
    kept = ((b"X-Sum", b"1"), (b"server-timing", b"2"), (b"x-sum", b""))
    removed = (*HOP_BY_HOP, b"content-length", b"Trailer", b"awfproxy-request-id", b"AWFPROXY-Error")
    trailers = fields(*((name, b"x") for name in removed), *kept)
    assert prepare_response_trailers(trailers) == fields(*kept)


def test_values_of_a_prepared_head_can_be_looked_up_in_lower_case() -> None:
    head = RequestHead(b"GET", b"/", b"1.1", ())
    after = prepare_request(head, NO_BODY, access=ACCESS, keys=K)
    assert values(after.fields, b"authorization") == [b"Bearer k"]
    assert values(after.fields, b"host") == [b"api.openai.com"]
