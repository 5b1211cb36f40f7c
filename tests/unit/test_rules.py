"""Path rules: how they are written, what they match, and that no spelling of a path gets around them."""

import re
import time
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awfproxy.errors.client import AmbiguousTarget, PathDenied
from awfproxy.providers.rules import (
    METHODS,
    OVERRIDES,
    Action,
    Rule,
    Rules,
    Verdict,
    canonical,
    parse_rule,
    parse_rules,
)


def rules(*texts: str) -> Rules:
    return parse_rules(texts, "test")


def passes(found: Rules, method: bytes, target: bytes) -> bool:
    return found.judge(method, target).allowed


# --- how rules are written --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "action", "methods", "pattern", "shown"),
    [
        ("deny * /v1/files/**", Action.DENY, None, "/v1/files/**", "deny * /v1/files/**"),
        ("allow POST /a", Action.ALLOW, {b"POST"}, "/a", "allow POST /a"),
        ("  allow\tPOST,PUT \n /a ", Action.ALLOW, {b"POST", b"PUT"}, "/a", "allow POST,PUT /a"),
        ("allow GET /a", Action.ALLOW, {b"GET", b"HEAD"}, "/a", "allow GET /a"),
        ("allow HEAD /a", Action.ALLOW, {b"HEAD"}, "/a", "allow HEAD /a"),
        ("deny * /", Action.DENY, None, "/", "deny * /"),
        ("deny * /**", Action.DENY, None, "/**", "deny * /**"),
        ("deny * /a/**/b/*:c", Action.DENY, None, "/a/**/b/*:c", "deny * /a/**/b/*:c"),
        ("deny * /.well-known/a.b", Action.DENY, None, "/.well-known/a.b", "deny * /.well-known/a.b"),
    ],
)
def test_rule_is_three_words(
    text: str, action: Action, methods: set[bytes] | None, pattern: str, shown: str
) -> None:
    rule = parse_rule(text)
    assert (rule.action, rule.pattern, rule.text) == (action, pattern, shown)
    assert rule.methods == (None if methods is None else frozenset(methods))
    assert parse_rule(rule.text) == rule


MISWRITTEN = {
    "nothing": ("", "three words"),
    "no method": ("deny /v1/files", "three words"),
    "space behind the comma": ("deny GET, POST /v1/files", "three words"),
    "a fourth word": ("deny * /v1/files /v1/uploads", "three words"),
    "another action": ("block * /a", "allow nor with deny"),
    "action in upper case": ("DENY * /a", "lower case"),
    "unknown method": ("deny PSOT /a", "Write * for any"),
    "method in lower case": ("deny get /a", "Write * for any"),
    "method that is never forwarded": ("deny CONNECT /a", "Write * for any"),
    "star among methods": ("deny GET,* /a", "Write * for any"),
    "empty method": ("deny GET, /a", "Write * for any"),
    "path and method swapped": ("deny /a GET", "Write * for any"),
    "no slash": ("deny * v1/files", "begin with a slash"),
    "URL": ("deny * https://api.openai.com/v1/files", "begin with a slash"),
    "star for everything": ("deny * *", "begin with a slash"),
    "slash at the end": ("deny * /v1/files/", "Leave it off"),
    "two slashes": ("deny * /v1//files", "two slashes"),
    "two slashes in front": ("deny * //v1", "two slashes"),
    "dot segment": ("deny * /v1/./files", "dot"),
    "dot-dot segment": ("deny * /v1/../files", "dot"),
    "dot at a segment's end": ("deny * /v1/files./a", "dot"),
    "encoded octet": ("deny * /v1/%66iles", "'%'"),
    "query": ("deny * /v1/files?a=b", "'?'"),
    "fragment": ("deny * /v1/files#a", "'#'"),
    "path parameter": ("deny * /v1/files;a", "';'"),
    "backslash": ("deny * /v1\\files", "'\\\\'"),
    "outside ASCII": ("deny * /v1/fil\u00e9s", "'\\xe9'"),
    "control character": ("deny * /v1/fil\0es", "'\\x00'"),
    "two stars in a segment": ("deny * /v1/*a*", "several stars"),
    "two stars within a segment": ("deny * /v1/files**", "several stars"),
    "three stars": ("deny * /v1/***", "several stars"),
    "two times any number of segments": ("deny * /**/a/**", "more than once"),
}


