"""The guard recognises an older copy of the database, and takes nothing else for one."""

import logging
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

from app.base.errors import StorageUnavailable
from app.protocol.position import Position
from app.storage.database import Database
from app.streams.base import Append
from app.streams.generation import GUARD_NAME, Guard, Mark, make_generation
from app.streams.sql import SqlStreamLog
from tests.streams.conftest import LIMITS

DATABASE = "switchboard.db"
NOTE = Append(1, "note.text", b"1")


def copy(folder: Path, target: Path) -> Path:
    """Return a copy of the folder as a crash at this instant would leave it."""
    target.mkdir()
    for name in (GUARD_NAME, f"{DATABASE}-wal", DATABASE):
        if (folder / name).exists():
            shutil.copy2(folder / name, target / name)
    return target


def put_back(copied: Path, folder: Path) -> None:
    """Put the copied database back beside the guard that is newer."""
    for suffix in ("", "-wal", "-shm"):
        (folder / (DATABASE + suffix)).unlink(missing_ok=True)
        if (copied / (DATABASE + suffix)).exists():
            shutil.copy2(copied / (DATABASE + suffix), folder / (DATABASE + suffix))


async def run(folder: Path, appends: int = 0, *, reset: bool = False) -> tuple[str, int]:
    """Start and stop a server that stores so many messages; return its epoch and last offset."""
    database = await Database.open(folder / DATABASE)
    try:
        streams = await SqlStreamLog.open(database, folder / GUARD_NAME, LIMITS)
        for _ in range(appends):
            await streams.append([NOTE])
        if reset:
            await streams.reset()
        await streams.close()
        return streams.epoch, streams.last
    finally:
        await database.close()


@contextmanager
def images(folder: Path, target: Path) -> Iterator[list[Path]]:
    """Take a copy before and after each statement, each flush and each renaming in the block."""
    taken: list[Path] = []
    target.mkdir()

    def take(*_: Any) -> None:
        taken.append(copy(folder, target / str(len(taken))))

    fsync, replace = os.fsync, os.replace

    def flush(descriptor: int) -> None:
        take()
        fsync(descriptor)
        take()

    def rename(source: Any, to: Any, **more: Any) -> None:
        take()
        replace(source, to, **more)
        take()

    event.listen(Engine, "before_cursor_execute", take)
    event.listen(Engine, "after_cursor_execute", take)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", flush)
        patch.setattr(os, "replace", rename)
        yield taken
    event.remove(Engine, "before_cursor_execute", take)
    event.remove(Engine, "after_cursor_execute", take)


async def test_the_epoch_outlives_restarts(folder: Path) -> None:
    first = await run(folder, 3)
    assert first[1] == 3
    assert await run(folder, 2) == (first[0], 5)
    assert await run(folder) == (first[0], 5)


async def test_a_database_from_before_the_guard_keeps_its_epoch(folder: Path) -> None:
    database = await Database.open(folder / DATABASE)
    epoch = await database.epoch()
    await database.close()
    assert await run(folder) == (epoch, 0)


async def test_only_the_owner_can_read_the_file(folder: Path) -> None:
    await run(folder)
    assert stat.S_IMODE((folder / GUARD_NAME).stat().st_mode) == 0o600
    assert not (folder / f"{GUARD_NAME}.new").exists()


@pytest.mark.parametrize("more", [0, 1], ids=["of the last run", "older"])
async def test_a_copy_with_fewer_messages_gets_a_new_epoch(
    folder: Path, tmp_path: Path, more: int
) -> None:
    await run(folder, 1)
    database = await Database.open(folder / DATABASE)
    streams = await SqlStreamLog.open(database, folder / GUARD_NAME, LIMITS)
    copied = copy(folder, tmp_path / "copy")
    await streams.append([NOTE])
    await streams.close()
    await database.close()
    for _ in range(more):
        await run(folder)
    put_back(copied, folder)
    epoch, last = await run(folder)
    assert (epoch != streams.epoch, last) == (True, 1)
    assert await run(folder) == (epoch, 1)


async def test_a_copy_of_an_earlier_run_gets_a_new_epoch_however_many_it_has(
    folder: Path, tmp_path: Path
) -> None:
    before, _ = await run(folder, 5)
    copied = copy(folder, tmp_path / "copy")
    await run(folder, reset=True)
    put_back(copied, folder)
    assert (await run(folder))[0] != before


