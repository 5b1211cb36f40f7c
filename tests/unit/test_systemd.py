"""sd_notify(3) as it is on the wire."""

import re
import socket
import time

import pytest
from twisted.internet.task import Clock

from awfproxy.service.systemd import Notifier, keep_alive, notify, watchdog_interval


@pytest.fixture
def manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


def test_notifications_are_single_datagrams(manager):
    notifier = notify({"NOTIFY_SOCKET": manager.getsockname()})
    notifier.ready()
    notifier.status("not ready: über")
    notifier.stopping()
    assert [manager.recv(1000) for _ in range(3)] == [
        b"READY=1",
        "STATUS=not ready: über".encode(),
        b"STOPPING=1",
    ]


def test_reload_is_said_with_the_monotonic_time_that_systemd_compares(manager):
    """Type=notify-reload takes RELOADING=1 for its own reload's only if it is not older than that."""
    notifier = notify({"NOTIFY_SOCKET": manager.getsockname()})
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    notifier.ready()
    said = re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=([0-9]+)", manager.recv(1000))
    assert said is not None
    assert before <= int(said[1]) <= time.monotonic_ns() // 1000
    assert manager.recv(1000) == b"READY=1"


def test_status_is_one_line_and_sets_nothing_else(manager):
    notify({"NOTIFY_SOCKET": manager.getsockname()}).status("a\nREADY=1\r\n b")
    assert manager.recv(1000) == b"STATUS=a READY=1 b"


def test_at_sign_names_an_abstract_socket(tmp_path):
    name = f"awfproxy-test-{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name)
        notify({"NOTIFY_SOCKET": "@" + name}).ready()
        listening.setblocking(False)
        assert listening.recv(1000) == b"READY=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "relative"}])
def test_without_a_socket_nothing_happens(environ):
    notifier = notify(environ)
    assert notifier == Notifier(None)
    notifier.ready()


@pytest.mark.parametrize("address", ["/nowhere/at/all", "/" + "x" * 300, "/with\0nul"])
def test_failure_to_notify_is_no_failure(address):
    notifier = notify({"NOTIFY_SOCKET": address})
    notifier.ready()
    notifier.status("x")
    notifier.stopping()


def test_manager_that_does_not_read_delays_nothing(manager):
    notifier = notify({"NOTIFY_SOCKET": manager.getsockname()})
    for _ in range(2000):
        notifier.ready()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "9" * 30}, None),
    ],
)
def test_signs_of_life_come_at_half_the_interval_where_they_are_asked_of_this_process(environ, seconds):
    assert watchdog_interval(environ, 7) == seconds


def test_signs_of_life_follow_the_reactor_from_its_start(manager):
    clock = Clock()
    keep_alive(clock, notify({"NOTIFY_SOCKET": manager.getsockname()}), 15.0)
    assert manager.recv(1000) == b"WATCHDOG=1"
    with pytest.raises(BlockingIOError):
        manager.recv(1000)
    clock.advance(14.9)
    with pytest.raises(BlockingIOError):
        manager.recv(1000)
    clock.advance(0.2)
    assert manager.recv(1000) == b"WATCHDOG=1"
