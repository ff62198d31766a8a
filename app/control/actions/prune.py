"""What the command does that removes at once what the server removes by and by."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Final

from sqlalchemy import Connection

from app.auth.cleaner import LEFTOVERS, Cleaner
from app.base.clock import WALL, Clock, TrustedClock
from app.base.logs import fields
from app.control import prune as commands
from app.control.actions.action import FeedAction
from app.control.actions.stream import open_log
from app.control.operations import Operations
from app.control.prune import Gone, HowToPrune
from app.storage.past import DEVICES, JWTS, SESSIONS, USERS
from app.storage.schema import milliseconds
from app.storage.trusted_time import last_trusted_time
from app.streams.maintenance import Maintenance
from app.streams.pruning import count_due
from app.streams.sql import DAY_MS
from app.streams.standings import Standings

ALIVE_SECONDS: Final = 5.0
"""Between two signs of life."""

log = logging.getLogger(__name__)


async def _prune(operations: Operations, how: HowToPrune) -> AsyncGenerator[Sequence[Gone], None]:
    """Give what went, once it has, and signs of life until then.

    It ends with the caller; what is left then is removed in the background.
    """
    work = asyncio.create_task(_count(operations) if how.dry_run else _remove(operations))
    try:
        while not (await asyncio.wait([work], timeout=ALIVE_SECONDS))[0]:
            yield ()
        yield [work.result()]
    finally:
        work.cancel()
        await asyncio.wait([work])


async def _remove(operations: Operations) -> Gone:
    clock = await _clock(operations)
    cleaner = _cleaner(operations, clock)
    messages = await _remove_messages(operations, clock)
    leftovers = await cleaner.clean()
    rows = await cleaner.purge()
    # What was stored for a user while they were deleted is left over only now.
    rows[LEFTOVERS] = leftovers + await cleaner.clean()
    gone = _gone(messages, rows, clock, dry_run=False)
    told = fields(
        messages=gone.messages,
        sessions=gone.sessions,
        jwts=gone.jwts,
        devices=gone.devices,
        users=gone.users,
        leftovers=gone.leftovers,
    )
    log.info("pruned by command", extra=told)
    return gone


async def _remove_messages(operations: Operations, clock: Clock) -> int:
    node = operations.node
    if node is not None:
        standings, removals = node.delivery.standings, node.metrics.removals
        return await Maintenance(node.log, standings, removals=removals).prune()
    async with open_log(operations, clock) as streams:
        return await Maintenance(streams, Standings(streams)).prune()


async def _count(operations: Operations) -> Gone:
    clock, settings = await _clock(operations), operations.settings
    count = partial(
        count_due,
        now=milliseconds(clock.trusted()),
        max_age_ms=int(settings.retention_days * DAY_MS),
        max_rows=settings.retention_rows,
    )
    messages = await operations.database.inspect(count)
    rows = await _cleaner(operations, clock).due()
    return _gone(messages, rows, clock, dry_run=True)


def _gone(messages: int, rows: dict[str, int], clock: Clock, *, dry_run: bool) -> Gone:
    return Gone(
        messages=messages,
        sessions=rows.get(SESSIONS, 0),
        jwts=rows.get(JWTS, 0),
        devices=rows.get(DEVICES, 0),
        users=rows.get(USERS, 0),
        leftovers=rows.get(LEFTOVERS, 0),
        at=milliseconds(clock.trusted()),
        dry_run=dry_run,
    )


def _cleaner(operations: Operations, clock: Clock) -> Cleaner:
    node, parts = operations.node, (operations.database, operations.settings, operations.sessions)
    removals = node.metrics.removals if node is not None else None
    return Cleaner(*parts, clock, removals=removals)


async def _clock(operations: Operations) -> Clock:
    """Return the clock by which things are past.

    Without a server it goes on from the time that the last one trusted, unless the machine's clock
    agrees.
    """
    if operations.node is not None:
        return operations.node.calendar
    now = milliseconds(WALL.stamp())

    def last(connection: Connection) -> int | None:
        return last_trusted_time(connection, now)

    kept = await operations.database.snapshot(last)
    return TrustedClock(kept / 1000 if kept is not None else None)


FEEDS: Final = (FeedAction(commands.PRUNE, _prune),)
