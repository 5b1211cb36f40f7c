"""One request through everything, from curl or a plain socket to the TLS origin, and what each end sees."""

import hashlib
import json
import socket
import subprocess
import uuid

import pytest

from tests.e2e.conftest import NAME, Stack, options
from tests.kit import canary as canaries
from tests.kit.answers import GZIPPED
from tests.kit.client import Client, ask
from tests.kit.daemon import Daemon
from tests.kit.origin import Origin
from tests.kit.reader import Closed
from tests.kit.squid import Squid
from tests.kit.tools import need


def marker() -> str:
    return uuid.uuid4().hex


# --- curl -------------------------------------------------------------------------------------------


def curl(*arguments: str, content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    need("curl")
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "--max-time", "30", *arguments],
        input=content,
        capture_output=True,
        check=False,
    )
    canaries.session_watch().add("curl", done.stdout + done.stderr)
    return done


def test_curl_gets_models_without_a_key(stack: Stack) -> None:
    done = curl("-i", f"http://127.0.0.1:{stack.port}/v1/models")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b'"kit-model"' in done.stdout


def test_curl_posts_and_gets_json(stack: Stack) -> None:
    done = curl(f"http://127.0.0.1:{stack.port}/v1/responses", "-d", '{"model": "m", "input": "hi"}')
    assert json.loads(done.stdout)["status"] == "completed"


def test_curl_posts_and_gets_a_stream(stack: Stack) -> None:
    done = curl("-N", f"http://127.0.0.1:{stack.port}/v1/responses", "-d", '{"model": "m", "stream": true}')
    events = [line for line in done.stdout.split(b"\n") if line.startswith(b"event: ")]
    assert events[0] == b"event: response.created"
    assert events[-1] == b"event: response.completed"


def test_curl_uploads_a_stream_of_unknown_length(stack: Stack) -> None:
    content = b"x" * 300_000
    done = curl("-T", "-", "-X", "POST", f"http://127.0.0.1:{stack.port}/v1/kit/echo", content=content)
    answer = json.loads(done.stdout)
    assert answer["sha256"] == hashlib.sha256(content).hexdigest()
    assert "transfer-encoding: chunked" in answer["head"].lower()


# --- targets and methods ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        (r"/v1/files/a:b%2Fc?", r"/v1/files/a:b%2Fc?"),
        ("/v1/a/../b", "/v1/a/../b"),
        ("/a/../b", "/v1/a/../b"),
        ("/v1/a/./b//c", "/v1/a/./b//c"),
        ("/v1/%00", "/v1/%00"),
        (r"/v1/\[", r"/v1/\["),
        ("/v1/a;b=c;?x=%zz&y=+&&", "/v1/a;b=c;?x=%zz&y=+&&"),
        ("/v1/x?q=/v1/responses?", "/v1/x?q=/v1/responses?"),
        ("/responses", "/v1/responses"),
        ("/v1/responses", "/v1/responses"),
        ("/v1", "/v1"),
        ("/v1?x", "/v1?x"),
        ("/v1beta/x", "/v1/v1beta/x"),
        ("/", "/v1/"),
        ("/models?limit=1", "/v1/models?limit=1"),
    ],
)
def test_target_arrives_byte_for_byte_below_the_base_path(stack: Stack, sent: str, arrives: str) -> None:
    mark = marker().encode()
    assert stack.daemon.ask("GET", sent, fields=[(b"X-Mark", mark)]).error_code == ""
    assert stack.origin.wait_for(mark).target == arrives.encode("latin-1")


@pytest.mark.parametrize(
    "target", ["v1/models", "//evil.test/v1/models", "*", "http://evil.test/v1/models", "http:///v1/models"]
)
def test_target_that_names_another_origin_is_400(stack: Stack, target: str) -> None:
    answer = stack.daemon.ask("GET", target, fields=[(b"X-Mark", (mark := marker()).encode())])
    assert answer.status == 400
    assert answer.error_code != ""
    assert not stack.origin.find(mark.encode())


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_absolute_form_is_taken_where_it_names_the_provider_or_us(stack: Stack, scheme: str) -> None:
    for authority in (f"{NAME}:{stack.origin.port}", f"127.0.0.1:{stack.port}", f"localhost:{stack.port}"):
        mark = marker()
        assert stack.daemon.ask("GET", f"{scheme}://{authority}/v1/echo?{mark}").status == 200
        seen = stack.origin.wait_for(mark.encode())
        assert seen.target == f"/v1/echo?{mark}".encode()
        assert seen.values(b"host") == [f"{NAME}:{stack.origin.port}".encode()]


