"""Threads that run a whole transaction each time.

Through the async engine a statement costs three switches to the driver's thread and back, about
300 µs of processor time; a commit of many rows, or a snapshot, has several statements.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from app.storage.completion import complete

T = TypeVar("T")


class Worker:
    """Some threads, with a connection each, and the statement that begins their transactions."""

    def __init__(self, engine: Engine, threads: int, begin: str) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="database")
        self._begin = begin

    async def run(
        self, work: Callable[[Connection], T], then: Callable[[T], None] | None = None
    ) -> T:
        """Return what `work` returned in its transaction, after `then` got it.

        Also when the caller is cancelled, it has run to its end when this returns.
        """
        loop = asyncio.get_running_loop()
        return await complete(loop.run_in_executor(self._threads, self._transact, work, then))

    async def close(self) -> None:
        """The connections are closed and the threads have ended."""
        loop = asyncio.get_running_loop()
        await complete(loop.run_in_executor(self._threads, self._engine.dispose))
        self._threads.shutdown()

    def _transact(self, work: Callable[[Connection], T], then: Callable[[T], None] | None) -> T:
        with self._engine.connect() as connection:
            connection.exec_driver_sql(self._begin)
            try:
                result = work(connection)
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise
        if then is not None:
            then(result)
        return result


def _roll_back(connection: Connection) -> None:
    """Nothing of the transaction is left, by throwing the connection away if it must be."""
    try:
        connection.exec_driver_sql("ROLLBACK")
    except DBAPIError:
        # SQLite has rolled back by itself after some faults, such as a full disk.
        with contextlib.suppress(DBAPIError):
            connection.invalidate()
