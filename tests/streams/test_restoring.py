"""A restore leaves the old database or the new one, whole, and devices are told what they lack."""

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event

from app.protocol.position import Position
from app.storage.backup import BackupFault, find_faults, read_contents, write_backup
from app.storage.database import Database
from app.streams.base import Append, ReadLimits
from app.streams.generation import GUARD_NAME, Guard
from app.streams.restoring import Restored, check_backup, restore
from app.streams.sql import SqlStreamLog
from tests.streams.conftest import LIMITS

DATABASE = "switchboard.db"
ALL = ReadLimits(rows=1000, bytes=1 << 20)


async def run(folder: Path, *payloads: str) -> tuple[str, str, list[str]]:
    """Start and stop a server that stores these; return its epoch, its text and all payloads."""
    database = await Database.open(folder / DATABASE)
    try:
        streams = await SqlStreamLog.open(database, folder / GUARD_NAME, LIMITS)
        for payload in payloads:
            await streams.append([Append(1, "note.text", payload.encode())])
        kept = await streams.read(1, 0, ALL)
        await streams.close()
    finally:
        await database.close()
    return streams.epoch, streams.numbering.text, [row.payload.decode() for row in kept.rows]


@pytest.fixture
async def backup(folder: Path, tmp_path: Path) -> Path:
    """A backup with `1` and `2`; the database also has `3` and `4`."""
    await run(folder, "1", "2")
    target = tmp_path / "backup.db"
    write_backup(folder / DATABASE, target, {})
    await run(folder, "3", "4")
    return target


def put_back(backup: Path, folder: Path, **options: Any) -> Restored:
    return restore(backup, folder / DATABASE, folder / GUARD_NAME, replace=True, **options)


async def kill(folder: Path, *payloads: str) -> None:
    """Have a server store these, and leave what a kill leaves: they are in the log alone."""
    image = folder.with_name("image")
    database = await Database.open(folder / DATABASE)
    streams = await SqlStreamLog.open(database, folder / GUARD_NAME, LIMITS)
    for payload in payloads:
        await streams.append([Append(1, "note.text", payload.encode())])
    shutil.copytree(folder, image)
    await streams.close()
    await database.close()
    shutil.rmtree(folder)
    image.rename(folder)
    assert (folder / f"{DATABASE}-wal").stat().st_size > 0


async def test_the_epoch_stays_and_a_position_holds_up_to_the_backups_last(
    folder: Path, tmp_path: Path
) -> None:
    epoch, with_the_backup, _ = await run(folder, "1", "2")
    write_backup(folder / DATABASE, tmp_path / "backup.db", {})
    _, after_the_backup, _ = await run(folder, "3", "4")
    put_back(tmp_path / "backup.db", folder)
    database = await Database.open(folder / DATABASE)
    streams = await SqlStreamLog.open(database, folder / GUARD_NAME, LIMITS)
    assert streams.epoch == epoch
    numbering = streams.numbering
    assert [o for o in range(9) if numbering.holds(Position(with_the_backup, o), 9)] == [0, 1, 2]
    assert not any(numbering.holds(Position(after_the_backup, o), 9) for o in range(9))
    await streams.close()
    await database.close()


async def test_a_restore_begins_a_generation_that_the_guard_vouches_for(
    folder: Path, backup: Path
) -> None:
    put_back(backup, folder)
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        found = database.execute("SELECT id, first FROM generations ORDER BY number").fetchall()
    assert found[-1][1] == 3
    [mark] = Guard(folder / GUARD_NAME).marks() or []
    assert (mark.generation, mark.last) == (found[-1][0], 2)


async def test_the_database_that_was_there_is_kept_whole(folder: Path, backup: Path) -> None:
    await kill(folder, "5")
    aside = put_back(backup, folder).aside
    assert (await run(folder))[2] == ["1", "2"]
    assert aside is not None
    other = folder.with_name("other")
    other.mkdir()
    aside.rename(other / DATABASE)
    assert (await run(other))[2] == ["1", "2", "3", "4", "5"]


