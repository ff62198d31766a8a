"""What is typed, line by line, while an event loop runs."""

import asyncio
import os
import sys
import threading
from collections.abc import Iterator

_LINES_AHEAD = 16

# A line longer than the largest message of any server is no message.
_MAX_LINE_BYTES = 32 * 1024 * 1024


class Keyboard:
    """Gives the lines of standard input, read at the pace of whoever takes them.

    The thread reads the descriptor itself, since one that waits inside `sys.stdin` holds a lock
    that Python needs in order to exit.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        # A large file on stdin must not be read into memory at once.
        self._places = threading.Semaphore(_LINES_AHEAD)

    def start(self) -> None:
        """Read from now on, unless a job in the background would be stopped for reading."""
        descriptor = _descriptor()
        if descriptor is not None and _may_read(descriptor):
            reader = threading.Thread(target=self._read, args=(descriptor,), daemon=True)
            reader.start()

    async def line(self) -> str:
        """Return the next line without its end; wait for it, for ever after the last one."""
        line = await self._lines.get()
        self._places.release()
        return line

    def _read(self, descriptor: int) -> None:
        for line in _lines(descriptor):
            self._places.acquire()
            try:
                self._loop.call_soon_threadsafe(self._lines.put_nowait, line)
            except RuntimeError:
                # The loop is closed: the command has ended.
                return


def _descriptor() -> int | None:
    try:
        return sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        return None


def _may_read(descriptor: int) -> bool:
    if sys.platform == "win32" or not os.isatty(descriptor):
        return True
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False


def _lines(descriptor: int) -> Iterator[str]:
    rest = b""
    while chunk := _read_some(descriptor):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace")
        if len(rest) > _MAX_LINE_BYTES:
            return
    if rest:
        yield rest.decode("utf-8", "replace")


def _read_some(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:
        return b""
