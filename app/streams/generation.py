"""The file beside the database by which a database that was put back is known.

What is in the database proves nothing: an older copy says what it said then. So a start *announces*
a new generation in the file, commits it in the database, and *confirms* it in the file. Whatever
instant it is interrupted at, the file then vouches for the database as it is at that instant, and
for no older copy of it. After each commit the file also gets the last offset, as a copy of the same
generation may be older too.
"""

import os
import secrets
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

GUARD_NAME: Final = "streams.guard"

NO_GENERATION: Final = "0" * 32
"""The generation of a database that was never started with a guard."""

_DIGITS: Final = 19
"""Of the largest offset, 2**63 - 1."""
# Two marks fit into one sector of a disk, so that none is ever half-written.
_SIZE: Final = 32 + 1 + _DIGITS + 1 + 8 + 1


@dataclass(frozen=True, slots=True)
class Mark:
    """A generation of the database, and the newest offset that it is known to have given out."""

    generation: str
    last: int

    def vouches_for(self, generation: str, last: int) -> bool:
        """Tell whether a database in this state can be the one of this mark."""
        return self.generation == generation and last >= self.last


def make_generation() -> str:
    """Return a generation that no other history of the database can have."""
    return secrets.token_hex(16)


class Guard:
    """The open file; its methods block and raise OSError, and one thread at a time uses it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new = path.with_name(path.name + ".new")
        self._descriptor: int | None = None

    def marks(self) -> list[Mark] | None:
        """Return what the file vouches for: nothing if it is damaged, None if there is none."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        lines = data.splitlines(keepends=True)
        marks = [_decode(line) for line in lines]
        return [mark for mark in marks if mark is not None] if all(marks) else []

    def announce(self, vouched: Mark | None, announced: Mark) -> None:
        """The file vouches, on disk, for the database as it is, if it did, and as it will be."""
        self._replace([announced] if vouched is None else [vouched, announced])

    def confirm(self, mark: Mark) -> None:
        """The file vouches, on disk, for this generation only; `note` goes on from here."""
        self._replace([mark])

    def note(self, mark: Mark) -> None:
        """The file has this mark in the first place, as far as the system's cache.

        Not on disk yet: after a power failure it may be older, which vouches for more, never less.
        """
        if self._descriptor is not None:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, _encode(mark))

    def close(self) -> None:
        """The file is closed; closing again does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _replace(self, marks: Sequence[Mark]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(self._new, flags, 0o600)
        try:
            os.write(descriptor, b"".join(map(_encode, marks)))
            os.fsync(descriptor)
            self._new.replace(self._path)
            _sync_folder(self._path.parent)
        except BaseException:
            os.close(descriptor)
            raise
        self.close()
        self._descriptor = descriptor


def _encode(mark: Mark) -> bytes:
    text = f"{mark.generation} {mark.last:0{_DIGITS}d}".encode()
    return b"%b %08x\n" % (text, zlib.crc32(text))


def _decode(line: bytes) -> Mark | None:
    if len(line) != _SIZE or line[-10:] != b" %08x\n" % zlib.crc32(line[:-10]):
        return None
    generation, last = line[:-10].decode("ascii").split(" ")
    return Mark(generation, int(last))


def _sync_folder(folder: Path) -> None:
    """The folder's entries are on disk; Windows has no call for that."""
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
