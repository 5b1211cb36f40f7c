"""Where it is listened, as the operator writes it: read once, and as Twisted reads it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.endpoints import _parse, serverFromString  # the reader that ours has to agree with
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock

from awfproxy.callers.endpoint import EndpointDescription, arguments_of, parse_endpoint

LISTENED_BY_TWISTED = [
    ("unix:/run/a.sock", "/run/a.sock"),
    ("unix:/run/a.sock:600", "/run/a.sock"),
    ("unix:address=/x:mode=600", "/x"),
    ("unix:mode=600:address=/x", "/x"),
    ("unix:mode=600:/x", "/x"),
    ("unix:address=/x:address=/y", "/y"),
    ("unix:/run/a\\:b", "/run/a:b"),
    ("unix:/run/a\\\\:mode=600", "/run/a\\"),
    ("unix:/run/a\\\\\\:b:mode=600", "/run/a\\:b"),
    ("unix:/run/a\\=b", "/run/a=b"),
    ("unix:address=/run/a=b", "/run/a=b"),
    ("unix:address=/tcp\\:port=5", "/tcp:port=5"),
    ("unix:\\/run/a", "/run/a"),
    ("tcp:10000", (10000, "")),
    ("tcp:10000:127.0.0.1", (10000, "127.0.0.1")),
    ("tcp:interface=127.0.0.1:port=10000", (10000, "127.0.0.1")),
    ("tcp:interface=127.0.0.1:10000", (10000, "127.0.0.1")),
    ("tcp:port=1:port=2", (2, "")),
    ("tcp:1\\0", (10, "")),
    ("tcp: 10 ", (10, "")),
    ("tcp:1_0", (10, "")),
    ("tcp6:10000:7:\\:\\:1", (10000, "::1")),
    ("tcp6:10000:interface=\\:\\:1", (10000, "::1")),
    ("TCP6:10000:interface=\\:\\:1", (10000, "::1")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place"), LISTENED_BY_TWISTED)
def test_it_is_read_as_twisted_opens_it(text: str, place: str | tuple[int, str]) -> None:
    made, reactor = parse_endpoint(text), MemoryReactorClock()
    serverFromString(reactor, text).listen(Factory())
    if isinstance(place, str):
        assert [server[0] for server in reactor.unixServers] == [place]
        assert (made.path, made.port, made.is_plain_socket, made.may_be_unix) == (place, None, True, True)
    else:
        ((port, _, _, interface),) = reactor.tcpServers
        assert (port, interface) == place
        assert (made.path, made.port, made.arguments.get("interface", "")) == (None, *place)
        assert (made.is_plain_socket, made.may_be_unix) == (True, False)


@given(st.text(alphabet=":=\\a/6", max_size=20))
@example("a\\\\:b")
@example("a:b\\=c=d=e:f")
@example("::=:")
def test_arguments_are_those_that_twisted_finds(text: str) -> None:
    try:
        positional, named = _parse(text)
    except RuntimeError:  # a backslash at the end, from which its generator falls out
        with pytest.raises(ValueError, match="backslash"):
            arguments_of(text)
        return
    assert arguments_of(text) == (positional, named)


@pytest.mark.parametrize(
    ("text", "plain", "may_be_unix"),
    [
        ("ssl:443:privateKey=k", False, False),
        ("systemd:domain=INET:index=0", True, False),
        ("systemd:index=0:domain=INET6", True, False),
        ("systemd:INET:0", True, False),
        ("systemd:domain=UNIX:name=a", True, True),
        ("systemd:index=0:domain=UNIX", True, True),
        ("SYSTEMD:domain=UNIX:index=0", True, True),
        ("fd:3", False, False),
        ("haproxy:unix:/run/a", False, False),
        ("tcpx:10000", False, False),
    ],
)
def test_kind_tells_whose_transports_there_are_and_whether_users_can_be_told(
    text: str, plain: bool, may_be_unix: bool
) -> None:
    made = parse_endpoint(text)
    assert (made.is_plain_socket, made.may_be_unix, made.path) == (plain, may_be_unix, None)


@pytest.mark.parametrize("text", ["onion:80", "haproxy:tcp:10000", "fd:3:port=9"])
def test_port_of_a_kind_that_is_not_known_is_not_guessed(text: str) -> None:
    assert parse_endpoint(text).port is None


@pytest.mark.parametrize("text", ["tcp:http", "tcp:65536", "tcp:-1", "tcp:interface=127.0.0.1", "tcp:"])
def test_what_is_no_port_is_none(text: str) -> None:
    assert parse_endpoint(text).port is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("unix:/run/a\\", "backslash"),
        ("unix:/run/a:address=/run/b", "its address twice"),
        ("tcp:10000:127.0.0.1:50:9", "more arguments"),
        ("tcp:1:0.0.0.0:interface=127.0.0.1", "its interface twice"),
    ],
)
def test_what_twisted_opens_in_no_way_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_endpoint(text)
    with pytest.raises((TypeError, RuntimeError)):
        serverFromString(MemoryReactorClock(), text)


@pytest.mark.parametrize(
    ("text", "completed"),
    [
        ("unix:/run/a", "unix:/run/a:mode=660"),
        ("unix:/run/a:mode=666", "unix:/run/a:mode=666"),
        ("unix:mode=600:address=/run/a", "unix:mode=600:address=/run/a"),
        ("unix:/run/a:600", "unix:/run/a:600"),
        ("unix:/run/a\\:mode=666", "unix:/run/a\\:mode=666:mode=660"),
        ("unix:address=/run/a\\:mode=666", "unix:address=/run/a\\:mode=666:mode=660"),
    ],
)
def test_argument_that_is_not_given_is_added(text: str, completed: str) -> None:
    """That of a socket's mode above all: Twisted's own lets every user in."""
    assert parse_endpoint(text).completed(mode="660") == completed


def test_it_is_shown_and_compared_as_it_was_written() -> None:
    made = parse_endpoint("tcp:1")
    assert str(made) == f"{made}" == "tcp:1"
    assert made == parse_endpoint("tcp:1") != parse_endpoint("tcp:port=1")
    assert isinstance(hash(made), int)
    assert EndpointDescription("tcp:1", "tcp", {"port": "1"}) == made


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("tcp:1", "tcp:port=1", True),
        ("tcp:1:backlog=5", "tcp:1:interface=", True),
        ("tcp:1:interface=127.0.0.1", "tcp:1:interface=127.0.0.2", False),
        ("tcp:0", "tcp:port=0", False),
        ("tcp6:0", "tcp6:0", False),
        ("unix:/a", "unix:mode=600:address=/a", True),
        ("unix:/a", "unix:/b", False),
        ("systemd:INET:0", "systemd:INET:0", True),
        ("systemd:INET:0", "systemd:INET:1", False),
    ],
)
def test_two_that_cannot_both_be_opened_are_told(one: str, other: str, same: bool) -> None:
    assert parse_endpoint(one).collides(parse_endpoint(other)) is same