async def test_it_is_put_where_nothing_was(tmp_path: Path, backup: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    assert put_back(backup, new).aside is None
    assert sorted(path.name for path in new.iterdir()) == [GUARD_NAME, DATABASE]
    assert stat.S_IMODE((new / DATABASE).stat().st_mode) == 0o600
    epoch, _, kept = await run(new, "other")
    assert kept == ["1", "2", "other"]
    assert epoch == read_contents(backup).epoch


async def test_a_log_that_was_left_is_not_applied_to_the_new_database(
    folder: Path, backup: Path
) -> None:
    await kill(folder, "5", "6")
    # SQLite cannot read it, so it cannot fold the log into it.
    (folder / DATABASE).write_bytes(b"garbage " * 1000)
    aside = put_back(backup, folder).aside
    assert (await run(folder))[2] == ["1", "2"]
    assert find_faults(folder / DATABASE) == []
    assert aside is not None
    assert aside.with_name(f"{aside.name}-wal").stat().st_size > 0


async def test_a_log_whose_database_was_emptied_is_kept(folder: Path, backup: Path) -> None:
    await kill(folder, "5")
    (folder / DATABASE).write_bytes(b"")
    aside = put_back(backup, folder).aside
    assert (await run(folder))[2] == ["1", "2"]
    assert aside is not None
    assert aside.with_name(f"{aside.name}-wal").stat().st_size > 0


@contextmanager
def images(folder: Path, target: Path) -> Iterator[list[Path]]:
    """Copy the folder before and after each statement, and each change of a file's name or sync."""
    taken: list[Path] = []
    target.mkdir()

    def take(*_: Any) -> None:
        taken.append(target / str(len(taken)))
        shutil.copytree(folder, taken[-1])

    def around(call: Any) -> Any:
        def taking(*arguments: Any, **more: Any) -> Any:
            take()
            try:
                return call(*arguments, **more)
            finally:
                take()

        return taking

    event.listen(Engine, "after_cursor_execute", take)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "replace", "link", "unlink"):
            patch.setattr(os, name, around(getattr(os, name)))
        yield taken
    event.remove(Engine, "after_cursor_execute", take)


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
async def test_a_crash_at_any_instant_leaves_the_old_or_the_new_database_and_the_epoch(
    folder: Path, tmp_path: Path, backup: Path, killed: bool
) -> None:
    old = ["1", "2", "3", "4"]
    if killed:
        await kill(folder, "5")
        old.append("5")
    epoch = read_contents(backup).epoch
    with images(folder, tmp_path / "images") as taken:
        put_back(backup, folder)
    outcomes = []
    for image in taken:
        found, _, kept = await run(image)
        assert found == epoch
        outcomes.append(kept)
    assert outcomes[0] == old
    assert outcomes[-1] == ["1", "2"]
    assert len(outcomes) > 20
    assert all(kept in (old, ["1", "2"]) for kept in outcomes)
    assert outcomes == sorted(outcomes, key=len, reverse=True), "once new, it stays new"


async def test_a_restore_that_a_crash_interrupted_can_be_repeated(
    folder: Path, tmp_path: Path, backup: Path
) -> None:
    with images(folder, tmp_path / "images") as taken:
        put_back(backup, folder)
    for image in taken:
        put_back(backup, image, clock=lambda: 1_000_000_000.0)
        assert (await run(image))[2] == ["1", "2"]
        assert not list(image.glob("*.restoring*"))


