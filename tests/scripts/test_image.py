"""A crash image is examined as the killed server left it, and the original stays unchanged."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.streams.generation import GUARD_NAME, Guard, Mark
from scripts.faults.image import examine, examine_torn, lose_power

PAGE = 4096


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    """An open database whose ten messages are in its write-ahead log."""
    path = tmp_path / "switchboard.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE messages (payload)")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for _ in range(10):
            connection.execute("INSERT INTO messages VALUES (zeroblob(1000))")
        yield path


def test_an_image_has_what_the_log_has(database: Path, tmp_path: Path) -> None:
    log = database.with_name("switchboard.db-wal").read_bytes()
    image = examine(database, tmp_path / "image")
    assert (image.good, image.messages) == (True, 10)
    assert database.with_name("switchboard.db-wal").read_bytes() == log


def test_a_torn_image_has_what_was_committed(database: Path, tmp_path: Path) -> None:
    images = [examine_torn(database, tmp_path / "image", random.Random(n)) for n in range(20)]
    assert {(image.integrity, image.messages) for image in images} == {("ok", 10)}


def test_what_was_being_written_is_cut_off(database: Path, tmp_path: Path) -> None:
    whole = database.with_name("switchboard.db-wal").stat().st_size
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO messages VALUES (zeroblob(?))", [(9000,)] * 50)
        # Pages that found no place in the cache are in the log, without a commit.
        assert database.with_name("switchboard.db-wal").stat().st_size > whole
        image = examine_torn(database, tmp_path / "image", random.Random(1))
    assert (image.good, image.messages) == (True, 10)


def test_a_broken_database_is_found(database: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("CREATE INDEX one ON messages (payload)")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with database.open("r+b") as file:
        file.seek(2 * PAGE)
        file.write(bytes(PAGE))
    assert not examine(database, tmp_path / "image").good


@pytest.mark.parametrize("seed", range(20))
def test_a_loss_of_power_leaves_all_that_was_committed(
    database: Path, tmp_path: Path, seed: int
) -> None:
    killed = tmp_path / "killed"
    killed.mkdir()
    for suffix in ("", "-wal"):
        source = database.with_name(database.name + suffix)
        (killed / source.name).write_bytes(source.read_bytes())
    guard = Guard(killed / GUARD_NAME)
    guard.confirm(Mark("0" * 32, 10))
    guard.close()
    lose_power(killed / database.name, random.Random(seed))
    [mark] = guard.marks() or []
    assert mark.vouches_for("0" * 32, 10)
    image = examine(killed / database.name, tmp_path / "image")
    assert (image.integrity, image.messages) == ("ok", 10)
