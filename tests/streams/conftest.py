"""A log in a database of its own, with a clock that is moved by hand."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.storage.database import Database
from app.streams.generation import GUARD_NAME
from app.streams.sql import SqlStreamLog, StreamLimits
from tests.clocks import HandClock

LIMITS = StreamLimits(retention_days=30, retention_rows=100, max_keys_per_user=3)


@pytest.fixture
def clock() -> HandClock:
    return HandClock(1_790_000_000.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def database(folder: Path) -> AsyncIterator[Database]:
    opened = await Database.open(folder / "switchboard.db", busy_milliseconds=20)
    yield opened
    await opened.close()


@pytest.fixture
async def streams(
    database: Database, folder: Path, clock: HandClock
) -> AsyncIterator[SqlStreamLog]:
    opened = await SqlStreamLog.open(database, folder / GUARD_NAME, LIMITS, clock)
    yield opened
    await opened.close()
