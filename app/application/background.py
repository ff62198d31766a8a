"""What runs and writes in the background, and how its failures are met."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from app.base.errors import StorageUnavailable
from app.base.logs import fields
from app.keys import FAILED

log = logging.getLogger(__package__)


@asynccontextmanager
async def background(
    app: web.Application, work: Coroutine[Any, Any, None], name: str
) -> AsyncIterator[None]:
    """Run the work inside the block; log its failure, and stop the server then."""

    def note_death(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.critical("task %s died", name, exc_info=task.exception())
            app[FAILED].set()

    task = asyncio.create_task(work, name=name)
    task.add_done_callback(note_death)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def if_the_disk_takes_it(writing: Awaitable[None]) -> None:
    """Await a write that others repeat; a full disk must not stop the server for it."""
    try:
        await writing
    except (OSError, SQLAlchemyError, StorageUnavailable) as error:
        log.warning("last-seen times not written", extra=fields(reason=type(error).__name__))
