"""An empty database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.storage.database import Database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "switchboard.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(path)
    yield opened
    await opened.close()
