"""Has a command run: by the server that owns the data folder, else on the folder itself."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Final

from app.base.errors import DataDirBusy, NoServer
from app.control.address import SOCKET_NAME
from app.control.calling import call_feed, call_server
from app.control.command import A, Command, Feed, R
from app.settings import Settings

# A server that starts or stops, or another command, holds the lock for a moment.
WAIT_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 0.05


async def perform(settings: Settings, command: Command[A, R], arguments: A) -> R:
    """Have the command run, by the server or here, and return its result.

    Raises Problem as the command does and for a text that is not UTF-8, NoServer, and DataDirBusy
    when the folder is locked for more than WAIT_SECONDS by a process that takes no commands.
    """
    arguments.refuse_other_encodings()
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return await call_server(settings.data_dir / SOCKET_NAME, command, arguments)
        except NoServer as error:
            unanswered = error
        # Only now: most commands go to a server, and these imports take ten times as long.
        from app.control.offline import perform_here  # noqa: PLC0415

        try:
            return await perform_here(settings, command, arguments)
        except DataDirBusy as busy:
            if time.monotonic() >= deadline:
                raise DataDirBusy(f"{busy} {unanswered}") from None
        await asyncio.sleep(_RETRY_SECONDS)


async def perform_feed(
    settings: Settings, feed: Feed[A, R], arguments: A
) -> AsyncGenerator[R, None]:
    """Have the feed run, by the server or here, and give its items as they come.

    Raises as `perform` does, and Problem `no_answer` when the server stops before the end.
    """
    arguments.refuse_other_encodings()
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            async for item in call_feed(settings.data_dir / SOCKET_NAME, feed, arguments):
                yield item
            return
        except NoServer as error:
            unanswered = error
        from app.control.offline import feed_here  # noqa: PLC0415 - as above

        try:
            async for item in feed_here(settings, feed, arguments):
                yield item
            return
        except DataDirBusy as busy:
            if time.monotonic() >= deadline:
                raise DataDirBusy(f"{busy} {unanswered}") from None
        await asyncio.sleep(_RETRY_SECONDS)
