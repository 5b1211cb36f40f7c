"""The gh-aw profile's last changes to heads."""

import pytest

from awfproxy.credentials.requestid import NAME, as_the_sidecar_sends, with_request_id
from awfproxy.wire.message import RequestHead, field


def sent(*fields: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    head = RequestHead(b"POST", b"/v1/responses", b"1.1", tuple(field(*pair) for pair in fields))
    after = as_the_sidecar_sends(head, b"id-1")
    assert (after.method, after.target, after.version) == (head.method, head.target, head.version)
    return [(name, value) for _, name, value in after.fields]


@pytest.mark.parametrize("name", [b"X-Request-ID", b"x-request-id", b"X_Request_Id"])
def test_id_is_ours_alone_in_whatever_spelling_another_came(name: bytes) -> None:
    assert sent((b"A", b"1"), (name, b"<theirs>")) == [(b"A", b"1"), (b"X-Request-ID", b"id-1")]


def test_all_other_fields_stay_as_they_are() -> None:
    fields = (field(b"b", b"1"), field(b"A", b"2"), field(b"b", b"3"))
    assert with_request_id(fields, NAME, b"id") == (*fields, field(NAME, b"id"))


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"gzip, deflate, br", b"gzip, deflate, br"),
        (b"gzip, deflate, br, zstd", b"gzip, deflate, br"),
        (b"zstd;q=1.0, gzip;q=0.8", b"gzip;q=0.8"),
        (b"GZIP , ZSTD", b"GZIP"),
        (b"zstd", b"identity"),
        (b"*", b"identity"),
        (b"", b"identity"),
        (b"identity", b"identity"),
    ],
)
def test_codings_are_those_that_usage_can_be_read_in(value: bytes, kept: bytes) -> None:
    assert (b"Accept-Encoding", kept) in sent((b"Accept-Encoding", value))


def test_accept_encoding_is_never_added() -> None:
    assert sent() == [(b"X-Request-ID", b"id-1")]
