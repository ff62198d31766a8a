"""Clones of the project whose scripts find only those tools of this machine that a test gives."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]


def make_clone(folder: Path) -> Path:
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts/setup", folder / "scripts/setup")
    for lock in ("requirements.lock", "requirements-dev.lock"):
        (folder / lock).write_text(f"# {lock}\n")
    return folder


def make_path(folder: Path) -> Path:
    folder.mkdir()
    give(folder, "sh", "dirname", "cat", "rm")
    return folder


def give(path: Path, *tools: str) -> None:
    """Put these tools of this machine on the PATH."""
    for tool in tools:
        found = shutil.which(tool)
        assert found
        (path / tool).symlink_to(found)


def write(path: Path, name: str, script: str) -> None:
    """Put a program of this name, with this shell script, into the folder."""
    (path / name).write_text(f"#!/bin/sh\n{script}\n")
    (path / name).chmod(0o755)
