"""Accounts, sessions and API keys: who may act, and what is written of them now and then."""

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from app.application.background import background, if_the_disk_takes_it
from app.application.storage import keep_time
from app.auth.accounts import Accounts
from app.auth.addressees import Addressees
from app.auth.api_keys import ApiKeys
from app.auth.cleaner import Cleaner
from app.auth.jwt import JwtVerifier
from app.auth.limiter import FailureLimiter
from app.auth.passwords import Passwords
from app.auth.sessions import Sessions
from app.base.clock import LOOK_SECONDS, Verdict
from app.base.logs import fields
from app.keys import (
    ACCOUNTS,
    API_KEYS,
    CLOCK,
    DATABASE,
    LAST_WRITES,
    MANAGER,
    METRICS,
    NODE,
    PUBLISHER,
    RECEIPTS,
    SESSIONS,
    SETTINGS,
)
from app.node.registry import ConnectionManager
from app.publishing.publisher import Publisher
from app.publishing.receipts import Receipts

FLUSH_SECONDS: Final = 30
"""How often last-seen times are written; a crash loses no more than this of them."""

log = logging.getLogger(__package__)


async def run_accounts(app: web.Application) -> AsyncIterator[None]:
    """Open accounts and sessions, and remove what has ended in the background."""
    settings = app[SETTINGS]
    clock = app[CLOCK]
    sessions = Sessions(app[DATABASE], settings, JwtVerifier.from_settings(settings, clock), clock)
    sessions.on_ended = app[NODE].end
    sessions.session_limit.connected = partial(_connected_sessions, app[MANAGER])
    sessions.enrolment.connected = app[MANAGER].get_connected_devices
    sessions.enrolment.new_devices.on_refused = partial(
        app[NODE].allowances.limited.note, limit="devices"
    )
    removals = app[METRICS].removals
    cleaner = Cleaner(app[DATABASE], settings, sessions, clock, removals=removals)
    cleaner.show_on(app[METRICS])
    sessions.on_left_over = cleaner.wake
    passwords = Passwords(settings.password_workers, settings.password_queue)
    limiter = FailureLimiter(settings.login_attempts, settings.login_window_seconds)
    app[SESSIONS] = sessions
    app[ACCOUNTS] = Accounts(app[DATABASE], settings, sessions, passwords, limiter, clock)
    async with background(app, cleaner.run(), "cleaner"):
        yield
    await app[LAST_WRITES].attempt("last-seen times", sessions.close())
    passwords.close()


def _connected_sessions(manager: ConnectionManager, user_id: int) -> set[int]:
    return {one.session_id for one in manager.of_user(user_id) if one.session_id is not None}


async def run_publishing(app: web.Application) -> AsyncIterator[None]:
    """Open what addresses messages, and the API keys of those who send them."""
    keys = app[API_KEYS] = ApiKeys(app[DATABASE], app[CLOCK])
    issuer = app[SETTINGS].jwt_issuer
    addressees = Addressees(app[DATABASE], app[SESSIONS].owners, issuer, app[CLOCK])
    receipts = app[RECEIPTS] = Receipts(app[NODE], app[DATABASE])
    app[PUBLISHER] = Publisher(app[NODE], addressees, app[SETTINGS].max_message_bytes)
    yield
    await receipts.close()
    await addressees.close()
    await app[LAST_WRITES].attempt("last uses of API keys", keys.close())


async def run_flushing(app: web.Application) -> AsyncIterator[None]:
    """Write last-seen times and trusted time now and then, and look at the clock."""
    async with (
        background(app, _flush_regularly(app), "flush"),
        background(app, _look_at_the_clock(app), "clock"),
    ):
        yield
    app[SESSIONS].touch_live(_live(app))


async def _flush_regularly(app: web.Application) -> None:
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        app[SESSIONS].touch_live(_live(app))
        await if_the_disk_takes_it(app[SESSIONS].flush())
        await if_the_disk_takes_it(app[API_KEYS].flush())
        await if_the_disk_takes_it(keep_time(app))


async def _look_at_the_clock(app: web.Application) -> None:
    verdict: Verdict | None = None
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        verdict = app[CLOCK].look() or verdict
        if verdict is not None:
            try:
                await app[SESSIONS].settle(verdict)
            except (OSError, SQLAlchemyError) as error:
                log.warning("not settled after a jump", extra=fields(reason=type(error).__name__))
            else:
                verdict = None


def _live(app: web.Application) -> list[tuple[int | None, int | None]]:
    return [(one.session_id, one.device_id) for one in app[MANAGER].connections()]
