"""Bringing a database to the newest schema, which may take minutes and is told meanwhile."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from app.base.errors import SettingsError
from app.base.logs import fields
from app.base.systemd import notify

STILL_SECONDS: Final = 30.0
"""Between two lines that say that an upgrade goes on."""

_MIGRATIONS: Final = Path(__file__).parent / "migrations"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The step from one schema to a newer one, each named by its last migration."""

    former: str
    newest: str


def due_upgrade(connection: Connection) -> Upgrade | None:
    """Return the upgrade that `migrate` will make; None for a new database and one up to date.

    Raises SettingsError as `migrate` does.
    """
    scripts = ScriptDirectory.from_config(_config(connection))
    former = MigrationContext.configure(connection).get_current_revision()
    newest = scripts.get_current_head()
    if former not in {None, *(script.revision for script in scripts.walk_revisions())}:
        raise SettingsError(
            ["The database was written by a newer version of Switchboard: run that version."]
        )
    if former is None or newest is None or former == newest:
        return None
    return Upgrade(former, newest)


def migrate(connection: Connection, to: str = "head") -> None:
    """Bring the database to the newest schema, or to the one of the migration `to`.

    That is part of the caller's transaction: all or nothing. Raises SettingsError when a newer
    version of the code has changed the database.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    due = due_upgrade(connection)
    is_new = MigrationContext.configure(connection).get_current_revision() is None
    if due is not None or is_new:
        command.upgrade(_config(connection), to)


@asynccontextmanager
async def told(due: Upgrade, size: int) -> AsyncIterator[None]:
    """Log that the upgrade begins, every STILL_SECONDS that it goes on, and how long it took."""
    began = time.monotonic()

    async def still() -> None:
        while True:
            await asyncio.sleep(STILL_SECONDS)
            taken = round(time.monotonic() - began)
            log.warning("still upgrading the database", extra=fields(seconds=taken))

    names = {"from": due.former, "to": due.newest}
    notify("STATUS=Upgrades the database")
    log.warning("upgrading the database", extra=fields(**names, bytes=size))
    telling = asyncio.create_task(still(), name="upgrade")
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.wait([telling])
    taken = round(time.monotonic() - began, 1)
    log.warning("database upgraded", extra=fields(**names, seconds=taken))


def _config(connection: Connection) -> Config:
    config = Config()
    # ConfigParser reads a single % as the start of a variable.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
