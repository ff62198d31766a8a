"""`check` names what is damaged, whether a server runs or not, and changes nothing."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result
from damaging import cut, flip, fold, lose_entry, pages_of

from app.cli.check import DAMAGED
from tests.cli.conftest import CommandLine

SECRET = b"the secret of ada"


@pytest.fixture
def path(run: CommandLine) -> Path:
    """A database with messages that a server has stored."""
    run.add()
    path = run.data_dir / "switchboard.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO messages (user_id, type, payload, created_at) VALUES (1, 'a.b', ?, 1)",
            [(b'"%b"' % text,) for text in (b"x", SECRET, b"z")],
        )
        connection.execute("UPDATE sums SET rows = 9, sum = -10 WHERE name = 'unchecked'")
    fold(path)
    return path


def told(result: Result) -> str:
    return " ".join(result.stdout.split())


def test_a_sound_database_is_status_0(run: CommandLine, path: Path) -> None:
    before = path.read_bytes()
    result = run("check")
    assert told(result).endswith("moved aside none The database is sound.")
    assert run.json("check") == {
        "sound": True,
        "file": str(path),
        "pages": [],
        "messages": 3,
        "unchecked": 3,
        "damaged": [],
        "missing": [],
        "moved_aside": [],
    }
    assert path.read_bytes() == before


def test_a_damaged_message_is_named_by_its_offset_and_not_shown(
    run: CommandLine, path: Path
) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute('UPDATE messages SET crc = 1 WHERE "offset" = 2')
    result = run("check", status=DAMAGED)
    assert "damaged 1, at offset 2" in told(result)
    assert "docs/damaged-database.md" in result.stdout
    assert "secret" not in result.output
    assert "The message at offset 2 is damaged" in run.refused("stream", "show", "ada")


def test_what_a_server_moved_aside_is_named(run: CommandLine, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute('INSERT INTO damaged_messages ("offset", found_at) VALUES (7, 0)')
    assert "moved aside 1, at offset 7, the last one 19" in told(run("check", status=DAMAGED))


def test_a_row_that_an_index_lost_is_named(run: CommandLine, path: Path) -> None:
    lose_entry(path, "messages_user_id_offset", place=1)
    found = run("check", status=DAMAGED)
    assert "rows missing messages" in told(found)
    assert "row 2 missing from index messages_user_id_offset" in found.stdout


def test_pages_that_do_not_fit_together_are_named(run: CommandLine, path: Path) -> None:
    # Where the entries of this page begin.
    flip(path, pages_of(path, "messages_expires_at")[0] + 5, bit=7)
    assert "pages and indexes 1 fault" in told(run("check", status=DAMAGED))


def test_a_file_that_lost_its_end_is_damaged(run: CommandLine, path: Path) -> None:
    cut(path, pages=3)
    assert "malformed" in run("check", status=DAMAGED).stdout


def test_what_is_no_database_is_damaged(run: CommandLine, path: Path) -> None:
    flip(path, 3)
    assert "file is not a database" in run("check", status=DAMAGED).stdout
    assert "is damaged (file is not a database): see docs/" in run.refused("users", "list")


def test_without_a_database_there_is_nothing_to_check(run: CommandLine) -> None:
    assert "There is no database" in run.refused("check")
    assert not run.data_dir.exists()


def test_a_database_of_before_checksums_is_checked_as_far_as_it_goes(
    run: CommandLine, path: Path
) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("DROP TABLE sums")
        connection.execute("DROP TABLE damaged_messages")
    assert "without a checksum 3" in told(run("check"))


def test_there_is_no_backup_of_a_damaged_message(
    run: CommandLine, path: Path, tmp_path: Path
) -> None:
    target = str(tmp_path / "copy.db")
    run("backup", target)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute('UPDATE messages SET crc = 1 WHERE "offset" = 2')
    told = run.refused("backup", target, "--overwrite")
    assert "damaged messages: 1, the first at offset 2" in told
    run("restore", target, "--check")
