"""Path rules: which methods and paths of a provider the agent may use, as the operator wrote them. Pure.

A rule is one line, `allow POST /v1/responses` or `deny * /v1/files/**`. The first that matches decides;
where none does, everything is allowed, unless there is an allow rule: then nothing else is. What is judged
is a canonical form of the target that the provider gets; what is sent stays the original. That is sound only
where every reader of the original comes to the same form, so what two could take differently is refused.
"""

import re
from collections.abc import Iterable
from enum import Enum
from urllib.parse import unquote_to_bytes

import attrs

from awfproxy.errors.client import AmbiguousTarget, PathDenied

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"})
"""What a rule can name; another method is met by `*` alone."""

OVERRIDES = frozenset(
    {b"x-http-method-override", b"x-http-method", b"x-method-override", b"x-original-url", b"x-rewrite-url"}
)
"""Fields by which some servers take another method or path than those of the request line. Matched with `_`
for `-` too, since many servers take the two for the same."""

# The same in a query: Rack, Symfony and others read `_method`, Google's servers may read system parameters.
_QUERY_OVERRIDE = re.compile(rb"(?:\A|[&;])(?:_method|\$http-?(?:method|headers))(?:[&;=]|\Z)", re.IGNORECASE)

_ESCAPE = re.compile(rb"%(.{0,2})", re.DOTALL)
_HEX = re.compile(rb"[0-9A-Fa-f]{2}")
_NOT_PLAIN = re.compile(rb"[^!-~]|[#;\\]")
_NOT_PLAIN_ENCODED = frozenset(b"/\\.%;?#" + bytes(range(0x20)) + bytes(range(0x7F, 0x100)))
# Servers on Windows drop dots and spaces at a segment's end. `.` and `..` end in a dot too.
_EDGE = re.compile(rb"/ |[. ](?:/|\Z)")

_NOT_IN_PATTERN = re.compile(r"[^!-~]|[%?#;\\]")


class Action(Enum):
    """What a rule says of the requests that it matches."""

    ALLOW = "allow"
    DENY = "deny"


@attrs.frozen
class Rule:
    """One line of the operator's; `parse_rule` makes it from its text."""

    action: Action
    methods: frozenset[bytes] | None
    """None for any."""
    pattern: str
    text: str
    """The rule as written, with single spaces."""
    _path: re.Pattern[bytes] = attrs.field(init=False, eq=False, repr=False)

    @_path.default
    def _compiled(self) -> re.Pattern[bytes]:
        # Some servers ignore case: a deny must not be dodged by /V1/Files, and an allow needs no such reach.
        flags = re.IGNORECASE if self.action is Action.DENY else re.NOFLAG
        return re.compile(_regex(self.pattern), flags)

    def matches(self, method: bytes, path: bytes) -> bool:
        """Whether the rule is about this request; `path` is in canonical form."""
        if self.methods is not None and method not in self.methods:
            return False
        return self._path.fullmatch(path) is not None


@attrs.frozen
class Verdict:
    """What the rules say of a request, and which one said it."""

    allowed: bool
    rule: Rule | None = None
    """None where no rule matched and the default decided."""
    number: int = 0
    """The rule's place, counted from 1; 0 without a rule."""


_ALLOWED = Verdict(True)
_DENIED = Verdict(False)


@attrs.frozen
class Rules:
    """All rules of one provider, in their order. Without any, it is false and allows everything."""

    rules: tuple[Rule, ...] = ()
    source: str = ""
    """Where they are from, for messages: `default`, or `the config file's [providers.openai] rules`."""

    def __bool__(self) -> bool:
        return bool(self.rules)

    def judge(self, method: bytes, target: bytes, names: Iterable[bytes] = ()) -> Verdict:
        """The verdict on a request; raises `AmbiguousTarget`, but never where there are no rules.

        `target` is in origin-form and as the provider gets it, so with the base path; `names` are the
        lower-case names of the request's fields.
        """
        if not self.rules:
            return _ALLOWED
        if not OVERRIDES.isdisjoint([name.replace(b"_", b"-") for name in names]):
            raise _ambiguous("a field that overrides the method or path")
        path = canonical(target)
        if b"?" in target and _QUERY_OVERRIDE.search(unquote_to_bytes(target.partition(b"?")[2])):
            raise _ambiguous("a query that overrides the method")
        for number, rule in enumerate(self.rules, 1):
            if rule.matches(method, path):
                return Verdict(rule.action is Action.ALLOW, rule, number)
        return _DENIED if any(rule.action is Action.ALLOW for rule in self.rules) else _ALLOWED

    def enforce(self, method: bytes, target: bytes, names: Iterable[bytes] = ()) -> None:
        """Raises `PathDenied`, which says what decided, or `AmbiguousTarget`; parameters as of `judge`."""
        if not self.rules:
            return
        verdict = self.judge(method, target, names)
        if not verdict.allowed:
            raise PathDenied(public=self.explain(verdict))

    def explain(self, verdict: Verdict) -> str:
        """What decided, for people: the rules' source, and the rule with its number."""
        if not self.rules:
            return "There are no path rules."
        if verdict.rule is not None:
            return f"Rules: {self.source}; number {verdict.number} decides: {verdict.rule.text}"
        why = "there is no allow rule" if verdict.allowed else "there are allow rules"
        return f"Rules: {self.source}; none matches, and {why}."


