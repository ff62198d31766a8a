"""A thread that writes the lines of the log, so that a reader who stops reading holds up nobody.

A write to a full pipe, a stopped terminal or a hanging disk blocks until somebody reads. Only this
thread waits there; meanwhile lines queue, and beyond a bound they are dropped and counted.
"""

import io
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, TextIO

MAX_WAITING: Final = 4 << 20
"""Characters that wait for the reader, some 20,000 lines; one line more and it is dropped."""

GATHER_SECONDS: Final = 0.005
"""How long the thread gathers lines for one write: waking it for each line costs more than that."""


class LogWriter:
    """Writes lines to a stream, in order, from a thread of its own.

    `notice` returns the line that tells how many were dropped. `due` returns further lines that
    are due, and in how many seconds the next one may be, None if there is none; the thread asks it
    whenever it wakes.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        notice: Callable[[int], str],
        due: Callable[[], tuple[Sequence[str], float | None]] = lambda: ((), None),
    ) -> None:
        self._stream = stream
        self._notice = notice
        self._due = due
        self._lines: deque[str] = deque()
        self._waiting = 0
        self._untold = 0
        self._changed = threading.Condition()
        self._hurry = threading.Event()
        self._woken = self._busy = self._closed = False
        self._thread: threading.Thread | None = None
        self.dropped = 0
        """Lines that found no room, or that the stream did not take."""

    def put(self, line: str) -> None:
        """Have the line written, or drop and count it if too much waits; it never blocks."""
        with self._changed:
            if self._waiting + len(line) > MAX_WAITING or self._closed:
                self._drop(1)
                return
            self._lines.append(line)
            self._waiting += len(line)
            self._wake()

    def flush(self, seconds: float) -> bool:
        """Wait until all is written, at most so long; return whether it is."""
        if self._thread is None:
            return True
        end = time.monotonic() + seconds
        self._hurry.set()
        try:
            with self._changed:
                while self._lines or self._busy or self._woken:
                    left = end - time.monotonic()
                    if left <= 0 or not self._changed.wait(left):
                        return False
        finally:
            self._hurry.clear()
        return True

    def close(self, seconds: float) -> None:
        """Write what waits, at most so long, and end the thread if it is not held up."""
        self.flush(seconds)
        with self._changed:
            self._closed = True
            self._wake()

    def _wake(self) -> None:
        self._woken = True
        if self._thread is None:
            # A daemon, since a reader who never reads again must not keep the process alive.
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _drop(self, lines: int) -> None:
        self.dropped += lines
        self._untold += lines

    def _run(self) -> None:
        pause: float | None = None
        while True:
            with self._changed:
                if not self._woken and not self._closed:
                    self._changed.wait(pause)
                self._woken = False
                if self._closed and not self._lines:
                    self._changed.notify_all()
                    return
                self._busy = True
            self._hurry.wait(GATHER_SECONDS)
            pause = self._write_waiting()
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _write_waiting(self) -> float | None:
        """Write what waits and what is due; return in how many seconds more may be due."""
        more, pause = self._due()
        with self._changed:
            lines = [*self._lines, *more]
            waited = self._waiting
            self._lines.clear()
            untold, self._untold = self._untold, 0
        if untold:
            lines.append(self._notice(untold))
        try:
            if lines:
                _write("".join(f"{line}\n" for line in lines), self._stream)
        except (OSError, ValueError):
            # The disk is full, the reader is gone, or somebody closed the stream.
            with self._changed:
                self._drop(len(lines))
        finally:
            with self._changed:
                self._waiting -= waited
        return pause


def _write(text: str, stream: TextIO) -> None:
    """Write all of the text; wait for the reader as long as it takes."""
    try:
        descriptor = stream.fileno()
    except (AttributeError, io.UnsupportedOperation):
        stream.write(text)
        stream.flush()
        return
    left = memoryview(text.encode(stream.encoding or "utf-8", "backslashreplace"))
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            # Another process that has the same pipe or terminal has made it non-blocking.
            select.select((), (descriptor,), ())
