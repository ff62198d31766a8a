"""Who else may read or write the files of a data folder, by their modes and owners.

Whoever may write there is the server's operator in all but name: they may put another database, key
or lock in the place of the server's.
"""

import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from app.base.errors import SettingsError

Severity = Literal["refused", "warned", "noted"]
"""refused: the server does not start. warned: it says so at each start. noted: `check` says so."""

FILES: Final = ("cookie.key", "control.sock", "server.lock", "streams.guard", "switchboard.db")
"""How the names of the server's own files begin; others may lie beside them."""

_ROOT: Final = 0
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Exposure:
    """A file or folder that others may use; `fault` and `do` are sentences without their ends."""

    path: Path
    fault: str
    do: str
    severity: Severity = "warned"


def find_exposures(data_dir: Path, user: int | None = None) -> list[Exposure]:
    """Return what others than this user (by default that of the process) may read or write.

    A folder that is not there yet has none. Neither has any on Windows, which knows no such modes.
    """
    if sys.platform == "win32" or not data_dir.is_dir():
        return []
    user = os.geteuid() if user is None else user
    return [*_of_folder(data_dir, user), *_of_parents(data_dir, user), *_of_files(data_dir, user)]


def refuse_exposed(data_dir: Path) -> None:
    """Raise SettingsError if everybody may write to the folder, and who runs this can mend it."""
    faults = [
        f"{one.path}: {one.fault}; {one.do}."
        for one in find_exposures(data_dir)
        if one.severity == "refused"
    ]
    if faults:
        raise SettingsError(faults)


def _of_folder(folder: Path, user: int) -> Iterator[Exposure]:
    found = folder.stat()
    mode = stat.S_IMODE(found.st_mode)
    if mode & stat.S_IWOTH:
        # Volumes of containers are often open to all, and belong to root: who runs the server
        # there cannot change them, and is alone.
        own = user in (found.st_uid, _ROOT)
        yield Exposure(
            folder,
            f"everybody on this machine may write to this folder (mode {mode:04o})",
            "run chmod go-w on it" if own else "name a folder in it that is not there yet",
            "refused" if own else "warned",
        )
    elif mode & stat.S_IWGRP:
        yield Exposure(
            folder, f"its group may write to it (mode {mode:04o})", "run chmod g-w on it"
        )
    elif mode & _OTHERS:
        yield Exposure(
            folder, f"others may look into it (mode {mode:04o})", "run chmod 700 on it", "noted"
        )
    if _is_foreign(found, user):
        yield Exposure(
            folder, f"it belongs to the user {found.st_uid}, who may write to it", "run chown on it"
        )
    link = folder.lstat()
    if stat.S_ISLNK(link.st_mode) and _is_foreign(link, user):
        yield Exposure(
            folder, f"it is a link of the user {link.st_uid}, who may change it", "name its target"
        )


def _of_parents(folder: Path, user: int) -> Iterator[Exposure]:
    """Yield the folders above in which others may put another one in the place of this.

    Only what is open to everybody is worth a warning at each start: private groups of users and
    volumes of containers make the rest common.
    """
    for parent in folder.resolve().parents:
        found = parent.stat()
        may = f"may put another folder in the place of {folder}"
        # In a sticky folder, such as /tmp, nobody may rename what belongs to others.
        open_to = 0 if found.st_mode & stat.S_ISVTX else found.st_mode
        if open_to & stat.S_IWOTH:
            yield Exposure(parent, f"everybody {may}", "run chmod o-w on it")
        elif open_to & stat.S_IWGRP:
            yield Exposure(parent, f"its group {may}", "run chmod g-w on it", "noted")
        if _is_foreign(found, user):
            # The owner of a sticky folder may rename all that is in it.
            yield Exposure(parent, f"its owner, user {found.st_uid}, {may}", "move it", "noted")


def _of_files(folder: Path, user: int) -> Iterator[Exposure]:
    owner = folder.stat().st_uid
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(FILES):
            continue
        try:
            link, found = path.lstat(), path.stat()
        except FileNotFoundError:
            # A server may run, and makes and removes files.
            continue
        if _is_foreign(link, user) and link.st_uid != owner:
            yield Exposure(path, f"it belongs to the user {link.st_uid}", "run chown on it")
        mode = stat.S_IMODE(found.st_mode)
        if mode & _OTHERS:
            may = "write to" if mode & (stat.S_IWGRP | stat.S_IWOTH) else "read"
            yield Exposure(path, f"others may {may} it (mode {mode:04o})", "run chmod 600 on it")


def _is_foreign(found: os.stat_result, user: int) -> bool:
    """Tell whether another one than the user or root owns this; root may do all that anyway."""
    return user != _ROOT and found.st_uid not in (user, _ROOT)
