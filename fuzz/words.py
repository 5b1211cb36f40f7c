"""What else of a peer is read: the egress proxy's answer, targets, JSON, events; and what is said of it."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress

from awfproxy.credentials.verdict import read_error
from awfproxy.errors.client import AmbiguousTarget, BadTarget, PathDenied
from awfproxy.net.egress import connect_answer
from awfproxy.observe.accesslog import AccessLine, AccessRecord, Outcome
from awfproxy.observe.endmarker import EndMarker
from awfproxy.providers.anthropic import PROVIDER as ANTHROPIC
from awfproxy.providers.models import model_names
from awfproxy.providers.openai import PROVIDER as OPENAI
from awfproxy.providers.rules import parse_rules
from awfproxy.wire.target import Origin, join_base_path, origin_form, path_of, without_parameters
from fuzz.cuts import ways

_ORIGIN = Origin("api.openai.com")
_RULES = parse_rules(["allow GET /v1/models/**", "deny * /**"], "fuzz")
_LONGEST_NAME, _MOST_NAMES = 200, 2000
_PARAMETERS = frozenset({b"key", b"api_key"})


def egress(data: bytes) -> None:
    """The answer to CONNECT: open only on a 2xx, and then with all that follows it; no word of it is kept."""
    whole = connect_answer(data)
    at = next((at for at in range(len(data) + 1) if connect_answer(data[:at]) is not None), None)
    assert (at is None) == (whole is None), "decided only when cut"
    if at is None or whole is None:
        return
    first = connect_answer(data[:at])
    assert first is not None
    assert type(first[0]) is type(whole[0])
    if whole[0] is None:
        head, _, rest = data.partition(b"\r\n\r\n")
        assert re.match(rb"HTTP/1\.[01] 2[0-9][0-9]( |\r\n|$)", head)
        assert (whole[1], first[1]) == (rest, b"")
    else:
        words = r"not an HTTP answer|CONNECT was answered \d{3}(, ERR_[A-Z_]{1,60})?"
        assert re.fullmatch(words, whole[0].detail)


def target(data: bytes) -> None:
    """A request-target leads to a path at the origin, or is refused."""
    for given in (data, b"http://api.openai.com" + data, b"http://a:10000" + data, b"/" + data):
        try:
            path = origin_form(given, _ORIGIN, 10000)
        except BadTarget:
            continue
        assert path.startswith(b"/")
        assert not path.startswith(b"//")
        assert given.endswith((path, path[1:]))
        joined = join_base_path(b"/v1", path)
        assert joined.startswith(b"/v1")
        assert join_base_path(b"/v1", joined) == joined
        bare = without_parameters(path, _PARAMETERS)
        assert without_parameters(bare, _PARAMETERS) == bare
        assert path_of(path) == re.split(rb"[?#]", path)[0]
        with suppress(AmbiguousTarget, PathDenied):
            _RULES.enforce(b"GET", joined)


def answer(data: bytes) -> None:
    """A provider's JSON, when awfproxy itself has asked: what is taken of it is printable and short."""
    error = read_error(data)
    assert re.fullmatch(r"[A-Za-z0-9_.-]{0,64}", error.code)


def models(data: bytes) -> None:
    """A provider's list of models, or an entry of one, or a name: short, printable, once, from the answer."""
    name = json.dumps(data.decode("latin-1")).encode()
    for content in (data, b'{"data":[' + data + b"]}", b'{"models":[{"name":' + name + b"}]}"):
        names = model_names(content)
        if names is None:
            continue
        assert 0 < len(names) <= _MOST_NAMES
        assert list(names) == sorted(set(names))
        there = set(_texts(json.loads(content)))
        for each in names:
            assert 0 < len(each) <= _LONGEST_NAME
            assert each.isprintable(), "it goes to a terminal"
            assert each in there or f"models/{each}" in there, "the answer does not have it"


def _texts(value: object) -> Iterator[str]:
    """All that are in a JSON document."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, dict):
            waiting.extend(one.values())


def events(data: bytes) -> None:
    """The end of a stream, as its agent would see it; where a read ends means nothing."""
    for markers in (OPENAI.end_markers, ANTHROPIC.end_markers):
        seen = []
        for way in ways(data):
            marker = EndMarker(markers)
            for piece in way:
                marker.feed(piece)
            seen.append(marker.seen)
        if seen[0]:  # what follows an end within one read makes it none; see `EndMarker`
            assert any(line in data for line in markers)
            assert b"\n\n" in data or b"\n\r\n" in data


def line(data: bytes) -> None:
    """A line of the log: one line, in visible ASCII, and without the query."""
    method, _, rest = data.partition(b" ")
    given, _, name = rest.partition(b" ")
    record = AccessRecord(name, "127.0.0.1", method, given, 0.0, provider_request_id=name[:128])
    text = str(AccessLine("openai", record, Outcome.COMPLETED, 1.0))
    assert text.isascii()
    assert text.isprintable()
    assert text.count(" ") == 14, "a field was forged"
