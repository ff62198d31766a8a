"""A folder that has lost its database gets no empty one in its place."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from app.base.errors import DatabaseLost
from app.storage.database import DATABASE_NAME, Database
from app.streams.generation import GUARD_NAME
from app.streams.opening import open_database, set_aside
from app.streams.sql import SqlStreamLog, StreamLimits
from tests.databases import add_person, place_database

LIMITS = StreamLimits(retention_days=30, retention_rows=100, max_keys_per_user=10)


async def serve(folder: Path, handle: str | None = "ada") -> None:
    """Open everything as a server does, and close it."""
    database = await open_database(folder)
    if handle is not None:
        await add_person(database, handle)
    await (await SqlStreamLog.open(database, folder / GUARD_NAME, LIMITS)).close()
    await database.close()


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


async def test_a_new_folder_gets_a_database(tmp_path: Path) -> None:
    await serve(tmp_path / "data")
    await serve(tmp_path / "data", handle=None)


async def test_a_database_without_users_is_known_by_its_guard(tmp_path: Path) -> None:
    for _ in range(3):
        await serve(tmp_path, handle=None)


async def test_a_first_start_that_broke_off_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / DATABASE_NAME).touch()
    await serve(tmp_path)


@pytest.mark.parametrize("left", ["nothing", "an empty file", "a link to nowhere"])
@pytest.mark.parametrize("witness", [GUARD_NAME, f"{DATABASE_NAME}-wal"])
async def test_a_lost_database_is_refused_by_its_name_and_nothing_is_made(
    tmp_path: Path, left: str, witness: str
) -> None:
    path = tmp_path / DATABASE_NAME
    (tmp_path / witness).write_bytes(b"something")
    if left == "an empty file":
        path.touch()
    elif left == "a link to nowhere":
        path.symlink_to(tmp_path / "nowhere")
    before = names(tmp_path)
    with pytest.raises(DatabaseLost) as refusal:
        await open_database(tmp_path)
    assert str(path) in str(refusal.value)
    assert witness in str(refusal.value)
    assert "--new-database" in str(refusal.value)
    assert names(tmp_path) == before


async def test_an_empty_database_in_the_place_of_another_is_refused(tmp_path: Path) -> None:
    await serve(tmp_path)
    (tmp_path / DATABASE_NAME).unlink()
    place_database(tmp_path)
    with pytest.raises(DatabaseLost, match="no users"):
        await open_database(tmp_path)


async def test_a_copy_of_before_opens_and_gets_a_new_epoch(tmp_path: Path) -> None:
    await serve(tmp_path)
    copy = (tmp_path / DATABASE_NAME).read_bytes()
    await serve(tmp_path, "bob")
    (tmp_path / DATABASE_NAME).write_bytes(copy)
    with closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as connection:
        (former,) = connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
    database = await open_database(tmp_path)
    streams = await SqlStreamLog.open(database, tmp_path / GUARD_NAME, LIMITS)
    assert streams.epoch != former
    await streams.close()
    await database.close()


async def test_what_is_left_of_a_lost_database_is_kept_aside(tmp_path: Path) -> None:
    await serve(tmp_path)
    guard = (tmp_path / GUARD_NAME).read_bytes()
    (tmp_path / DATABASE_NAME).unlink()
    (tmp_path / f"{DATABASE_NAME}-wal").write_bytes(b"frames")
    aside = set_aside(tmp_path)
    assert aside is not None
    assert (aside / GUARD_NAME).read_bytes() == guard
    assert (aside / f"{DATABASE_NAME}-wal").read_bytes() == b"frames"
    assert names(tmp_path) == [aside.name]
    await serve(tmp_path)
    await serve(tmp_path, handle=None)


async def test_where_nothing_is_left_nothing_is_kept_aside(tmp_path: Path) -> None:
    assert set_aside(tmp_path) is None
    assert names(tmp_path) == []


async def test_a_database_of_any_other_name_has_no_guard(tmp_path: Path) -> None:
    await (await Database.open(tmp_path / "a.db")).close()
