"""Damages the file of a database in ways that only a disk or a memory does."""

import sqlite3
from contextlib import closing
from pathlib import Path

PAGE_BYTES = 4096


def flip(path: Path, at: int, bit: int = 0) -> None:
    """Change one bit of the file."""
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ (1 << bit)]))


def fold(path: Path) -> None:
    """Write the write-ahead log into the database, and empty it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def flip_text(path: Path, text: bytes, table: str | None = None, bit: int = 0) -> None:
    """Change one bit of a text that stands once in the file, or in the pages of this table."""
    data = path.read_bytes()
    places = [at for at in range(len(data)) if data.startswith(text, at)]
    if table is not None:
        starts = pages_of(path, table)
        places = [at for at in places if at - at % PAGE_BYTES in starts]
    [at] = places
    flip(path, at + len(text) // 2, bit)


def pages_of(path: Path, name: str) -> list[int]:
    """Return where the pages of a table or an index begin in the file."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT pageno FROM dbstat WHERE name = ?", (name,)).fetchall()
    return [(page - 1) * PAGE_BYTES for (page,) in found]


def entry_of(path: Path, index: str, place: int) -> int:
    """Return where an entry of an index of one page begins (sqlite.org/fileformat2.html)."""
    [start] = pages_of(path, index)
    data = path.read_bytes()
    # The list of entries of a leaf begins behind its header of 8 bytes.
    return start + int.from_bytes(data[start + 8 + 2 * place :][:2])


def lose_entry(path: Path, index: str, place: int) -> None:
    """Make an entry of an index of one page that says 1 in its first column say 0.

    No page shows that: it is another entry, which fits as well.
    """
    at = entry_of(path, index, place) + 2
    assert path.read_bytes()[at] == 9, "the type of a column that is 1"
    flip(path, at)


def cut(path: Path, pages: int) -> None:
    """Take pages off the end of the file."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - pages * PAGE_BYTES)
