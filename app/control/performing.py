"""A command's way: to the server that owns the data folder, else to the folder itself."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from app.auth.accounts import Accounts
from app.auth.api_keys import ApiKeys
from app.auth.limiter import FailureLimiter
from app.auth.passwords import Passwords
from app.auth.sessions import Sessions
from app.base.errors import DataDirBusy, NoServer
from app.control.address import DATABASE_NAME, SOCKET_NAME
from app.control.caller import call_server
from app.control.operations import NO_SERVER, A, Command, Offline, Operations, R
from app.settings import Settings
from app.storage.database import Database
from app.storage.lock import DataDirLock

# A server that starts or stops, or another command, holds the lock for a moment.
WAIT_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 0.05


async def perform(settings: Settings, command: Command[A, R], arguments: A) -> R:
    """Return the command's result, the same whoever ran it.

    Raises Problem as the command does, NoServer, and DataDirBusy when the folder is locked for
    more than WAIT_SECONDS by a process that takes no commands.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return await call_server(settings.data_dir / SOCKET_NAME, command, arguments)
        except NoServer as error:
            unanswered = error
        try:
            with _locked(settings, command):
                return await _perform_here(settings, command, arguments)
        except DataDirBusy as busy:
            if time.monotonic() >= deadline:
                raise DataDirBusy(f"{busy} {unanswered}") from None
        await asyncio.sleep(_RETRY_SECONDS)


def _locked(settings: Settings, command: Command[A, R]) -> DataDirLock:
    """Return the lock to take; raise NoServer rather than make a folder by mistake."""
    if command.offline is not Offline.CREATES and not (settings.data_dir / DATABASE_NAME).exists():
        raise NoServer(
            NO_SERVER
            if command.offline is Offline.NEVER
            else f"There is no database in {settings.data_dir}; `serve` or `users add` makes one."
        )
    return DataDirLock(settings.data_dir)


async def _perform_here(settings: Settings, command: Command[A, R], arguments: A) -> R:
    if command.offline is Offline.NEVER:
        raise NoServer(NO_SERVER)
    async with _operations(settings) as operations:
        return await command.run(operations, arguments)


@asynccontextmanager
async def _operations(settings: Settings) -> AsyncIterator[Operations]:
    database = await Database.open(settings.data_dir / DATABASE_NAME)
    try:
        passwords = Passwords(settings.password_workers, settings.password_queue)
        try:
            # Whoever may write to the folder need not guess passwords: no limit.
            limiter = FailureLimiter(attempts=0, window_seconds=1)
            sessions = Sessions(database, settings)
            accounts = Accounts(database, settings, sessions, passwords, limiter)
            yield Operations(
                accounts, None, settings, api_keys=ApiKeys(database), database=database
            )
        finally:
            passwords.close()
    finally:
        await database.close()
