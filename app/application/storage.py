"""The data folder, the database, trusted time and the log of durable messages."""

import logging
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from aiohttp import web

from app.application.background import background, if_the_disk_takes_it
from app.base.clock import WALL, Trust, TrustedClock
from app.base.errors import DatabaseLost, SettingsError
from app.base.logs import fields
from app.keys import CLOCK, DATABASE, LAST_WRITES, METRICS, SETTINGS, STARTED_AT, STREAMS
from app.storage.database import Database
from app.storage.exposure import find_exposures
from app.storage.last_writes import LastWrites
from app.storage.lock import DataDirLock
from app.storage.schema import milliseconds
from app.storage.trusted_time import keep_trusted_time, last_trusted_time
from app.streams.generation import GUARD_NAME
from app.streams.opening import has_database, open_database, set_aside
from app.streams.sql import SqlStreamLog, StreamLimits

log = logging.getLogger(__package__)


async def hold_folder(app: web.Application) -> AsyncIterator[None]:
    """Hold the lock of the data folder; raises DataDirBusy. Warn if others may use the folder."""
    data_dir = app[SETTINGS].data_dir
    with DataDirLock(data_dir):
        _warn_of_others(data_dir)
        yield


def _warn_of_others(data_dir: Path) -> None:
    """Log what others may do with the folder, in one line: of several, one a second is written."""
    found = [one for one in find_exposures(data_dir) if one.severity == "warned"]
    if found:
        reason = "; ".join(f"{one.path}: {one.fault}" for one in found)
        do = "; ".join(dict.fromkeys(f"{one.do}: {one.path}" for one in found))
        log.warning("others may use the data folder", extra=fields(reason=reason, do=do))


async def run_database(app: web.Application, *, new: bool) -> AsyncIterator[None]:
    """Open the database, or a new one, and watch its files; raises DatabaseLost."""
    data_dir = app[SETTINGS].data_dir
    opening = _open_new(data_dir) if new else open_database(data_dir)
    database = app[DATABASE] = await opening
    app[LAST_WRITES] = LastWrites(database.faults)
    database.show_on(app[METRICS])
    # Later there may be no descriptor for one more connection.
    await database.open_connections()
    async with (
        background(app, database.watch(), "watch"),
        background(app, database.run_checkpoints(), "checkpoints"),
    ):
        yield
    await database.close()
    app[LAST_WRITES].tell()


async def _open_new(data_dir: Path) -> Database:
    """Return an empty database in the place of one that is lost."""
    if not has_database(data_dir):
        aside = set_aside(data_dir)
    else:
        try:
            database = await open_database(data_dir)
        except DatabaseLost:
            aside = set_aside(data_dir)
        else:
            await database.close()
            raise SettingsError(
                [
                    f"There is a database in {data_dir}: --new-database is for a folder that has "
                    "lost its own. Leave it out, or move that database away."
                ]
            )
    log.warning("new database", extra=fields(former=str(aside) if aside else None))
    return await open_database(data_dir)


async def run_clock(trust: Trust, app: web.Application) -> AsyncIterator[None]:
    """Go on from the trusted time that was stored last, and store it now and at the end."""
    database = app[DATABASE]
    now = milliseconds(WALL.stamp())
    last = await database.transact(partial(last_trusted_time, now=now))
    clock = app[CLOCK] = TrustedClock(last / 1000 if last is not None else None, trust=trust)
    app[STARTED_AT] = milliseconds(clock.stamp())
    # Now too: a start after a kill must not go by what a wrong clock has stamped meanwhile.
    await if_the_disk_takes_it(keep_time(app))
    yield
    await app[LAST_WRITES].attempt("trusted time", keep_time(app))


async def keep_time(app: web.Application) -> None:
    """Store trusted time, from which the next start goes on."""
    now = milliseconds(app[CLOCK].trusted())
    await app[DATABASE].transact(partial(keep_trusted_time, at=now))


async def run_streams(app: web.Application) -> AsyncIterator[None]:
    """Open the log of durable messages; at the end note that the stop was clean."""
    settings = app[SETTINGS]
    limits = StreamLimits.from_settings(settings)
    guard = settings.data_dir / GUARD_NAME
    streams = app[STREAMS] = await SqlStreamLog.open(app[DATABASE], guard, limits, app[CLOCK])
    yield
    await app[LAST_WRITES].attempt("the mark of a clean stop", streams.stop())
    await streams.close()
