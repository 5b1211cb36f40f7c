"""Targets and authorities: nothing is re-encoded, and nothing but a path is let through."""

import pytest

from awfproxy.errors.client import BadTarget
from awfproxy.wire.target import Origin, join_base_path, origin_form, path_of, without_parameters

ORIGIN = Origin("api.openai.com")
OWN_PORT = 10000
EXACT = (
    b"/", b"/v1/files/a:b%2Fc?", b"/a/../b", b"/%00", b"/\\[", b"/a?", b"/a;?x", b"/a;", b"/%zz", b"/a//b",
    b"/./", b"/?", b"/?a?b", b"/a#b", b"/a+b=c", b"/%41%2f%2F", b"/http://evil/", b"/@evil", b"/a\"<>|^`{}",
)  # fmt: skip


@pytest.mark.parametrize("target", EXACT)
def test_origin_form_is_kept_byte_by_byte(target: bytes) -> None:
    assert origin_form(target, ORIGIN, OWN_PORT) is target


@pytest.mark.parametrize(
    "authority",
    [
        b"http://api.openai.com",
        b"https://api.openai.com",
        b"https://api.openai.com:443",
        b"HTTPS://API.OpenAI.com",
        b"http://172.30.0.30:10000",
        b"http://localhost:10000",
        b"http://[::1]:10000",
        b"http://evil:10000",
    ],
)
@pytest.mark.parametrize("target", EXACT)
def test_absolute_form_for_us_or_the_provider_loses_its_authority(authority: bytes, target: bytes) -> None:
    assert origin_form(authority + target, ORIGIN, OWN_PORT) == target


@pytest.mark.parametrize(
    ("target", "reduced"),
    [
        (b"http://api.openai.com", b"/"),
        (b"http://api.openai.com?a=b", b"/?a=b"),
        (b"http://localhost:10000?", b"/?"),
        (b"http://localhost:10000#f", b"/#f"),
        (b"http://api.openai.com/http://evil/", b"/http://evil/"),
    ],
)
def test_absolute_form_without_path_gets_the_root(target: bytes, reduced: bytes) -> None:
    assert origin_form(target, ORIGIN, OWN_PORT) == reduced


REFUSED = {
    "empty": b"",
    "asterisk": b"*",
    "no slash": b"v1/models",
    "query alone": b"?a",
    "fragment alone": b"#a",
    "backslash": b"\\\\evil\\",
    "two slashes": b"//evil/",
    "two slashes alone": b"//",
    "three slashes": b"///",
    "authority": b"api.openai.com:443",
    "another host": b"http://evil/",
    "another port": b"http://api.openai.com:80/",
    "own port as a prefix": b"http://evil:100001/",
    "own port with a zero in front": b"http://evil:010000/",
    "own port with a sign": b"http://evil:+10000/",
    "own port with an underscore": b"http://evil:10_000/",
    "own port and space": b"http://evil:10000 /",
    "own port without a host": b"http://:10000/",
    "port of 5,000 digits": b"http://evil:" + b"1" * 5000 + b"/",
    "port of 5,000 zeros": b"http://evil:" + b"0" * 5000 + b"10000/",
    "empty port": b"http://api.openai.com:/",
    "no authority": b"http:///",
    "userinfo that looks like the provider": b"http://api.openai.com@evil/",
    "userinfo that looks like the provider, with port": b"http://api.openai.com:443@evil/",
    "userinfo at the provider": b"http://user@api.openai.com/",
    "password at the provider": b"http://user:password@api.openai.com/",
    "userinfo at our port": b"http://api.openai.com@evil:10000/",
    "userinfo with the provider's port at our port": b"http://api.openai.com:443@evil:10000/",
    "encoded userinfo": b"http://api.openai.com%40evil/",
    "backslash for slash": b"http://evil\\@api.openai.com/",
    "encoded slash": b"http://api.openai.com%2Fevil/",
    "encoded dot": b"http://api%2Eopenai.com/",
    "trailing dot": b"http://api.openai.com./",
    "subdomain": b"http://evil.api.openai.com/",
    "suffix": b"http://api.openai.com.evil/",
    "two slashes behind the authority": b"http://api.openai.com//evil/",
    "one slash": b"http:/api.openai.com/",
    "another scheme": b"ws://api.openai.com/",
    "scheme with a suffix": b"httpsx://api.openai.com/",
    "scheme alone": b"https://",
    "no scheme": b"://api.openai.com/",
    "absolute inside absolute": b"http://http://api.openai.com/",
}


@pytest.mark.parametrize("name", REFUSED)
def test_any_other_target_is_refused(name: str) -> None:
    with pytest.raises(BadTarget):
        origin_form(REFUSED[name], ORIGIN, OWN_PORT)


def test_without_a_port_of_ours_only_the_provider_is_taken() -> None:
    assert origin_form(b"http://api.openai.com/a", ORIGIN, None) == b"/a"
    for target in (b"http://localhost:10000/", b"http://localhost:/", b"http://localhost:None/"):
        with pytest.raises(BadTarget):
            origin_form(target, ORIGIN, None)


