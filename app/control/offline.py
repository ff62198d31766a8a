"""Runs a command on a data folder that no server uses."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from app.auth.accounts import Accounts
from app.auth.api_keys import ApiKeys
from app.auth.limiter import FailureLimiter
from app.auth.passwords import Passwords
from app.auth.sessions import Sessions
from app.base.errors import NoServer
from app.control.actions.table import act, begin
from app.control.command import NO_SERVER, A, Command, Feed, Offline, R
from app.control.operations import Operations
from app.settings import Settings
from app.storage.damage import failures_told
from app.storage.lock import DataDirLock
from app.streams.opening import has_database, open_database, refuse_lost


async def perform_here(settings: Settings, command: Command[A, R], arguments: A) -> R:
    """Run the command on the folder itself, and return its result.

    Raises Problem as the command does, NoServer rather than make a folder by mistake, and
    DatabaseFailed, and DataDirBusy when another process holds the folder.
    """
    with _held(settings, command):
        async with _operations(settings) as operations:
            return await act(operations, command, arguments)


async def feed_here(settings: Settings, feed: Feed[A, R], arguments: A) -> AsyncGenerator[R, None]:
    """Run the feed on the folder itself, and give its items; raises as `perform_here` does."""
    with _held(settings, feed):
        async with _operations(settings) as operations:
            async for batch in begin(operations, feed, arguments):
                for item in batch:
                    yield item


@contextmanager
def _held(settings: Settings, command: Command[A, R]) -> Iterator[None]:
    """Hold the folder for a command that needs no server, inside the block."""
    _refuse(settings, command)
    with failures_told(), DataDirLock(settings.data_dir):
        if command.offline is Offline.NEVER:
            raise NoServer(NO_SERVER)
        yield


def _refuse(settings: Settings, command: Command[A, R]) -> None:
    if command.offline is not Offline.NEVER:
        refuse_lost(settings.data_dir)
    if command.offline is not Offline.CREATES and not has_database(settings.data_dir):
        raise NoServer(
            NO_SERVER
            if command.offline is Offline.NEVER
            else f"There is no database in {settings.data_dir}; `serve` or `users add` makes one."
        )


@asynccontextmanager
async def _operations(settings: Settings) -> AsyncIterator[Operations]:
    database = await open_database(settings.data_dir)
    try:
        passwords = Passwords(settings.password_workers, settings.password_queue)
        try:
            # No limit: those who may write to the folder need not guess passwords.
            limiter = FailureLimiter(attempts=0, window_seconds=1)
            sessions = Sessions(database, settings)
            accounts = Accounts(database, settings, sessions, passwords, limiter)
            yield Operations(
                accounts,
                None,
                settings,
                api_keys=ApiKeys(database),
                database=database,
                sessions=sessions,
            )
        finally:
            passwords.close()
    finally:
        await database.close()