@pytest.mark.parametrize("name", MISWRITTEN)
def test_miswritten_rule_is_refused_and_the_text_says_what_to_write(name: str) -> None:
    text, said = MISWRITTEN[name]
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        parse_rule(text)
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


def test_refusal_among_several_rules_has_the_number() -> None:
    with pytest.raises(ValueError, match=r"^rule 2: a rule has three words"):
        parse_rules(["deny * /a", "deny /b"], "test")


def test_no_pattern_is_taken_that_no_canonical_path_could_match() -> None:
    """Each taken pattern, with its stars filled in, is its own canonical path."""
    for octet in range(0x21, 0x7F):
        for pattern in (f"/a{chr(octet)}", f"/{chr(octet)}a/b", f"/{chr(octet)}"):
            try:
                parse_rule(f"deny * {pattern}")
            except ValueError:
                continue
            path = pattern.replace("*", "x").encode()
            assert canonical(path) == path


# --- what rules match -------------------------------------------------------------------------------

MATCHES = {
    "/": ([b"/"], [b"/a"]),
    "/a": ([b"/a", b"/a/", b"/a?b", b"/a/?b/c", b"/%61"], [b"/", b"/a/b", b"/ab", b"/b/a"]),
    "/a.b+c": ([b"/a.b+c", b"/a%2e".replace(b"%2e", b".b+c")], [b"/axb+c", b"/a.bbc"]),
    "/*": ([b"/a", b"/abc/", b"/a%20b"], [b"/", b"/a/b"]),
    "/a/*/c": ([b"/a/b/c", b"/a/%2Ax/c"], [b"/a/c", b"/a/b/b/c", b"/a/b"]),
    "/m/*:go": ([b"/m/x:go", b"/m/x:y:go", b"/m/x%3Ago"], [b"/m/:go", b"/m/x:gone", b"/m/x/y:go"]),
    "/m/a*": ([b"/m/ab", b"/m/abc"], [b"/m/a", b"/m/b", b"/m/ab/c"]),
    "/**": ([b"/", b"/a", b"/a/b/c/", b"/a?b"], []),
    "/a/**": ([b"/a", b"/a/", b"/a/b", b"/a/b/c"], [b"/", b"/ab", b"/ab/c", b"/b/a"]),
    "/a/**/z": ([b"/a/z", b"/a/b/z", b"/a/b/c/z", b"/a/z/z"], [b"/a", b"/z", b"/a/bz", b"/a/z/b"]),
    "/**/z": ([b"/z", b"/a/z", b"/a/b/z"], [b"/", b"/az", b"/a/b"]),
    "/a/**/b*c/*d": ([b"/a/bxc/xd", b"/a/1/2/bxc/xd"], [b"/a/bc/xd", b"/a/bxc/d", b"/a/bxc/1/xd"]),
}  # fmt: skip


@pytest.mark.parametrize("pattern", MATCHES)
def test_pattern_matches_whole_paths(pattern: str) -> None:
    inside, outside = MATCHES[pattern]
    for action, others in (("allow", "deny * /**"), ("deny", "allow * /**")):
        found = rules(f"{action} * {pattern}", others)
        for target in inside:
            assert found.judge(b"GET", target).number == 1, target
        for target in outside:
            assert found.judge(b"GET", target).number == 2, target


def test_without_rules_everything_is_allowed_and_nothing_is_looked_at() -> None:
    for found in (Rules(), parse_rules([], "default")):
        assert not found
        for target in (b"/a/../b", b"/%2f", b"//", b"/\0", b"/a?_method=PUT", b""):
            assert found.judge(b"GET", target, [b"x-http-method"]) == Verdict(True, None, 0)
            found.enforce(b"GET", target, [b"x-http-method"])
    assert rules("deny * /a")