NO_RULES = Rules()


def parse_rules(texts: Iterable[str], source: str) -> Rules:
    """All rules of one source; raises `ValueError` as `parse_rule`, with the rule's number in front."""
    rules = []
    for number, text in enumerate(texts, 1):
        try:
            rules.append(parse_rule(text))
        except ValueError as error:
            raise ValueError(f"rule {number}: {error}") from None
    return Rules(tuple(rules), source)


def parse_rule(text: str) -> Rule:
    """`allow|deny METHOD[,METHOD...]|* PATTERN`; raises `ValueError` with what is wrong and what to write."""
    words = text.split()
    if len(words) != 3:
        raise ValueError(
            "a rule has three words. Write allow or deny, the method (or GET,POST without a space, or * for "
            "any), and the path: deny * /v1/files/**"
        )
    action, methods, pattern = words
    if action not in ("allow", "deny"):
        raise ValueError("it begins neither with allow nor with deny. Write one of them, in lower case.")
    named = _methods(methods)
    try:
        check_pattern(pattern)
    except ValueError as error:
        raise ValueError(f"its path {error}") from None
    return Rule(Action(action), named, pattern, " ".join(words))


def _methods(text: str) -> frozenset[bytes] | None:
    if text == "*":
        return None
    names = set(text.split(","))
    if not names <= METHODS:
        raise ValueError(
            "its method is not one that a rule can name. Write * for any, or some of "
            f"{', '.join(sorted(METHODS))}, with commas and without spaces."
        )
    # RFC 9110 9.3.2: HEAD is GET without the content.
    if "GET" in names:
        names.add("HEAD")
    return frozenset(name.encode("ascii") for name in names)


def check_pattern(pattern: str) -> None:
    """`ValueError` if no canonical path can match it; its text goes on from the word "path"."""
    if not pattern.startswith("/"):
        raise ValueError("does not begin with a slash. Write it as the provider gets it: /v1/files")
    if found := _NOT_IN_PATTERN.search(pattern):
        raise ValueError(
            f"has {found[0]!a} in it, which no path has that is let through to the rules. "
            "Write the path decoded and without query, in ASCII, with * for what has no such form."
        )
    if pattern == "/":
        return
    segments = pattern[1:].split("/")
    if segments[-1] == "":
        raise ValueError("ends with a slash. Leave it off: /v1/files is about /v1/files/ too.")
    if "" in segments:
        raise ValueError("has two slashes in a row, which is refused anyway. Write one.")
    if any(segment.endswith(".") for segment in segments):
        raise ValueError("has a segment that is or ends with a dot, which is refused anyway. Leave it out.")
    if segments.count("**") > 1:
        raise ValueError("has ** more than once. Write several rules instead.")
    if any(segment.count("*") > 1 for segment in segments if segment != "**"):
        raise ValueError(
            "has a segment with several stars. Write ** alone between slashes for any number of "
            "segments, or one * for a part of a segment."
        )


def _regex(pattern: str) -> bytes:
    """With one `**` and one `*` for each segment at most, its time is linear in the path's length."""
    if pattern == "/**":
        return b"/.*"
    parts = []
    for segment in pattern[1:].split("/"):
        if segment == "**":
            parts.append("(?:/[^/]+)*")
        else:
            parts.append("/" + "[^/]+".join(re.escape(literal) for literal in segment.split("*")))
    return "".join(parts).encode("ascii")


def canonical(target: bytes) -> bytes:
    """The target's path, decoded, without a slash at its end; raises `AmbiguousTarget`.

    Ambiguous is what servers are known to read in more ways than one: what an escape must not hide, what
    some drop, fold or split at, and everything outside ASCII (overlong forms, look-alikes, folded case).
    """
    path = target.partition(b"?")[0]
    if not path.startswith(b"/"):
        raise _ambiguous("a target that does not begin with a slash")
    if found := _NOT_PLAIN.search(path):
        raise _ambiguous(_raw(found[0]))
    if b"%" in path:
        path = _ESCAPE.sub(_decoded, path)
    if b"//" in path:
        raise _ambiguous("two slashes in a row")
    if _EDGE.search(path):
        raise _ambiguous("a segment that ends with a dot, or begins or ends with a space")
    return path[:-1] if len(path) > 1 and path.endswith(b"/") else path


def _decoded(match: re.Match[bytes]) -> bytes:
    digits = match[1]
    if not _HEX.fullmatch(digits):
        raise _ambiguous("a percent sign without two hexadecimal digits")
    octet = int(digits, 16)
    if octet in _NOT_PLAIN_ENCODED:
        raise _ambiguous(f"an encoded octet that must not be encoded: %{octet:02X}")
    return bytes([octet])


def _raw(octet: bytes) -> str:
    names = {b"#": "a fragment", b";": "a semicolon", b"\\": "a backslash"}
    return names.get(octet, "an octet that is not visible ASCII")


def _ambiguous(what: str) -> AmbiguousTarget:
    return AmbiguousTarget(public=f"It has {what}.")
