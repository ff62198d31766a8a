"""Migration 0006, which makes another table of the message ids: none is forgotten."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from app.storage.database import Database
from app.streams.base import Append, Appended
from app.streams.sql import SqlStreamLog, StreamLimits

ROOT: Final = Path(__file__).parents[2]

NEWEST: Final = 1_790_000_000_000
HOUR_MS: Final = 3_600_000

IDS: Final = 3000

# Devices 1 to 4 are of users 1 and 2 in turn, key 3 is a backend's.
OWNERS: Final = ("device:1", "device:2", "device:3", "device:4", "key:3", "operator", "device:99")

RUN: Final = """
import os, signal, sqlite3, sys
from sqlalchemy import create_engine, event
from app.storage.upgrading import migrate

path, fatal = sys.argv[1], int(sys.argv[2])
steps = 0

def step():
    global steps
    steps += 1
    if steps == fatal:
        os.kill(os.getpid(), signal.SIGKILL)

def prepare(connection, _):
    connection.execute("PRAGMA journal_mode = WAL")
    # Little memory, so that most of the new table is on disk when the process is killed.
    connection.execute("PRAGMA cache_size = -64")
    connection.set_progress_handler(step, 1000)

engine = create_engine(f"sqlite:///{path}", isolation_level="AUTOCOMMIT")
event.listen(engine, "connect", prepare)
with engine.connect() as connection:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    migrate(connection)
    connection.exec_driver_sql("COMMIT")
print(steps)
"""


def message_id(number: int) -> str:
    # Some are as long as an id can be, some of one letter of several bytes; never in their order.
    return f"{number * 7919 % 10_007}é\0" + "x" * (number % 120)


def owner(number: int) -> str:
    return OWNERS[number % len(OWNERS)]


def digest(number: int) -> bytes:
    return sha256(b"%d" % number).digest()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a database of the schema before, with ids in it."""
    path = tmp_path / "switchboard.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(ROOT / "app/storage/migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        for user in (1, 2):
            connection.exec_driver_sql(
                "INSERT INTO users (id, iss, sub, created_at) VALUES (?, 'a', ?, 1)", (user, user)
            )
        for device in (1, 2, 3, 4):
            connection.exec_driver_sql(
                "INSERT INTO devices (id, user_id, device_uuid, device_type, created_at, last_seen,"
                " removed_at) VALUES (?, ?, ?, 'web', 1, 1, ?)",
                (device, 1 + device % 2, f"device-{device}", 1 if device == 3 else None),
            )
        connection.exec_driver_sql(
            'INSERT INTO messages ("offset", user_id, type, payload, created_at)'
            " VALUES (?, 1, 'note.text', x'31', 1)",
            (IDS,),
        )
        connection.exec_driver_sql(
            'INSERT INTO message_ids (owner, message_id, digest, "offset", created_at)'
            " VALUES (?, ?, ?, ?, ?)",
            list(old_rows()),
        )
    engine.dispose()
    return path


def old_rows() -> Iterator[tuple[str, str, bytes, int, int]]:
    """Yield the ids of 30 hours, a hundred in each."""
    for number in range(IDS):
        at = NEWEST - (IDS - 1 - number) // 100 * HOUR_MS
        yield (owner(number), message_id(number), digest(number), number + 1, at)


def repeat(number: int) -> Append:
    return Append(
        1,
        "note.text",
        b"1",
        owner=owner(number),
        message_id=message_id(number),
        digest=digest(number)[:16],
    )


async def answers(path: Path) -> list[object]:
    """Return what a log in the migrated database answers to a repeat of each id."""
    database = await Database.open(path)
    limits = StreamLimits(retention_days=30, retention_rows=10_000, max_keys_per_user=3)
    streams = await SqlStreamLog.open(database, path.with_name("guard"), limits)
    found: list[object] = []
    for start in range(0, IDS, 500):
        found += await streams.append([repeat(number) for number in range(start, start + 500)])
    await streams.close()
    await database.close()
    return found


REPEATS: Final = [Appended(number + 1, duplicate=True) for number in range(IDS)]


async def test_every_id_of_before_is_known_with_its_offset(path: Path) -> None:
    assert await answers(path) == REPEATS


async def test_the_ids_of_the_last_day_count_for_the_users_of_the_devices(path: Path) -> None:
    await (await Database.open(path)).close()
    connection = sqlite3.connect(path)
    found = connection.execute(
        "SELECT sender, sum(ids), count(*) FROM message_id_counts GROUP BY sender ORDER BY sender"
    ).fetchall()
    hours = connection.execute("SELECT min(hour), max(hour) FROM message_id_counts").fetchone()
    connection.close()
    day = [owner(number) for number in range(IDS - 2400, IDS)]
    users = {
        "device:99": ["device:99"],
        "key:3": ["key:3"],
        "operator": ["operator"],
        "user:1": ["device:2", "device:4"],
        "user:2": ["device:1", "device:3"],
    }
    assert found == [
        (name, sum(one in owners for one in day), 24) for name, owners in users.items()
    ]
    assert hours == (NEWEST // HOUR_MS - 23, NEWEST // HOUR_MS)


@pytest.mark.process
async def test_a_migration_that_is_killed_is_done_again_from_its_beginning(path: Path) -> None:
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    steps = int(migrated(copy, fatal=0).stdout)
    assert steps > 20
    for fatal in (1, steps // 4, steps // 2, steps * 3 // 4, steps - 1):
        assert migrated(path, fatal).returncode == -signal.SIGKILL
        connection = sqlite3.connect(path)
        version = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        left = connection.execute("SELECT count(*) FROM message_ids").fetchone()
        connection.close()
        assert (version, left) == (("0005",), (IDS,))
    assert await answers(path) == REPEATS


def migrated(path: Path, fatal: int) -> subprocess.CompletedProcess[str]:
    """Migrate in a process that kills itself in the step of this number; 0 lets it live."""
    return subprocess.run(
        [sys.executable, "-c", RUN, str(path), str(fatal)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
