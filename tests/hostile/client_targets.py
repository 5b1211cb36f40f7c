"""Targets that would choose another authority, or be read as two; the origin is always the configured one."""

from tests.hostile.client_case import END, HOST, KEPT, MALFORMED, SMUGGLED, Case

BAD = "400 bad_target"
_AUTHORITY = "RFC 9112 3.2; CVE-2011-3368, CWE-918"
_NGINX = "O. Tsai, Breaking Parser Logic (2018)"


def _refused(name: str, target: bytes, source: str = _AUTHORITY, answers: str = BAD) -> Case:
    sent = b"GET " + target + b" HTTP/1.1\r\n" + HOST + END + SMUGGLED
    return Case("target names an authority", name, source, sent, answers)


def _passes(name: str, target: bytes, arrives: str, source: str = _AUTHORITY, by_h11: str = "") -> Case:
    """It reaches the configured origin, whatever it may seem to name."""
    sent = b"GET " + target + b" HTTP/1.1\r\n" + HOST + END
    return Case("target stays at the origin", name, source, sent, "200", f"GET {arrives}", KEPT,
                not_by_h11=by_h11)  # fmt: skip


def _malformed(name: str, target: bytes, source: str = "RFC 9112 3.2", answers: str = MALFORMED) -> Case:
    sent = b"GET " + target + b" HTTP/1.1\r\n" + HOST + END + SMUGGLED
    return Case("target, malformed", name, source, sent, answers)


