"""Copies the write-ahead log into the database, in a thread of its own.

SQLite would do it within the commit that finds 1,000 pages in the log, and whoever waits for that
commit would wait for it too. After a long read, which keeps the log from beginning anew, those are
hundreds of megabytes. Here most of the copying goes on beside the commits. Writers wait for the
last few pages of a long log only; then the next commit begins it anew, and cuts the file to
KEPT_BYTES (https://www.sqlite.org/wal.html, section 2.2; docs/decisions/0042).
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, Literal, TypeVar

from app.base.errors import StorageUnavailable
from app.base.logs import fields
from app.base.tasks import complete
from app.storage.files import DatabaseFiles

T = TypeVar("T")

DUE_PAGES: Final = 1000
"""Pages that wait when a checkpoint begins: SQLite's own number, 4 MB."""

LONG_PAGES: Final = 4000
"""Pages after which the log has to begin anew; under load that needs a turn among the writers."""

STEP_PAGES: Final = 250
"""Pages that may be left for that turn: 1 MB, which takes as long as a large commit."""

ROUNDS: Final = 5
"""Tries to come down to so few, each of which copies what came in during the one before.

A disk that cannot keep up is given the turn all the same, so that writers slow down to its pace.
"""

KEPT_BYTES: Final = 32 << 20
"""Size to which a longer file is cut: above what load makes of it, as growing costs a commit."""

READER_MILLISECONDS: Final = 20
"""How long the turn waits for short reads of an older state to end."""

HELD_SECONDS: Final = 0.5
"""Until a log that a reader holds back is tried again."""

RETRY_SECONDS: Final = 10.0
"""Until a checkpoint that failed is tried again; a full disk stays full for a while."""

GROWN_BYTES: Final = 256 << 20
"""Size of the log of which the operator is told, and again whenever it has doubled."""

NEVER_IN_COMMITS: Final = "PRAGMA wal_autocheckpoint = 0"
"""For each connection that writes, while `Checkpoints.run` runs."""

Mode = Literal["PASSIVE", "RESTART", "TRUNCATE"]

log = logging.getLogger(__name__)


class Checkpoints:
    """Keeps the write-ahead log short, on a connection that only it uses.

    `writing` is the lock that every writer of this process holds while it writes.
    """

    def __init__(self, files: DatabaseFiles, writing: asyncio.Lock) -> None:
        self._files = files
        self._writing = writing
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._due = asyncio.Event()
        self._tell_at = GROWN_BYTES
        self.seconds = 0.0
        """How long the last checkpoint took."""

    def hold(self, connection: sqlite3.Connection, mode: Mode) -> None:
        """Take the connection, which may be used by any thread, and make a checkpoint with it.

        As long as it is open, no other connection that closes removes the log.
        """
        self._connection = connection
        # Else a checkpoint would not sync the log before it writes to the database.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA busy_timeout = {READER_MILLISECONDS}")
        connection.execute("SELECT count(*) FROM meta").fetchone()
        self._copy(mode)

    def look(self) -> None:
        """Have `run` make a checkpoint if enough pages wait; for after each commit."""
        if self._files.wal.waiting >= DUE_PAGES:
            self._due.set()

    async def run(self) -> None:
        """Make checkpoints when due, until cancelled; what fails is tried again."""
        while True:
            await self._due.wait()
            self._due.clear()
            await asyncio.sleep(await self._try())
            self.look()

    def close(self) -> None:
        """Close the connection; `run` has ended."""
        self._thread.shutdown()
        if self._connection is not None:
            self._connection.close()

    async def _try(self) -> float:
        """Shorten the log if possible; return the seconds to wait before the next try."""
        try:
            await self._shorten()
        except StorageUnavailable:
            # Whoever found that the files are gone has told it.
            return RETRY_SECONDS
        except (sqlite3.Error, OSError, RuntimeError) as error:
            reason = getattr(error, "sqlite_errorname", type(error).__name__)
            told = fields(reason=reason, wal_bytes=self._files.wal_bytes)
            log.warning("no checkpoint of the database", extra=told)
            return RETRY_SECONDS
        held = self._files.wal.waiting >= DUE_PAGES
        self._tell(held=held)
        return HELD_SECONDS if held else 0

    async def _shorten(self) -> None:
        """Copy what no reader holds back, and have a long log begin anew."""
        for _ in range(ROUNDS):
            whole = await self._in_thread(self._copy_beside_commits)
            wal = self._files.wal
            if wal.pages < LONG_PAGES or (not whole and wal.waiting >= DUE_PAGES):
                return
            # SQLite syncs in a checkpoint after which nothing waits, and only the turn's is one.
            await self._in_thread(self._files.sync)
            if self._files.wal.waiting <= STEP_PAGES:
                break
        async with self._writing:
            await self._in_thread(partial(self._copy, "RESTART"))

    def _copy_beside_commits(self) -> bool:
        """Copy what is there now, while others commit; tell whether that was all of it.

        Only if something waits. SQLite before 3.51.3 loses commits if one begins the log anew in
        the moment in which a checkpoint begins (https://www.sqlite.org/wal.html#walresetbug); none
        does before all of it is copied, which in this process only this thread does.
        """
        return not self._files.wal.waiting or self._copy("PASSIVE")

    def _copy(self, mode: Mode) -> bool:
        """Copy what no reader still needs to find in the log; tell whether that was all of it."""
        if self._connection is None:
            return False
        self._files.check()
        began = time.monotonic()
        try:
            row = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return False
        self.seconds = time.monotonic() - began
        busy, pages, copied = row
        return not busy and pages == copied

    def _tell(self, *, held: bool) -> None:
        size = self._files.wal_bytes
        if held and size >= self._tell_at:
            self._tell_at = 2 * size
            told = fields(wal_bytes=size, reason="a long read, such as a backup, needs it")
            log.warning("write-ahead log grows", extra=told)
        elif self._tell_at > GROWN_BYTES > size:
            self._tell_at = GROWN_BYTES
            log.info("write-ahead log short again", extra=fields(wal_bytes=size))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        running = asyncio.get_running_loop().run_in_executor(self._thread, work)
        return await complete(running)