def test_first_match_decides() -> None:
    found = rules("deny GET /a/b", "allow * /a/**", "deny * /a/**")
    assert found.judge(b"GET", b"/a/b") == Verdict(False, found.rules[0], 1)
    assert found.judge(b"POST", b"/a/b") == Verdict(True, found.rules[1], 2)
    assert found.judge(b"GET", b"/a/c") == Verdict(True, found.rules[1], 2)
    assert not any(found.judge(method, b"/a").number == 3 for method in (b"GET", b"PUT"))


def test_default_is_allow_until_there_is_an_allow_rule() -> None:
    assert rules("deny * /a").judge(b"GET", b"/b") == Verdict(True, None, 0)
    assert rules("deny * /a", "allow * /c").judge(b"GET", b"/b") == Verdict(False, None, 0)
    assert rules("allow * /c", "deny * /a").judge(b"GET", b"/b") == Verdict(False, None, 0)


def test_methods_are_matched_exactly_and_head_goes_with_get() -> None:
    found = rules("allow GET,DELETE /a", "allow POST /b")
    assert {m for m in METHODS if passes(found, m.encode(), b"/a")} == {"GET", "HEAD", "DELETE"}
    assert {m for m in METHODS if passes(found, m.encode(), b"/b")} == {"POST"}
    assert not passes(found, b"get", b"/a")
    assert not passes(rules("deny * /a"), b"PROPFIND", b"/a")
    assert not passes(rules("deny GET /a"), b"HEAD", b"/a")


def test_deny_matches_in_any_letter_case_and_allow_only_as_written() -> None:
    denied = rules("deny * /v1/Files/**")
    for target in (b"/v1/files", b"/V1/FILES/a", b"/%56%31/fILES"):
        assert not passes(denied, b"GET", target)
    allowed = rules("allow * /v1/Models")
    assert passes(allowed, b"GET", b"/v1/Models")
    assert not passes(allowed, b"GET", b"/v1/models")
    assert not passes(allowed, b"GET", b"/V1/Models")


def test_denied_request_says_which_rule_decided_and_whose_it_is() -> None:
    found = parse_rules(["allow GET /a", "deny *   /mcp/**"], "the config file's [providers.x] rules")
    found.enforce(b"GET", b"/a")
    with pytest.raises(PathDenied) as caught:
        found.enforce(b"POST", b"/MCP/secret?secret")
    assert caught.value.public == (
        "Rules: the config file's [providers.x] rules; number 2 decides: deny * /mcp/**"
    )
    with pytest.raises(PathDenied) as caught:
        found.enforce(b"POST", b"/secret")
    assert caught.value.public == (
        "Rules: the config file's [providers.x] rules; none matches, and there are allow rules."
    )


def test_what_decided_can_be_told_of_what_is_allowed_too() -> None:
    found = rules("deny * /a", "allow * /b")
    assert found.explain(found.judge(b"GET", b"/b")) == "Rules: test; number 2 decides: allow * /b"
    found = rules("deny * /a")
    assert found.explain(Verdict(True)) == "Rules: test; none matches, and there is no allow rule."
    assert Rules().explain(Verdict(True)) == "There are no path rules."


def test_rules_are_compiled_when_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    found = rules("deny * /a/**", "allow GET /b/*")

    def compiled_again(*_: object) -> None:
        raise AssertionError("compiled while judging")

    monkeypatch.setattr(re, "compile", compiled_again)
    assert passes(found, b"GET", b"/b/c")


