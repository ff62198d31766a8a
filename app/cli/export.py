"""Where an export of a user goes: to a file for its owner only, or to standard output."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from app.auth.names import handle_key
from app.base.errors import NoServer
from app.base.files import remove, sync_file
from app.cli.running import Failure
from app.control.operations import user_name
from app.settings import Settings
from app.storage.database import DATABASE_NAME
from app.streams.exporting import Exported, export_user
from app.streams.opening import has_database, refuse_lost


def export_to(settings: Settings, user: str, output: Path | None, *, overwrite: bool) -> Exported:
    """Write all that is kept of the user, and return how much that was.

    A file gets its name only when it is whole. Raises Problem `user_not_found`, Failure if there is
    such a file, NoServer without a database, and DatabaseFailed.
    """
    refuse_lost(settings.data_dir)
    if not has_database(settings.data_dir):
        raise NoServer(f"There is no database in {settings.data_dir}; name it with --data-dir.")
    database, found = settings.data_dir / DATABASE_NAME, user_name(user)
    name = handle_key(found) if isinstance(found, str) else found
    if output is None:
        exported = export_user(database, name, sys.stdout.buffer.write)
        sys.stdout.buffer.flush()
        return exported
    with _private_file(output, overwrite=overwrite) as file:
        return export_user(database, name, file.write)


@contextmanager
def _private_file(target: Path, *, overwrite: bool) -> Iterator[IO[bytes]]:
    """Give a file that becomes `target` at the end of the block, unless that fails."""
    taken = Failure(f"{target} is there already; give another name, or --overwrite.")
    if target.exists() and not overwrite:
        raise taken
    partial = target.with_name(f"{target.name}.partial")
    # Whoever left one there has none of what follows.
    remove(partial)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    try:
        with os.fdopen(os.open(partial, flags, 0o600), "wb") as file:
            yield file
        sync_file(partial)
        if overwrite:
            partial.replace(target)
            return
        try:
            # A link fails where a file is; a rename would take its place.
            os.link(partial, target)
        except FileExistsError:
            raise taken from None
    finally:
        with suppress(OSError):
            remove(partial)
