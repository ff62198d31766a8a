"""Where a server runs or would run: its process, its folder, its environment."""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.cli.settings_flags import unknown_variables
from app.storage.lock import LOCK_NAME

if sys.platform != "win32":
    import resource

PROC: Final = Path("/proc")
"""What Linux tells of processes, locks and mounts (see proc(5)); not on other systems."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the machine grants a server, and where its data folder is."""

    user: int
    """The effective user id."""
    umask: int | None
    descriptors: int
    """The hard limit on open files."""
    file_system: str
    """Of the data folder, such as ext4; empty if unknown."""
    unknown_variables: tuple[str, ...] = ()

    @classmethod
    def look(cls, data_dir: Path) -> "Surroundings":
        """Return those of the server that runs on the folder; without one, of this process."""
        process = PROC / str(running_server(data_dir) or "self")
        status = _read(process / "status")
        # The second number is the effective one.
        user = re.search(r"(?m)^Uid:\s+\d+\s+(\d+)", status)
        umask = re.search(r"(?m)^Umask:\s+([0-7]+)", status)
        return cls(
            user=int(user[1]) if user else _own_user(),
            umask=int(umask[1], 8) if umask else None,
            descriptors=_descriptors(_read(process / "limits")),
            file_system=file_system_of(data_dir, _read(PROC / "self" / "mountinfo")),
            unknown_variables=tuple(unknown_variables()),
        )


def running_server(data_dir: Path) -> int | None:
    """Return the process id of the server that holds the folder's lock; None without one."""
    try:
        found = (data_dir / LOCK_NAME).stat()
        pid = int((data_dir / LOCK_NAME).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    # What the kernel says, without a lock of ours that a server would meet.
    held = re.search(rf"FLOCK +ADVISORY +WRITE +{pid} \S+:{found.st_ino} ", _read(PROC / "locks"))
    return pid if held else None


def file_system_of(folder: Path, mounts: str) -> str:
    """Return the type of the file system, by the text of /proc/self/mountinfo (see proc(5))."""
    absolute = folder.resolve()
    best, kind = -1, ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4].replace("\\040", " ")
        # What is mounted last over a folder hides what was there.
        if absolute.is_relative_to(point) and len(point) >= best:
            best, kind = len(point), after.split(" ")[0]
    return kind


def _descriptors(limits: str) -> int:
    found = re.search(r"(?m)^Max open files\s+\S+\s+(\d+|unlimited)", limits)
    if found is not None:
        return sys.maxsize if found[1] == "unlimited" else int(found[1])
    if sys.platform == "win32":
        return sys.maxsize
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def _own_user() -> int:
    return -1 if sys.platform == "win32" else os.geteuid()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
