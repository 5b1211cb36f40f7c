"""A log whose reader has stopped, or whose disk is full: nothing waits for it, and what is lost is told."""

import errno
import io
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import BinaryIO

import pytest

from awfproxy.observe.logstream import LogStream, TurnedLogFile

LINE = "x" * 99 + "\n"


def notice(count: int) -> str:
    return f"{count} lost\n"


class Reader:
    """The other end, which reads when it is told to."""

    def __init__(self, sink: int, read: Callable[[int], bytes], stack: ExitStack) -> None:
        self._read = read
        self.log = LogStream(stack.enter_context(os.fdopen(sink, "w")), notice)

    def read(self) -> str:
        data = b""
        try:
            while more := self._read(65536):
                data += more
        except BlockingIOError:
            return data.decode("ascii")
        raise AssertionError("it has ended")


@pytest.fixture(params=["pipe", "socket"])
def reader(request: pytest.FixtureRequest) -> Iterator[Reader]:
    with ExitStack() as stack:
        if request.param == "pipe":
            source, sink = os.pipe()
            stack.callback(os.close, source)
            os.set_blocking(source, False)
            yield Reader(sink, lambda count: os.read(source, count), stack)
        else:  # as systemd gives one
            ours, theirs = socket.socketpair()
            stack.enter_context(theirs)
            theirs.setblocking(False)
            yield Reader(ours.detach(), theirs.recv, stack)


def test_a_reader_who_stops_reading_holds_nothing_up_and_hears_how_much_was_lost(reader: Reader) -> None:
    for _ in range(10_000):
        reader.log.write(LINE)
    lines = reader.read().splitlines(keepends=True)
    assert set(lines) == {LINE}, "only whole lines"
    lost = reader.log.lost
    assert len(lines) + lost == 10_000
    assert lost > 100
    reader.log.write("after\n")
    assert reader.read() == f"{lost} lost\nafter\n"
    reader.log.write("again\n")
    assert reader.read() == "again\n"
    assert (reader.log.lost, reader.log.lost_in_all) == (0, lost)


def test_lines_lost_in_all_are_those_of_every_time(reader: Reader) -> None:
    lost = 0
    for _ in range(3):
        while not reader.log.lost:
            reader.log.write(LINE)
        for _ in range(10):
            reader.log.write(LINE)
        lost += reader.log.lost
        assert reader.log.lost_in_all == lost, "a notice that finds no room is none of them"
        reader.read()
        reader.log.write(LINE)
        assert reader.log.lost_in_all == lost


def test_lines_together_are_written_as_far_as_there_is_room_and_never_out_of_order(reader: Reader) -> None:
    text = "".join(f"{number:099}\n" for number in range(20_000))
    reader.log.write(text)
    got = reader.read()
    assert text.startswith(got)
    assert got.endswith("\n")
    assert got.count("\n") + reader.log.lost == 20_000


def test_a_line_longer_than_there_is_room_for_at_once_arrives_whole(reader: Reader) -> None:
    reader.log.write("y" * 10_000 + "\n")
    assert reader.read() == "y" * 10_000 + "\n"
    assert not reader.log.lost


def test_a_terminal_that_is_not_read_holds_nothing_up() -> None:
    master, slave = os.openpty()
    with os.fdopen(master, "rb"), os.fdopen(slave, "w") as terminal:
        log = LogStream(terminal, notice)
        for _ in range(2000):
            log.write("x" * 199 + "\n")
        assert log.lost > 0


def test_a_reader_who_is_gone_harms_nothing() -> None:
    source, sink = os.pipe()
    with os.fdopen(sink, "w") as stream:
        log = LogStream(stream, notice)
        os.close(source)
        log.write(LINE)
        assert log.lost == 1


def test_a_full_device_loses_lines_and_counts_them() -> None:
    with open("/dev/full", "w") as stream:
        log = LogStream(stream, notice)
        log.write(LINE * 3)
        log.write(LINE)
        assert log.lost == 4


def test_a_line_that_the_disk_cut_off_does_not_run_into_the_next(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    write = os.write
    with path.open("w") as stream:
        log = LogStream(stream, notice)
        monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:150]))
        log.write(LINE * 3)
        monkeypatch.setattr(os, "write", write)
        assert log.lost == 2
        log.write("after\n")
    assert path.read_text() == LINE + LINE[:50] + "\n2 lost\nafter\n"


class Short:
    """A file that takes so many octets and no more, as a disk that becomes full."""

    closed = False

    def __init__(self, file: BinaryIO, room: int) -> None:
        self._file = file
        self._room = room

    def write(self, data: bytes) -> int:
        if not self._room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._file.write(data[: self._room])
        self._room -= written
        return written


def test_twistds_file_that_the_disk_cut_off_is_cut_and_counted_alike(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("log")
    file = TurnedLogFile("log", str(folder))
    log = LogStream(file, notice)
    monkeypatch.setattr(file, "_file", Short(file._file, 150))
    log.write(LINE * 3)
    assert log.lost == 2, "that write raised nothing"
    log.write(LINE)
    assert log.lost == 3
    monkeypatch.undo()
    log.write("after\n")
    assert (folder / "log").read_text() == LINE + LINE[:50] + "\n3 lost\nafter\n"
    file.close()


def test_twistds_file_is_turned_over_and_loses_no_line(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("log")
    file = TurnedLogFile("log", str(folder), rotateLength=1000)
    log = LogStream(file, notice)
    for number in range(25):
        log.write(f"{number:099}\n")
    texts = [(folder / name).read_text() for name in ("log.2", "log.1", "log")]
    assert "".join(texts) == "".join(f"{number:099}\n" for number in range(25))
    assert [len(text) for text in texts] == [1000, 1000, 500]
    file.close()


def test_twistds_file_that_cannot_be_opened_anew_is_written_again_once_it_can(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("log")
    file = TurnedLogFile("log", str(folder), rotateLength=100)
    log = LogStream(file, notice)
    log.write(LINE)

    def full(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("twisted.python.logfile.open", full, raising=False)
    log.write(LINE)
    log.write(LINE)
    assert log.lost == 2
    monkeypatch.undo()
    log.write("after\n")
    assert (folder / "log.1").read_text() == LINE
    assert (folder / "log").read_text() == "2 lost\nafter\n"
    file.close()


class Failing(io.StringIO):
    """One that takes a part of what it is given, raises, and says nothing of that part."""

    full = True

    def write(self, text: str) -> int:
        if not self.full:
            return super().write(text)
        super().write(text[:10])
        raise OSError(errno.ENOSPC, "No space left on device")


def test_behind_a_failure_of_a_stream_without_a_descriptor_the_notice_has_a_line_of_its_own() -> None:
    stream = Failing()
    log = LogStream(stream, notice)
    log.write(LINE)
    assert log.lost == 1
    stream.full = False
    log.write("after\n")
    log.write("again\n")
    assert stream.getvalue() == LINE[:10] + "\n1 lost\nafter\nagain\n"


def test_a_stream_without_a_descriptor_is_written_as_it_is() -> None:
    stream = io.StringIO()
    LogStream(stream, notice).write("as it is\n")
    assert stream.getvalue() == "as it is\n"


def test_what_cannot_be_encoded_is_escaped(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    with path.open("w") as stream:
        LogStream(stream, notice).write("\udc80\n")
    assert path.read_text() == "\\udc80\n"
