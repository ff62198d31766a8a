"""A backup is a sound copy as of one instant, or there is none."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from app.storage.backup import (
    STEP_PAGES,
    BackupFault,
    Contents,
    backup_name,
    find_faults,
    older_backups,
    read_contents,
    require_space,
    write_backup,
)
from tests.databases import place_database

STEPS = 3


@pytest.fixture
def source(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of the server, with a database of several steps."""
    place_database(tmp_path / "data")
    with closing(sqlite3.connect(tmp_path / "data" / "switchboard.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("INSERT INTO meta VALUES ('epoch', 'an-epoch')")
        add(connection, STEPS * STEP_PAGES // 2)
        yield connection


@pytest.fixture
def database(source: sqlite3.Connection, tmp_path: Path) -> Path:
    return tmp_path / "data" / "switchboard.db"


def add(connection: sqlite3.Connection, count: int) -> None:
    # About two pages each.
    rows = [(1, "note.text", b"0" * 8000, 1)] * count
    insert = "INSERT INTO messages (user_id, type, payload, created_at) VALUES (?, ?, ?, ?)"
    connection.executemany(insert, rows)
    connection.commit()


def write(database: Path, target: Path, **options: bool) -> Contents:
    return write_backup(database, target, {}, **options)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_it_has_all_of_one_instant_though_the_server_commits_meanwhile(
    source: sqlite3.Connection, database: Path, tmp_path: Path
) -> None:
    (before,) = source.execute("SELECT count(*) FROM messages").fetchone()
    steps = 0

    def commit(done: int, total: int) -> None:
        nonlocal steps
        steps += 1
        assert steps * STEP_PAGES < 2 * total, "the copying began anew"
        add(source, 1)

    target = tmp_path / "backup.db"
    contents = write_backup(database, target, {"version": "7"}, progress=commit)
    assert steps >= STEPS
    assert (contents.messages, contents.last, contents.epoch) == (before, before, "an-epoch")
    assert contents.version == "7"
    assert read_contents(target) == contents
    assert contents.bytes == target.stat().st_size
    assert (left_in(tmp_path), find_faults(target)) == (["backup.db"], [])


def test_it_can_be_read_where_nothing_can_be_written(database: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup.db"
    write(database, target)
    with closing(sqlite3.connect(f"file:{target}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_only_its_owner_can_read_it_whatever_a_killed_backup_left(
    database: Path, tmp_path: Path
) -> None:
    target = tmp_path / "backup.db"
    left = tmp_path / "backup.db.partial"
    left.write_bytes(b"garbage " * 100_000)
    left.chmod(0o666)
    umask = os.umask(0)
    try:
        write(database, target)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert find_faults(target) == []


def test_a_file_that_is_there_stays_unless_it_is_to_be_replaced(
    database: Path, tmp_path: Path
) -> None:
    target = tmp_path / "backup.db"
    target.write_bytes(b"yesterday's")
    with pytest.raises(BackupFault, match="--overwrite"):
        write(database, target)
    assert target.read_bytes() == b"yesterday's"
    write(database, target, overwrite=True)
    assert find_faults(target) == []


def test_a_file_that_somebody_makes_meanwhile_stays(database: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup.db"
    with pytest.raises(BackupFault, match="is there already"):
        write_backup(database, target, {}, progress=lambda *_: target.touch())
    assert (left_in(tmp_path), target.stat().st_size) == (["backup.db"], 0)


def damage(database: Path) -> None:
    """Spoil the first page of the index of handles, which nothing but a full check reads."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'messages_user_id_offset'"
        (page,) = connection.execute(query).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with database.open("r+b") as file:
        file.seek((page - 1) * size + 200)
        file.write(b"\xff" * 64)


def test_a_damaged_database_leaves_the_last_good_backup(database: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup.db"
    write(database, target)
    before = target.read_bytes()
    damage(database)
    with pytest.raises(BackupFault, match="damaged"):
        write(database, target, overwrite=True)
    assert (left_in(tmp_path), target.read_bytes() == before) == (["backup.db"], True)


def test_two_do_not_write_one_file(database: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup.db"

    def second(done: int, total: int) -> None:
        with pytest.raises(BackupFault, match="Another backup"):
            write(database, target)

    write_backup(database, target, {}, progress=second)
    assert find_faults(target) == []


@pytest.mark.parametrize("content", [b"", b"SQLite format 3", b"a" * 5000, None])
def test_what_is_no_database_of_ours_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "file"
    if content is None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE users (id)")
    else:
        path.write_bytes(content)
    with pytest.raises(BackupFault):
        read_contents(path)


def test_what_is_in_the_write_ahead_log_counts(source: sqlite3.Connection, database: Path) -> None:
    before = read_contents(database).messages
    add(source, 1)
    assert read_contents(database).messages == before + 1


def test_a_copy_larger_than_the_free_space_is_not_begun(tmp_path: Path) -> None:
    require_space(tmp_path, 1)
    with pytest.raises(BackupFault, match="bytes left"):
        require_space(tmp_path, 1 << 62)


def test_the_newest_backups_are_kept_and_no_other_file_is_touched(tmp_path: Path) -> None:
    names = [backup_name(1_790_000_000 + 3600 * hour) for hour in range(5)]
    for name in (*names, "switchboard.db", "switchboard-old.db", f"{names[0]}.partial"):
        (tmp_path / name).touch()
    assert [path.name for path in older_backups(tmp_path, 2)] == names[:3]
    assert older_backups(tmp_path, 5) == older_backups(tmp_path, 9) == []


def test_an_interrupted_backup_leaves_nothing(database: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        write_backup(database, tmp_path / "backup.db", {}, progress=interrupt)
    assert left_in(tmp_path) == []


def test_what_the_caller_verifies_counts_too(database: Path, tmp_path: Path) -> None:
    verified: list[Path] = []

    def verify(path: Path) -> list[str]:
        verified.append(path)
        return ["A message has changed."]

    with pytest.raises(BackupFault, match=r"so there is no backup: A message has changed\."):
        write_backup(database, tmp_path / "backup.db", {}, verify=verify)
    assert [path.parent for path in verified] == [tmp_path]
    assert left_in(tmp_path) == []