@pytest.mark.parametrize(
    "damage",
    [
        lambda guard: guard.unlink(),
        lambda guard: guard.write_bytes(b""),
        lambda guard: guard.write_bytes(guard.read_bytes()[:-3]),
        lambda guard: guard.write_bytes(guard.read_bytes()[:40] + b"7" + guard.read_bytes()[41:]),
    ],
    ids=["missing", "empty", "cut", "changed"],
)
async def test_without_its_guard_a_database_gets_a_new_epoch(
    folder: Path, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    before, _ = await run(folder, 1)
    assert not caplog.records
    damage(folder / GUARD_NAME)
    after, _ = await run(folder)
    assert after != before
    told = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert told == [(logging.WARNING, "new epoch of the streams")]
    assert await run(folder) == (after, 1)


async def test_a_start_interrupted_anywhere_keeps_the_epoch(folder: Path, tmp_path: Path) -> None:
    before = await run(folder, 2)
    with images(folder, tmp_path / "images") as taken:
        await run(folder, 1)
    assert len(taken) > 20
    for image in taken:
        epoch, last = await run(image)
        assert (epoch, last in (2, 3)) == (before[0], True), image
        assert await run(image) == (epoch, last)


async def test_a_first_start_interrupted_anywhere_keeps_the_epoch(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await (await Database.open(folder / DATABASE)).close()
    with images(folder, tmp_path / "images") as taken:
        epoch, _ = await run(folder)
    for image in taken:
        assert await run(image) == (epoch, 0), image
    assert not caplog.records


async def test_a_start_on_a_copy_interrupted_anywhere_ends_in_one_new_epoch(
    folder: Path, tmp_path: Path
) -> None:
    await run(folder, 1)
    copied = copy(folder, tmp_path / "copy")
    before, _ = await run(folder, 1)
    put_back(copied, folder)
    with images(folder, tmp_path / "images") as taken:
        after, _ = await run(folder)
    told_apart = set()
    for image in taken:
        epoch, _ = await run(image)
        assert epoch != before, image
        assert await run(image) == (epoch, 1)
        told_apart.add(epoch == after)
    assert told_apart == {False, True}


async def test_a_reset_interrupted_anywhere_is_done_or_not_done(
    folder: Path, tmp_path: Path
) -> None:
    before, _ = await run(folder, 1)
    with images(folder, tmp_path / "images") as taken:
        after, _ = await run(folder, reset=True)
    assert after != before
    found = [(await run(image))[0] for image in taken]
    done = found.index(after)
    assert found == [before] * done + [after] * (len(found) - done)


async def test_a_reset_that_fails_leaves_the_numbering_as_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = await Database.open(folder / DATABASE)
    streams = await SqlStreamLog.open(database, folder / GUARD_NAME, LIMITS)
    before = streams.epoch

    def fail(_descriptor: int) -> None:
        raise OSError(28, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StorageUnavailable):
            await streams.reset()
    assert streams.epoch == before
    await streams.append([NOTE])
    await streams.close()
    await database.close()
    assert await run(folder) == (before, 1)


# A database of the schema before generations


def at_schema_0002(path: Path) -> None:
    """Make the database as it was before there were generations."""
    engine = create_engine(f"sqlite:///{path}")
    config = Config()
    config.set_main_option("script_location", str(files("app.storage") / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
    engine.dispose()


def used_before(folder: Path, generation: str | None) -> None:
    """Make a database of that schema with messages 1 to 5, as a server left it."""
    folder.mkdir()
    at_schema_0002(folder / DATABASE)
    with closing(sqlite3.connect(folder / DATABASE, isolation_level=None)) as database:
        database.execute("INSERT INTO meta VALUES ('epoch', 'old-epoch')")
        database.executemany(
            "INSERT INTO messages (offset, user_id, type, payload, created_at)"
            " VALUES (?, 1, 'n.x', ?, 1790000000000)",
            [(offset, b"1") for offset in range(1, 6)],
        )
        if generation is not None:
            database.execute("INSERT INTO meta VALUES ('generation', ?)", (generation,))
            guard = Guard(folder / GUARD_NAME)
            guard.confirm(Mark(generation, 5))
            guard.close()


@pytest.mark.parametrize("generation", ["7" * 32, None], ids=["guarded", "before the guard"])
async def test_in_a_database_from_before_generations_every_position_holds(
    folder: Path, generation: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    used_before(folder, generation)
    for _ in range(2):
        database = await Database.open(folder / DATABASE)
        streams = await SqlStreamLog.open(database, folder / GUARD_NAME, LIMITS)
        held = [o for o in range(9) if streams.numbering.holds(Position("old-epoch", o), 8)]
        assert held == [0, 1, 2, 3, 4, 5]
        assert (streams.epoch, streams.last) == ("old-epoch", 5)
        assert streams.numbering.text.startswith("old-epoch.")
        await streams.close()
        await database.close()
    assert "new epoch of the streams" not in caplog.messages


async def test_an_older_copy_from_before_generations_still_gets_a_new_epoch(folder: Path) -> None:
    used_before(folder, "7" * 32)
    guard = Guard(folder / GUARD_NAME)
    guard.confirm(Mark("7" * 32, 6))
    guard.close()
    assert (await run(folder))[0] != "old-epoch"


async def test_the_guard_names_the_newest_generation_of_the_database(folder: Path) -> None:
    for appends in (2, 0, 1):
        await run(folder, appends)
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        found = database.execute("SELECT number, id, first FROM generations").fetchall()
    assert [(number, first) for number, _, first in found] == [(0, 1), (1, 1), (2, 3), (3, 3)]
    assert Guard(folder / GUARD_NAME).marks() == [Mark(found[-1][1], 3)]
    assert len({generation for _, generation, _ in found}) == 4


def test_a_mark_vouches_for_its_generation_from_its_offset_on() -> None:
    mark = Mark(make_generation(), 5)
    assert mark.vouches_for(mark.generation, 5)
    assert mark.vouches_for(mark.generation, 6)
    assert not mark.vouches_for(mark.generation, 4)
    assert not mark.vouches_for(make_generation(), 5)


def test_what_is_noted_is_read_and_only_the_offset_changes(tmp_path: Path) -> None:
    guard = Guard(tmp_path / GUARD_NAME)
    assert guard.marks() is None
    old, new = Mark(make_generation(), 1), Mark(make_generation(), 2)
    guard.announce(old, new)
    assert guard.marks() == [old, new]
    guard.confirm(new)
    guard.note(Mark(new.generation, (1 << 63) - 1))
    assert guard.marks() == [Mark(new.generation, (1 << 63) - 1)]
    guard.close()
    guard.close()
