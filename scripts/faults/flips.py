"""Damage that a disk or a memory does to the files of a database, one change at a time."""

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, Literal

from app.storage.database import DATABASE_NAME
from scripts.faults.image import WAL

Base = Literal["stopped", "killed"]
"""The files that a server leaves that was stopped, or killed."""

PAGE: Final = 4096
HEADER: Final = 110
"""The beginning of a page: what it is, and where its first cells are."""

_INDEXES: Final = ("messages_user_id_offset", "messages_latest", "messages_from_devices")
_OTHERS: Final = (
    *("floors", "cursors", "generations", "meta", "sums", "sqlite_sequence"),
    *("message_ids", "users", "devices", "sessions"),
)


def flip(path: Path, at: int, rng: random.Random) -> str:
    """Change one bit of the byte at this place, and return what was done."""
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        bit = rng.randrange(8)
        file.seek(at)
        file.write(bytes([byte ^ (1 << bit)]))
    return f"bit {bit} of byte {at} of {path.name}"


def _pages(path: Path, names: tuple[str, ...]) -> list[int]:
    query = f"SELECT pageno FROM dbstat WHERE name IN ({','.join('?' * len(names))})"  # noqa: S608
    with closing(sqlite3.connect(path)) as connection:
        return [number - 1 for (number,) in connection.execute(query, names)]


def _in_table(names: tuple[str, ...], first: int) -> "Damage":
    def damage(path: Path, rng: random.Random) -> str:
        page = rng.choice(_pages(path, names))
        return flip(path, page * PAGE + rng.randrange(first, PAGE), rng)

    return damage


def _in_a_header(path: Path, rng: random.Random) -> str:
    page = rng.randrange(path.stat().st_size // PAGE)
    return flip(path, page * PAGE + rng.randrange(HEADER), rng)


def _on_the_first_page(path: Path, rng: random.Random) -> str:
    return flip(path, rng.randrange(PAGE), rng)


def _in_the_log(path: Path, rng: random.Random) -> str:
    wal = path.with_name(path.name + WAL)
    return flip(wal, rng.randrange(wal.stat().st_size), rng)


def _cut(path: Path, rng: random.Random) -> str:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(rng.randrange(size))
    return f"{path.name} cut from {size} to {path.stat().st_size} bytes"


def _cut_the_log(path: Path, rng: random.Random) -> str:
    return _cut(path.with_name(path.name + WAL), rng)


Damage = Callable[[Path, random.Random], str]

KINDS: Final[dict[str, tuple[Base, Damage]]] = {
    "flip in a message": ("stopped", _in_table(("messages",), HEADER)),
    "flip in an index": ("stopped", _in_table(_INDEXES, 0)),
    "flip in another table": ("stopped", _in_table(_OTHERS, 0)),
    "flip at the head of a page": ("stopped", _in_a_header),
    "flip on the first page": ("stopped", _on_the_first_page),
    "flip in the log": ("killed", _in_the_log),
    "database cut": ("stopped", _cut),
    "log cut": ("killed", _cut_the_log),
}
"""By name: on which files, and how."""


def damage(kind: str, folder: Path, rng: random.Random) -> str:
    """Damage the files in the folder, and return what was done."""
    return KINDS[kind][1](folder / DATABASE_NAME, rng)
