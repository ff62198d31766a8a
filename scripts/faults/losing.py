"""Ways in which a database vanishes under a server, and how its files come back."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

Act = Callable[[Path], None]
"""Takes the database's path."""


class Keeper:
    """Keeps a second name of the database's file and of its log, so that both can come back."""

    def __init__(self, database: Path, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._files = (database, _log_of(database))
        self._folder = folder

    def keep(self) -> None:
        """Take the files that are there now."""
        for file in self._files:
            _link(file, self._folder / file.name)

    def put_back(self) -> None:
        """Put the same files in their places again."""
        folder = self._files[0].parent
        if (away := _away(folder)).exists():
            if folder.is_symlink():
                folder.unlink()
            elif folder.exists():
                shutil.rmtree(folder)
            away.rename(folder)
        for file in self._files:
            _link(self._folder / file.name, file)


def _link(file: Path, name: Path) -> None:
    new = name.with_name(f"{name.name}.link")
    new.unlink(missing_ok=True)
    os.link(file, new)
    # Does nothing if both are names of one file.
    new.replace(name)
    new.unlink(missing_ok=True)


def _log_of(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def _away(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-away")


def _remove(database: Path) -> None:
    database.unlink()


def _rename(database: Path) -> None:
    renamed = database.with_name("renamed.db")
    # Between two names of one file a rename does nothing.
    renamed.unlink(missing_ok=True)
    database.rename(renamed)


def _rename_folder(database: Path) -> None:
    database.parent.rename(_away(database.parent))


def _swap_folder(database: Path) -> None:
    """Put a copy of the folder in its place, by a link."""
    folder, copy = database.parent, database.parent.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.sock"))
    folder.rename(_away(folder))
    folder.symlink_to(copy)


def _move_copy_over(database: Path) -> None:
    copy = database.with_name("copy.db")
    shutil.copy(database, copy)
    copy.replace(database)


def _move_other_over(database: Path) -> None:
    _other(database).replace(database)


def _turn_link(database: Path) -> None:
    link = database.with_name("link.db")
    link.symlink_to(_other(database))
    link.replace(database)


def _remove_log(database: Path) -> None:
    _log_of(database).unlink()


def _move_over_log(database: Path) -> None:
    copy = database.with_name("copy.db-wal")
    shutil.copy(_log_of(database), copy)
    copy.replace(_log_of(database))


def _other(database: Path) -> Path:
    other = database.with_name("other.db")
    other.unlink(missing_ok=True)
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE strangers (id)")
    return other


def _empty(database: Path) -> None:
    os.truncate(database, 0)


def _cut(database: Path) -> None:
    os.truncate(database, database.stat().st_size // 2)


def _copy_other_over(database: Path) -> None:
    shutil.copyfile(_other(database), database)


def _copy_larger_over(database: Path) -> None:
    other = _other(database)
    with closing(sqlite3.connect(other)) as connection:
        connection.execute(
            "INSERT INTO strangers SELECT zeroblob(?)", (4 * database.stat().st_size,)
        )
        connection.commit()
    shutil.copyfile(other, database)


VANISHINGS: Final[dict[str, Act]] = {
    "removed": _remove,
    "renamed": _rename,
    "folder renamed": _rename_folder,
    "folder swapped": _swap_folder,
    "copy moved over": _move_copy_over,
    "other moved over": _move_other_over,
    "link turned": _turn_link,
    "log removed": _remove_log,
    "log replaced": _move_over_log,
}
"""The files are still somewhere, and can come back."""

WRECKS: Final[dict[str, Act]] = {
    "emptied": _empty,
    "cut": _cut,
    "other copied over": _copy_other_over,
    "larger copied over": _copy_larger_over,
}
"""What was in the file is lost."""
