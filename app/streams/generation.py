"""Whether the database is the one of the last run: its epoch, its generations, and the guard.

What is in the database proves nothing: an older copy says what it said then. So a file beside it,
the *guard*, names the database's newest generation too. A start *announces* a new generation in the
file, commits it in the database, and *confirms* it in the file. At whatever instant a crash
interrupts this, the file vouches for the database as it is at that instant, and for no older copy
of it. After each commit the file also gets the last offset, since a copy of the same generation may
be older too.

A folder that is put back whole brings its guard along, which then vouches for it. So clients name
the generation with their positions (`app.protocol.position.Numbering`), and no generation is ever
forgotten.
"""

import os
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, insert, select, update

from app.base.files import sync_folder
from app.protocol.position import Generation, Numbering
from app.storage.schema import generations, meta

GUARD_NAME: Final = "streams.guard"

NO_GENERATION: Final = "0" * 32
"""The generation of a database that was never started with a guard; migration 0003 has it too."""

_LAST: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'messages'"
"""AUTOINCREMENT's own memory, which outlives the rows."""

_EPOCH: Final = select(meta.c.value).where(meta.c.key == "epoch")

_GENERATIONS: Final = select(generations.c.id, generations.c.first).order_by(generations.c.number)

_STOPPED: Final = """
SELECT 1 FROM meta WHERE "key" = 'stopped'
AND value = (SELECT id FROM generations ORDER BY number DESC LIMIT 1)
"""
_MARK_STOPPED: Final = """
INSERT OR REPLACE INTO meta ("key", value)
SELECT 'stopped', id FROM generations ORDER BY number DESC LIMIT 1
"""

_NOTE_ENDED: Final = """
INSERT OR REPLACE INTO meta ("key", value)
VALUES ('ended_epoch', ?), ('ended_devices', (SELECT ifnull(max(id), 0) FROM devices))
"""
"""The epoch that was ended last, and the newest device of then."""

_DIGITS: Final = 19
"""Of the largest offset, 2**63 - 1."""
# Two marks fit into one sector of a disk, so a power failure never leaves one half-written.
_SIZE: Final = 32 + 1 + _DIGITS + 1 + 8 + 1


@dataclass(frozen=True, slots=True)
class Mark:
    """A generation of the database, and the newest offset that it is known to have given out."""

    generation: str
    last: int

    def vouches_for(self, generation: str, last: int) -> bool:
        """Tell whether a database in this state can be the one of this mark."""
        return self.generation == generation and last >= self.last


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the database says of its numbering, and the newest offset that it ever gave out."""

    numbering: Numbering
    last: int

    @property
    def mark(self) -> Mark:
        """The mark that vouches for this state."""
        return Mark(self.numbering.newest.id, self.last)


@dataclass(frozen=True, slots=True)
class Begun:
    """A state, and why its epoch is new: None when it is not."""

    state: State
    reason: str | None


# The file


class Guard:
    """The guard file; its methods block and raise OSError, and one thread at a time uses it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new = path.with_name(path.name + ".new")
        self._descriptor: int | None = None

    def marks(self) -> list[Mark] | None:
        """Return the marks in the file: no marks if it is damaged, None if there is no file."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        lines = data.splitlines(keepends=True)
        marks = [_decode(line) for line in lines]
        return [mark for mark in marks if mark is not None] if all(marks) else []

    def announce(self, vouched: Mark | None, announced: Mark) -> None:
        """Write both marks and sync the file, before the database commits the announced one.

        `vouched` is the mark of the database as it is, None if the file does not vouch for it.
        """
        self._replace([announced] if vouched is None else [vouched, announced])

    def announce_beside(self, announced: Mark) -> None:
        """Add the mark to those that are there, before another database takes the place of this.

        So the file vouches for both. A database that never had a guard needs a mark now.
        """
        marks = self.marks()
        self._replace([*([Mark(NO_GENERATION, 0)] if marks is None else marks), announced])

    def confirm(self, mark: Mark) -> None:
        """Write this mark alone and sync the file, after the database has committed it."""
        self._replace([mark])

    def note(self, mark: Mark) -> None:
        """Replace the confirmed mark by this one of the same generation, without a sync.

        After a power failure the file may have an older one, which vouches for more databases
        than the newer one does, never for fewer.
        """
        if self._descriptor is not None:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, _encode(mark))

    def close(self) -> None:
        """Close the file; closing again does nothing."""
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
            sync_folder(self._path.parent)
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


# The database


def make_generation() -> str:
    """Return a generation that no other history of the database can have."""
    return secrets.token_hex(16)


def read_last(connection: Connection) -> int:
    """Return the newest offset that was ever given out, 0 before the first."""
    found = connection.exec_driver_sql(_LAST).scalar_one_or_none()
    return int(found or 0)


def read_state(connection: Connection) -> State:
    """Return the state of the database."""
    known = [Generation(*row) for row in connection.execute(_GENERATIONS)]
    numbering = Numbering(connection.execute(_EPOCH).scalar_one(), known)
    return State(numbering=numbering, last=read_last(connection))


def mark_stopped(connection: Connection) -> None:
    """Note that the newest generation ended as it should."""
    connection.exec_driver_sql(_MARK_STOPPED)


def was_stopped(connection: Connection) -> bool:
    """Tell whether the newest generation ended as it should, before the next one begins."""
    return connection.exec_driver_sql(_STOPPED).first() is not None


def begin(connection: Connection, guard: Guard, *, reset: bool) -> Begun:
    """Announce a new generation and write it; the caller commits, and has the guard confirm it.

    The epoch is a new one after a reset, and when the guard does not vouch for the database.
    """
    found = read_state(connection)
    vouched = _vouched(found, guard)
    reason = "reset" if reset else None if vouched else "database put back or guard lost"
    begun = Generation(make_generation(), found.last + 1)
    guard.announce(vouched, Mark(begun.id, found.last))
    connection.execute(insert(generations).values(id=begun.id, first=begun.first))
    if reason is not None:
        epoch = secrets.token_urlsafe(12)
        connection.execute(update(meta).where(meta.c.key == "epoch").values(value=epoch))
        # A device may have got its first cursor after the copy was made: it is told `reset` too.
        connection.exec_driver_sql(_NOTE_ENDED, (found.numbering.epoch,))
    return Begun(read_state(connection), reason)


def begin_restored(connection: Connection) -> Mark:
    """Begin a generation in a copy that is about to be put back; return the mark that vouches.

    The caller commits. The epoch stays: a position that the copy lacks is of a generation that the
    copy does not know, or has ended below it.
    """
    last = read_last(connection)
    begun = Generation(make_generation(), last + 1)
    connection.execute(insert(generations).values(id=begun.id, first=begun.first))
    return Mark(begun.id, last)


def _vouched(found: State, guard: Guard) -> Mark | None:
    """Return the mark that vouches for the database; one that never had a guard needs none."""
    marks, generation = guard.marks(), found.numbering.newest.id
    if marks is None:
        return found.mark if generation == NO_GENERATION else None
    fitting = [mark for mark in marks if mark.vouches_for(generation, found.last)]
    return fitting[0] if fitting else None
