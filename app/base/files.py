"""What makes a change of a folder last: a file is there after a crash once its folder is synced."""

import os
import sys
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Sync the entries of the folder; Windows has no call for that."""
    if sys.platform != "win32":
        sync_file(folder)


def sync_file(path: Path) -> None:
    """Sync what was written to the file, by whomever."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def give_to_owner(folder: Path, *paths: Path) -> None:
    """Give the files to the owner of the folder, if root runs this program."""
    if sys.platform != "win32" and os.geteuid() == 0:
        owner = folder.stat()
        for path in paths:
            os.chown(path, owner.st_uid, owner.st_gid)


def remove(*paths: Path) -> None:
    """Remove the files that are there."""
    for path in paths:
        path.unlink(missing_ok=True)
