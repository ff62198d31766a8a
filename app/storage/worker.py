"""Threads that run one whole transaction after the other.

Through the async engine a statement costs three switches to the driver's thread and back, about
300 µs of processor time; a commit of many rows, or a snapshot, has several statements.

While one of these threads runs Python, the event loop cannot. So each keeps its connection, and
gives the outcome of a transaction straight to the future of its caller.
"""

import asyncio
import contextlib
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from app.base.tasks import Firm, complete

T = TypeVar("T")

OPENING_SECONDS: Final = 30
"""How long an opening waits for a thread that does not get its connection."""


@dataclass(slots=True)
class _Job:
    work: Callable[[Connection], Any]
    then: Callable[[Any], None] | None
    told: Firm[Any]

    def tell(self, result: Any, error: BaseException | None) -> None:
        """Give the outcome to the caller; do nothing if the event loop has been closed."""
        with contextlib.suppress(RuntimeError):
            self.told.get_loop().call_soon_threadsafe(self._settle, result, error)

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if error is None:
            self.told.set_result(result)
        else:
            self.told.set_exception(error)


class Worker:
    """At most `threads` threads with a connection each; `begin` begins their transactions.

    A thread is started for the first transaction for which no other is free. `check` is called in
    the thread before each commit, and after each transaction, also after one that failed; what it
    raises is the outcome. `took` gets the seconds of each transaction that was committed, in the
    thread too: without the wait for the thread, and with the disk's.
    """

    def __init__(
        self,
        engine: Engine,
        threads: int,
        begin: str,
        check: Callable[[], None],
        took: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._engine = engine
        self._begin = begin
        self._check = check
        self._took = took
        self._most = threads
        self._threads: list[threading.Thread] = []
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._unfinished = 0
        self._closed = False

    async def open_connections(self) -> None:
        """Start all threads and open their connections, so that none needs a descriptor later."""
        together = threading.Barrier(self._most, timeout=OPENING_SECONDS)
        await asyncio.gather(*[self.run(lambda _: together.wait()) for _ in range(self._most)])

    async def run(
        self, work: Callable[[Connection], T], then: Callable[[T], None] | None = None
    ) -> T:
        """Run `work` in a transaction, give its outcome to `then`, and return it.

        A cancelled caller gets its CancelledError when both have ended. Raises RuntimeError after
        `close`.
        """
        if self._closed:
            raise RuntimeError("the database is closed")
        told: Firm[T] = Firm()
        if self._unfinished >= len(self._threads) < self._most:
            self._begin_thread()
        self._unfinished += 1
        self._jobs.put(_Job(work, then, told))
        try:
            return await told
        finally:
            self._unfinished -= 1

    async def close(self) -> None:
        """Finish what was asked for, close the connections and end the threads.

        A cancelled caller gets its CancelledError when all of that is done.
        """
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)
        await complete(asyncio.to_thread(self._end))

    def _end(self) -> None:
        for thread in self._threads:
            thread.join()
        self._engine.dispose()

    def _begin_thread(self) -> None:
        # A daemon: a worker that nobody closed must not keep the process alive.
        name = f"database_{len(self._threads)}"
        thread = threading.Thread(target=self._serve, name=name, daemon=True)
        thread.start()
        # Only now: a thread that the system refuses to start would be counted as free.
        self._threads.append(thread)

    def _serve(self) -> None:
        connection: Connection | None = None
        while (job := self._jobs.get()) is not None:
            result, error = None, None
            try:
                if connection is None:
                    connection = self._engine.connect()
                result = self._transact(connection, job)
            except BaseException as fault:  # noqa: BLE001
                error = self._checked(fault)
                if connection is not None:
                    # The next transaction must find nothing of this one's.
                    connection.close()
                    connection = None
            job.tell(result, error)
            # The loop's variables would hold them until the next job comes.
            del job, result, error
        if connection is not None:
            connection.close()

    def _transact(self, connection: Connection, job: _Job) -> Any:
        began = time.monotonic()
        connection.exec_driver_sql(self._begin)
        try:
            result = job.work(connection)
            self._check()
            connection.exec_driver_sql("COMMIT")
        except BaseException as fault:
            # The frames hold cursors, and an open cursor keeps its snapshot after the rollback.
            traceback.clear_frames(fault.__traceback__)
            _roll_back(connection)
            raise
        self._took(time.monotonic() - began)
        self._check()
        if job.then is not None:
            job.then(result)
        return result

    def _checked(self, fault: BaseException) -> BaseException:
        """Return the fault, or what the check raises after it."""
        try:
            self._check()
        except Exception as found:  # noqa: BLE001
            return found
        return fault


def _roll_back(connection: Connection) -> None:
    """Undo the transaction, by throwing the connection away if that fails."""
    try:
        connection.exec_driver_sql("ROLLBACK")
    except DBAPIError:
        # SQLite has rolled back by itself after some faults, such as a full disk.
        with contextlib.suppress(DBAPIError):
            connection.invalidate()
