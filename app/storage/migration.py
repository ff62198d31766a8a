"""Brings a database to the newest revision that this code knows."""

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from app.base.errors import SettingsError

_SCRIPTS = Path(__file__).parent / "migrations"


def migrate(connection: Connection) -> None:
    """The database has the newest schema; the caller's transaction makes it all or nothing.

    Raises SettingsError when a newer version of the code has changed the database.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    # ConfigParser reads a single % as the start of a variable.
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    if current == scripts.get_current_head():
        return
    if current not in {None, *(script.revision for script in scripts.walk_revisions())}:
        raise SettingsError(
            ["The database was written by a newer version of Switchboard: run that version."]
        )
    command.upgrade(config, "head")