ROWS = (
    _refused("two slashes", b"//evil.test/MARK"),
    _refused("three slashes", b"///evil.test/MARK"),
    _refused("two slashes and a user", b"//a@evil.test/MARK"),
    _refused("at", b"@evil.test/MARK", _AUTHORITY, MALFORMED),
    _refused("dot at", b".@evil.test/MARK", _AUTHORITY, MALFORMED),
    _refused("port", b":443/MARK", _AUTHORITY, MALFORMED),
    _refused("bare name", b"evil.test/MARK", _AUTHORITY, MALFORMED),
    _refused("authority-form", b"evil.test:443", _AUTHORITY, MALFORMED),
    _refused("absolute-form, http", b"http://evil.test/MARK"),
    _refused("absolute-form, https", b"https://evil.test/MARK"),
    _refused("absolute-form in capitals", b"HTTP://EVIL.TEST/MARK"),
    _refused("absolute-form, port 80", b"http://evil.test:80/MARK"),
    _refused("absolute-form, the provider as user", b"http://{ORIGIN}@evil.test/MARK"),
    _refused("absolute-form, a user at our port", b"http://user:word@127.0.0.1:{PORT}/MARK"),
    _refused("absolute-form, another's name as user", b"http://evil.test@127.0.0.1:{PORT}/MARK"),
    _refused("absolute-form, the provider as a label", b"http://{ORIGIN}.evil.test/MARK"),
    _refused("absolute-form, backslash in the authority", b"http://evil.test\\@{ORIGIN}/MARK", _NGINX,
             MALFORMED),
    _refused("absolute-form, two slashes in the path", b"http://{ORIGIN}//evil.test/MARK"),
    _refused("absolute-form, no authority", b"http:///MARK"),
    _refused("absolute-form, one slash", b"http:/evil.test/MARK", _AUTHORITY, MALFORMED),
    _refused("absolute-form, no slash", b"http:MARK", _AUTHORITY, MALFORMED),
    _refused("absolute-form, three slashes", b"http:////evil.test/MARK"),
    _refused("absolute-form, ftp", b"ftp://evil.test/MARK"),
    _refused("absolute-form, ws", b"ws://{ORIGIN}/MARK"),
    _refused("absolute-form, file", b"file:///etc/passwd"),
    _refused("absolute-form, gopher", b"gopher://evil.test:6379/_MARK"),
    _refused("javascript", b"javascript:alert(1)", _AUTHORITY, MALFORMED),
    _refused("asterisk", b"*", "RFC 9112 3.2.4"),
    Case("target names an authority", "OPTIONS *", "RFC 9112 3.2.4",
         b"OPTIONS * HTTP/1.1\r\n" + HOST + END + SMUGGLED, BAD),
    _refused("backslash first", b"\\evil.test/MARK", _NGINX, MALFORMED),
    _refused("question mark first", b"?MARK", "RFC 9112 3.2.1", MALFORMED),
    _refused("number sign first", b"#MARK", "RFC 9112 3.2.1", MALFORMED),
    _refused("percent-encoded slash first", b"%2fevil.test/MARK", "RFC 9112 3.2.1", MALFORMED),
    _malformed("none", b""),
    _malformed("a space inside", b"/v1/MARK /x", "RFC 9112 3.2; response splitting"),
    _malformed("a tab inside", b"/v1/MARK\tx"),
    _malformed("NUL", b"/v1/MARK\0"),
    _malformed("CR", b"/v1/MARK\rX: y"),
    _malformed("LF and a field", b"/v1/MARK\nX: y"),
    _malformed("DEL", b"/v1/MARK\x7f"),
    _malformed("control byte", b"/v1/MARK\x01"),
    _malformed("vertical tab", b"/v1/MARK\x0b"),
    _malformed("octet beyond ASCII", b"/v1/MARK\xff"),
    _malformed("UTF-8", "/v1/MARK/ü".encode()),
    _passes("slash and backslash", b"/\\evil.test/MARK", "/v1/\\evil.test/MARK", _NGINX),
    _passes("slash and at", b"/@evil.test/MARK", "/v1/@evil.test/MARK"),
    _passes("slash, dot, two slashes", b"/.//evil.test/MARK", "/v1/.//evil.test/MARK", _NGINX),
    _passes("two slashes further in", b"/MARK//evil.test", "/v1/MARK//evil.test"),
    _passes("encoded slashes", b"/%2f%2fevil.test/MARK", "/v1/%2f%2fevil.test/MARK", _NGINX),
    _passes("encoded dots", b"/v1/%2e%2e/MARK", "/v1/%2e%2e/MARK", _NGINX),
    _passes("encoded slash and dots", b"/%2f../MARK", "/v1/%2f../MARK", _NGINX),
    _passes("dots", b"/v1/../../MARK", "/v1/../../MARK", "RFC 3986 5.2.4"),
    _passes("dots and a semicolon", b"/..;/MARK", "/v1/..;/MARK", _NGINX),
    _passes("encoded NUL", b"/v1/%00/MARK", "/v1/%00/MARK", "CWE-158"),
    _passes("encoded line break", b"/v1/MARK%0d%0aX:%20y", "/v1/MARK%0d%0aX:%20y", "CWE-113"),
    _passes("twice encoded", b"/v1/%252e%252e/MARK", "/v1/%252e%252e/MARK", "CWE-174"),
    _passes("overlong UTF-8", b"/v1/%c0%ae%c0%ae/MARK", "/v1/%c0%ae%c0%ae/MARK", "CVE-2000-0884"),
    _passes("a URL in the query", b"/v1/MARK?u=http://evil.test/", "/v1/MARK?u=http://evil.test/"),
    _passes("a URL as path", b"/http://evil.test/MARK", "/v1/http://evil.test/MARK"),
    _passes("absolute-form, the provider", b"http://{ORIGIN}/v1/MARK", "/v1/MARK", "RFC 9112 3.2.2"),
    _passes("absolute-form, our port", b"http://127.0.0.1:{PORT}/v1/MARK", "/v1/MARK", "RFC 9112 3.2.2"),
    _passes("absolute-form, another's name at our port", b"http://evil.test:{PORT}/v1/MARK", "/v1/MARK",
            "RFC 9112 3.2.2"),
)  # fmt: skip
