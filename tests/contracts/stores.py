"""The implementations of StreamLog, each with a way to open it, and to copy it as a crash does."""

import shutil
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.storage.database import Database
from app.streams.base import StreamLog
from app.streams.generation import GUARD_NAME
from app.streams.sql import SqlStreamLog, StreamLimits

Clock = Callable[[], float]


@dataclass(frozen=True)
class Opened:
    """A log, and the way to close it and what it stands on."""

    streams: StreamLog
    close: Callable[[], Awaitable[None]]


class Store(Protocol):
    """One implementation of StreamLog."""

    name: str

    async def open(self, folder: Path, limits: StreamLimits, clock: Clock) -> Opened:
        """Return the log that is kept in the folder; a new one in an empty folder."""

    def image(self, folder: Path, target: Path) -> None:
        """The new folder `target` has what a machine that lost power now would find."""

    def is_sound(self, folder: Path) -> bool:
        """Tell whether what is kept there is whole; nobody has it open."""


class SqlStore:
    """SqlStreamLog on SQLite."""

    name = "sqlite"
    database = "switchboard.db"

    def __init__(self) -> None:
        self._made: tempfile.TemporaryDirectory[str] | None = None

    async def open(self, folder: Path, limits: StreamLimits, clock: Clock) -> Opened:
        path = folder / self.database
        if not path.exists():
            await self._give(path)
        database = await Database.open(path)
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

    def is_sound(self, folder: Path) -> bool:
        connection = sqlite3.connect(folder / self.database)
        try:
            return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        finally:
            connection.close()

    async def _give(self, path: Path) -> None:
        """Put an empty database there; bringing one to the newest schema takes a while."""
        if self._made is None:
            self._made = tempfile.TemporaryDirectory()
            await (await Database.open(Path(self._made.name) / self.database)).close()
        shutil.copy2(Path(self._made.name) / self.database, path)


STORES: tuple[Store, ...] = (SqlStore(),)
