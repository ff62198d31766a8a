"""Crash images: copies of the files that a killed server left, opened with SQLite."""

import random
import shutil
import sqlite3
import struct
import zlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.streams.generation import GUARD_NAME

WAL: Final = "-wal"

SECTOR: Final = 512
"""What a disk writes as a whole, at least."""

_HEADER = struct.Struct(">8x I 4x II 8x")
"""The file's header: the size of a page, and two salts."""

_FRAME = struct.Struct(">4x I II 8x")
"""The header of each page: the size of the database after a commit, and the salts again."""


@dataclass(frozen=True, slots=True)
class Image:
    """What SQLite finds in an image."""

    integrity: str
    messages: int

    @property
    def good(self) -> bool:
        """Whether SQLite finds it sound."""
        return self.integrity == "ok"


def examine(database: Path, into: Path) -> Image:
    """Copy the files of a killed server's database, and open the copy.

    The next server recovers the original.
    """
    copy = _copy(database, into)
    return _open(copy)


def examine_torn(database: Path, into: Path, rng: random.Random) -> Image:
    """Do the same with garbage at the end of the write-ahead log, as a power failure may leave it.

    All that is committed stays: it was synced, and a checkpoint that was under way relies on it.
    """
    copy = _copy(database, into)
    wal = copy.with_name(copy.name + WAL)
    if wal.exists() and (committed := _committed(wal.read_bytes())):
        with wal.open("r+b") as file:
            file.truncate(committed)
            file.seek(committed)
            file.write(rng.randbytes(rng.randrange(3 * 4096)))
    return _open(copy)


def lose_power(database: Path, rng: random.Random) -> None:
    """Change the files of a killed server to what a loss of power may leave of them.

    That may tear all that was not synced. In the write-ahead log it is what follows the last
    commit. In the database it is every page that the log has, since a checkpoint may have been
    under way, and the end of the file, as far as the log has it. The guard is never synced after
    its start, so it may name an older offset.
    """
    wal = database.with_name(database.name + WAL)
    data = wal.read_bytes() if wal.exists() else b""
    committed = _committed(data)
    if committed:
        with wal.open("r+b") as file:
            file.truncate(rng.randrange(committed, len(data) + 1))
            file.seek(0, 2)
            file.write(rng.choice((b"", rng.randbytes(rng.randrange(3 * 4096)))))
        _tear_pages(database, data[:committed], rng)
    _age_guard(database.with_name(GUARD_NAME), rng)


def _tear_pages(database: Path, wal: bytes, rng: random.Random) -> None:
    page, _, _ = _HEADER.unpack_from(wal)
    frames = range(_HEADER.size, len(wal), _FRAME.size + page)
    numbers = {struct.unpack_from(">I", wal, at)[0] for at in frames}
    with database.open("r+b") as file:
        size = file.seek(0, 2)
        for number in rng.sample(sorted(numbers), len(numbers) // 3):
            for start in range((number - 1) * page, min(number * page, size), SECTOR):
                if rng.random() < 0.5:
                    file.seek(start)
                    file.write(rng.choice((bytes(SECTOR), rng.randbytes(SECTOR))))
        while size > page and size // page in numbers and rng.random() < 0.5:
            size -= page
            file.truncate(size)


def _age_guard(guard: Path, rng: random.Random) -> None:
    generation, last, _ = guard.read_bytes().split(b"\n")[0].split(b" ")
    older = b"%b %0*d" % (generation, len(last), int(last) - rng.randrange(0, int(last) + 1) // 2)
    with guard.open("r+b") as file:
        file.write(b"%b %08x\n" % (older, zlib.crc32(older)))


def newest_offset(database: Path, into: Path) -> int:
    """Return the newest offset that the copied database ever gave out, and leave it as it is."""
    with closing(sqlite3.connect(_copy(database, into))) as connection:
        query = "SELECT seq FROM sqlite_sequence WHERE name = 'messages'"
        (last,) = connection.execute(query).fetchone() or (0,)
    return int(last)


def _committed(wal: bytes) -> int:
    """Return where the last transaction in a write-ahead log ends (sqlite.org/walformat.html)."""
    if len(wal) < _HEADER.size:
        return 0
    page, first, second = _HEADER.unpack_from(wal)
    end, at = 0, _HEADER.size
    while at + _FRAME.size + page <= len(wal):
        size_after, *salts = _FRAME.unpack_from(wal, at)
        # Frames with other salts are left of an earlier use of the file.
        if salts != [first, second]:
            break
        at += _FRAME.size + page
        # It is zero in all frames of a transaction but the last.
        if size_after:
            end = at
    return end


def _copy(database: Path, into: Path) -> Path:
    into.mkdir(exist_ok=True)
    for old in into.iterdir():
        old.unlink()
    for suffix in ("", WAL):
        source = database.with_name(database.name + suffix)
        if source.exists():
            shutil.copy(source, into / source.name)
    return into / database.name


def _open(copy: Path) -> Image:
    with closing(sqlite3.connect(copy)) as connection:
        try:
            found = connection.execute("PRAGMA integrity_check(3)").fetchall()
            (messages,) = connection.execute("SELECT count(*) FROM messages").fetchone()
        except sqlite3.DatabaseError as error:
            return Image(str(error), 0)
    return Image("; ".join(row[0] for row in found), messages)
