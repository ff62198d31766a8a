"""Programs of others that judge our files; scripts/setup brings those that are missing."""

import shutil
import sys
from pathlib import Path

import pytest


def program(name: str) -> str:
    """Return where this program is; the test is skipped, with the reason, where there is none."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed, and scripts/setup dev could not get it")
    return found