def test_authority_of_another_origin_is_taken_with_its_port() -> None:
    origin = Origin("Proxy.Example", 8443)
    assert origin_form(b"https://proxy.example:8443/a", origin, None) == b"/a"
    for target in (b"https://proxy.example/a", b"https://proxy.example:443/a", b"https://api.openai.com/a"):
        with pytest.raises(BadTarget):
            origin_form(target, origin, None)


@pytest.mark.parametrize(
    ("origin", "authority", "host_field"),
    [
        (Origin("api.openai.com"), b"api.openai.com:443", b"api.openai.com"),
        (Origin("h", 8443), b"h:8443", b"h:8443"),
        (Origin("h", 4430), b"h:4430", b"h:4430"),
        (Origin("::1"), b"[::1]:443", b"[::1]"),
        (Origin("fe80::443", 8443), b"[fe80::443]:8443", b"[fe80::443]:8443"),
    ],
)
def test_origin_as_connect_target_and_as_host(origin: Origin, authority: bytes, host_field: bytes) -> None:
    assert origin.authority == authority
    assert origin.host_field == host_field


@pytest.mark.parametrize(
    ("base_path", "target", "joined"),
    [
        (b"/v1", b"/responses", b"/v1/responses"),
        (b"/v1", b"/v1/responses", b"/v1/responses"),
        (b"/v1", b"/v1", b"/v1"),
        (b"/v1", b"/v1/", b"/v1/"),
        (b"/v1", b"/v1?a=b", b"/v1?a=b"),
        (b"/v1", b"/v1#f", b"/v1#f"),
        (b"/v1", b"/", b"/v1/"),
        (b"/v1", b"/?a", b"/v1/?a"),
        (b"/v1", b"/v10/x", b"/v1/v10/x"),
        (b"/v1", b"/v1beta/x", b"/v1/v1beta/x"),
        (b"/v1", b"/V1/x", b"/v1/V1/x"),
        (b"/v1", b"/v1%2Fx", b"/v1/v1%2Fx"),
        (b"/v1", b"/%761/x", b"/v1/%761/x"),
        (b"/v1", b"/v1;a/x", b"/v1/v1;a/x"),
        (b"/v1", b"/v", b"/v1/v"),
        (b"/v1", b"/x?/v1/y", b"/v1/x?/v1/y"),
        (b"/v1", b"/v1/../b", b"/v1/../b"),
        (b"/a/b", b"/a/b/c", b"/a/b/c"),
        (b"/a/b", b"/a/c", b"/a/b/a/c"),
        (b"", b"/responses", b"/responses"),
        (b"", b"/v1/responses", b"/v1/responses"),
        *((b"/v1", target, b"/v1" + target) for target in EXACT if not target.startswith(b"/v1/")),
        *((b"", target, target) for target in EXACT),
    ],
)
def test_base_path_is_put_in_front_once_and_nothing_else_changes(
    base_path: bytes, target: bytes, joined: bytes
) -> None:
    assert join_base_path(base_path, target) == joined


@pytest.mark.parametrize(
    ("target", "left"),
    [
        (b"/a?key=secret", b"/a"),
        (b"/a?KEY=secret&b=1", b"/a?b=1"),
        (b"/a?b=1&Api_Key=secret", b"/a?b=1"),
        (b"/a?b=1&key=secret&c=2&key=again", b"/a?b=1&c=2"),
        (b"/a?%6bey=secret&b", b"/a?b"),
        (b"/a?%6B%65%59=secret&b", b"/a?b"),
        (b"/a?api%5fkey=secret", b"/a"),
        (b"/a?key", b"/a"),
        (b"/a?key=", b"/a"),
        (b"/a?key=a=b?c", b"/a"),
        (b"/a?&&key=secret&&b=%26key%3d1&", b"/a?&&&b=%26key%3d1&"),
        (b"/a?b=1&key=secret#f", b"/a?b=1"),
        (b"/a#f?key=secret", b"/a#f"),
        (b"/a?", b"/a?"),
        (b"/a?&", b"/a?&"),
        (b"/a", b"/a"),
        (b"/key=1", b"/key=1"),
        (b"/a?b=key&monkey=1&keys=2&key2=3&%256bey=4&key+=5&k%00ey=6&%zzkey=7", None),
        (b"/a?b=1&b=%C3%A9&c;key=1&\xff=2&=3", None),
    ],
)
def test_parameters_with_a_key_go_and_every_other_byte_stays(target: bytes, left: bytes | None) -> None:
    names = frozenset({b"key", b"api_key"})
    assert without_parameters(target, names) == (target if left is None else left)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/a?key=secret", b"/a"),
        (b"/a#secret", b"/a"),
        (b"/a#b?c", b"/a"),
        (b"/a?b#c?d", b"/a"),
        (b"/a:b%2Fc", b"/a:b%2Fc"),
        (b"/", b"/"),
        (b"/user:name@host", b"/user:name@host"),
        (b"http://user:secret@evil/a/b?c", b"/a/b"),
        (b"https://user:secret@evil", b"/"),
        (b"http://user:secret@evil?c@d", b"/"),
        (b"ws://user:secret@evil/a", b"evil/a"),
        (b"user:secret@evil:443", b"evil:443"),
        (b"x?secret@y", b"x"),
        (b"*", b"*"),
        (b"-", b"-"),
    ],
)
def test_path_for_the_log_has_no_query_and_no_password(target: bytes, path: bytes) -> None:
    assert path_of(target) == path
