"""The check of a database names each kind of damage, and harms nobody."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from damaging import PAGE_BYTES, cut, fold, lose_entry, pages_of

from app.base.errors import SwitchboardError
from app.storage.database import Database
from app.streams.base import Append
from app.streams.checking import check, faults_of
from app.streams.sql import SqlStreamLog

SECRET = "the secret of ada"


@pytest.fixture
async def path(database: Database, streams: SqlStreamLog, folder: Path) -> Path:
    """A closed database with six messages that a server has stored."""
    await streams.append([Append(1, "note.text", b'"%d"' % number) for number in range(6)])
    await streams.close()
    await database.close()
    fold(folder / "switchboard.db")
    return folder / "switchboard.db"


def execute(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)
    fold(path)


def test_every_message_is_checked_and_none_changed(path: Path) -> None:
    before = path.read_bytes()
    report = check(path)
    assert (report.sound, report.messages, report.unchecked) == (True, 6, 0)
    assert faults_of(path) == []
    assert path.read_bytes() == before


def test_damaged_messages_are_counted_and_the_first_is_named(path: Path) -> None:
    execute(path, 'UPDATE messages SET crc = crc + 1 WHERE "offset" IN (2, 5)')
    report = check(path)
    # Those that are damaged can be read.
    assert (report.sound, report.damaged, report.messages) == (False, [2, 5], 6)
    assert "damaged messages: 2, the first at offset 2" in faults_of(path)


def test_messages_up_to_the_last_one_of_an_older_version_may_be_without_a_checksum(
    path: Path,
) -> None:
    execute(path, 'UPDATE messages SET crc = NULL WHERE "offset" <= 2')
    execute(path, "UPDATE sums SET rows = 2, sum = -10 WHERE name = 'unchecked'")
    report = check(path)
    assert (report.unchecked, report.messages) == (2, 6)


def test_pages_that_cannot_be_read_are_told_once(path: Path) -> None:
    # The first two pages, which tell of all tables, stay.
    at = min(page for page in pages_of(path, "messages") if page >= PAGE_BYTES)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff" * PAGE_BYTES)
    report = check(path)
    assert not report.sound
    assert report.messages == 0
    assert any("malformed" in fault or "btree" in fault for fault in report.pages)
    assert len(set(report.pages)) == len(report.pages)
    assert faults_of(path)[:1] == report.pages[:1]


def test_a_row_that_an_index_lost_is_missing(path: Path) -> None:
    lose_entry(path, "messages_user_id_offset", place=1)
    assert check(path).missing == ["messages"]
    assert "rows are missing, or too many: messages" in faults_of(path)


def test_a_file_without_its_end_is_told_in_few_sentences(path: Path) -> None:
    cut(path, pages=5)
    assert 0 < len(faults_of(path)) <= 5


def test_what_is_locked_cannot_be_checked_and_the_error_shows_no_message(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.streams.checking.BUSY_SECONDS", 0)
    execute(path, "PRAGMA journal_mode = DELETE")
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        holder.execute("UPDATE messages SET payload = ?", (SECRET.encode(),))
        with pytest.raises(SwitchboardError, match="cannot be checked: database is locked") as told:
            check(path)
    assert SECRET not in str(told.value)


def test_a_server_may_write_while_its_database_is_checked(path: Path) -> None:
    execute(path, "PRAGMA journal_mode = WAL")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute('DELETE FROM messages WHERE "offset" = 1')
        assert check(path).messages == 6
        writer.execute("COMMIT")
        assert check(path).messages == 5


def test_without_a_file_there_is_nothing_to_check_and_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(SwitchboardError, match="There is no database"):
        check(tmp_path / "switchboard.db")
    assert list(tmp_path.iterdir()) == []
