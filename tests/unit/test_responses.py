"""Our own responses: one error shape, the row's status and fields, and nothing from a peer."""

import json

import h11
import pytest

from awfproxy.errors.base import AwfError, Hop
from awfproxy.errors.client import MalformedMessage, MethodNotAllowed, PathDenied, WebSocketUnsupported
from awfproxy.errors.egress import EgressFailed
from awfproxy.errors.own import InternalError
from awfproxy.errors.table import table
from awfproxy.providers.openai import PROVIDER as OPENAI
from awfproxy.proxy.responses import error_response, own_response
from awfproxy.wire.message import field

ROWS = table()


def read(raw: bytes, method: str = "GET") -> tuple[h11.Response, bytes, bytes]:
    """(head, content, what follows), by a client that does not share our code."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(raw)
    client.receive_data(b"")
    head = client.next_event()
    assert isinstance(head, h11.Response)
    content = b""
    while isinstance(event := client.next_event(), h11.Data):
        content += event.data
    assert isinstance(event, h11.EndOfMessage)
    return head, content, bytes(client.trailing_data[0])


def of(head: h11.Response, name: bytes) -> list[bytes]:
    return [value for lower, value in head.headers if lower == name]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.code)
def test_error_answer_is_its_row_of_the_table(row: type[AwfError]) -> None:
    head, content, rest = read(error_response(row("secret detail"), OPENAI, b"the-id", None, b"POST"))
    assert head.status_code == row.status
    assert head.reason
    assert rest == b""
    assert of(head, b"content-type") == [b"application/json"]
    assert of(head, b"awfproxy-error") == [row.code.encode()]
    assert of(head, b"awfproxy-request-id") == [b"the-id"]
    assert of(head, b"retry-after") == ([] if row.retry_after is None else [b"%d" % row.retry_after])
    assert of(head, b"content-length") == [b"%d" % len(content)]
    assert json.loads(content) == {
        "error": {
            "message": f"{row.sentence} {row.fix}",
            "type": "invalid_request_error" if row.hop is Hop.CLIENT else "awfproxy_error",
            "param": None,
            "code": row.code,
            "hop": row.hop.value,
            "retryable": row.retryable,
            "request_id": "the-id",
        }
    }


def test_detail_is_not_for_the_client() -> None:
    for row in ROWS:
        assert b"secret detail" not in error_response(row("secret detail"), OPENAI, b"i", None, b"GET")


def test_public_text_is_behind_the_sentence_and_the_fix() -> None:
    error = PathDenied("secret detail", public='Rule 1 decides: deny * /v1/"files"')
    head, content, _ = read(error_response(error, OPENAI, b"i", None, b"GET"))
    assert head.status_code == 403
    assert head.reason == b"Forbidden"
    assert json.loads(content)["error"]["message"] == (
        f'{PathDenied.sentence} {PathDenied.fix} Rule 1 decides: deny * /v1/"files"'
    )
    assert b"secret detail" not in content


def test_error_answer_is_compact_and_ascii() -> None:
    content = OPENAI.error_body(MalformedMessage(), "i\u00e9")
    assert content.isascii()
    assert b'"code":"malformed_request"' in content


def test_answer_to_head_has_the_length_and_no_content() -> None:
    whole = error_response(InternalError(), OPENAI, b"i", None, b"GET")
    head_only = error_response(InternalError(), OPENAI, b"i", None, b"HEAD")
    assert whole.startswith(head_only)
    assert head_only.endswith(b"\r\n\r\n")
    head, content, rest = read(head_only, "HEAD")
    assert int(of(head, b"content-length")[0]) == len(whole) - len(head_only)
    assert content == rest == b""


@pytest.mark.parametrize("connection", [b"close", b"keep-alive", None])
def test_connection_is_said_once_or_not_at_all(connection: bytes | None) -> None:
    head, _, _ = read(error_response(EgressFailed(), OPENAI, b"i", connection, b"GET"))
    assert of(head, b"connection") == ([] if connection is None else [connection])


def test_405_names_the_methods() -> None:
    head, _, _ = read(error_response(MethodNotAllowed(), OPENAI, b"i", None, b"TRACE"), "TRACE")
    assert set(of(head, b"allow")[0].split(b", ")) >= {b"GET", b"HEAD", b"POST", b"DELETE"}
    assert b"CONNECT" not in of(head, b"allow")[0]
    assert b"TRACE" not in of(head, b"allow")[0]


@pytest.mark.parametrize(("connection", "said"), [(None, b"Upgrade"), (b"close", b"Upgrade, close")])
def test_426_names_the_protocol_and_the_option(connection: bytes | None, said: bytes) -> None:
    head, _, _ = read(error_response(WebSocketUnsupported(), OPENAI, b"i", connection, b"GET"))
    assert of(head, b"upgrade") == [b"HTTP/1.1"]
    assert of(head, b"connection") == [said]


def test_only_405_and_426_have_fields_of_their_own() -> None:
    usual = {
        b"content-type", b"awfproxy-error", b"retry-after", b"content-length", b"awfproxy-request-id",
    }  # fmt: skip
    for row in ROWS:
        head, _, _ = read(error_response(row(), OPENAI, b"i", None, b"GET"))
        names = {name for name, _ in head.headers}
        extra = {405: {b"allow"}, 426: {b"upgrade", b"connection"}}.get(row.status, set())
        assert names - usual == extra, row.code


def test_page_is_written_whole() -> None:
    raw = own_response(200, (field(b"Content-Type", b"text/plain"),), b"fine\n", b"id", b"close", b"GET")
    assert raw == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nawfproxy-request-id: id\r\n"
        b"Connection: close\r\n\r\nfine\n"
    )


@pytest.mark.parametrize("bad", [b"i\r\nX: 1", b"i\n", b"i\0"])
def test_request_id_cannot_split_the_answer(bad: bytes) -> None:
    with pytest.raises(InternalError):
        error_response(InternalError(), OPENAI, bad, None, b"GET")
