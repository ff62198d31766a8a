"""The implementations of StreamLog, each with a way to open it, and to copy it as a crash does."""

import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.base.clock import Clock
from app.storage.backup import write_backup
from app.storage.database import Database
from app.streams.base import StreamLog
from app.streams.checking import check
from app.streams.generation import GUARD_NAME
from app.streams.restoring import restore
from app.streams.sql import SqlStreamLog, StreamLimits
from tests.databases import place_database


@dataclass(frozen=True)
class Opened:
    """A log, and a way to close it together with what it needs."""

    streams: StreamLog
    close: Callable[[], Awaitable[None]]


class Store(Protocol):
    """One implementation of StreamLog."""

    name: str

    async def open(self, folder: Path, limits: StreamLimits, clock: Clock) -> Opened:
        """Return the log in the folder; a new one if the folder is empty."""

    def image(self, folder: Path, target: Path) -> None:
        """Copy to the new folder `target` what a machine that lost power now would find."""

    def back_up(self, folder: Path, target: Path) -> None:
        """Write a backup to the new file `target`; the log may be open."""

    def restore(self, source: Path, folder: Path) -> None:
        """Put the backup back in the folder, where nobody has the log open."""

    def is_sound(self, folder: Path) -> bool:
        """Tell whether the database in the folder, which nobody has open, is intact."""


class SqlStore:
    """SqlStreamLog on SQLite."""

    name = "sqlite"
    database = "switchboard.db"

    async def open(self, folder: Path, limits: StreamLimits, clock: Clock) -> Opened:
        place_database(folder, self.database)
        database = await Database.open(folder / self.database)
        try:
            streams = await SqlStreamLog.open(database, folder / GUARD_NAME, limits, clock)
        except BaseException:
            await database.close()
            raise

        async def close() -> None:
            await streams.close()
            await database.close()

        return Opened(streams, close)

    def image(self, folder: Path, target: Path) -> None:
        # The guard first: it is written after each commit, so it may be behind, never ahead.
        target.mkdir()
        for name in (GUARD_NAME, f"{self.database}-wal", self.database):
            if (folder / name).exists():
                shutil.copy2(folder / name, target / name)

    def back_up(self, folder: Path, target: Path) -> None:
        write_backup(folder / self.database, target, {})

    def restore(self, source: Path, folder: Path) -> None:
        guard = folder / GUARD_NAME
        aside = restore(source, folder / self.database, guard, replace=True).aside
        assert aside is not None
        # Its name has the second in it.
        aside.unlink()

    def is_sound(self, folder: Path) -> bool:
        return check(folder / self.database).sound


STORES: tuple[Store, ...] = (SqlStore(),)