@pytest.mark.parametrize(
    "method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "PROPFIND", "PURGE"]
)
def test_method_is_forwarded(stack: Stack, method: str) -> None:
    mark = marker()
    assert stack.daemon.ask(method, f"/v1/echo?{mark}", body=b"").status == 200
    assert stack.origin.wait_for(mark.encode()).method == method.encode()


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [("CONNECT", f"{NAME}:443", 405), ("TRACE", "/v1/x", 405), ("FROB", "/v1/x", 501), ("get", "/v1/x", 501)],
)
def test_method_is_refused(stack: Stack, method: str, target: str, status: int) -> None:
    answer = stack.daemon.ask(method, target)
    assert answer.status == status
    assert answer.error_code != ""
    assert answer.json()["error"]["code"] == answer.error_code


# --- fields -----------------------------------------------------------------------------------------


def test_fields_keep_order_case_and_duplicates(stack: Stack) -> None:
    fields = [
        (b"zulu", b"1"),
        (b"X-ALPHA", b"a"),
        (b"x-alpha", b"b"),
        (b"Accept", b"text/event-stream"),
        (b"OpenAI-Beta", b"responses=v1"),
        (b"User-Agent", b"kit"),
        (b"X-Empty", b""),
        (b"X-Latin", b"caf\xe9"),
        (b"Accept", b"*/*"),
    ]
    answer = stack.daemon.ask("GET", "/v1/kit/echo", fields=fields)
    host, *received, authorization = answer.echoed()
    assert host == ("Host", f"{NAME}:{stack.origin.port}")
    assert received == [(name.decode(), value.decode("latin-1")) for name, value in fields]
    assert authorization == ("Authorization", "Bearer THE-KEY")


@pytest.mark.parametrize(
    "name",
    [
        "Authorization", "AUTHORIZATION", "Proxy-Authorization", "Proxy_Authorization", "X-Api-Key",
        "x_api_key", "api-key", "Api_Key", "X-Goog-Api-Key", "x_goog_api_key", "ChatGPT-Account-Id",
        "chatgpt_account_id", "Cookie", "Forwarded", "Via", "X-Forwarded-For", "x_forwarded_host",
        "X-Forwarded-Proto", "Keep-Alive", "Proxy-Connection", "TE",
    ],
)  # fmt: skip
def test_what_the_client_may_not_say_is_removed(stack: Stack, name: str) -> None:
    answer = stack.daemon.ask("GET", "/v1/kit/echo", fields=[(name.encode(), b"sneaky"), (b"X-Stays", b"1")])
    received = answer.echoed()
    assert "sneaky" not in [value for _, value in received]
    assert [value for each, value in received if each.lower() == "authorization"] == ["Bearer THE-KEY"]
    assert ("X-Stays", "1") in received


def test_connection_removes_what_it_names_but_never_our_injection(stack: Stack) -> None:
    with Client(stack.port) as client:
        answer = client.request(
            "GET", "/v1/kit/echo", [(b"Connection", b"X-Gone, authorization, host"), (b"x-gone", b"1")]
        )
    names = [name.lower() for name, _ in answer.echoed()]
    assert "x-gone" not in names
    assert names.count("authorization") == 1
    assert names.count("host") == 1


def test_key_in_the_subprotocol_list_is_removed(stack: Stack) -> None:
    value = b"realtime, openai-insecure-api-key.sk-mine, openai-beta.realtime-v1"
    received = dict(
        stack.daemon.ask("GET", "/v1/kit/echo", fields=[(b"Sec-WebSocket-Protocol", value)]).echoed()
    )
    assert "insecure" not in received["Sec-WebSocket-Protocol"]
    assert "openai-beta.realtime-v1" in received["Sec-WebSocket-Protocol"]


