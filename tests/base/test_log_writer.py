"""Lines that are written by a thread, whatever their reader does."""

import errno
import io
import os
from collections.abc import Iterator, Sequence

import pytest
from serving import PATIENCE

from app.base.log_writer import MAX_WAITING, LogWriter

LINE = "x" * 999
"""With its end a thousand characters."""


class Pipe:
    """A pipe into which a writer writes."""

    def __init__(self) -> None:
        self._reading, writing = os.pipe()
        self.stream = os.fdopen(writing, "w")
        self.due: list[tuple[Sequence[str], float | None]] = []
        self.writer = LogWriter(self.stream, notice="{} dropped".format, due=self._due)

    def _due(self) -> tuple[Sequence[str], float | None]:
        return self.due.pop() if self.due else ((), None)

    def read_lines(self, until: str) -> list[str]:
        text = b""
        while not text.endswith(f"{until}\n".encode()):
            text += os.read(self._reading, 1 << 20)
        return text.decode().splitlines()

    def close(self) -> None:
        """Have the writer learn that nobody reads, before its descriptor is another file's."""
        os.close(self._reading)
        assert self.writer.flush(PATIENCE)
        self.stream.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_lines_come_in_their_order(pipe: Pipe) -> None:
    writer = pipe.writer
    for number in range(1000):
        writer.put(str(number))
    assert pipe.read_lines("999") == [str(number) for number in range(1000)]
    assert writer.flush(PATIENCE)


def told(line: str) -> int:
    """Return of how many lines this one says that they were dropped."""
    return int(line.partition(" ")[0]) if line.endswith(" dropped") else 0


def test_a_reader_that_stops_holds_up_nobody_and_is_told_what_it_missed(
    pipe: Pipe,
) -> None:
    writer = pipe.writer
    room = MAX_WAITING // len(LINE)
    for _ in range(3 * room):
        writer.put(LINE)
    dropped = writer.dropped
    assert dropped >= room
    assert not writer.flush(0.0)
    # The thread may have begun to write while some were dropped already.
    lines: list[str] = []
    while sum(map(told, lines)) < dropped:
        lines += pipe.read_lines(" dropped")
    assert sum(map(told, lines)) == dropped
    assert lines.count(LINE) == 3 * room - dropped
    assert writer.flush(PATIENCE)
    writer.put("again")
    assert pipe.read_lines("again") == ["again"]


def test_a_pipe_that_another_process_made_non_blocking_loses_nothing(
    pipe: Pipe,
) -> None:
    os.set_blocking(pipe.stream.fileno(), False)
    writer = pipe.writer
    for _ in range(1000):
        writer.put(LINE)
    writer.put("last")
    assert pipe.read_lines("last") == [LINE] * 1000 + ["last"]
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
    writer = LogWriter(disk, notice="{} dropped".format)
    writer.put("lost")
    assert writer.flush(PATIENCE)
    disk.full = False
    writer.put("kept")
    assert writer.flush(PATIENCE)
    assert disk.getvalue() == "kept\n1 dropped\n"


def test_a_reader_that_never_reads_again_holds_up_the_end_only_for_so_long(
    pipe: Pipe,
) -> None:
    writer = pipe.writer
    for _ in range(1000):
        writer.put(LINE)
    writer.close(0.0)
    writer.put("too late")
    assert writer.dropped == 1


def test_what_is_due_is_written_without_a_new_line(pipe: Pipe) -> None:
    pipe.due = [(("due",), None), ((), 0.0)]
    pipe.writer.put("first")
    assert pipe.read_lines("due") == ["first", "due"]