# --- the canonical form -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/", b"/"),
        (b"/?a//b/../%2f", b"/"),
        (b"/a", b"/a"),
        (b"/a/", b"/a"),
        (b"/a/?b", b"/a"),
        (b"/a?b?c#d", b"/a"),
        (b"/%61%41%7e%2D", b"/aA~-"),
        (b"/a:b%3Ac%40d@e", b"/a:b:c@d@e"),
        (b"/a%20b", b"/a b"),
        (b"/a%2Ab*c", b"/a*b*c"),
        (b"/.a/b.c/...d", b"/.a/b.c/...d"),
        (b"/a+b=c,d!$&'()", b"/a+b=c,d!$&'()"),
        (b"/a\"<>|^`{}[]", b"/a\"<>|^`{}[]"),
    ],
)  # fmt: skip
def test_canonical_form_is_the_decoded_path_without_a_slash_at_its_end(target: bytes, path: bytes) -> None:
    assert canonical(target) == path


AMBIGUOUS = (
    # what an escape hides
    b"/a%2Fb", b"/a%2fb", b"/%2F", b"/a%5Cb", b"/a%2E", b"/%2e%2e/a", b"/.%2e/a", b"/a%2Eb", b"/a%25",
    b"/%2566", b"/%252f", b"/%25%36%36", b"/a%3Bb", b"/a%3fb", b"/a%23b", b"/a%00", b"/a%0Ab", b"/a%0d%0aX",
    b"/a%09", b"/a%7F",
    # malformed escapes
    b"/a%", b"/a%6", b"/%zz", b"/%6g", b"/%u0066iles", b"/% 6", b"/%+1", b"/%-1", b"/%6\xff", b"/%%36%36",
    # segments
    b"//", b"//a", b"/a//b", b"/a//", b"/a///?b", b"/.", b"/..", b"/./a", b"/../a", b"/a/.", b"/a/..",
    b"/a/./b", b"/a/../b", b"/a/.../b", b"/a.", b"/a./b", b"/a../", b"/a/..;/b", b"/a%20", b"/a%20/b",
    b"/%20a", b"/a/%20",
    # raw octets
    b"/a\\b", b"/a\\..\\b", b"/a;b", b"/a;", b"/;a/b", b"/a#b", b"/a#", b"/a b", b"/a\tb", b"/a\0", b"/a\r\n",
    b"/a\x7f",
    # outside ASCII: overlong, folded, look-alikes, other encodings
    b"/a\xc0\xafb", b"/%c0%ae%c0%ae/a", b"/%c0%af", b"/%e0%80%af", b"/%C1%A6iles", b"/v1/file%C5%BF",
    b"/%EF%BC%8F", b"/%EF%BC%8E%EF%BC%8E/a", b"/%E2%84%AA", b"/\xc3\xa9", b"/%ff", b"/%80",
    # no path at all
    b"", b"a", b"*", b"?a", b"http://a/b", b"\\a",
)  # fmt: skip


@pytest.mark.parametrize("target", AMBIGUOUS)
def test_what_two_readers_could_take_differently_is_refused(target: bytes) -> None:
    with pytest.raises(AmbiguousTarget) as caught:
        canonical(target)
    assert re.fullmatch(r"It has [ -~]+\.", caught.value.public)
    for found in (rules("allow * /**"), rules("deny * /never")):
        with pytest.raises(AmbiguousTarget):
            found.judge(b"GET", target)


def spellings(name: bytes) -> set[bytes]:
    return {name, name.replace(b"-", b"_"), name.replace(b"-", b"_", 1)}


@pytest.mark.parametrize("name", sorted({each for name in OVERRIDES for each in spellings(name)}))
def test_fields_that_override_method_or_path_are_refused_where_there_are_rules(name: bytes) -> None:
    for found in (rules("allow * /**"), rules("deny * /never")):
        with pytest.raises(AmbiguousTarget):
            found.judge(b"POST", b"/a", frozenset({b"host", name}))
        with pytest.raises(AmbiguousTarget):
            found.enforce(b"POST", b"/a", frozenset({b"host", name}))


def test_three_known_method_fields_are_among_them_and_usual_fields_are_not() -> None:
    assert {b"x-http-method-override", b"x-http-method", b"x-method-override"} <= OVERRIDES
    usual = {b"host", b"content-type", b"x-request-id", b"x-stainless-lang", b"openai-beta"}
    assert rules("allow * /**").judge(b"GET", b"/a", usual).allowed


