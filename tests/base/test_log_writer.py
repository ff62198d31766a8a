"""Lines that are written by a thread, whatever their reader does."""

import errno
import io
import os
from collections.abc import Iterator
from typing import TextIO

import pytest
from serving import PATIENCE

from app.base.log_writer import MAX_WAITING, LogWriter

LINE = "x" * 999
"""With its end a thousand characters."""


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """The end of a pipe to read from, and a stream that writes into it."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        yield reading, stream
        os.close(reading)


def made(stream: TextIO) -> LogWriter:
    return LogWriter(stream, notice=lambda lines: f"{lines} dropped")


def read_lines(reading: int, until: str) -> list[str]:
    text = b""
    while not text.endswith(f"{until}\n".encode()):
        text += os.read(reading, 1 << 20)
    return text.decode().splitlines()


def test_lines_come_in_their_order(pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    writer = made(stream)
    for number in range(1000):
        writer.put(str(number))
    assert read_lines(reading, "999") == [str(number) for number in range(1000)]
    assert writer.flush(PATIENCE)


def test_a_reader_that_stops_holds_up_nobody_and_is_told_what_it_missed(
    pipe: tuple[int, TextIO],
) -> None:
    reading, stream = pipe
    writer = made(stream)
    room = MAX_WAITING // len(LINE)
    for _ in range(3 * room):
        writer.put(LINE)
    dropped = writer.dropped
    assert dropped >= room
    assert not writer.flush(0.0)
    lines = read_lines(reading, f"{dropped} dropped")
    assert lines[:-1] == [LINE] * (3 * room - dropped)
    assert writer.flush(PATIENCE)
    writer.put("again")
    assert read_lines(reading, "again") == ["again"]


def test_a_pipe_that_another_process_made_non_blocking_loses_nothing(
    pipe: tuple[int, TextIO],
) -> None:
    reading, stream = pipe
    os.set_blocking(stream.fileno(), False)
    writer = made(stream)
    for _ in range(1000):
        writer.put(LINE)
    writer.put("last")
    assert read_lines(reading, "last") == [LINE] * 1000 + ["last"]
    assert writer.dropped == 0


class Disk(io.StringIO):
    """A stream on a disk that may be full."""

    full = True

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def test_a_full_disk_loses_lines_and_the_count_of_them_follows() -> None:
    disk = Disk()
    writer = made(disk)
    writer.put("lost")
    assert writer.flush(PATIENCE)
    disk.full = False
    writer.put("kept")
    assert writer.flush(PATIENCE)
    assert disk.getvalue() == "kept\n1 dropped\n"


def test_a_reader_that_never_reads_again_holds_up_the_end_only_for_so_long(
    pipe: tuple[int, TextIO],
) -> None:
    _, stream = pipe
    writer = made(stream)
    for _ in range(1000):
        writer.put(LINE)
    writer.close(0.0)
    writer.put("too late")
    assert writer.dropped == 1


def test_what_is_due_is_written_without_a_new_line(pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    told = iter([((), 0.0), (("due",), None)])
    writer = LogWriter(stream, notice=str, due=lambda: next(told, ((), None)))
    writer.put("first")
    assert read_lines(reading, "due") == ["first", "due"]