def everything(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_a_refused_restore_changes_nothing(
    folder: Path, tmp_path: Path, backup: Path
) -> None:
    bad = {name: tmp_path / name for name in ("damaged", "newer", "foreign", "cut")}
    for path in bad.values():
        shutil.copy2(backup, path)
    with closing(sqlite3.connect(bad["damaged"])) as one:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'messages_user_id_offset'"
        (page,) = one.execute(query).fetchone()
    with bad["damaged"].open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\x0a\0\0\0\0\xff\xff\0" * 8)
    with closing(sqlite3.connect(bad["newer"])) as one:
        one.execute("UPDATE alembic_version SET version_num = '9999'")
        one.commit()
    bad["foreign"].write_text("no database")
    os.truncate(bad["cut"], 8192)
    before = everything(folder)
    for name, path in bad.items():
        with pytest.raises(BackupFault) as refused:
            put_back(path, folder)
        assert str(path) in str(refused.value), name
        assert everything(folder) == before, name
    with pytest.raises(BackupFault, match="newer version"):
        put_back(bad["newer"], folder)
    with pytest.raises(BackupFault, match="damaged"):
        check_backup(bad["damaged"])
    with pytest.raises(BackupFault, match="--replace"):
        restore(backup, folder / DATABASE, folder / GUARD_NAME)
    with pytest.raises(BackupFault, match="the database itself"):
        put_back(folder / DATABASE, folder)
    assert everything(folder) == before


async def test_a_database_that_another_program_reads_is_not_replaced(
    folder: Path, backup: Path
) -> None:
    with closing(sqlite3.connect(folder / DATABASE)) as reader:
        reader.execute("SELECT 1 FROM messages").fetchone()
        with pytest.raises(BackupFault, match="Another program"):
            put_back(backup, folder)
    assert (await run(folder))[2] == ["1", "2", "3", "4"]
    put_back(backup, folder)
    assert (await run(folder))[2] == ["1", "2"]


async def test_the_file_stays_as_it_is_with_what_its_log_has(folder: Path, tmp_path: Path) -> None:
    await run(folder, "1")
    await kill(folder, "2")
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    before = everything(copy)
    new = tmp_path / "new"
    new.mkdir()
    put_back(copy / DATABASE, new)
    assert (await run(new))[2] == ["1", "2"]
    # Its index is made anew for whoever reads.
    changed = {name for name, data in everything(copy).items() if before.get(name) != data}
    assert changed <= {f"{DATABASE}-shm"}


async def test_a_backup_of_an_older_version_is_brought_to_this_one(
    tmp_path: Path,
) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new"
    config = Config()
    config.set_main_option("script_location", str(files("app.storage") / "migrations"))
    engine = create_engine(f"sqlite:///{old}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.exec_driver_sql("INSERT INTO meta VALUES ('epoch', 'old-epoch')")
        connection.exec_driver_sql(
            "INSERT INTO messages (user_id, type, payload, created_at) VALUES (1, 'a.b', x'31', 1)"
        )
    engine.dispose()
    new.mkdir()
    put_back(old, new)
    epoch, _, kept = await run(new)
    assert (epoch, kept) == ("old-epoch", ["1"])


async def test_signing_out_everybody_ends_sessions_and_jwts_of_before(
    folder: Path, tmp_path: Path
) -> None:
    await run(folder)
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        database.execute("INSERT INTO users (id, created_at, not_before) VALUES (1, 1, 7)")
        database.execute("INSERT INTO users (id, created_at, not_before) VALUES (2, 1, 9000000)")
        database.execute(
            "INSERT INTO sessions (user_id, token_hash, created_at, last_used, expires_at)"
            " VALUES (1, x'00', 1, 1, 1)"
        )
        database.commit()
    backup = tmp_path / "backup.db"
    write_backup(folder / DATABASE, backup, {})
    assert put_back(backup, folder, clock=lambda: 1.0).sessions_ended == 0
    restored = put_back(backup, folder, sign_out=True, clock=lambda: 5000.0)
    assert (restored.sessions_ended, restored.contents.sessions) == (1, 1)
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        assert database.execute("SELECT count(*) FROM sessions").fetchone() == (0,)
        before = database.execute("SELECT not_before FROM users ORDER BY id").fetchall()
    assert before == [(5_000_000,), (9_000_000,)]


async def test_a_link_to_the_database_is_followed(
    folder: Path, tmp_path: Path, backup: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (folder / DATABASE).rename(disk / "real.db")
    (folder / DATABASE).symlink_to(disk / "real.db")
    aside = put_back(backup, folder).aside
    assert aside is not None
    assert aside.parent == disk
    assert (folder / DATABASE).is_symlink()
    assert (await run(folder))[2] == ["1", "2"]