@pytest.mark.parametrize(
    "query",
    [b"_method=DELETE", b"a=b&_method=DELETE", b"a;_METHOD", b"%5fmethod=DELETE", b"$httpMethod=DELETE",
     b"%24httpMethod=DELETE", b"$httpHeaders=X-HTTP-Method-Override:PUT"],
)  # fmt: skip
def test_query_that_overrides_the_method_is_refused_where_there_are_rules(query: bytes) -> None:
    with pytest.raises(AmbiguousTarget):
        rules("allow * /**").judge(b"POST", b"/a?" + query)


@pytest.mark.parametrize(
    "query", [b"", b"alt=sse", b"beta=true", b"a_method=b", b"q=_method", b"%", b"%zz=a/../b"]
)
def test_any_other_query_is_no_matter_of_the_rules(query: bytes) -> None:
    assert rules("allow * /a").judge(b"POST", b"/a?" + query).number == 1


# --- no way around ----------------------------------------------------------------------------------

LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_~:@!$&'()*+,="
SEGMENTS = st.lists(st.sampled_from(LETTERS), min_size=1, max_size=8).map(bytes)
PATHS = st.lists(SEGMENTS, min_size=1, max_size=5).map(lambda segments: b"/" + b"/".join(segments))


@st.composite
def encoded(draw: st.DrawFn, path: bytes) -> bytes:
    """The path with some octets percent-encoded, in either letter case, and perhaps a slash at its end."""
    octets = []
    for octet in path:
        forms = [b"%c" % octet, b"%%%02x" % octet, b"%%%02X" % octet]
        octets.append(b"/" if octet == ord("/") else draw(st.sampled_from(forms)))
    return b"".join(octets) + draw(st.sampled_from([b"", b"/", b"?a=b/../%2f", b"/?a"]))


@given(st.data(), PATHS)
def test_each_encoding_of_a_path_has_the_same_canonical_form(data: st.DataObject, path: bytes) -> None:
    assert canonical(data.draw(encoded(path))) == path


@given(st.lists(st.sampled_from(LETTERS + b"./%25efFE?#;\\ \0\xff"), max_size=24).map(bytes))
def test_no_reader_of_a_canonical_form_comes_to_another_one(rest: bytes) -> None:
    try:
        path = canonical(b"/" + rest)
    except AmbiguousTarget:
        return
    assert canonical(path.replace(b" ", b"%20")) == path
    assert unquote_to_bytes(path) == path
    assert all(segment.strip(b". ") for segment in path.split(b"/")[1:]) or path == b"/"
    assert not set(path) & set(b"%?#;\\\0\xff")


