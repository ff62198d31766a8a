"""What commands read: passwords and tokens, and the lines that are typed into `listen`.

A secret is never an argument, which everybody on the machine could read.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Iterator

import click

# Far above the longest password or token.
_MAX_SECRET_BYTES = 65_536

# No server takes a larger message.
_MAX_LINE_BYTES = 32 * 1024 * 1024

_LINES_AHEAD = 16


def password_from(stdin: bool, *, confirm: bool) -> str:
    """Return a password: a line of standard input, or what is typed unseen on a terminal.

    Raises UsageError when there is neither.
    """
    if stdin:
        return first_line("password")
    if not sys.stdin.isatty():
        raise click.UsageError("Without a terminal, give the password with --password-stdin.")
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True)
    return password


def first_line(what: str) -> str:
    """Return the first line of standard input without its end.

    Raises UsageError if it is empty or not UTF-8: read as anything else it would be another text.
    """
    try:
        line = _read_line().rstrip("\r\n")
    except UnicodeDecodeError:
        raise click.UsageError(f"The {what} on standard input is not UTF-8.") from None
    if not line:
        raise click.UsageError(f"There is no {what} on standard input.")
    return line


def _read_line() -> str:
    """Read one line and not a byte more: the Keyboard reads what follows."""
    try:
        descriptor = sys.stdin.fileno()
    except OSError:
        return sys.stdin.readline()
    line = b""
    while not line.endswith(b"\n") and len(line) < _MAX_SECRET_BYTES:
        byte = os.read(descriptor, 1)
        if not byte:
            break
        line += byte
    # Some programs begin what they write with a byte order mark.
    return line.decode("utf-8-sig")


def whole_input() -> str:
    """Return all of standard input; raise UnicodeDecodeError if it is not UTF-8."""
    return sys.stdin.buffer.read().decode("utf-8-sig")


class Keyboard:
    """Gives the lines of standard input, and reads only a few ahead.

    Its thread reads the descriptor itself, since a thread that waits inside `sys.stdin` holds a
    lock that Python needs in order to exit.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        # A large file on stdin must not be read into memory at once.
        self._places = threading.Semaphore(_LINES_AHEAD)

    def start(self) -> None:
        """Begin to read, unless this is a background job, which the terminal would stop."""
        descriptor = _descriptor()
        if descriptor is not None and _may_read(descriptor):
            reader = threading.Thread(target=self._read, args=(descriptor,), daemon=True)
            reader.start()

    async def line(self) -> str:
        """Wait for the next line, for ever after the last one; return it without its end.

        Bytes that are not UTF-8 stand in it as halves of surrogate pairs.
        """
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
            yield line.decode("utf-8", "surrogateescape")
        if len(rest) > _MAX_LINE_BYTES:
            return
    if rest:
        yield rest.decode("utf-8", "surrogateescape")


def _read_some(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:
        return b""
