"""The caller's end of the control socket: a command goes to the server that owns the data folder.

Without a server the command works on the folder itself.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

from app.auth.accounts import Accounts
from app.auth.api_keys import ApiKeys
from app.auth.limiter import FailureLimiter
from app.auth.passwords import Passwords
from app.auth.sessions import Sessions
from app.base.errors import DataDirBusy, NoServer, Problem
from app.control.operations import NO_SERVER, A, Command, Offline, Operations, R
from app.control.server import SOCKET_NAME, short_path
from app.settings import Settings
from app.storage.lock import DataDirLock
from app.streams.opening import has_database, open_database, refuse_lost

# A server that starts or stops, or another command, holds the lock for a moment.
WAIT_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 0.05

# A busy server may take long to hash a password; a command itself takes milliseconds.
_CALL_SECONDS: Final = 30


async def perform(settings: Settings, command: Command[A, R], arguments: A) -> R:
    """Have the command run, by the server or here, and return its result.

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


# On the folder itself


def _locked(settings: Settings, command: Command[A, R]) -> DataDirLock:
    """Return the lock to take; raise NoServer rather than make a folder by mistake."""
    if command.offline is not Offline.NEVER:
        refuse_lost(settings.data_dir)
    if command.offline is not Offline.CREATES and not has_database(settings.data_dir):
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
    database = await open_database(settings.data_dir)
    try:
        passwords = Passwords(settings.password_workers, settings.password_queue)
        try:
            # No limit: those who may write to the folder need not guess passwords.
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


# Through the socket


async def call_server(path: Path, command: Command[A, R], arguments: A) -> R:
    """Have the command run by the server on the socket `path`, and return its result.

    Raises Problem as the server did, and NoServer when no server answers there.
    """
    body = {"command": command.name, "arguments": arguments.model_dump(mode="json")}
    status, answer = await _post(path, orjson.dumps(body))
    if status != 200:
        raise Problem(status, answer["code"], answer["detail"])
    return command.read_result(answer["result"])


async def _post(path: Path, body: bytes) -> tuple[int, dict[str, Any]]:
    if sys.platform == "win32":
        raise NoServer("Without unix sockets a running server takes no commands; stop it first.")
    timeout = aiohttp.ClientTimeout(total=_CALL_SECONDS)
    try:
        with short_path(path) as name:
            connector = aiohttp.UnixConnector(name)
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.post("http://control/call", data=body) as response,
            ):
                return response.status, _decode(await response.read())
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, PermissionError):
            raise Problem(403, "forbidden", f"You may not write to {path}.") from None
        raise NoServer(f"No server answers on {path}.") from None
    except (aiohttp.ClientError, TimeoutError):
        raise Problem(
            500, "no_answer", "The server took the command and gave no answer; see its log."
        ) from None


def _decode(body: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if isinstance(answer, dict) and ("result" in answer or "code" in answer):
        return answer
    return {"code": "internal_error", "detail": "The server failed; its log has the reason."}