DENIED = rules("deny * /v1/files/**", "deny * /mcp/**")
WAYS_AROUND: tuple[Callable[[bytes], bytes], ...] = (
    lambda path: path,
    lambda path: path + b"/",
    lambda path: path + b"//",
    lambda path: path + b"?x",
    lambda path: path + b"?/../x",
    lambda path: path + b"#x",
    lambda path: path + b"/.",
    lambda path: path + b"/x/..",
    lambda path: path + b"/%2e",
    lambda path: path + b"/..;/" + path[1:],
    lambda path: path + b";x=y",
    lambda path: path + b"%3bx",
    lambda path: path + b".",
    lambda path: path + b"%2e",
    lambda path: path + b"%20",
    lambda path: path + b"%00",
    lambda path: path + b"%00.json",
    lambda path: path + b"%0a",
    lambda path: path + b"%3f",
    lambda path: path + b"%23",
    lambda path: path + b"/any/thing",
    lambda path: b"/" + path,
    lambda path: b"/." + path,
    lambda path: b"/x/.." + path,
    lambda path: b"/%2e%2e" + path,
    lambda path: b"/x/%2e%2e" + path,
    lambda path: b"/x/.%2E" + path,
    lambda path: b"/x%2f.." + path,
    lambda path: b"/;x" + path,
    lambda path: b"/\\" + path,
    lambda path: b"\\" + path[1:],
    lambda path: b"/%2f" + path[1:],
    lambda path: b"/%5c" + path[1:],
    lambda path: b"http://evil" + path,
    lambda path: path.replace(b"/", b"//"),
    lambda path: path.replace(b"/", b"/./"),
    lambda path: path.replace(b"/", b"\\"),
    lambda path: b"/" + path[1:].replace(b"/", b"\\"),
    lambda path: b"/" + path[1:].replace(b"/", b"%2f") + b"%2fx",
    lambda path: b"/" + path[1:].replace(b"/", b"%5C") + b"%5Cx",
    lambda path: b"/" + path[1:].replace(b"/", b"%252f") + b"%252fx",
    lambda path: path.upper(),
    lambda path: path.title(),
    lambda path: b"/" + b"".join(b"%%%02x" % octet if octet != 0x2F else b"/" for octet in path[1:]),
    lambda path: b"/" + b"".join(b"%%25%02x" % octet if octet != 0x2F else b"/" for octet in path[1:]),
    lambda path: b"/" + b"".join(b"%%u%04x" % octet if octet != 0x2F else b"/" for octet in path[1:]),
    lambda path: path.upper().replace(b"I", b"%49").replace(b"M", b"%6d"),
    lambda path: path.replace(b"s", b"%C5%BF").replace(b"c", b"%EF%BD%83"),
    lambda path: path.replace(b"f", b"\xc1\xa6").replace(b"p", b"\xc1\xb0"),
)


@pytest.mark.parametrize("way", range(len(WAYS_AROUND)))
@pytest.mark.parametrize("path", [b"/v1/files", b"/mcp", b"/v1/files/file-1/content"])
def test_denied_path_is_not_reached_by_another_spelling(path: bytes, way: int) -> None:
    target = WAYS_AROUND[way](path)
    for found in (DENIED, Rules((*DENIED.rules, parse_rule("allow * /**")), "test")):
        with pytest.raises((PathDenied, AmbiguousTarget)):
            found.enforce(b"GET", target)


@given(st.data(), st.sampled_from([b"/v1/files", b"/mcp/readonly", b"/v1/files/a/b"]))
def test_denied_path_is_not_reached_by_encoding_or_letter_case(data: st.DataObject, path: bytes) -> None:
    cased = bytes(data.draw(st.sampled_from([octet, *chr(octet).upper().encode()])) for octet in path)
    with pytest.raises((PathDenied, AmbiguousTarget)):
        DENIED.enforce(data.draw(st.sampled_from([b"GET", b"POST", b"PROPFIND"])), data.draw(encoded(cased)))


# --- hostile paths cost no more than their length -----------------------------------------------------

HOSTILE_PATTERNS = (
    "/**", "/a/**", "/**/a", "/a/**/b*c/*d/e*", "/**/a*a/a*a/a*a/a*a", "/*/*/*/*/*:go",
    "/a*aaaaaaaaaaaaaaaab",
)  # fmt: skip
HOSTILE_UNITS = (b"/a", b"a", b"/aaa", b"/bxc/xd", b"%61", b"/%61", b"/a:go", b"*", b"/b")


def seconds(rule: Rule, path: bytes) -> float:
    """The least of three tries, in CPU time: other work on the machine is no matter of the rule's."""
    tries = []
    for _ in range(3):
        begun = time.process_time()
        rule.matches(b"GET", canonical(path))
        tries.append(time.process_time() - begun)
    return min(tries)


@pytest.mark.parametrize("pattern", HOSTILE_PATTERNS)
def test_long_hostile_path_is_judged_at_once(pattern: str) -> None:
    """At 256 KiB, four times what a head may hold; quadratic time would be minutes."""
    rule = parse_rule(f"deny * {pattern}")
    for unit in HOSTILE_UNITS:
        for end in (b"", b"/x", b"c", b"/bxc/x"):
            path = b"/a" + unit * (262144 // len(unit)) + end
            assert seconds(rule, path) < 1, (unit, end)
