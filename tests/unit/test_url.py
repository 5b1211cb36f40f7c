"""URLs in variables that other programs share."""

import pytest

from awfproxy.wire.target import Origin
from awfproxy.wire.url import host_of, origin_and_path


@pytest.mark.parametrize(
    ("text", "origin", "path"),
    [
        ("https://openrouter.ai/api/v1", Origin("openrouter.ai"), b"/api/v1"),
        ("https://openrouter.ai/api/v1/", Origin("openrouter.ai"), b"/api/v1"),
        ("HTTPS://Res.OpenAI.Azure.com", Origin("res.openai.azure.com"), b""),
        ("https://h/", Origin("h"), b""),
        ("https://h:8443/a//b", Origin("h", 8443), b"/a//b"),
        ("h.example/v1", Origin("h.example"), b"/v1"),
        ("h.example:444", Origin("h.example", 444), b""),
        ("https://[::1]:8443/v1", Origin("::1", 8443), b"/v1"),
        ("https://127.0.0.1/v1", Origin("127.0.0.1"), b"/v1"),
    ],
)
def test_base_url_is_an_origin_and_a_path(text, origin, path):
    assert origin_and_path(text) == (origin, path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http://h/v1", "not https"),
        ("ftp://h", "not https"),
        ("https://user:secret@h/v1", "user or a password"),
        ("https://h/v1?secret", "query"),
        ("https://h/v1#secret", "fragment"),
        ("https://h//v1", "two slashes"),
        ("https://h/a b", "character"),
        ("https://h/ä", "character"),
        ("https://", "not a URL"),
        ("", "not a URL"),
        ("https://h:0", "not a URL"),
        ("https://h:65536", "not a URL"),
        ("https://h:1x", "not a URL"),
        ("https://h\\.evil/v1", "character"),
        ("https://a b/v1", "host name"),
        ("https://a..b", "host name"),
        ("https://ä.example", "host name"),
        ("https://h\n", "host name"),
        ("https://[::g]", "not a URL"),
        ("https://[1::2::3]", "IPv6"),
    ],
)
def test_any_other_base_url_is_refused_and_not_quoted(text, said):
    with pytest.raises(ValueError, match=said) as caught:
        origin_and_path(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("https://github.com", "github.com"),
        ("https://GitHub.com/", "github.com"),
        ("http://ghes.example:8080/x?y", "ghes.example"),
        ("octocorp.ghe.com", "octocorp.ghe.com"),
        ("https://a/@b", "a"),
    ],
)
def test_host_of_a_server(text, host):
    assert host_of(text) == host


@pytest.mark.parametrize("text", ["ftp://h", "https://", "https://u@h", "not a url"])
def test_server_without_a_host_is_refused(text):
    with pytest.raises(ValueError, match=r"\."):
        host_of(text)