def test_host_of_the_client_does_not_choose_the_origin(stack: Stack) -> None:
    answer = stack.daemon.ask("GET", "/v1/kit/echo", fields=[(b"Host", b"evil.test:1")])
    assert dict(answer.echoed())["Host"] == f"{NAME}:{stack.origin.port}"


@pytest.mark.parametrize(
    "lines",
    [b"", b"Host: a\r\nHost: a\r\n", b"Host: a b\r\n", b"Host: a/b\r\n", b"Host: a, b\r\n"],
)
def test_request_without_exactly_one_proper_host_is_400(stack: Stack, lines: bytes) -> None:
    with Client(stack.port) as client:
        client.send(b"GET /v1/models HTTP/1.1\r\n" + lines + b"\r\n")
        assert client.answer().status == 400


def test_response_fields_pass_untouched_but_for_hop_by_hop(stack: Stack) -> None:
    answer = stack.daemon.ask("GET", "/v1/kit/fields")
    assert answer.status == 299
    assert answer.reason == b"Odd  Reason"
    own = {b"awfproxy-request-id", b"connection"}
    assert [(name, value) for name, value in answer.fields if name.lower() not in own] == [
        (b"zeta", b"1"),
        (b"X-Alpha", b"a"),
        (b"Set-Cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"x-ALPHA", b"b"),
        (b"x-request-id", b"req_provider"),
        (b"X-Latin", b"caf\xe9"),
        (b"Empty", b""),
        (b"Content-Length", b"2"),
    ]
    assert len(answer.values(b"awfproxy-request-id")) == 1
    assert not answer.values(b"awfproxy-error")


def test_request_id_is_the_clients_where_it_is_well_formed(stack: Stack) -> None:
    given = stack.daemon.ask("GET", "/v1/kit/echo", fields=[(b"X-Request-Id", b"mine-1234")])
    assert given.value(b"awfproxy-request-id") == b"mine-1234"
    odd = stack.daemon.ask("GET", "/v1/kit/echo", fields=[(b"X-Request-Id", b'a"b c')])
    assert odd.value(b"awfproxy-request-id") not in (b'a"b c', b"")
    first, second = (stack.daemon.ask("GET", "/v1/kit/echo").value(b"awfproxy-request-id") for _ in range(2))
    assert first != second


# --- framing ----------------------------------------------------------------------------------------

_SMUGGLING = {
    "length and chunked": b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "two equal lengths": b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
    "list of lengths": b"Content-Length: 1, 1\r\n\r\na",
    "signed length": b"Content-Length: +2\r\n\r\nab",
    "length in hex": b"Content-Length: 0x2\r\n\r\nab",
    "long length": b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "coding before chunked": b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding after chunked": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "identity": b"Transfer-Encoding: identity\r\n\r\n",
    "two codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space before colon": b"Content-Length : 2\r\n\r\nab",
    "obs-fold": b"X-A: 1\r\n folded\r\nContent-Length: 0\r\n\r\n",
    "folded coding": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "bare LF": b"X-A: 1\nContent-Length: 0\r\n\r\n",
    "bare CR": b"X-A: 1\rX-B: 2\r\n\r\n",
    "NUL in a value": b"X-A: 1\x002\r\n\r\n",
    "control byte in a value": b"X-A: 1\x012\r\n\r\n",
    "bad chunk size": b"Transfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n",
    "signed chunk size": b"Transfer-Encoding: chunked\r\n\r\n+2\r\nab\r\n0\r\n\r\n",
    "underscored chunk size": b"Transfer-Encoding: chunked\r\n\r\n1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "chunk without its end": b"Transfer-Encoding: chunked\r\n\r\n2\r\nabXX0\r\n\r\n",
}


@pytest.mark.parametrize("case", _SMUGGLING)
def test_ambiguous_framing_is_400_and_a_close(stack: Stack, case: str) -> None:
    smuggled = b"GET /v1/smuggled?%b HTTP/1.1\r\nHost: a\r\n\r\n" % (mark := marker().encode())
    with Client(stack.port) as client:
        client.send(b"POST /v1/kit/stall HTTP/1.1\r\nHost: a\r\n" + _SMUGGLING[case] + smuggled)
        assert client.answer().status == 400
        assert client.closed()
    assert not stack.origin.find(mark)


def test_chunked_from_http_1_0_is_400(stack: Stack) -> None:
    with Client(stack.port) as client:
        client.send(b"POST /v1/kit/echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert client.answer().status == 400
        assert client.closed()


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/11"])
def test_other_versions_are_refused(stack: Stack, version: bytes) -> None:
    with Client(stack.port) as client:
        client.send(b"GET /v1/models %b\r\nHost: a\r\n\r\n" % version)
        assert client.answer().status in (400, 505)
        assert client.closed()


def test_head_too_large_is_431_and_target_too_long_414(stack: Stack) -> None:
    with Client(stack.port) as client:
        client.send(b"GET /v1/x HTTP/1.1\r\nHost: a\r\nX-Big: " + b"b" * 200_000 + b"\r\n\r\n")
        assert client.answer().status == 431
    with Client(stack.port) as client:
        client.send(b"GET /v1/" + b"t" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.answer().status == 414


def test_http_1_0_client_gets_an_answer_it_understands(stack: Stack) -> None:
    for target, body in (("/v1/kit/chunked", b"one two three"), ("/v1/kit/length", b"12345")):
        with Client(stack.port) as client:
            client.send(b"GET %b HTTP/1.0\r\n\r\n" % target.encode())
            answer = client.answer()
            assert answer.status == 200
            assert not answer.values(b"transfer-encoding")
            assert answer.body == body
            assert client.closed()


@pytest.mark.parametrize("code", [204, 304])
def test_status_without_a_body_ends_with_its_head(stack: Stack, code: int) -> None:
    with Client(stack.port) as client:
        answer = client.request("GET", f"/v1/kit/status?code={code}")
        assert answer.status == code
        assert not answer.values(b"transfer-encoding")
        assert client.request("GET", "/v1/kit/length").body == b"12345"


def test_head_has_the_length_and_no_body(stack: Stack) -> None:
    with Client(stack.port) as client:
        answer = client.request("HEAD", "/v1/kit/length")
        assert answer.value(b"Content-Length") == b"5"
        assert client.request("GET", "/v1/kit/length").body == b"12345"


def test_coded_content_is_untouched(stack: Stack) -> None:
    answer = stack.daemon.ask("GET", "/v1/kit/gzip", fields=[(b"Accept-Encoding", b"gzip")])
    assert answer.body == GZIPPED
    assert answer.value(b"Content-Encoding") == b"gzip"


def test_trailers_are_relayed(stack: Stack) -> None:
    answer = stack.daemon.ask("GET", "/v1/kit/trailers")
    assert answer.body == b"content"
    assert answer.trailers == ((b"X-Sum", b"42"), (b"X-Sum", b"43"))


def test_body_until_close_is_whole(stack: Stack) -> None:
    assert stack.daemon.ask("GET", "/v1/kit/until-close").body == b"to the end"


def test_early_hints_are_relayed_before_the_answer(stack: Stack) -> None:
    gate = stack.origin.gate(mark := marker())
    with Client(stack.port) as client:
        client.send_head("GET", f"/v1/kit/hints?gate={mark}")
        hints = client.read_head()
        assert (hints.status, hints.value(b"Link")) == (103, b"</style.css>; rel=preload")
        gate.release()
        assert client.answer().body == b"final"


def test_interim_responses_are_kept_from_http_1_0(stack: Stack) -> None:
    with Client(stack.port) as client:
        client.send(b"GET /v1/kit/hints HTTP/1.0\r\n\r\n")
        assert client.read_head().status == 200


def test_expect_is_passed_on_and_not_answered_early(stack: Stack) -> None:
    gate = stack.origin.gate(mark := marker())
    with Client(stack.port) as client:
        client.send_head(
            "POST", f"/v1/kit/continue?gate={mark}", [(b"Expect", b"100-continue"), (b"Content-Length", b"5")]
        )
        stack.origin.wait_for(mark.encode(), lambda seen: seen.values(b"expect") == [b"100-continue"])
        client.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.read_head()
        client.sock.settimeout(20)
        gate.release()
        assert client.read_head().status == 100
        client.send(b"12345")
        assert client.answer().json()["length"] == 5


def test_refusal_in_place_of_100_is_relayed(stack: Stack) -> None:
    with Client(stack.port) as client:
        client.send_head(
            "POST", "/v1/kit/refuse-continue", [(b"Expect", b"100-continue"), (b"Content-Length", b"5000000")]
        )
        assert client.answer().status == 413


def test_answer_before_the_end_of_the_upload_is_relayed(stack: Stack) -> None:
    with Client(stack.port) as client:
        client.send_head("POST", "/v1/kit/early", [(b"Content-Length", b"10")])
        client.send(b"12345")
        assert client.answer().body == b"early"


@pytest.mark.parametrize(("behaviour", "body"), [("early", b"early"), ("early-close", b"no")])
def test_early_answer_reaches_a_client_that_reads_only_after_its_upload(
    stack: Stack, behaviour: str, body: bytes
) -> None:
    """Closing on unread bytes would send a reset, which takes the answer away from such a client."""
    with Client(stack.port) as client:
        answer = client.request("POST", f"/v1/kit/{behaviour}", body=bytes(4 << 20))
        assert answer.body == body


def test_chunked_upload_arrives_as_it_is_sent(stack: Stack) -> None:
    with Client(stack.port) as client:
        client.send_head("POST", f"/v1/kit/upload?{(mark := marker())}", [(b"Transfer-Encoding", b"chunked")])
        for part in (b"first", b"second", b"third"):
            client.send(b"%x;ext=1\r\n%b\r\n" % (len(part), part))
            stack.origin.wait_for(mark.encode(), lambda seen, part=part: seen.body.endswith(part))
        client.send(b"0\r\n\r\n")
        assert client.answer().json()["sha256"] == hashlib.sha256(b"firstsecondthird").hexdigest()


def test_trailers_of_an_upload_are_relayed_without_credentials(stack: Stack) -> None:
    with Client(stack.port) as client:
        client.send_head("POST", f"/v1/kit/upload?{(mark := marker())}", [(b"Transfer-Encoding", b"chunked")])
        client.send(b"2\r\nab\r\n0\r\nX-Sum: 1\r\nAuthorization: Bearer mine\r\n\r\n")
        assert client.answer().status == 200
    trailers = stack.origin.wait_for(mark.encode()).trailers
    assert b"mine" not in b"".join(value for _, value in trailers)


# --- connections ------------------------------------------------------------------------------------


def test_connection_is_kept_and_pipelined_requests_are_answered_in_order(stack: Stack) -> None:
    with Client(stack.port) as client:
        for number in range(5):
            client.send_head(
                "GET" if number % 2 else "POST", f"/v1/kit/echo?n={number}", [(b"Content-Length", b"0")]
            )
        for number in range(5):
            assert f"?n={number} " in client.answer().json()["head"]
        assert client.request("GET", "/v1/kit/length").body == b"12345"


def test_half_closed_client_gets_its_answer(stack: Stack) -> None:
    gate = stack.origin.gate(mark := marker())
    with Client(stack.port) as client:
        client.send_head("GET", f"/v1/kit/hints?gate={mark}")
        client.sock.shutdown(socket.SHUT_WR)
        stack.origin.wait_for(mark.encode())
        gate.release()
        answer = client.answer()
        assert answer.body == b"final"
        assert 103 in [interim.status for interim in answer.interim]


def test_connection_close_is_honoured_in_a_list(stack: Stack) -> None:
    with Client(stack.port) as client:
        answer = client.request("GET", "/v1/kit/length", [(b"Connection", b"x-a, CLOSE")])
        assert answer.body == b"12345"
        assert client.closed()


def test_other_upgrades_are_ignored(stack: Stack) -> None:
    fields = [(b"Connection", b"Upgrade, HTTP2-Settings"), (b"Upgrade", b"h2c"), (b"HTTP2-Settings", b"AAMA")]
    with Client(stack.port) as client:
        names = [name.lower() for name, _ in client.request("GET", "/v1/kit/echo", fields).echoed()]
    assert not {"upgrade", "http2-settings", "connection"} & set(names)


def test_switch_of_protocols_that_nobody_asked_for_is_502(stack: Stack) -> None:
    assert stack.daemon.ask("GET", "/v1/kit/upgrade").status == 502


# --- failures of the origin -------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", ["no-answer", "short-head", "garbage"])
def test_origin_that_does_not_answer_is_502_and_a_post_is_sent_once(stack: Stack, behaviour: str) -> None:
    mark = marker()
    answer = stack.daemon.ask("POST", f"/v1/kit/{behaviour}?{mark}", body=b"{}")
    assert answer.status == 502
    assert answer.json()["error"]["hop"] == "origin"
    assert answer.json()["error"]["request_id"] == answer.value(b"awfproxy-request-id").decode()
    assert len(stack.origin.find(mark.encode())) == 1


@pytest.mark.parametrize(("method", "times", "status"), [("GET", 2, 200), ("POST", 1, 502)])
def test_request_on_a_tunnel_that_just_died_is_repeated_if_that_is_safe(
    stack: Stack, method: str, times: int, status: int
) -> None:
    mark = marker()
    stack.daemon.ask("GET", "/v1/kit/length")
    answer = stack.daemon.ask(
        method, f"/v1/kit/die-once?mark={mark}", body=b"{}" if method == "POST" else None
    )
    assert answer.status == status
    assert len(stack.origin.find(mark.encode())) == times


def test_tunnel_that_the_origin_closed_while_idle_is_not_used(stack: Stack) -> None:
    for _ in range(5):
        assert stack.daemon.ask("GET", "/v1/kit/close-after").status == 200
        assert stack.daemon.ask("POST", "/v1/kit/echo", body=b"{}").status == 200


def test_refusal_of_the_provider_is_relayed_as_it_is(stack: Stack) -> None:
    answer = stack.daemon.ask("GET", "/v1/kit/early-close")
    assert (answer.status, answer.body, answer.error_code) == (403, b"no", "")


# --- local pages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/healthz", "/readyz", "/health", "/healthz?x=1", "/health?"])
def test_local_page_answers_by_itself(stack: Stack, target: str) -> None:
    before = len(stack.origin.requests)
    assert stack.daemon.ask("GET", target).status == 200
    head = stack.daemon.ask("HEAD", target)
    assert (head.status, head.body) == (200, b"")
    assert len(stack.origin.requests) == before


def test_health_tells_what_is_known(stack: Stack) -> None:
    stack.daemon.ask("GET", "/v1/kit/length")
    health = stack.daemon.health()
    assert health["status"] == "healthy"
    assert health["service"] == "awf-api-proxy"
    assert health["squid_proxy"] == stack.squid.url


@pytest.mark.parametrize(
    ("method", "target"), [("POST", "/health"), ("GET", "/health/"), ("GET", "/v1/health")]
)
def test_other_methods_and_paths_belong_to_the_provider(stack: Stack, method: str, target: str) -> None:
    mark = marker()
    stack.daemon.ask(method, f"{target}?{mark}", body=b"" if method == "POST" else None)
    assert stack.origin.wait_for(mark.encode()).method == method.encode()


# --- the access log ---------------------------------------------------------------------------------


def access_line(stack: Stack, request_id: str) -> dict[str, object]:
    return json.loads(stack.daemon.wait_for_output(f'"{request_id}"'))


def test_each_exchange_has_one_access_line(stack: Stack) -> None:
    request_id = marker()
    stack.daemon.ask(
        "POST",
        "/v1/kit/echo?secret=in-the-query",
        fields=[(b"X-Request-Id", request_id.encode())],
        body=b"12345",
    )
    line = access_line(stack, request_id)
    assert line["event"] == "request_complete"
    assert line["method"] == "POST"
    assert line["path"] == "/v1/kit/echo"
    assert line["status"] == 200
    assert line["request_bytes"] == 5
    assert isinstance(line["duration_ms"], int | float)
    assert {"timestamp", "level", "request_id", "response_bytes"} <= set(line)
    assert "req_kit_1" in line.values()
    assert "in-the-query" not in stack.daemon.output()
    assert stack.daemon.output().count(f'"{request_id}"') == 1


def test_clients_bytes_cannot_forge_a_line(stack: Stack) -> None:
    request_id = marker()
    target = b'/v1/kit/echo/%0d%0a{"event":"request_complete"}\x1b[2K'.replace(b"\x1b", b"%1b")
    stack.daemon.ask(
        "GET",
        target,
        fields=[(b"X-Request-Id", request_id.encode()), (b"User-Agent", b'x","status":1,"y":"\xff')],
    )
    assert access_line(stack, request_id)["status"] == 200
    for line in stack.daemon.stdout.read_text().splitlines():
        if line.startswith("{"):
            json.loads(line)


# --- settings ---------------------------------------------------------------------------------------


def test_deadlines_end_slow_clients_and_nobody_else(
    authority, origin: Origin, squid: Squid, canary: str
) -> None:
    with Daemon(
        *options(authority, origin, squid), "--head-deadline", "1", "--idle-deadline", "1",
        "--body-deadline", "1", "--response-deadline", "1", "--silence-deadline", "1",
        "--max-connections", "20",
        env={"OPENAI_API_KEY": canary},
    ) as daemon:  # fmt: skip
        daemon.ready("/readyz")
        with Client(daemon.port) as head, Client(daemon.port) as body, Client(daemon.port) as idle:
            head.send(b"GET /v1/mod")
            body.send_head("POST", "/v1/kit/echo", [(b"Content-Length", b"5")])
            body.send(b"1")
            idle.request("GET", "/v1/kit/length")
            assert daemon.ask("GET", "/v1/kit/length").status == 200
            assert head.answer().status == 408
            assert head.closed()
            assert body.answer().status == 408
            assert body.closed()
            assert idle.closed()
        answer = daemon.ask("GET", "/v1/kit/stall")
        assert (answer.status, answer.json()["error"]["hop"]) == (504, "origin")
        with Client(daemon.port) as silent:
            silent.send_head("GET", "/v1/kit/stall-body")
            assert silent.final_head().status == 200
            assert silent.was_reset()
        assert not refusals(daemon, 15)
        assert refusals(daemon, 30)


def refusals(daemon: Daemon, count: int) -> list[int]:
    """The statuses other than 200 of `count` connections that are open at the same time."""
    clients = [Client(daemon.port) for _ in range(count)]
    statuses = []
    try:
        for client in clients:
            try:
                statuses.append(client.request("GET", "/healthz").status)
            except (Closed, OSError):
                statuses.append(0)
    finally:
        for client in clients:
            client.close()
    bad = [status for status in statuses if status != 200]
    assert set(bad) <= {503}, bad
    return bad


def test_base_path_and_local_pages_can_be_moved(authority, origin: Origin, squid: Squid, canary: str) -> None:
    with Daemon(
        *options(authority, origin, squid), "--base-path", "/deployments/x", "--local-pages", "/-",
        "--probe", "off", env={"OPENAI_API_KEY": canary},
    ) as daemon:  # fmt: skip
        daemon.ready("/-/healthz")
        mark = marker()
        assert ask(daemon.port, "GET", f"/health?{mark}").status == 200
        assert origin.wait_for(mark.encode()).target == f"/deployments/x/health?{mark}".encode()


def test_unix_socket_is_served(authority, origin: Origin, squid: Squid, canary: str, tmp_path) -> None:
    path = tmp_path / "socket"
    with Daemon(
        *options(authority, origin, squid), "--listen", f"unix:{path}", env={"OPENAI_API_KEY": canary}
    ) as daemon:
        daemon.wait_for_file(path)
        assert path.stat().st_mode & 0o777 == 0o660, "not everybody on the machine may use the key"
        with Client(path=str(path)) as client:
            assert client.request("GET", "/v1/kit/length").body == b"12345"
